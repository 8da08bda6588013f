//! Masks: pure functions from value to value of the same type.
//!
//! One value goes through [`Mask::apply`] whether it came from a JSON cell or an Arrow array. A mask of a *derived*
//! column (an expression over a masked one) gives one and the same value for every cell, NULL or not: otherwise
//! `NULLIF(column, 'guess')` would answer.

use std::borrow::Cow;

use hmac::digest::Key;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest as _, Sha256};

use crate::document::{MaskMethod, TruncateUnit};

/// How the cells of one output column are masked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    /// The method.
    pub method: MaskMethod,
    /// What keeps the tokens of [`MaskMethod::Hash`] apart: the declared domain, or the column's full name.
    pub domain: String,
    /// The column is an expression over masked columns: every cell, NULL too, becomes the same value.
    pub derived: bool,
}

/// The key of [`MaskMethod::Hash`], already taken in: that half of the work is done once and not for every cell.
#[derive(Clone)]
pub struct MaskKey(Hmac<Sha256>);

/// The type of an output column, as the server declares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// TEXT.
    Text,
    /// FIXED: integers and decimals.
    Fixed {
        /// Digits in all.
        precision: u8,
        /// Digits after the point.
        scale: u8,
    },
    /// REAL and DECFLOAT.
    Real,
    /// BOOLEAN.
    Boolean,
    /// DATE: days since 1970-01-01.
    Date,
    /// TIME: 10^-scale seconds since midnight.
    Time {
        /// Digits of a second.
        scale: u8,
    },
    /// TIMESTAMP_NTZ and TIMESTAMP_LTZ.
    Timestamp {
        /// Digits of a second.
        scale: u8,
    },
    /// TIMESTAMP_TZ: with an offset.
    TimestampTz {
        /// Digits of a second.
        scale: u8,
    },
    /// BINARY.
    Binary,
    /// VARIANT and what else travels as JSON text of any shape.
    Variant,
    /// OBJECT and MAP: JSON text of an object.
    Object,
    /// ARRAY and VECTOR: JSON text of an array.
    Array,
    /// Anything else: every mask gives NULL.
    Other,
}

/// One value of a column.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// NULL.
    Null,
    /// TEXT, or the JSON text of a VARIANT, OBJECT, ARRAY.
    Text(Cow<'a, str>),
    /// FIXED, unscaled: the value is `n * 10^-scale`.
    Integer(i128),
    /// REAL.
    Real(f64),
    /// BOOLEAN.
    Boolean(bool),
    /// DATE.
    Days(i64),
    /// TIME in units of 10^-scale seconds.
    Time(i64),
    /// Any TIMESTAMP.
    Timestamp {
        /// Seconds since the epoch (rounded down).
        seconds: i64,
        /// Nanoseconds of that second.
        nanoseconds: u32,
        /// Offset from UTC in minutes, for TIMESTAMP_TZ.
        offset: Option<i32>,
    },
    /// BINARY.
    Binary(Cow<'a, [u8]>),
}

impl MaskKey {
    /// A key from its bytes.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        // What HMAC does with a key of any length: a long one is digested, a short one filled up with zeros.
        let mut block = Key::<Hmac<Sha256>>::default();
        if bytes.len() <= block.len() {
            block[..bytes.len()].copy_from_slice(bytes);
        } else {
            let digest = Sha256::digest(bytes);
            block[..digest.len()].copy_from_slice(&digest);
        }
        Self(Hmac::new(&block))
    }
}

impl std::fmt::Debug for MaskKey {
    /// A key must never reach a log by accident.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MaskKey")
    }
}

impl Kind {
    /// The kind from the server's type word (`fixed`, `text`, `timestamp_ntz`, ... in any case).
    #[must_use]
    pub fn of(type_name: &str, precision: Option<u32>, scale: Option<u32>) -> Self {
        let small = |value: Option<u32>, default: u8| {
            value.map_or(default, |value| u8::try_from(value).unwrap_or(default))
        };
        match type_name.to_ascii_lowercase().as_str() {
            "text" => Self::Text,
            "fixed" => Self::Fixed { precision: small(precision, 38), scale: small(scale, 0) },
            "real" | "decfloat" => Self::Real,
            "boolean" => Self::Boolean,
            "date" => Self::Date,
            "time" => Self::Time { scale: small(scale, 9) },
            "timestamp_ntz" | "timestamp_ltz" => Self::Timestamp { scale: small(scale, 9) },
            "timestamp_tz" => Self::TimestampTz { scale: small(scale, 9) },
            "binary" => Self::Binary,
            "variant" => Self::Variant,
            "object" | "map" => Self::Object,
            "array" | "vector" => Self::Array,
            _ => Self::Other,
        }
    }
}

