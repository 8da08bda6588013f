//! Row sets: walked cell by cell with one mask per column, in the format they came in.
//!
//! The format is never changed: JSON stays JSON, an Arrow stream stays an Arrow stream with the same schema and
//! metadata; only a masked column becomes nullable, and its integers 64 bits wide. Columns without a mask can be
//! searched: cells in which something is found are hidden, the others keep their bytes.

mod arrow;
mod decfloat;
mod json;
mod stream;

use std::collections::BTreeMap;
use std::sync::Arc;

use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::decode::{self, Malformed};
pub use crate::value::{Column, Kind, Value};

pub use arrow::mask_stream;
pub use json::mask_rowset;
pub use stream::Stream;

/// What a caller does to the cells of one column.
pub trait Mask: Send + Sync {
    /// The value the agent sees in place of `value`. A value that does not fit the column becomes NULL.
    fn apply<'a>(&self, column: &Column, value: Value<'a>) -> Value<'a>;

    /// What stands in place of every value, where that depends on none: such a column is written without a look at it.
    fn constant(&self, _column: &Column) -> Option<Constant> {
        None
    }
}

/// One value in place of all.
#[derive(Clone, Debug)]
pub struct Constant {
    /// The value.
    pub value: Value<'static>,
    /// Whether NULL stays NULL.
    pub keeps_null: bool,
}

/// What a caller looks for in the cells of columns that have no mask.
pub trait Search: Send + Sync {
    /// Whether the column at a position is searched.
    fn covers(&self, position: usize) -> bool;
    /// Begins a pass over the cells of one answer, or of one chunk.
    fn begin(&self) -> Box<dyn Pass>;
}

/// One pass of a [`Search`].
pub trait Pass: Send {
    /// What is found in a cell, a bit for each kind of finding. A nested cell is shown leaf by leaf, with the name of the
    /// leaf's field where it has one.
    fn look(&mut self, position: usize, field: Option<&str>, value: &Value<'_>) -> u16;
    /// The value the agent sees in place of a cell in which this was found. One that does not fit the column becomes NULL.
    fn hide(&self, position: usize, found: u16) -> Value<'static>;
}

/// The columns of a result and their masks, by position.
#[derive(Clone)]
pub struct Layout {
    /// The columns in order.
    pub columns: Vec<Column>,
    /// One per column; a column without is searched, or passes as it is.
    pub masks: Vec<Option<Arc<dyn Mask>>>,
    /// What is looked for in columns without a mask.
    pub search: Option<Arc<dyn Search>>,
}

/// In how many cells of a column something was found, by position and by what it was.
pub type Findings = BTreeMap<(usize, u16), u64>;

/// Rows after their masks.
#[derive(Debug, Default)]
pub struct Masked {
    /// The bytes, in the format they came in.
    pub bytes: Vec<u8>,
    /// How many rows.
    pub rows: u64,
    /// How many cells went through a mask or were hidden.
    pub masked_cells: u64,
    /// What was found in columns without a mask.
    pub found: Findings,
}

impl Masked {
    /// Adds what follows.
    pub fn extend(&mut self, mut further: Self) {
        self.bytes.append(&mut further.bytes);
        self.rows += further.rows;
        self.masked_cells += further.masked_cells;
        for (what, cells) in further.found {
            *self.found.entry(what).or_default() += cells;
        }
    }
}

/// Why rows cannot be relayed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowsError {
    /// The rows are not in the format they claim to be.
    #[error("the rows are not readable: {0}")]
    Unreadable(String),
    /// A row or stream has other columns than the row type says.
    #[error("the rows have {found} columns, the row type has {expected}")]
    Width {
        /// Columns of the row type.
        expected: usize,
        /// Columns found.
        found: usize,
    },
    /// There are not as many rows as the account announced.
    #[error("the rows are {found}, the account announced {announced}")]
    Count {
        /// Rows that the account announced.
        announced: u64,
        /// Rows found.
        found: u64,
    },
    /// A cell is not of its column's type.
    #[error("a cell of column {position} is not of its type")]
    Cell {
        /// Position of the column.
        position: usize,
    },
}

