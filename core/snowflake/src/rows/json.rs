//! JSON row sets: lists of cells that are text or null.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde::de::{DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{Column, Kind, Layout, Masked, Pass, RowsError, Value, decfloat};
use crate::decode::unquoted;

/// Masks `rowset`: a list of rows.
pub fn mask_rowset(rowset: &[u8], layout: &Layout) -> Result<Masked, RowsError> {
    let mut pass = layout.search.as_ref().map(|search| search.begin());
    mask_rows(rowset, layout, pass.as_deref_mut())
}

/// Masks a list of rows in the course of a pass.
fn mask_rows(
    rowset: &[u8],
    layout: &Layout,
    pass: Option<&mut (dyn Pass + 'static)>,
) -> Result<Masked, RowsError> {
    let mut out = Masked { bytes: Vec::with_capacity(rowset.len()), ..Masked::default() };
    let mut failure = None;
    let mut json = serde_json::Deserializer::from_slice(rowset);
    let walk = Rows { layout, pass, out: &mut out, failure: &mut failure };
    let walked = walk.deserialize(&mut json).and_then(|()| json.end());
    match (walked, failure) {
        (_, Some(failure)) => Err(failure),
        (Err(error), None) => Err(RowsError::Unreadable(unquoted(&error))),
        (Ok(()), None) => Ok(out),
    }
}

/// Masks rows of a chunk in the course of a pass: with commas between them, without the list's brackets.
pub(super) fn mask_chunk(
    chunk: &[u8],
    layout: &Layout,
    pass: Option<&mut (dyn Pass + 'static)>,
) -> Result<Masked, RowsError> {
    let wrapped = [b"[", chunk, b"]"].concat();
    let mut masked = mask_rows(&wrapped, layout, pass)?;
    masked.bytes.pop();
    masked.bytes.remove(0);
    Ok(masked)
}

/// Walks the rows.
struct Rows<'w> {
    layout: &'w Layout,
    pass: Option<&'w mut (dyn Pass + 'static)>,
    out: &'w mut Masked,
    failure: &'w mut Option<RowsError>,
}

impl<'de> DeserializeSeed<'de> for Rows<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Rows<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut rows: A) -> Result<(), A::Error> {
        self.out.bytes.push(b'[');
        while let Some(row) = rows.next_element::<Vec<&'de RawValue>>()? {
            if self.out.rows > 0 {
                self.out.bytes.push(b',');
            }
            if let Err(failure) = write_row(&row, self.layout, self.pass.as_deref_mut(), self.out) {
                *self.failure = Some(failure);
                return Err(A::Error::custom("row"));
            }
            self.out.rows += 1;
        }
        self.out.bytes.push(b']');
        Ok(())
    }
}

fn write_row(
    row: &[&RawValue],
    layout: &Layout,
    mut pass: Option<&mut (dyn Pass + '_)>,
    out: &mut Masked,
) -> Result<(), RowsError> {
    if row.len() != layout.columns.len() {
        return Err(RowsError::Width { expected: layout.columns.len(), found: row.len() });
    }
    out.bytes.push(b'[');
    let columns = layout.columns.iter().zip(&layout.masks);
    for (position, (cell, (column, mask))) in row.iter().zip(columns).enumerate() {
        if position > 0 {
            out.bytes.push(b',');
        }
        let raw = cell.get();
        // Cells are text or null, always: two drivers decode nothing else.
        if raw != "null" && !raw.starts_with('"') {
            return Err(RowsError::Cell { position });
        }
        let value = match (mask, &mut pass) {
            (Some(mask), _) => {
                let text = text(raw).ok_or(RowsError::Cell { position })?;
                let value = read(column, text.as_deref()).ok_or(RowsError::Cell { position })?;
                Some(write(column, &mask.apply(column, value)))
            }
            (None, Some(pass)) if raw != "null" && layout.is_searched(position) => {
                let text = text(raw).flatten().ok_or(RowsError::Cell { position })?;
                let found = look(&mut **pass, position, column, &text);
                (found != 0).then(|| {
                    *out.found.entry((position, found)).or_default() += 1;
                    write(column, &pass.hide(position, found))
                })
            }
            (None, _) => None,
        };
        let Some(value) = value else {
            out.bytes.extend_from_slice(raw.as_bytes());
            continue;
        };
        match value {
            Some(text) => serde_json::to_writer(&mut out.bytes, &text)
                .map_err(|error| RowsError::Unreadable(unquoted(&error)))?,
            None => out.bytes.extend_from_slice(b"null"),
        }
        out.masked_cells += 1;
    }
    out.bytes.push(b']');
    Ok(())
}

/// The text of a cell, `None` where it is null.
#[allow(clippy::option_option, reason = "unreadable, null, or a text")]
fn text(raw: &str) -> Option<Option<Cow<'_, str>>> {
    // Nearly every cell stands there as it is.
    let inside = raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"'));
    match inside {
        Some(inside) if !inside.contains('\\') => Some(Some(Cow::Borrowed(inside))),
        _ => serde_json::from_str::<Option<String>>(raw).ok().map(|text| text.map(Cow::Owned)),
    }
}