impl Mask {
    /// Masks one value. Total: a value that does not fit the kind, or a method that makes no sense for it, gives the
    /// fixed value of the kind or NULL, never the value itself.
    #[must_use]
    pub fn apply<'a>(&self, key: &MaskKey, kind: Kind, value: Value<'a>) -> Value<'a> {
        if self.derived {
            return self.constant(kind);
        }
        if value == Value::Null {
            return Value::Null;
        }
        match &self.method {
            MaskMethod::Null | MaskMethod::Full => self.constant(kind),
            MaskMethod::Partial { keep_first, keep_last } => match value {
                Value::Text(text) if kind == Kind::Text => {
                    Value::Text(partial(&text, *keep_first, *keep_last).into())
                }
                // The ends of a date are its year: what is kept is the coarse part.
                Value::Days(_) | Value::Timestamp { .. } => {
                    truncate(kind, value, TruncateUnit::Year)
                }
                _ => self.constant(kind),
            },
            MaskMethod::Hash { domain: _ } => self.hash(key, kind, value),
            MaskMethod::Email => match value {
                Value::Text(text) if kind == Kind::Text => Value::Text(email(&text).into()),
                _ => self.constant(kind),
            },
            MaskMethod::Truncate { unit } => match value {
                Value::Days(_) | Value::Timestamp { .. } => truncate(kind, value, *unit),
                _ => self.constant(kind),
            },
            MaskMethod::Bucket { width } => match (kind, value) {
                (Kind::Fixed { scale, .. }, Value::Integer(value)) => {
                    let width = 10_i128
                        .checked_pow(u32::from(scale))
                        .and_then(|unit| unit.checked_mul(i128::from(*width)));
                    match width {
                        Some(width) if width > 0 => {
                            // Rounded down towards minus infinity. The lowest bucket may not fit where its value did, and
                            // 64 bits are what a number comes in that fits them.
                            let fits = |bucket: &i128| {
                                i64::try_from(value).is_err() || i64::try_from(*bucket).is_ok()
                            };
                            value
                                .checked_sub(value.rem_euclid(width))
                                .filter(fits)
                                .map_or(Value::Integer(0), Value::Integer)
                        }
                        _ => self.constant(kind),
                    }
                }
                #[expect(
                    clippy::cast_precision_loss,
                    reason = "a bucket of a float is as exact as the float"
                )]
                (Kind::Real, Value::Real(value)) if value.is_finite() => {
                    let width = *width as f64;
                    Value::Real((value / width).floor() * width)
                }
                _ => self.constant(kind),
            },
        }
    }

    /// Whether one value stands in place of all: the one that [`Mask::constant`] gives. NULL stays NULL unless the column
    /// is derived.
    #[must_use]
    pub fn is_constant(&self) -> bool {
        self.derived || matches!(self.method, MaskMethod::Null | MaskMethod::Full)
    }

    /// The one value that `Null`, `Full` and every derived column show.
    #[must_use]
    pub fn constant<'a>(&self, kind: Kind) -> Value<'a> {
        if self.method == MaskMethod::Null { Value::Null } else { fixed_value(kind) }
    }

    fn hash<'a>(&self, key: &MaskKey, kind: Kind, value: Value<'a>) -> Value<'a> {
        match (kind, value) {
            (Kind::Text, Value::Text(text)) => {
                Value::Text(token(&self.tag(key, text.as_bytes())).into())
            }
            (Kind::Variant, Value::Text(text)) => {
                // Equal values may be written in different ways; their canonical form is not.
                let canonical = serde_json::from_str::<serde_json::Value>(&text)
                    .map_or_else(|_| text.into_owned(), |value| value.to_string());
                let tag = self.tag(key, canonical.as_bytes());
                Value::Text(format!("\"{}\"", token(&tag)).into())
            }
            (Kind::Fixed { precision, scale }, Value::Integer(value)) => {
                let tag = self.tag(key, format!("{value}e-{scale}").as_bytes());
                match 10_i128.checked_pow(u32::from(precision)) {
                    Some(modulus) => Value::Integer(i128::from(first_u64(&tag) >> 1) % modulus),
                    None => self.constant(kind),
                }
            }
            #[expect(clippy::cast_precision_loss, reason = "a token only has to be stable")]
            (Kind::Real, Value::Real(value)) => {
                Value::Real((first_u64(&self.tag(key, &value.to_be_bytes())) >> 12) as f64)
            }
            (Kind::Binary, Value::Binary(bytes)) => {
                Value::Binary(self.tag(key, &bytes).to_vec().into())
            }
            // Two booleans, some hundred dates: a token of them would only be another name for the value.
            (Kind::Boolean | Kind::Date | Kind::Time { .. }, _)
            | (Kind::Timestamp { .. } | Kind::TimestampTz { .. }, _) => Value::Null,
            _ => self.constant(kind),
        }
    }

    /// HMAC-SHA-256 over domain and value.
    fn tag(&self, key: &MaskKey, value: &[u8]) -> [u8; 32] {
        let mut mac = key.0.clone();
        mac.update(b"frostgate mask v1\n");
        mac.update(&(self.domain.len() as u64).to_be_bytes());
        mac.update(self.domain.as_bytes());
        mac.update(value);
        mac.finalize().into_bytes().into()
    }
}

