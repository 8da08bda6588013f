//! One part of a large result, as it comes: bytes in, masked bytes out, without ever holding the whole.

use std::sync::Arc;

use super::arrow::Batches;
use super::json::mask_chunk;
use super::{Layout, Masked, Pass, RowsError};

/// Masks one chunk piece by piece. What comes out, put together, is what masking the whole at once gives.
pub struct Stream {
    layout: Arc<Layout>,
    format: Format,
    /// How many rows came, where they are looked at.
    rows: u64,
    /// How many the account announced.
    announced: u64,
}

enum Format {
    /// No column is masked: the bytes as they are.
    Untouched,
    /// Rows with commas between them.
    Json(Rows),
    /// Record batches.
    Arrow(Box<Batches>),
}

impl Stream {
    /// Of a chunk with these columns, and so many rows as the account says.
    #[must_use]
    pub fn of(layout: Arc<Layout>, arrow: bool, announced: u64) -> Self {
        let format = match (layout.is_masked(), arrow) {
            (false, _) => Format::Untouched,
            (true, false) => Format::Json(Rows::searched(&layout)),
            (true, true) => Format::Arrow(Box::default()),
        };
        Self { layout, format, rows: 0, announced }
    }

    /// Takes the next bytes and gives what is masked so far.
    ///
    /// # Errors
    /// When they are no rows of these columns.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Masked, RowsError> {
        let masked = match &mut self.format {
            Format::Untouched => Masked { bytes: bytes.to_vec(), ..Masked::default() },
            Format::Json(rows) => rows.push(bytes, &self.layout)?,
            Format::Arrow(batches) => batches.push(bytes, &self.layout)?,
        };
        self.rows += masked.rows;
        Ok(masked)
    }

    /// Gives the rest.
    ///
    /// # Errors
    /// When the rows end in the middle of one, or are not as many as announced. An Arrow stream that was damaged can lose a
    /// batch and be readable all the same.
    pub fn finish(self) -> Result<Masked, RowsError> {
        let masked = match self.format {
            Format::Untouched => return Ok(Masked::default()),
            Format::Json(rows) => rows.finish()?,
            Format::Arrow(batches) => batches.finish()?,
        };
        let (announced, found) = (self.announced, self.rows + masked.rows);
        if announced != found {
            return Err(RowsError::Count { announced, found });
        }
        Ok(masked)
    }
}

/// Finds where rows end. Only strings, brackets and commas matter for that; whether it is JSON is seen when the rows are
/// read.
#[derive(Default)]
struct Rows {
    /// What has come of rows that are not complete yet.
    kept: Vec<u8>,
    /// How much of it was looked at.
    seen: usize,
    depth: usize,
    within_string: bool,
    escaped: bool,
    /// Rows went out already: the next needs a comma before it.
    begun: bool,
    /// The search, from the first row to the last.
    pass: Option<Box<dyn Pass>>,
}

impl Rows {
    fn searched(layout: &Layout) -> Self {
        let pass = layout.search.as_ref().map(|search| search.begin());
        Self { pass, ..Self::default() }
    }

    fn push(&mut self, bytes: &[u8], layout: &Layout) -> Result<Masked, RowsError> {
        self.kept.extend_from_slice(bytes);
        let Some(end) = self.complete()? else {
            return Ok(Masked::default());
        };
        let mut rows = self.kept.get(..end).unwrap_or_default();
        if self.begun {
            let after_comma = rows.trim_ascii_start().strip_prefix(b",");
            rows = after_comma.ok_or_else(|| unreadable("rows without a comma between them"))?;
        }
        let mut masked = mask_chunk(rows, layout, self.pass.as_deref_mut())?;
        if self.begun {
            masked.bytes.insert(0, b',');
        }
        self.begun = true;
        self.kept.drain(..end);
        self.seen -= end;
        Ok(masked)
    }

    /// Where the last complete row ends.
    fn complete(&mut self) -> Result<Option<usize>, RowsError> {
        let mut end = None;
        for (at, byte) in self.kept.iter().enumerate().skip(self.seen) {
            if self.within_string {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.within_string = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.within_string = true,
                b'[' => self.depth += 1,
                b']' => {
                    let closed = self.depth.checked_sub(1);
                    self.depth = closed.ok_or_else(|| unreadable("a row ends that never began"))?;
                    if self.depth == 0 {
                        end = Some(at + 1);
                    }
                }
                _ => {}
            }
        }
        self.seen = self.kept.len();
        Ok(end)
    }

    fn finish(self) -> Result<Masked, RowsError> {
        if self.kept.trim_ascii().is_empty() {
            return Ok(Masked::default());
        }
        Err(unreadable("the rows end in the middle of one"))
    }
}

fn unreadable(what: &str) -> RowsError {
    RowsError::Unreadable(what.to_owned())
}

#[cfg(test)]
mod tests {
    use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
    use arrow_ipc::writer::StreamWriter;
    use proptest::prelude::*;

    use super::super::tests::{Stamp, column, layout};
    use super::super::{Search, Value, mask_stream};
    use super::*;

    fn columns() -> Arc<Layout> {
        let columns = vec![column("text", None), column("fixed", Some(0))];
        Arc::new(layout(columns, Some(Arc::new(Stamp))))
    }

    const ROWS: &str = "[\"a]\\\"[,\",\"1\"], [null,\"2002\"],\n[\"\\\\\",null],[\"é\",\"-5\"]";

