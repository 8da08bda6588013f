//! Strict JSON: two parsers that read one body differently are how a check is walked around.
//!
//! [`strict`] is passed before any message is decoded. It refuses what parsers disagree about (duplicate keys,
//! trailing bytes, lone surrogates, numbers out of range) and what costs too much (depth, keys, long strings).

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;

/// Why bytes are not a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not JSON, or JSON that parsers disagree about.
    #[error("the body is not acceptable JSON: {0}")]
    Json(String),
    /// A field is missing or has the wrong type.
    #[error("the field `{0}` is missing or has the wrong type")]
    Field(&'static str),
    /// The query string is ambiguous.
    #[error("the URL parameter `{0}` is given twice or cannot be read")]
    Parameter(String),
    /// A part is larger than it may be.
    #[error("{what} exceeds {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
}

/// How much a message may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Nesting of lists and objects.
    pub depth: usize,
    /// Keys of all objects together.
    pub keys: usize,
    /// Bytes of one string.
    pub string: usize,
    /// Bytes of the SQL text.
    pub sql: usize,
    /// Number of binds.
    pub binds: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth: 64, keys: 100_000, string: 16 << 20, sql: 1 << 20, binds: 16_384 }
    }
}

/// Checks that `bytes` are one JSON value that every parser reads alike, within `limits`.
pub fn strict(bytes: &[u8], limits: &Limits) -> Result<(), Malformed> {
    let mut keys = 0;
    let mut exceeded = None;
    let walk = Walk { limits, depth: limits.depth, keys: &mut keys, exceeded: &mut exceeded };
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let walked = walk.deserialize(&mut json).and_then(|()| json.end());
    match (walked, exceeded) {
        (_, Some(exceeded)) => Err(exceeded),
        (Err(error), None) => Err(Malformed::Json(unquoted(&error))),
        (Ok(()), None) => Ok(()),
    }
}

/// Decodes a message that [`strict`] passed.
pub(crate) fn from_slice<'a, T: serde::Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Malformed> {
    serde_json::from_slice(bytes).map_err(|error| Malformed::Json(unquoted(&error)))
}

/// What is wrong with JSON, without a word of it: it may be rows that were to be masked, or a token.
pub(crate) fn unquoted(error: &serde_json::Error) -> String {
    let text = error.to_string();
    if error.classify() != Category::Data || text.starts_with("missing field") {
        return text;
    }
    format!("a value is not what it should be at line {} column {}", error.line(), error.column())
}

/// One step of the walk through a value.
struct Walk<'w> {
    limits: &'w Limits,
    depth: usize,
    keys: &'w mut usize,
    exceeded: &'w mut Option<Malformed>,
}