// === methods ===

/// What `Full` shows for every value of a kind.
fn fixed_value<'a>(kind: Kind) -> Value<'a> {
    match kind {
        Kind::Text => Value::Text("****".into()),
        Kind::Fixed { .. } => Value::Integer(0),
        Kind::Real => Value::Real(0.0),
        Kind::Date => Value::Days(0),
        Kind::Time { .. } => Value::Time(0),
        Kind::Timestamp { .. } => Value::Timestamp { seconds: 0, nanoseconds: 0, offset: None },
        Kind::TimestampTz { .. } => {
            Value::Timestamp { seconds: 0, nanoseconds: 0, offset: Some(0) }
        }
        Kind::Binary => Value::Binary(Cow::Borrowed(&[])),
        Kind::Variant => Value::Text("null".into()),
        Kind::Object => Value::Text("{}".into()),
        Kind::Array => Value::Text("[]".into()),
        Kind::Boolean | Kind::Other => Value::Null,
    }
}

/// Keeps the ends and the separators; a value that the kept ends would nearly show is hidden whole.
fn partial(text: &str, keep_first: u32, keep_last: u32) -> String {
    let length = text.chars().count();
    let (first, last) = (keep_first as usize, keep_last as usize);
    let kept = first.saturating_add(last);
    if kept == 0 || length < kept.saturating_mul(2) {
        return "****".to_owned();
    }
    let mut shown = String::with_capacity(text.len());
    shown.extend(text.chars().enumerate().map(|(index, character)| {
        let is_kept = index < first || index >= length - last;
        if is_kept || !character.is_alphanumeric() { character } else { '*' }
    }));
    shown
}

/// `a***@d***.tld`.
fn email(text: &str) -> String {
    let shown = || {
        let (local, domain) = text.split_once('@')?;
        let (name, tld) = domain.rsplit_once('.')?;
        let is_plain = !domain.contains('@')
            && !tld.is_empty()
            && tld.len() <= 24
            && tld.chars().all(|character| character.is_ascii_alphanumeric());
        if !is_plain {
            return None;
        }
        Some(format!("{}***@{}***.{tld}", local.chars().next()?, name.chars().next()?))
    };
    shown().unwrap_or_else(|| "****".to_owned())
}

const DAY_SECONDS: i64 = 86_400;

fn truncate(kind: Kind, value: Value<'_>, unit: TruncateUnit) -> Value<'static> {
    match (kind, value) {
        (Kind::Date, Value::Days(days)) => Value::Days(truncate_days(days, unit)),
        (
            Kind::Timestamp { .. } | Kind::TimestampTz { .. },
            Value::Timestamp { seconds, nanoseconds: _, offset },
        ) => {
            // A day begins at midnight where the value says it is.
            let shift = i64::from(offset.unwrap_or(0)) * 60;
            let truncated = seconds.checked_add(shift).and_then(|local| {
                truncate_days(local.div_euclid(DAY_SECONDS), unit)
                    .checked_mul(DAY_SECONDS)?
                    .checked_sub(shift)
            });
            match truncated {
                Some(seconds) => Value::Timestamp { seconds, nanoseconds: 0, offset },
                None => fixed_value(kind),
            }
        }
        _ => fixed_value(kind),
    }
}

fn truncate_days(days: i64, unit: TruncateUnit) -> i64 {
    // Beyond these years (Snowflake has four digits) nothing is computed and nothing shown.
    if days.abs() > 4_000_000 {
        return 0;
    }
    let (year, month) = civil(days);
    match unit {
        TruncateUnit::Day => days,
        TruncateUnit::Month => days_of(year, month),
        TruncateUnit::Year => days_of(year, 1),
        TruncateUnit::Decade => days_of(year - year.rem_euclid(10), 1),
    }
}

/// Year and month of a day, proleptic Gregorian. The year is taken to begin in March, so that the leap day is its last.
fn civil(days: i64) -> (i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year + i64::from(month <= 2), month)
}

/// The first day of a month.
fn days_of(year: i64, month: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let from_march = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * from_march + 2) / 5;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// 20 characters of base32: 100 bits.
fn token(tag: &[u8; 32]) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let bits = tag.iter().take(13).fold(0_u128, |bits, byte| (bits << 8) | u128::from(*byte));
    (0..20).map(|index| char::from(ALPHABET[((bits >> (5 * index)) & 31) as usize])).collect()
}

fn first_u64(tag: &[u8; 32]) -> u64 {
    tag.iter().take(8).fold(0, |bits, byte| (bits << 8) | u64::from(*byte))
}
