//! What a policy does to single cells: its masks, and its detectors where there is no mask.

use std::borrow::Cow;
use std::sync::Arc;

use policy::{Detection, Detectors, Effort, Found, Hints};
use snowflake::rows::{Column, Constant, Kind, Mask, Pass, Search, Value};

/// A policy's mask over one column.
pub(super) struct ColumnMask {
    mask: policy::Mask,
    key: policy::MaskKey,
    kind: policy::Kind,
}

impl ColumnMask {
    pub(super) fn new(mask: policy::Mask, key: policy::MaskKey, column: &Column) -> Self {
        Self { mask, key, kind: kind(column) }
    }
}

impl Mask for ColumnMask {
    fn apply<'a>(&self, _: &Column, value: Value<'a>) -> Value<'a> {
        shown(self.mask.apply(&self.key, self.kind, judged(value)))
    }

    fn constant(&self, _: &Column) -> Option<Constant> {
        self.mask.is_constant().then(|| Constant {
            value: shown(self.mask.constant(self.kind)),
            keeps_null: !self.mask.derived,
        })
    }
}

/// The search over the columns of a result, or none where nothing is looked for.
pub(super) fn search(detection: &Detection, columns: &[Column]) -> Option<Arc<dyn Search>> {
    let columns: Arc<[Searched]> = columns
        .iter()
        .enumerate()
        .map(|(position, column)| Searched {
            detectors: if is_searchable(column) {
                detection.at(position)
            } else {
                Detectors::default()
            },
            hints: Hints::of(&column.name),
            kind: kind(column),
        })
        .collect();
    let any = columns.iter().any(|column| !column.detectors.is_empty());
    any.then(|| Arc::new(ColumnSearch(columns)) as Arc<dyn Search>)
}

/// Whether something is found in the text of an error, which can quote any value.
pub(super) fn is_found_in(detection: &Detection, text: &str) -> bool {
    let text = policy::Value::Text(text.into());
    let found = detection.everywhere.search(
        Hints::default(),
        policy::Kind::Text,
        &text,
        &mut Effort::default(),
    );
    !found.is_nothing()
}

/// Whether a column can hold what detectors look for: not what is a time or a truth.
fn is_searchable(column: &Column) -> bool {
    match column.kind {
        Kind::Text | Kind::SemiStructured | Kind::Binary | Kind::Real | Kind::Fixed => true,
        Kind::Boolean
        | Kind::Date
        | Kind::Time
        | Kind::TimestampNtz
        | Kind::TimestampLtz
        | Kind::TimestampTz => false,
        Kind::Other => !column.word.starts_with("interval"),
    }
}

/// What is looked for in one column.
struct Searched {
    detectors: Detectors,
    hints: Hints,
    kind: policy::Kind,
}

struct ColumnSearch(Arc<[Searched]>);

impl Search for ColumnSearch {
    fn covers(&self, position: usize) -> bool {
        self.0.get(position).is_some_and(|column| !column.detectors.is_empty())
    }

    fn begin(&self) -> Box<dyn Pass> {
        Box::new(ColumnPass { columns: Arc::clone(&self.0), effort: Effort::default() })
    }
}

struct ColumnPass {
    columns: Arc<[Searched]>,
    effort: Effort,
}

impl Pass for ColumnPass {
    fn look(&mut self, position: usize, field: Option<&str>, value: &Value<'_>) -> u16 {
        let Some(column) = self.columns.get(position) else { return Found::NOTHING.into() };
        let hints = field.map_or(column.hints, |field| column.hints.or(Hints::of(field)));
        let value = judged(borrowed(value));
        column.detectors.search(hints, column.kind, &value, &mut self.effort).into()
    }

    fn hide(&self, position: usize, found: u16) -> Value<'static> {
        self.columns.get(position).map_or(Value::Null, |column| {
            shown(column.detectors.hide(Found::from(found), column.kind))
        })
    }
}

fn kind(column: &Column) -> policy::Kind {
    policy::Kind::of(&column.word, column.precision, column.scale)
}

/// A value once more, without a copy of what it holds.
fn borrowed<'a>(value: &'a Value<'_>) -> Value<'a> {
    match value {
        Value::Text(text) => Value::Text(Cow::Borrowed(text)),
        Value::Binary(bytes) => Value::Binary(Cow::Borrowed(bytes)),
        Value::Null => Value::Null,
        Value::Fixed(number) => Value::Fixed(*number),
        Value::Real(number) => Value::Real(*number),
        Value::Boolean(truth) => Value::Boolean(*truth),
        Value::Date(days) => Value::Date(*days),
        Value::Time(units) => Value::Time(*units),
        Value::Timestamp { seconds, nanos, offset } => {
            Value::Timestamp { seconds: *seconds, nanos: *nanos, offset: *offset }
        }
    }
}

/// A cell as the policy sees it.
fn judged(value: Value<'_>) -> policy::Value<'_> {
    match value {
        Value::Null => policy::Value::Null,
        Value::Text(text) => policy::Value::Text(text),
        Value::Fixed(number) => policy::Value::Integer(number),
        Value::Real(number) => policy::Value::Real(number),
        Value::Boolean(truth) => policy::Value::Boolean(truth),
        Value::Date(days) => policy::Value::Days(i64::from(days)),
        Value::Time(units) => policy::Value::Time(units),
        Value::Timestamp { seconds, nanos, offset } => {
            policy::Value::Timestamp { seconds, nanoseconds: nanos, offset }
        }
        Value::Binary(bytes) => policy::Value::Binary(bytes),
    }
}

/// A value of the policy as a cell.
fn shown(value: policy::Value<'_>) -> Value<'_> {
    match value {
        policy::Value::Null => Value::Null,
        policy::Value::Text(text) => Value::Text(text),
        policy::Value::Integer(number) => Value::Fixed(number),
        policy::Value::Real(number) => Value::Real(number),
        policy::Value::Boolean(truth) => Value::Boolean(truth),
        policy::Value::Days(days) => i32::try_from(days).map_or(Value::Null, Value::Date),
        policy::Value::Time(units) => Value::Time(units),
        policy::Value::Timestamp { seconds, nanoseconds, offset } => {
            Value::Timestamp { seconds, nanos: nanoseconds, offset }
        }
        policy::Value::Binary(bytes) => Value::Binary(bytes),
    }
}

#[cfg(test)]
#[path = "mask/tests.rs"]
// said, because the benchmark and the fuzz target of rows include this file
mod tests;
