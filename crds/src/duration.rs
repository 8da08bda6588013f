//! A length of time as people write it: `90s`, `15m`, `1h30m`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Whole seconds, written with the units `h`, `m`, `s` in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration {
    seconds: u64,
}

/// The text is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no duration: write hours, minutes and seconds such as 1h30m or 90s")]
pub struct ParseDurationError(String);

impl Duration {
    /// From whole seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self { seconds }
    }

    /// As whole seconds.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.seconds
    }
}

impl From<Duration> for std::time::Duration {
    fn from(duration: Duration) -> Self {
        Self::from_secs(duration.seconds)
    }
}

impl FromStr for Duration {
    type Err = ParseDurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseDurationError(text.to_owned());
        let mut seconds = 0_u64;
        let mut rest = text;
        for (unit, length) in [('h', 3600), ('m', 60), ('s', 1)] {
            let Some((digits, after)) = rest.split_once(unit) else { continue };
            if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(wrong());
            }
            let count: u64 = digits.parse().map_err(|_| wrong())?;
            seconds = count
                .checked_mul(length)
                .and_then(|part| seconds.checked_add(part))
                .ok_or_else(wrong)?;
            rest = after;
        }
        if text.is_empty() || !rest.is_empty() { Err(wrong()) } else { Ok(Self { seconds }) }
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (hours, minutes, seconds) =
            (self.seconds / 3600, self.seconds / 60 % 60, self.seconds % 60);
        if hours > 0 {
            write!(f, "{hours}h")?;
        }
        if minutes > 0 {
            write!(f, "{minutes}m")?;
        }
        if seconds > 0 || self.seconds == 0 {
            write!(f, "{seconds}s")?;
        }
        Ok(())
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Duration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 2,
            "maxLength": 16,
            "pattern": "^([0-9]+h)?([0-9]+m)?([0-9]+s)?$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_becomes_seconds_and_back() {
        for (text, seconds, shown) in [
            ("10s", 10, "10s"),
            ("15m", 900, "15m"),
            ("1h30m", 5400, "1h30m"),
            ("90s", 90, "1m30s"),
        ] {
            let duration: Duration = text.parse().unwrap();
            assert_eq!((duration.as_secs(), duration.to_string().as_str()), (seconds, shown));
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "10", "s", "-5s", "1.5h", "5s1m", "1d", "10 s", "99999999999999999999h"] {
            assert!(text.parse::<Duration>().is_err(), "{text:?}");
        }
    }
}