/// What is found in a cell: in its value, or in its text where it is none or is not taken apart; in a vector item by item.
fn look(pass: &mut (dyn Pass + '_), position: usize, column: &Column, text: &str) -> u16 {
    let as_it_is = || Value::Text(Cow::Borrowed(text));
    let value = match (column.kind, column.word.as_str()) {
        (Kind::Other, "decfloat") => {
            decfloat::of_text(text).map_or_else(as_it_is, |text| Value::Text(Cow::Owned(text)))
        }
        (Kind::Other, "vector") => {
            let items = text.trim_matches(['[', ']']).split(',').map(str::trim);
            return items.fold(0, |found, item| found | pass.look(position, None, &number(item)));
        }
        (Kind::Other, _) => as_it_is(),
        _ => read(column, Some(text)).unwrap_or_else(as_it_is),
    };
    pass.look(position, None, &value)
}

/// An item of a vector.
fn number(item: &str) -> Value<'_> {
    match (item.parse(), real(item)) {
        (Ok(whole), _) => Value::Fixed(whole),
        (Err(_), Some(float)) => Value::Real(float),
        (Err(_), None) => Value::Text(Cow::Borrowed(item)),
    }
}

/// A cell as a value. A column that is not taken apart reads as NULL, so that a mask never sees half of it.
fn read<'a>(column: &Column, cell: Option<&'a str>) -> Option<Value<'a>> {
    let Some(text) = cell else { return Some(Value::Null) };
    let scale = column.scale.unwrap_or(0);
    Some(match column.kind {
        Kind::Text | Kind::SemiStructured => Value::Text(Cow::Borrowed(text)),
        Kind::Fixed => Value::Fixed(scaled(text, scale)?),
        Kind::Real => Value::Real(real(text)?),
        Kind::Boolean => match text {
            "1" | "true" | "TRUE" => Value::Boolean(true),
            "0" | "false" | "FALSE" => Value::Boolean(false),
            _ => return None,
        },
        Kind::Date => Value::Date(text.parse().ok()?),
        Kind::Time => Value::Time(i64::try_from(scaled(text, scale)?).ok()?),
        Kind::TimestampNtz | Kind::TimestampLtz => timestamp(text, None)?,
        Kind::TimestampTz => {
            let (point, zone) = text.split_once(' ')?;
            timestamp(point, Some(zone.parse::<i32>().ok()?.checked_sub(1440)?))?
        }
        Kind::Binary => Value::Binary(Cow::Owned(unhex(text)?)),
        Kind::Other => Value::Null,
    })
}

/// A value as a cell; one that does not fit the column is NULL.
fn write(column: &Column, value: &Value<'_>) -> Option<String> {
    let scale = column.scale.unwrap_or(0);
    match (column.kind, value) {
        (Kind::Text | Kind::SemiStructured, Value::Text(text)) => Some(text.clone().into_owned()),
        (Kind::Fixed, Value::Fixed(unscaled)) => Some(decimal(*unscaled, scale)),
        (Kind::Real, Value::Real(number)) => Some(write_real(*number)),
        (Kind::Boolean, Value::Boolean(truth)) => Some(if *truth { "1" } else { "0" }.to_owned()),
        (Kind::Date, Value::Date(days)) => Some(days.to_string()),
        (Kind::Time, Value::Time(units)) => Some(decimal(i128::from(*units), scale)),
        (
            Kind::TimestampNtz | Kind::TimestampLtz,
            Value::Timestamp { seconds, nanos, offset: None },
        ) => point(*seconds, *nanos, scale),
        (Kind::TimestampTz, Value::Timestamp { seconds, nanos, offset: Some(offset) }) => {
            Some(format!("{} {}", point(*seconds, *nanos, scale)?, offset.checked_add(1440)?))
        }
        (Kind::Binary, Value::Binary(bytes)) => Some(hex(bytes)),
        _ => None,
    }
}

