//! One cell of a result, whichever way it travelled.

use std::borrow::Cow;

/// A cell as a value: the same whether the rows came as JSON or as Arrow.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// SQL NULL.
    Null,
    /// Text, or the JSON text of a semi-structured value.
    Text(Cow<'a, str>),
    /// A decimal: `n * 10^-scale` with the column's scale.
    Fixed(i128),
    /// A float.
    Real(f64),
    /// A truth value.
    Boolean(bool),
    /// Days since 1970-01-01.
    Date(i32),
    /// Units of 10^-scale seconds since midnight, with the column's scale.
    Time(i64),
    /// A point in time, or a wall clock without zone.
    Timestamp {
        /// Seconds since 1970-01-01.
        seconds: i64,
        /// Nanoseconds within the second.
        nanos: u32,
        /// Minutes east of UTC, for timestamps with a zone.
        offset: Option<i32>,
    },
    /// Bytes.
    Binary(Cow<'a, [u8]>),
}

/// The type of a column, from the row type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Numbers with a fixed point.
    Fixed,
    /// Floats.
    Real,
    /// Text.
    Text,
    /// Truth values.
    Boolean,
    /// Dates.
    Date,
    /// Times of day.
    Time,
    /// Timestamps without zone.
    TimestampNtz,
    /// Timestamps in the session's zone.
    TimestampLtz,
    /// Timestamps with a zone of their own.
    TimestampTz,
    /// Bytes.
    Binary,
    /// JSON text: VARIANT, OBJECT, ARRAY, MAP without a schema.
    SemiStructured,
    /// Anything else: vectors, intervals, structured types, and what is yet to come.
    Other,
}

/// What is known of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Name as the driver sees it.
    pub name: String,
    /// Type.
    pub kind: Kind,
    /// The wire word of the type.
    pub word: String,
    /// Digits, for [`Kind::Fixed`].
    pub precision: Option<u32>,
    /// Digits after the point.
    pub scale: Option<u32>,
    /// Characters, for [`Kind::Text`].
    pub length: Option<u64>,
    /// May be NULL.
    pub nullable: bool,
}

impl Kind {
    pub(crate) fn of(word: &str, structured: bool) -> Self {
        match word {
            "fixed" => Self::Fixed,
            "real" => Self::Real,
            "text" => Self::Text,
            "boolean" => Self::Boolean,
            "date" => Self::Date,
            "time" => Self::Time,
            "timestamp_ntz" => Self::TimestampNtz,
            "timestamp_ltz" => Self::TimestampLtz,
            "timestamp_tz" => Self::TimestampTz,
            "binary" => Self::Binary,
            "variant" | "object" | "array" | "map" if !structured => Self::SemiStructured,
            _ => Self::Other,
        }
    }
}
