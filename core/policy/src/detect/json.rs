//! JSON text piece by piece: what stands in quotes, and the numbers between.
//!
//! It reads what the server writes, `undefined` and any depth included, and gives every piece of what is not JSON too: nothing is
//! passed over because it could not be read.

use std::borrow::Cow;

use super::{Hints, digits};

/// A piece of JSON, with what its key says of it.
pub(super) enum Piece<'t> {
    /// A string, a key, or whatever is neither.
    Text(Hints, &'t str),
    /// Digits without sign, point or exponent.
    Number(Hints, &'t str),
}

/// Shows every piece.
pub(super) fn walk(text: &str, see: &mut dyn FnMut(Piece<'_>)) {
    let mut key = Cow::Borrowed("");
    let mut rest = text;
    while let Some((between, quoted)) = rest.split_once('"') {
        scalars(between, &key, see);
        let Some(end) = closing(quoted) else {
            rest = quoted;
            break;
        };
        let (inside, behind) = quoted.split_at(end);
        rest = &behind[1..];
        let read = unescaped(inside);
        if rest.trim_start().starts_with(':') {
            see(Piece::Text(Hints::default(), &read));
            key = read;
        } else {
            see(Piece::Text(hints(&key, &read), &read));
        }
    }
    scalars(rest, &key, see);
}

/// Where the quote ends that begins here.
fn closing(quoted: &str) -> Option<usize> {
    let mut escaped = false;
    quoted.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })
}

/// What stands in the quotes; as it is written where its escapes mean nothing.
fn unescaped(inside: &str) -> Cow<'_, str> {
    if !inside.contains('\\') {
        return Cow::Borrowed(inside);
    }
    serde_json::from_str(&format!("\"{inside}\"")).map_or(Cow::Borrowed(inside), Cow::Owned)
}

/// What a key says of a text, where it has digits to say something of.
fn hints(key: &str, text: &str) -> Hints {
    if digits::enough(text) { Hints::of(key) } else { Hints::default() }
}

/// The numbers and words between quotes.
fn scalars(between: &str, key: &str, see: &mut dyn FnMut(Piece<'_>)) {
    let structure =
        |character: char| character.is_ascii_whitespace() || "{}[],:".contains(character);
    for scalar in between.split(structure).filter(|scalar| !scalar.is_empty()) {
        let digits = scalar.strip_prefix('-').unwrap_or(scalar);
        if digits.bytes().all(|byte| byte.is_ascii_digit()) {
            see(Piece::Number(hints(key, digits), digits));
        } else if digits.parse::<f64>().is_err() {
            see(Piece::Text(hints(key, scalar), scalar));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pieces(text: &str) -> Vec<String> {
        let mut pieces = Vec::new();
        walk(text, &mut |piece| {
            pieces.push(match piece {
                Piece::Text(_, text) => text.to_owned(),
                Piece::Number(_, digits) => format!("#{digits}"),
            });
        });
        pieces
    }

    #[test]
    fn keys_strings_and_numbers_are_seen_at_any_depth() {
        let deep = format!("{}\"x\"{}", "[".repeat(10_000), "]".repeat(10_000));
        for (text, seen) in [
            (
                r#"{"a": "b", "c": [1, -2, 3.5, 1e9, true]}"#,
                vec!["a", "b", "c", "#1", "#2", "true"],
            ),
            (r#"["q\"uo\u0074ed", undefined]"#, vec!["q\"uoted", "undefined"]),
            (r#""alone""#, vec!["alone"]),
            ("4111", vec!["#4111"]),
            (r#"{"open": "end"#, vec!["open", "end"]),
            (r#"["\x41"]"#, vec![r"\x41"]),
            (&deep, vec!["x"]),
            ("", vec![]),
        ] {
            assert_eq!(pieces(text), seen, "{text:.40}");
        }
    }

    proptest! {
        #[test]
        fn every_string_of_real_json_is_seen(strings in proptest::collection::vec(any::<String>(), 0..8)) {
            let text = serde_json::to_string(&strings).unwrap();
            prop_assert_eq!(pieces(&text), strings);
        }

        #[test]
        fn no_text_is_too_much(text in any::<String>()) {
            walk(&text, &mut |_| ());
        }
    }
}