/// Decimal text times `10^scale`, exactly.
fn scaled(text: &str, scale: u32) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut unscaled: i128 = 0;
    let mut take = |digit: u8| {
        let digit = i128::from(digit.is_ascii_digit().then(|| digit - b'0')?);
        unscaled = unscaled.checked_mul(10)?.checked_add(digit)?;
        Some(())
    };
    for digit in whole.bytes() {
        take(digit)?;
    }
    for place in 0..scale as usize {
        take(fraction.as_bytes().get(place).copied().unwrap_or(b'0'))?;
    }
    // Digits beyond the scale would be lost.
    if fraction.bytes().skip(scale as usize).any(|digit| digit != b'0') {
        return None;
    }
    Some(if negative { -unscaled } else { unscaled })
}

/// `unscaled * 10^-scale` as decimal text.
pub(super) fn decimal(unscaled: i128, scale: u32) -> String {
    let digits = unscaled.unsigned_abs().to_string();
    let sign = if unscaled < 0 { "-" } else { "" };
    let scale = scale as usize;
    if scale == 0 {
        return format!("{sign}{digits}");
    }
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    format!("{sign}{whole}.{fraction}")
}

fn timestamp(text: &str, offset: Option<i32>) -> Option<Value<'static>> {
    let nanos = scaled(text, 9)?;
    let seconds = i64::try_from(nanos.div_euclid(1_000_000_000)).ok()?;
    let nanos = u32::try_from(nanos.rem_euclid(1_000_000_000)).ok()?;
    Some(Value::Timestamp { seconds, nanos, offset })
}

fn point(seconds: i64, nanos: u32, scale: u32) -> Option<String> {
    let unit = 10_i128.checked_pow(9_u32.checked_sub(scale)?)?;
    let total = i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    Some(decimal(total.div_euclid(unit), scale))
}

fn real(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "inf" | "Infinity" => Some(f64::INFINITY),
        "-inf" | "-Infinity" => Some(f64::NEG_INFINITY),
        _ => text.parse().ok(),
    }
}