impl Layout {
    /// A layout without masks.
    #[must_use]
    pub fn plain(columns: Vec<Column>) -> Self {
        let masks = columns.iter().map(|_| None).collect();
        Self { columns, masks, search: None }
    }

    /// Whether any column is masked or searched.
    #[must_use]
    pub fn is_masked(&self) -> bool {
        (0..self.columns.len()).any(|position| self.is_changed(position))
    }

    /// Whether cells of the column may come to be others.
    fn is_changed(&self, position: usize) -> bool {
        self.masks.get(position).is_some_and(Option::is_some) || self.is_searched(position)
    }

    fn is_searched(&self, position: usize) -> bool {
        self.masks.get(position).is_none_or(Option::is_none)
            && self.search.as_ref().is_some_and(|search| search.covers(position))
    }
}

/// One entry of `rowtype`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RowType {
    name: String,
    #[serde(rename = "type")]
    word: String,
    precision: Option<u32>,
    scale: Option<u32>,
    length: Option<u64>,
    nullable: Option<bool>,
    fields: Option<serde_json::Value>,
}

/// Reads `rowtype`.
pub fn columns(rowtype: &str) -> Result<Vec<Column>, Malformed> {
    let entries: Vec<RowType> = decode::from_slice(rowtype.as_bytes())?;
    // A number has 38 digits at most, and each digit of the scale is written out in every cell.
    if entries.iter().any(|entry| entry.scale.is_some_and(|scale| scale > 38)) {
        return Err(Malformed::Field("scale"));
    }
    let structured = |fields: &Option<serde_json::Value>| {
        fields.as_ref().is_some_and(|fields| !fields.is_null())
    };
    Ok(entries
        .into_iter()
        .map(|entry| {
            let word = entry.word.to_ascii_lowercase();
            Column {
                kind: Kind::of(&word, structured(&entry.fields)),
                word,
                name: entry.name,
                precision: entry.precision,
                scale: entry.scale,
                length: entry.length,
                nullable: entry.nullable.unwrap_or(true),
            }
        })
        .collect())
}

/// What a driver learns of a column; whatever else an account says of it stays here.
const SAID: &[&str] = &[
    "name",
    "database",
    "schema",
    "table",
    "type",
    "precision",
    "scale",
    "length",
    "byteLength",
    "nullable",
    "collation",
    "fields",
    "extTypeName",
    "isAutoIncrement",
    "fixed",
    "dimension",
    "vectorDimension",
    "outputType",
];

