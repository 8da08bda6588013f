//! Rows as text: results of our own statements, small and asked for as JSON.

use std::collections::HashMap;

use crate::decode::{self, Malformed};
use crate::query::Answer;

/// One row, cells in the order of the columns, `None` for NULL.
pub type Row = Vec<Option<String>>;

/// A result as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// The rows.
    pub rows: Vec<Row>,
}

impl Table {
    /// The rows in the answer itself; those of its chunks follow by [`Table::extend`].
    ///
    /// # Errors
    /// When the rows came as Arrow, or are no rows.
    pub fn of(answer: &Answer<'_>) -> Result<Self, Malformed> {
        if answer.is_arrow()? {
            return Err(Malformed::Field("queryResultFormat"));
        }
        let columns = answer.columns()?.into_iter().map(|column| column.name).collect();
        let rows = answer.get("rowset")?.unwrap_or_default();
        Ok(Self { columns, rows })
    }

    /// Adds the rows of a chunk, decompressed: rows with commas between them.
    ///
    /// # Errors
    /// When it is no such thing.
    pub fn extend(&mut self, chunk: &[u8]) -> Result<(), Malformed> {
        let list = [b"[", chunk, b"]"].concat();
        self.rows.extend(decode::from_slice::<Vec<Row>>(&list)?);
        Ok(())
    }

    /// The rows by column name, whatever the order of the columns and the case of their names.
    pub fn named(&self) -> impl Iterator<Item = HashMap<String, &str>> {
        self.rows.iter().map(|row| {
            self.columns
                .iter()
                .zip(row)
                .filter_map(|(name, cell)| Some((name.to_ascii_lowercase(), cell.as_deref()?)))
                .collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_chunks_become_one_table() {
        let body = br#"{"data":{"rowtype":[{"name":"name","type":"text","nullable":true},
            {"name":"COMMENT","type":"text","nullable":true}],"rowset":[["A",null]],
            "queryResultFormat":"json"},"success":true,"code":null,"message":null}"#;
        let mut table = Table::of(&Answer::decode(body).unwrap()).unwrap();
        table.extend(br#"["B","x"],["C","y"]"#).unwrap();
        assert!(table.extend(b"no rows").is_err());
        let seen: Vec<_> =
            table.named().map(|row| (row["name"], row.get("comment").copied())).collect();
        assert_eq!(seen, [("A", None), ("B", Some("x")), ("C", Some("y"))]);
    }

    #[test]
    fn arrow_is_not_taken_for_text() {
        let body = br#"{"data":{"rowtype":[],"rowsetBase64":"","queryResultFormat":"arrow"},
            "success":true,"code":null,"message":null}"#;
        assert!(Table::of(&Answer::decode(body).unwrap()).is_err());
    }
}