    fn batches() -> Vec<u8> {
        let batch = |text: &str, number| {
            let text: ArrayRef = Arc::new(StringArray::from(vec![Some(text), None]));
            let number: ArrayRef = Arc::new(Int64Array::from(vec![Some(number), None]));
            RecordBatch::try_from_iter([("A", text), ("B", number)]).unwrap()
        };
        let mut writer = StreamWriter::try_new(Vec::new(), &batch("", 0).schema()).unwrap();
        writer.write(&batch("secret", 1)).unwrap();
        writer.write(&batch("secret too", 2002)).unwrap();
        writer.into_inner().unwrap()
    }

    fn pieces(bytes: &[u8], cuts: &[usize], arrow: bool) -> Result<Masked, RowsError> {
        let rows = if bytes.is_empty() { 0 } else { 4 };
        read(Stream::of(columns(), arrow, rows), bytes, cuts)
    }

    fn read(mut stream: Stream, bytes: &[u8], cuts: &[usize]) -> Result<Masked, RowsError> {
        let mut masked = Masked::default();
        let mut rest = bytes;
        for cut in cuts {
            let (piece, further) = rest.split_at((*cut).min(rest.len()));
            masked.extend(stream.push(piece)?);
            rest = further;
        }
        masked.extend(stream.push(rest)?);
        masked.extend(stream.finish()?);
        Ok(masked)
    }

    proptest! {
        #[test]
        fn pieces_give_what_the_whole_gives(cuts in prop::collection::vec(0_usize..40, 0..40)) {
            let whole = mask_chunk(ROWS.as_bytes(), &columns(), None).unwrap();
            let masked = pieces(ROWS.as_bytes(), &cuts, false).unwrap();
            prop_assert_eq!(String::from_utf8(masked.bytes), String::from_utf8(whole.bytes));
            prop_assert_eq!((masked.rows, masked.masked_cells), (4, 8));
            let bytes = batches();
            let whole = mask_stream(&bytes, &columns()).unwrap();
            let masked = pieces(&bytes, &cuts, true).unwrap();
            prop_assert!(!String::from_utf8_lossy(&masked.bytes).contains("secret"));
            prop_assert_eq!(masked.bytes, whole.bytes);
            prop_assert_eq!((masked.rows, masked.masked_cells), (4, 8));
        }

        #[test]
        fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0_usize..200) {
            let _ = pieces(&bytes, &[cut], false);
        }
    }

    /// Hides whatever is looked at after the third look: it shows where a pass begins anew.
    struct Tired(u32);

    impl Search for Tired {
        fn covers(&self, _: usize) -> bool {
            true
        }
        fn begin(&self) -> Box<dyn Pass> {
            Box::new(Self(self.0))
        }
    }

    impl Pass for Tired {
        fn look(&mut self, _: usize, _: Option<&str>, _: &Value<'_>) -> u16 {
            self.0 += 1;
            u16::from(self.0 > 3)
        }
        fn hide(&self, _: usize, _: u16) -> Value<'static> {
            Value::Null
        }
    }

    #[test]
    fn a_search_goes_on_from_piece_to_piece() {
        let columns = vec![column("text", None), column("fixed", Some(0))];
        let layout = Layout { search: Some(Arc::new(Tired(0))), ..Layout::plain(columns) };
        let layout = Arc::new(layout);
        for (bytes, arrow) in [(ROWS.as_bytes().to_vec(), false), (batches(), true)] {
            let found = |size: usize| {
                let mut stream = Stream::of(Arc::clone(&layout), arrow, 4);
                let mut masked = Masked::default();
                for piece in bytes.chunks(size) {
                    masked.extend(stream.push(piece).unwrap());
                }
                masked.extend(stream.finish().unwrap());
                (masked.bytes, masked.found)
            };
            let whole = found(bytes.len());
            assert!(!whole.1.is_empty());
            assert_eq!(found(7), whole);
        }
    }

    #[test]
    fn rows_that_are_not_as_many_as_announced_are_refused() {
        for (bytes, arrow) in [(ROWS.as_bytes().to_vec(), false), (batches(), true)] {
            for announced in [0, 3, 5] {
                let refused = read(Stream::of(columns(), arrow, announced), &bytes, &[9]);
                assert_eq!(refused.unwrap_err(), RowsError::Count { announced, found: 4 });
            }
        }
        // Nothing is looked at where nothing is masked.
        let plain = Layout::plain(vec![column("text", None), column("fixed", Some(0))]);
        assert!(read(Stream::of(Arc::new(plain), true, 5), &batches(), &[]).is_ok());
    }

    #[test]
    fn rows_that_end_early_or_do_not_fit_are_no_rows() {
        for rows in
            ["[\"a\",\"1\"", "[\"a\"]", "]", "[\"a\",\"1\"] [\"a\",\"1\"]", "[\"a\",\"1\"],x"]
        {
            assert!(pieces(rows.as_bytes(), &[], false).is_err(), "{rows}");
            assert!(pieces(rows.as_bytes(), &[9], false).is_err(), "{rows}");
        }
        let bytes = batches();
        assert!(pieces(&bytes[..bytes.len() - 40], &[], true).is_err());
        assert!(pieces(&[], &[], true).is_err());
        assert_eq!(pieces(b"", &[], false).unwrap().bytes, b"");
    }
}