/// `rowtype` as a driver gets it, where that is not what it was: with the fields that drivers know, and with masked
/// and searched columns marked nullable, as a mask may give NULL where the table had none.
pub(crate) fn rewritten(rowtype: &str, layout: &Layout) -> Result<Option<String>, Malformed> {
    let mut entries: Vec<IndexMap<&str, &RawValue>> = decode::from_slice(rowtype.as_bytes())?;
    let mut is_other = layout.is_masked();
    let yes: Box<RawValue> =
        serde_json::value::to_raw_value(&true).map_err(|_| Malformed::Field("rowtype"))?;
    for (position, entry) in entries.iter_mut().enumerate() {
        let before = entry.len();
        entry.retain(|name, _| SAID.contains(name));
        is_other |= entry.len() != before;
        if layout.is_changed(position) {
            entry.insert("nullable", &yes);
        }
    }
    if !is_other {
        return Ok(None);
    }
    serde_json::to_string(&entries).map(Some).map_err(|_| Malformed::Field("rowtype"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::borrow::Cow;

    /// Replaces every value by one that shows its type, and keeps NULL.
    pub(crate) struct Stamp;

    impl Mask for Stamp {
        fn apply<'a>(&self, _: &Column, value: Value<'a>) -> Value<'a> {
            match value {
                Value::Null => Value::Null,
                Value::Text(_) => Value::Text(Cow::Borrowed("***")),
                Value::Fixed(n) => Value::Fixed(n - n.rem_euclid(1000)),
                Value::Real(_) => Value::Real(0.5),
                Value::Boolean(_) => Value::Boolean(false),
                Value::Date(days) => Value::Date(days - days.rem_euclid(365)),
                Value::Time(_) => Value::Time(0),
                Value::Timestamp { seconds, offset, .. } => {
                    Value::Timestamp { seconds: seconds - 1, nanos: 500_000_000, offset }
                }
                Value::Binary(_) => Value::Binary(Cow::Borrowed(&[0xAB])),
            }
        }
    }

    /// Gives back what it got: shows that nothing is lost on the way.
    pub(crate) struct Same;

    impl Mask for Same {
        fn apply<'a>(&self, _: &Column, value: Value<'a>) -> Value<'a> {
            value
        }
    }

    /// Finds `needle` in texts and 77 in numbers; the names of fields are findings too.
    pub(crate) struct Needle;

    impl Search for Needle {
        fn covers(&self, position: usize) -> bool {
            position != 1
        }
        fn begin(&self) -> Box<dyn Pass> {
            Box::new(Self)
        }
    }

    impl Pass for Needle {
        fn look(&mut self, _: usize, field: Option<&str>, value: &Value<'_>) -> u16 {
            let here = match value {
                Value::Text(text) => text.contains("needle"),
                Value::Binary(bytes) => bytes.as_ref() == b"needle",
                Value::Fixed(number) => *number == 77,
                _ => false,
            };
            u16::from(here) | if here && field == Some("inner") { 2 } else { 0 }
        }
        fn hide(&self, position: usize, _: u16) -> Value<'static> {
            if position == 0 { Value::Null } else { Value::Text(Cow::Borrowed("found")) }
        }
    }

    pub(crate) fn searched(columns: Vec<Column>) -> Layout {
        Layout { search: Some(Arc::new(Needle)), ..Layout::plain(columns) }
    }

    /// Every cell becomes NULL.
    pub(crate) struct Nothing;

    impl Mask for Nothing {
        fn apply<'a>(&self, _: &Column, _: Value<'a>) -> Value<'a> {
            Value::Null
        }
    }

    pub(crate) fn column(word: &str, scale: Option<u32>) -> Column {
        Column {
            name: word.to_ascii_uppercase(),
            kind: Kind::of(word, false),
            word: word.to_owned(),
            precision: Some(38),
            scale,
            length: None,
            nullable: true,
        }
    }

    pub(crate) fn layout(columns: Vec<Column>, mask: Option<Arc<dyn Mask>>) -> Layout {
        let masks = vec![mask; columns.len()];
        Layout { columns, masks, search: None }
    }

    #[test]
    fn a_masked_column_is_nullable_and_keeps_its_other_words() {
        let rowtype = r#"[{"name":"A","type":"fixed","nullable":false,"scale":0,"precision":38,"length":12345678901234567},{"name":"B","type":"text","nullable":false}]"#;
        let mut layout = Layout::plain(columns(rowtype).unwrap());
        assert_eq!(rewritten(rowtype, &layout).unwrap(), None);
        layout.masks[0] = Some(Arc::new(Same));
        let written = rewritten(rowtype, &layout).unwrap().unwrap();
        let expected = rowtype.replacen("false", "true", 1);
        assert_eq!(written, expected);

        layout.search = Some(Arc::new(Needle));
        layout.masks[0] = None;
        assert_eq!(rewritten(rowtype, &layout).unwrap().unwrap(), expected);
    }

    #[test]
    fn what_no_driver_knows_of_a_column_is_left_out() {
        let rowtype = r#"[{"name":"A","type":"text","sample":"secret","defaultValue":"secret","collation":null}]"#;
        let layout = Layout::plain(columns(rowtype).unwrap());
        let written = rewritten(rowtype, &layout).unwrap();
        assert_eq!(written.as_deref(), Some(r#"[{"name":"A","type":"text","collation":null}]"#));
    }
}