fn write_real(number: f64) -> String {
    if number.is_nan() {
        "NaN".to_owned()
    } else if number.is_infinite() {
        if number > 0.0 { "inf" } else { "-inf" }.to_owned()
    } else {
        format!("{number:?}")
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok())
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02X}");
        text
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::super::Mask;
    use super::super::tests::{Nothing, Same, Stamp, column, layout, searched};
    use super::*;

    const ROW: &str = r#"[["12","-1.50","text","1","18628","45296.123","1700000000.000000000","-0.500","1700000000.000000000 1980","1F","1.5E10","{\"a\":1}","[1,2]"],[null,null,null,null,null,null,null,null,null,null,null,null,null]]"#;

    fn all(mask: Option<Arc<dyn Mask>>) -> Layout {
        let columns = vec![
            column("fixed", Some(0)),
            column("fixed", Some(2)),
            column("text", None),
            column("boolean", None),
            column("date", None),
            column("time", Some(3)),
            column("timestamp_ntz", Some(9)),
            column("timestamp_ltz", Some(3)),
            column("timestamp_tz", Some(9)),
            column("binary", None),
            column("real", None),
            column("variant", None),
            column("vector", None),
        ];
        layout(columns, mask)
    }

    fn text(masked: &Masked) -> &str {
        std::str::from_utf8(&masked.bytes).unwrap()
    }

    #[test]
    fn without_masks_every_byte_of_a_cell_stays() {
        let same = mask_rowset(ROW.as_bytes(), &all(None)).unwrap();
        assert_eq!(text(&same), ROW);
        assert_eq!((same.rows, same.masked_cells), (2, 0));
    }

    #[test]
    fn a_mask_that_changes_nothing_loses_nothing() {
        let same = mask_rowset(ROW.as_bytes(), &all(Some(Arc::new(Same)))).unwrap();
        // Floats are written shortest, and a type that is not taken apart can only become NULL.
        let expected = ROW.replace("1.5E10", "15000000000.0").replace("\"[1,2]\"", "null");
        assert_eq!(text(&same), expected);
    }

    #[test]
    fn every_type_is_masked_in_its_own_form() {
        let masked = mask_rowset(ROW.as_bytes(), &all(Some(Arc::new(Stamp)))).unwrap();
        insta::assert_snapshot!(text(&masked));
        assert_eq!(masked.masked_cells, 26);
        let nulls = mask_rowset(ROW.as_bytes(), &all(Some(Arc::new(Nothing)))).unwrap();
        assert!(!text(&nulls).contains('"'));
    }

    #[test]
    fn rows_that_do_not_fit_are_refused() {
        let two =
            layout(vec![column("text", None), column("fixed", Some(0))], Some(Arc::new(Same)));
        for (rows, expected) in [
            (r#"[["a"]]"#, RowsError::Width { expected: 2, found: 1 }),
            (r#"[["a","1","2"]]"#, RowsError::Width { expected: 2, found: 3 }),
            (r#"[["a",1]]"#, RowsError::Cell { position: 1 }),
            (r#"[["a","x"]]"#, RowsError::Cell { position: 1 }),
            (r#"[["a","1.5"]]"#, RowsError::Cell { position: 1 }),
            (r#"[[{"a":1},"1"]]"#, RowsError::Cell { position: 0 }),
        ] {
            assert_eq!(mask_rowset(rows.as_bytes(), &two).unwrap_err(), expected, "{rows}");
        }
        for rows in [
            "",
            "[",
            "[[\"a\",\"1\"]",
            "{}",
            "[\"a\"]",
            "[[\"a\",\"1\"]] x",
            "[[\"\\ud800\",\"1\"]]",
        ] {
            assert!(mask_rowset(rows.as_bytes(), &two).is_err(), "{rows}");
        }
    }

    #[test]
    fn a_chunk_has_no_outer_brackets_before_and_after() {
        let two =
            layout(vec![column("text", None), column("fixed", Some(0))], Some(Arc::new(Stamp)));
        let chunk = mask_chunk(br#"["a","1001"],["b",null]"#, &two, None).unwrap();
        assert_eq!(text(&chunk), r#"["***","1000"],["***",null]"#);
        assert_eq!(mask_chunk(b"", &two, None).unwrap().rows, 0);
    }

    #[test]
    fn rows_that_are_none_are_not_quoted() {
        for rows in [r#"["secret"]"#, r#"[{"secret":1}]"#, r#"{"secret":1}"#, r#""secret""#] {
            let error = mask_rowset(rows.as_bytes(), &all(Some(Arc::new(Stamp)))).unwrap_err();
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[test]
    fn what_is_found_is_hidden_and_every_other_byte_stays() {
        let words = ["text", "text", "variant", "fixed", "vector", "binary"];
        let layout = searched(words.iter().map(|word| column(word, Some(0))).collect());
        let rows = r#"[["a needle","needle","{\"k\": \"ne\\u0065dle\"}","77","[\"needle\"]","6E6565646C65"],["\u006eeedle",null,"{}","x","n","zz"],["\/","needle",null,"770",null,null]]"#;
        let found = mask_rowset(rows.as_bytes(), &layout).unwrap();
        let expected = r#"[[null,"needle","{\"k\": \"ne\\u0065dle\"}",null,null,null],[null,null,"{}","x","n","zz"],["\/","needle",null,"770",null,null]]"#;
        assert_eq!(text(&found), expected);
        assert_eq!(found.masked_cells, 5);
        let counted: Vec<_> = found.found.into_iter().collect();
        assert_eq!(counted, [((0, 1), 2), ((3, 1), 1), ((4, 1), 1), ((5, 1), 1)]);
    }

    proptest! {
        #[test]
        fn decimals_survive(unscaled in any::<i128>(), scale in 0_u32..38) {
            prop_assert_eq!(scaled(&decimal(unscaled / 10, scale), scale), Some(unscaled / 10));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = mask_rowset(&bytes, &all(Some(Arc::new(Same))));
            let _ = mask_chunk(&bytes, &all(Some(Arc::new(Same))), None);
        }

        #[test]
        fn arbitrary_cells_never_pass_a_mask(cell in ".*", position in 0_usize..13) {
            let mut row = vec![None::<String>; 13];
            let secret = format!("{cell}-secret");
            row[position] = Some(secret.clone());
            let rows = serde_json::to_vec(&[row]).unwrap();
            if let Ok(masked) = mask_rowset(&rows, &all(Some(Arc::new(Stamp)))) {
                let out: Vec<Vec<Option<String>>> = serde_json::from_slice(&masked.bytes).unwrap();
                prop_assert!(out.iter().flatten().all(|cell| cell.as_deref() != Some(&*secret)));
            }
        }
    }
}
