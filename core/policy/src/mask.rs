//! Masks: pure functions from value to value of the same type.
//!
//! One value goes through [`Mask::apply`] whether it came from a JSON cell ([`Mask::cell`]) or an Arrow array. A mask
//! of a *derived* column (an expression over a masked one) gives one and the same value for every cell, NULL or
//! not: otherwise `NULLIF(column, 'guess')` would answer.

use std::borrow::Cow;

use crate::document::MaskMethod;

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

/// The key of [`MaskMethod::Hash`].
#[derive(Clone)]
pub struct MaskKey(Vec<u8>);

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
        Self(bytes.to_vec())
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
        let _ = (key, kind, value);
        Value::Null
    }

    /// Masks one cell of a JSON row set (`None` is NULL).
    #[must_use]
    pub fn cell<'a>(
        &self,
        key: &MaskKey,
        kind: Kind,
        cell: Option<&'a str>,
    ) -> Option<Cow<'a, str>> {
        let _ = (key, kind, cell);
        None
    }
}
