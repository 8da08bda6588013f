//! What kind of value an expression is, as far as that is certain: a text that is taken for a number can fail, and
//! whether it fails tells about the value.

/// What kind of value it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// NULL, which goes with anything.
    Null,
    /// A text.
    Text,
    /// A number, and how many digits of literals it was multiplied by: with enough of them it overflows at a value
    /// of the statement's choice.
    Number(u8),
    /// A date, a time, or an interval.
    Time,
    /// A truth value.
    Truth,
    /// Anything else, or unknown.
    Other,
}

/// Digits that no sensible computation reaches, and from which on a number may not fit.
const MANY: u8 = 20;

impl Class {
    /// Of a column, by the catalog's word for its type.
    pub(crate) fn of_column(data_type: &str) -> Self {
        const TEXT: &[&str] =
            &["TEXT", "VARCHAR", "STRING", "CHAR", "CHARACTER", "NCHAR", "NVARCHAR"];
        const NUMBER: &[&str] = &[
            "NUMBER", "DECIMAL", "NUMERIC", "INT", "INTEGER", "BIGINT", "SMALLINT", "TINYINT",
            "BYTEINT", "FLOAT", "FLOAT4", "FLOAT8", "DOUBLE", "REAL", "DECFLOAT",
        ];
        const TIME: &[&str] = &[
            "DATE",
            "TIME",
            "DATETIME",
            "TIMESTAMP",
            "TIMESTAMP_NTZ",
            "TIMESTAMP_LTZ",
            "TIMESTAMP_TZ",
        ];
        let end = data_type.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let word = &data_type[..end.unwrap_or(data_type.len())];
        let is_one = |words: &[&str]| words.iter().any(|one| one.eq_ignore_ascii_case(word));
        if is_one(TEXT) {
            Self::Text
        } else if is_one(NUMBER) {
            Self::Number(0)
        } else if is_one(TIME) {
            Self::Time
        } else if is_one(&["BOOLEAN"]) {
            Self::Truth
        } else {
            Self::Other
        }
    }

    /// Of a literal number.
    pub(crate) fn of_digits(digits: &str) -> Self {
        // An exponent moves the point as far as it likes.
        if digits.contains(['e', 'E']) {
            return Self::Number(MANY);
        }
        let count = digits.bytes().filter(u8::is_ascii_digit).count();
        Self::Number(u8::try_from(count).unwrap_or(MANY).min(MANY))
    }

    /// Of a value that is one or the other.
    #[must_use]
    pub(crate) fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Null, class) | (class, Self::Null) => class,
            (Self::Number(one), Self::Number(two)) => Self::Number(one.max(two)),
            (one, two) if one == two => one,
            _ => Self::Other,
        }
    }

    /// Whether two branches that are of these cannot be one column unless a value is converted.
    pub(crate) fn differs(self, other: Self) -> bool {
        let kind = |class| match class {
            Self::Null | Self::Other => None,
            Self::Text => Some(0),
            Self::Number(_) => Some(1),
            Self::Time => Some(2),
            Self::Truth => Some(3),
        };
        matches!((kind(self), kind(other)), (Some(one), Some(two)) if one != two)
    }

    /// Of a sum or product: a number, unless a date is moved.
    pub(crate) fn computed(self, other: Self, multiplies: bool) -> Self {
        match (self, other) {
            (Self::Time, _) | (_, Self::Time) => Self::Time,
            _ => {
                let (one, two) = (self.digits(), other.digits());
                let digits = if multiplies { one.saturating_add(two) } else { one.max(two) };
                Self::Number(digits.min(MANY))
            }
        }
    }

    /// Whether arithmetic takes it as it is.
    pub(crate) fn is_countable(self) -> bool {
        matches!(self, Self::Null | Self::Number(_) | Self::Time)
    }

    /// Whether a number of this kind may overflow at a value that the statement chooses.
    pub(crate) fn overflows(self) -> bool {
        self.digits() >= MANY
    }

    /// Whether a date moved by so many years may leave the calendar at a date that the statement chooses.
    pub(crate) fn is_far(self) -> bool {
        self.digits() > 3
    }

    /// Whether comparing it with the other converts it, which can fail.
    pub(crate) fn yields_to(self, other: Self) -> bool {
        match self {
            Self::Text => !matches!(other, Self::Text | Self::Null),
            Self::Other => matches!(other, Self::Number(_) | Self::Time | Self::Truth),
            Self::Null | Self::Number(_) | Self::Time | Self::Truth => false,
        }
    }

    fn digits(self) -> u8 {
        match self {
            Self::Number(digits) => digits,
            Self::Null | Self::Text | Self::Time | Self::Truth | Self::Other => 0,
        }
    }
}
