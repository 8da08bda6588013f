//! What lies in the tables: values that nobody can take for anything else in every masked column, and plain ones in the
//! others.

use std::fmt::Write as _;

use jiff::civil::Date;

use super::table::{Column, Table};

/// Rows of each table; the fourth holds NULL in every masked column.
const ROWS: usize = 6;
const NULL_ROW: usize = 4;

/// The values of the masked columns. Two worlds differ in nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct World {
    /// Stands in every text.
    pub(crate) word: &'static str,
    /// Starts every number: eight digits, so that they fit `NUMBER(10,2)`.
    pub(crate) digits: &'static str,
    /// Starts every date.
    pub(crate) month: &'static str,
    /// Whether texts are numbers: what fails over words may show something over these.
    pub(crate) is_numeric: bool,
}

/// Texts are words.
pub(crate) const WORDS: World =
    World { word: "zq7xk4vj", digits: "73918264", month: "1887-04", is_numeric: false };
/// Texts are words, and other ones.
pub(crate) const OTHERS: World =
    World { word: "zw3hg8pn", digits: "58209347", month: "1893-09", is_numeric: false };
/// Texts are digits.
pub(crate) const NUMBERS: World =
    World { word: "461028539", digits: "60472915", month: "1879-02", is_numeric: true };

impl World {
    /// The clock of every time.
    pub(crate) const CLOCK: &'static str = "07:39:18.26";
    /// The same, as the wire has it.
    pub(crate) const SECONDS: i64 = 7 * 3_600 + 39 * 60 + 18;

    /// The script that makes everything anew.
    pub(crate) fn script(&self, table: &Table) -> String {
        let mut script = table.definitions();
        for relation in &table.relations {
            let _ = writeln!(script, "DELETE FROM {};", relation.name);
            for row in 1..=ROWS {
                let cells: Vec<String> =
                    relation.columns.iter().map(|column| self.cell(column, row)).collect();
                let _ =
                    writeln!(script, "INSERT INTO {} SELECT {};", relation.name, cells.join(", "));
            }
        }
        script
    }

    /// The expression of one cell.
    fn cell(&self, column: &Column, row: usize) -> String {
        if !column.masked {
            return plain(column, row);
        }
        if row == NULL_ROW {
            return "NULL".to_owned();
        }
        let (digits, month, clock) = (self.digits, self.month, Self::CLOCK);
        match column.word() {
            "VARCHAR" | "TEXT" | "STRING" => format!("'{}'", self.text(row)),
            "NUMBER" if column.scale() > 0 => format!("{digits}.0{row}"),
            "NUMBER" | "INT" | "INTEGER" => format!("{digits}0{row}"),
            "FLOAT" | "DOUBLE" => format!("{digits}0{row}.5::FLOAT"),
            "DATE" => format!("'{month}-1{row}'"),
            "TIME" => format!("'{clock}{row}'"),
            "TIMESTAMP_NTZ" | "TIMESTAMP_LTZ" | "TIMESTAMP_TZ" | "TIMESTAMP" => {
                format!("'{month}-1{row} {clock}{row}'")
            }
            "VARIANT" | "OBJECT" => {
                let text = self.text(row);
                format!(
                    "PARSE_JSON('{{\"a\": \"{text}\", \"b\": {{\"c\": \"{text}\"}}, \"name\": \"{text}\", \"email\": \"{text}\", \
                     \"n\": {digits}0{row}, \"list\": [\"{text}\"], \"{}k{row}\": 1}}')",
                    self.word
                )
            }
            "ARRAY" => {
                format!("ARRAY_CONSTRUCT('{}', '{}')", self.text(row), self.text(row + 1))
            }
            "BINARY" => {
                let hex: String =
                    self.text(row).bytes().map(|byte| format!("{byte:02x}")).collect();
                format!("TO_BINARY('{hex}', 'HEX')")
            }
            "BOOLEAN" => row.is_multiple_of(2).to_string(),
            other => panic!("{}: no marker of type {other}", column.name),
        }
    }

    /// What partial masks leave of it, its ends, is the same in every world.
    pub(crate) fn text(&self, row: usize) -> String {
        let word = self.word;
        if self.is_numeric {
            format!("{word}{row}")
        } else {
            format!("p{word}{row}@{word}.example")
        }
    }
}

/// Values of which nothing is secret.
fn plain(column: &Column, row: usize) -> String {
    match column.word() {
        "VARCHAR" | "TEXT" | "STRING" => format!("'{}'", ["a", "b", "x", "a", "1", "EU"][row - 1]),
        "NUMBER" if column.scale() > 0 => format!("{row}.25"),
        "NUMBER" | "INT" | "INTEGER" => row.to_string(),
        "FLOAT" | "DOUBLE" => format!("{row}.5::FLOAT"),
        "DATE" => format!("'2024-01-0{row}'"),
        "TIME" => format!("'01:02:0{row}'"),
        "TIMESTAMP_NTZ" | "TIMESTAMP_LTZ" | "TIMESTAMP_TZ" | "TIMESTAMP" => {
            format!("'2024-01-0{row} 01:00:00'")
        }
        "VARIANT" | "OBJECT" => format!(
            "PARSE_JSON('{{\"a\": {{\"b\": \"x\"}}, \"name\": \"n{row}\", \"list\": [1, 2], \"n\": {row}}}')"
        ),
        "ARRAY" => "ARRAY_CONSTRUCT('a', 'b')".to_owned(),
        "BINARY" => format!("TO_BINARY('0{row}', 'HEX')"),
        "BOOLEAN" => row.is_multiple_of(2).to_string(),
        other => panic!("{}: no value of type {other}", column.name),
    }
}

impl World {
    /// The day of a row as the wire has it: days since 1970.
    pub(crate) fn days(&self, row: u32) -> i32 {
        let day: Date = format!("{}-1{row}", self.month).parse().unwrap();
        day.since(jiff::civil::date(1970, 1, 1)).unwrap().get_days()
    }

    /// The moment of a row as the wire has it, cut at its point: whole seconds since 1970.
    pub(crate) fn seconds(&self, row: u32) -> i64 {
        // Before 1970 the fraction takes away from the seconds.
        i64::from(self.days(row)) * 86_400 + Self::SECONDS + 1
    }
}