impl Walk<'_> {
    fn deeper(&mut self) -> Option<Walk<'_>> {
        let Some(depth) = self.depth.checked_sub(1) else {
            *self.exceeded =
                Some(Malformed::TooLarge { what: "the nesting", limit: self.limits.depth });
            return None;
        };
        Some(Walk { limits: self.limits, depth, keys: self.keys, exceeded: self.exceeded })
    }

    fn string<E: Error>(&mut self, text: &str) -> Result<(), E> {
        if text.len() > self.limits.string {
            *self.exceeded =
                Some(Malformed::TooLarge { what: "a string", limit: self.limits.string });
            return Err(E::custom("string too long"));
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E: Error>(mut self, text: &str) -> Result<(), E> {
        self.string(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        loop {
            let Some(item) = self.deeper() else { return Err(A::Error::custom("too deep")) };
            if items.next_element_seed(item)?.is_none() {
                return Ok(());
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<(), A::Error> {
        let mut seen = HashSet::new();
        while let Some(key) = entries.next_key::<String>()? {
            self.string(&key)?;
            *self.keys += 1;
            if *self.keys > self.limits.keys {
                *self.exceeded = Some(Malformed::TooLarge {
                    what: "the number of keys",
                    limit: self.limits.keys,
                });
                return Err(A::Error::custom("too many keys"));
            }
            if !seen.insert(key.clone()) {
                return Err(A::Error::custom(format_args!("the key `{key}` is given twice")));
            }
            let Some(value) = self.deeper() else { return Err(A::Error::custom("too deep")) };
            entries.next_value_seed(value)?;
        }
        Ok(())
    }
}

/// The query string of a request, each name at most once.
#[derive(Clone, Debug, Default)]
pub struct UrlParameters(Vec<(String, String)>);

impl UrlParameters {
    /// Reads a raw query string; a name that is given twice is refused.
    pub fn decode(query: Option<&str>) -> Result<Self, Malformed> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            let twice = pairs.iter().any(|(known, _)| known.eq_ignore_ascii_case(&name));
            if twice || name.contains('\u{fffd}') || value.contains('\u{fffd}') || pairs.len() > 64
            {
                return Err(Malformed::Parameter(name.chars().take(64).collect()));
            }
            pairs.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(pairs))
    }

    /// The value of `name`; an empty value counts as absent, as some drivers send unset options empty.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(known, _)| known == name)?;
        (!value.is_empty()).then_some(value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(body: &[u8]) -> String {
        strict(body, &Limits::default()).unwrap_err().to_string()
    }

    #[test]
    fn what_parsers_disagree_about_is_refused() {
        for body in [
            &b"{\"a\":1,\"a\":2}"[..],
            b"{\"a\":{\"b\":1,\"\\u0062\":2}}",
            b"{\"a\":1} {\"a\":2}",
            b"\xef\xbb\xbf{}",
            b"{\"a\":\"\xff\"}",
            b"{\"a\":\"\\ud800\"}",
            b"{\"a\":NaN}",
            b"{\"a\":1e999}",
            b"{\"a\":1,}",
            b"",
        ] {
            assert!(strict(body, &Limits::default()).is_err(), "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_a_word_of_the_body() {
        for body in [
            r#"{"success":"secret"}"#,
            r#"{"success":true,"data":"secret"}"#,
            r#"{"success":true,"data":{"secret":1,"secret":2}}"#,
            r#"{"success":true,"code":{"secret":1}}"#,
            r#"{"success":true,"data":{"a":secret}}"#,
        ] {
            let error = crate::query::Answer::decode(body.as_bytes()).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
        let missing = from_slice::<Missing>(b"{}").unwrap_err().to_string();
        assert!(missing.contains("missing field `wanted`"), "{missing}");
    }

    #[derive(Debug, serde::Deserialize)]
    struct Missing {
        #[allow(dead_code, reason = "only its absence matters")]
        wanted: String,
    }

    #[test]
    fn deep_and_large_bodies_are_named_as_such() {
        let deep = "[".repeat(100_000);
        assert_eq!(refusal(deep.as_bytes()), "the nesting exceeds 64");
        let limits = Limits { keys: 2, string: 3, ..Limits::default() };
        let keys = strict(br#"{"a":1,"b":2,"c":3}"#, &limits).unwrap_err();
        assert_eq!(keys.to_string(), "the number of keys exceeds 2");
        let string = strict(br#"{"a":"long"}"#, &limits).unwrap_err();
        assert_eq!(string.to_string(), "a string exceeds 3");
    }

    #[test]
    fn url_parameters_are_given_once() {
        let once = UrlParameters::decode(Some("requestId=a&roleName=&x=%20y")).unwrap();
        assert_eq!(once.get("requestId"), Some("a"));
        assert_eq!(once.get("roleName"), None);
        assert_eq!(once.get("x"), Some(" y"));
        assert!(UrlParameters::decode(Some("requestId=a&requestId=b")).is_err());
        assert!(UrlParameters::decode(Some("requestId=a&REQUESTID=b")).is_err());
        assert!(UrlParameters::decode(Some("a=%ff")).is_err());
    }
}
