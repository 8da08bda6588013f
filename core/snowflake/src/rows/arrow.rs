//! Arrow row sets: one IPC stream in, one IPC stream out.
//!
//! Only masked columns are taken apart; the others keep their arrays, but for single cells in which a search found
//! something. The account encodes one logical type in
//! several physical ones, and widths may differ between the chunks of one result, so each stream is read by its own
//! schema.

mod constant;
mod dictionary;
mod search;

use std::borrow::Cow;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
};
use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, Date32Array, Decimal128Array,
    Float64Array, Int32Array, Int64Array, LargeBinaryArray, LargeStringArray, PrimitiveArray,
    RecordBatch, StringArray, StructArray, new_null_array,
};
use arrow_buffer::{Buffer, NullBuffer};
use arrow_ipc::reader::StreamDecoder;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, DataType, Field, Fields, Schema, SchemaRef};

use super::{Column, Findings, Kind, Layout, Mask, Masked, Pass, RowsError, Value};
use dictionary::plain;
use search::Searching;

impl From<ArrowError> for RowsError {
    fn from(error: ArrowError) -> Self {
        // What follows the kind of error may quote a value.
        let text = error.to_string();
        Self::Unreadable(text.split(':').next().unwrap_or_default().to_owned())
    }
}

/// Masks an Arrow IPC stream.
///
/// A malformed stream is an error.
pub fn mask_stream(stream: &[u8], layout: &Layout) -> Result<Masked, RowsError> {
    let mut batches = Batches::default();
    let mut masked = batches.push(stream, layout)?;
    masked.bytes.append(&mut batches.finish()?.bytes);
    Ok(masked)
}

/// A stream whose bytes come one after the other: each batch is masked and written when it is complete.
#[derive(Default)]
pub(super) struct Batches {
    decoder: StreamDecoder,
    /// How many bytes came.
    length: u64,
    /// There once the schema has come.
    writer: Option<(SchemaRef, StreamWriter<Vec<u8>>)>,
    /// The search, from the first batch to the last.
    pass: Option<Box<dyn Pass>>,
}

impl Batches {
    /// Takes the next bytes and gives the batches that they complete. The library panics on some streams that no account
    /// sends: parts that lie outside of their message, types without a value. Nothing of such a stream is used after that.
    pub(super) fn push(&mut self, bytes: &[u8], layout: &Layout) -> Result<Masked, RowsError> {
        let reading = AssertUnwindSafe(|| self.read(bytes, layout));
        std::panic::catch_unwind(reading).unwrap_or_else(|_| {
            Err(RowsError::Unreadable("the stream is not what it says of itself".to_owned()))
        })
    }

    fn read(&mut self, bytes: &[u8], layout: &Layout) -> Result<Masked, RowsError> {
        let mut masked = Masked::default();
        self.length += bytes.len() as u64;
        let length = bytes.len();
        let mut bytes = Buffer::from(bytes);
        while !bytes.is_empty() {
            let batch = self.decoder.decode(&mut bytes)?;
            let Some(schema) = self.decoder.schema() else { continue };
            let (schema, writer) = match &mut self.writer {
                Some(begun) => begun,
                empty => {
                    self.pass = layout.search.as_ref().map(|search| search.begin());
                    empty.insert(begin(&schema, layout)?)
                }
            };
            let Some(batch) = batch else { continue };
            let rows = batch.num_rows() as u64;
            // A row that takes no bit at all (a column of type Null) is no row of the account: no mask makes one of it.
            if layout.is_masked() && rows > self.length.saturating_mul(8) {
                return Err(RowsError::Unreadable("there are more rows than bits".to_owned()));
            }
            masked.rows += rows;
            masked.masked_cells += rows * layout.masks.iter().flatten().count() as u64;
            let pass = self.pass.as_deref_mut();
            // What comes out is about as long as what came in.
            writer.get_mut().reserve(length);
            writer.write(&mask_batch(&batch, schema, layout, pass, &mut masked.found)?)?;
            if masked.bytes.is_empty() {
                std::mem::swap(&mut masked.bytes, writer.get_mut());
            } else {
                masked.bytes.append(writer.get_mut());
            }
        }
        masked.masked_cells += masked.found.values().sum::<u64>();
        Ok(masked)
    }

    /// Ends the stream and gives what is left to write.
    pub(super) fn finish(mut self) -> Result<Masked, RowsError> {
        self.decoder.finish()?;
        let (_, writer) =
            self.writer.ok_or_else(|| RowsError::Unreadable("there is no schema".to_owned()))?;
        Ok(Masked { bytes: writer.into_inner()?, ..Masked::default() })
    }
}

/// The schema of the masked stream, and its writer: masked columns are nullable, their integers 64 bits wide.
fn begin(
    schema: &SchemaRef,
    layout: &Layout,
) -> Result<(SchemaRef, StreamWriter<Vec<u8>>), RowsError> {
    if schema.fields().len() != layout.columns.len() {
        return Err(RowsError::Width {
            expected: layout.columns.len(),
            found: schema.fields().len(),
        });
    }
    let columns = schema.fields().iter().zip(&layout.columns).zip(&layout.masks);
    let fields: Fields = columns
        .enumerate()
        .map(|(position, ((field, column), mask))| {
            let physical = plain(field.data_type());
            let data_type = match mask {
                Some(_) => masked_type(physical, column),
                None if layout.is_searched(position) => physical,
                None => return Arc::clone(field),
            };
            let changed = Field::new(field.name(), data_type, true);
            Arc::new(changed.with_metadata(field.metadata().clone()))
        })
        .collect();
    let schema = Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()));
    let writer = StreamWriter::try_new(Vec::new(), &schema)?;
    Ok((schema, writer))
}

/// A batch with masked columns and hidden cells; `found` counts those.
fn mask_batch(
    batch: &RecordBatch,
    schema: &SchemaRef,
    layout: &Layout,
    mut pass: Option<&mut (dyn Pass + 'static)>,
    found: &mut Findings,
) -> Result<RecordBatch, RowsError> {
    let columns = batch.columns().iter().zip(&layout.columns).zip(&layout.masks);
    let mut arrays = Vec::with_capacity(layout.columns.len());
    for (position, ((array, column), mask)) in columns.enumerate() {
        arrays.push(match (mask, &mut pass) {
            (Some(mask), _) => {
                let written = schema.field(position).data_type();
                match mask.constant(column) {
                    Some(constant) => constant::fill(array.as_ref(), &constant, written, column)?,
                    None => {
                        dictionary::bounded(array)?;
                        let physical = plain(array.data_type());
                        let values = mask_values(array.as_ref(), &physical, column, mask.as_ref());
                        build(values, written, column)?
                    }
                }
            }
            (None, Some(pass)) if layout.is_searched(position) => {
                dictionary::bounded(array)?;
                Searching { position, column, pass: &mut **pass }.array(array, found)?
            }
            (None, _) => Arc::clone(array),
        });
    }
    let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options)?)
}

fn masked_type(physical: DataType, column: &Column) -> DataType {
    match column.kind {
        Kind::Fixed => masked_width(physical),
        _ => physical,
    }
}

fn mask_values<'a>(
    array: &'a dyn Array,
    physical: &DataType,
    column: &'a Column,
    mask: &'a dyn Mask,
) -> impl ExactSizeIterator<Item = Value<'a>> + use<'a> {
    // Values of a dictionary are read through its keys; an empty dictionary has only NULLs.
    let (values, keys): (&dyn Array, Option<Vec<usize>>) = match array.as_any_dictionary_opt() {
        Some(dictionary) if dictionary.values().is_empty() => (dictionary.values().as_ref(), None),
        Some(dictionary) => (dictionary.values().as_ref(), Some(dictionary.normalized_keys())),
        None => (array, None),
    };
    let reader = Reader::of(values, physical, column);
    (0..array.len()).map(move |row| {
        let at = keys.as_ref().map_or(row, |keys| keys.get(row).copied().unwrap_or(row));
        let null = array.is_null(row) || at >= values.len() || values.is_null(at);
        let value = if null { Value::Null } else { reader.value(at) };
        mask.apply(column, value)
    })
}

/// One physical array, read as values of its column.
enum Reader<'a> {
    Int8(&'a PrimitiveArray<Int8Type>),
    Int16(&'a PrimitiveArray<Int16Type>),
    Int32(&'a PrimitiveArray<Int32Type>),
    Int64(&'a PrimitiveArray<Int64Type>),
    Decimal(&'a PrimitiveArray<Decimal128Type>),
    Real(&'a PrimitiveArray<Float64Type>),
    Text(&'a StringArray),
    LargeText(&'a LargeStringArray),
    Boolean(&'a BooleanArray),
    Date(&'a PrimitiveArray<Date32Type>),
    Time32(&'a PrimitiveArray<Int32Type>),
    Time64(&'a PrimitiveArray<Int64Type>),
    /// A timestamp as units of 10^-scale seconds.
    Units(&'a PrimitiveArray<Int64Type>, u32),
    /// A timestamp taken apart.
    Parts {
        epoch: &'a PrimitiveArray<Int64Type>,
        /// Nanoseconds; without it the epoch counts units of 10^-scale seconds.
        fraction: Option<&'a PrimitiveArray<Int32Type>>,
        zone: Option<&'a PrimitiveArray<Int32Type>>,
        scale: u32,
    },
    Binary(&'a BinaryArray),
    LargeBinary(&'a LargeBinaryArray),
    /// A type that is not taken apart: a mask sees NULL and can only leave NULL.
    Opaque,
}

fn primitive<T: ArrowPrimitiveType>(array: &dyn Array) -> Option<&PrimitiveArray<T>> {
    array.as_primitive_opt::<T>()
}

impl<'a> Reader<'a> {
    fn of(array: &'a dyn Array, physical: &DataType, column: &Column) -> Self {
        Self::find(array, physical, column).unwrap_or(Self::Opaque)
    }

    fn find(array: &'a dyn Array, physical: &DataType, column: &Column) -> Option<Self> {
        let scale = column.scale.unwrap_or(0);
        Some(match (column.kind, physical) {
            (Kind::Fixed, DataType::Int8) => Self::Int8(primitive(array)?),
            (Kind::Fixed, DataType::Int16) => Self::Int16(primitive(array)?),
            (Kind::Fixed, DataType::Int32) => Self::Int32(primitive(array)?),
            (Kind::Fixed, DataType::Int64) => Self::Int64(primitive(array)?),
            (Kind::Fixed, DataType::Decimal128(..)) => Self::Decimal(primitive(array)?),
            (Kind::Real, DataType::Float64) => Self::Real(primitive(array)?),
            (Kind::Text | Kind::SemiStructured, DataType::Utf8) => {
                Self::Text(array.as_string_opt()?)
            }
            (Kind::Text | Kind::SemiStructured, DataType::LargeUtf8) => {
                Self::LargeText(array.as_string_opt()?)
            }
            (Kind::Boolean, DataType::Boolean) => Self::Boolean(array.as_boolean_opt()?),
            (Kind::Date, DataType::Date32) => Self::Date(primitive(array)?),
            (Kind::Time, DataType::Int32) => Self::Time32(primitive(array)?),
            (Kind::Time, DataType::Int64) => Self::Time64(primitive(array)?),
            (Kind::TimestampNtz | Kind::TimestampLtz, DataType::Int64) => {
                Self::Units(primitive(array)?, scale)
            }
            (Kind::TimestampNtz | Kind::TimestampLtz | Kind::TimestampTz, DataType::Struct(_)) => {
                let parts = array.as_struct_opt()?;
                let zone = parts.column_by_name("timezone").map(|zone| primitive(zone.as_ref()));
                if zone.is_some() != (column.kind == Kind::TimestampTz) {
                    return None;
                }
                Self::Parts {
                    epoch: primitive(parts.column_by_name("epoch")?.as_ref())?,
                    fraction: match parts.column_by_name("fraction") {
                        Some(fraction) => Some(primitive(fraction.as_ref())?),
                        None => None,
                    },
                    zone: match zone {
                        Some(zone) => Some(zone?),
                        None => None,
                    },
                    scale,
                }
            }
            (Kind::Binary, DataType::Binary) => Self::Binary(array.as_binary_opt()?),
            (Kind::Binary, DataType::LargeBinary) => Self::LargeBinary(array.as_binary_opt()?),
            _ => return None,
        })
    }

    fn value(&self, row: usize) -> Value<'a> {
        match self {
            Self::Int8(array) => Value::Fixed(i128::from(array.value(row))),
            Self::Int16(array) => Value::Fixed(i128::from(array.value(row))),
            Self::Int32(array) => Value::Fixed(i128::from(array.value(row))),
            Self::Int64(array) => Value::Fixed(i128::from(array.value(row))),
            Self::Decimal(array) => Value::Fixed(array.value(row)),
            Self::Real(array) => Value::Real(array.value(row)),
            Self::Text(array) => Value::Text(Cow::Borrowed(array.value(row))),
            Self::LargeText(array) => Value::Text(Cow::Borrowed(array.value(row))),
            Self::Boolean(array) => Value::Boolean(array.value(row)),
            Self::Date(array) => Value::Date(array.value(row)),
            Self::Time32(array) => Value::Time(i64::from(array.value(row))),
            Self::Time64(array) => Value::Time(array.value(row)),
            Self::Units(array, scale) => apart(array.value(row), *scale, None),
            Self::Parts { epoch, fraction, zone, scale } => {
                let (zone, epoch) = (zone.map(|zone| zone.value(row)), epoch.value(row));
                let offset = zone.and_then(|zone| zone.checked_sub(1440));
                if zone.is_some() != offset.is_some() {
                    return Value::Null;
                }
                match fraction.map(|fraction| u32::try_from(fraction.value(row))) {
                    None => apart(epoch, *scale, offset),
                    Some(Ok(nanos)) => Value::Timestamp { seconds: epoch, nanos, offset },
                    Some(Err(_)) => Value::Null,
                }
            }
            Self::Binary(array) => Value::Binary(Cow::Borrowed(array.value(row))),
            Self::LargeBinary(array) => Value::Binary(Cow::Borrowed(array.value(row))),
            Self::Opaque => Value::Null,
        }
    }
}

/// Units of 10^-scale seconds as seconds and nanoseconds.
fn apart(units: i64, scale: u32, offset: Option<i32>) -> Value<'static> {
    let per_second = 10_i64.pow(scale.min(9));
    let nanos = units.rem_euclid(per_second) * 10_i64.pow(9 - scale.min(9));
    match u32::try_from(nanos) {
        Ok(nanos) => Value::Timestamp { seconds: units.div_euclid(per_second), nanos, offset },
        Err(_) => Value::Null,
    }
}

/// Seconds and nanoseconds as units of 10^-scale seconds.
fn together(seconds: i64, nanos: u32, scale: u32) -> Option<i64> {
    let per_second = 10_i64.pow(scale.min(9));
    let part = i64::from(nanos) / 10_i64.pow(9 - scale.min(9));
    seconds.checked_mul(per_second)?.checked_add(part)
}

/// Masked integers are always 64 bits wide: a mask may need more bits than its chunk has, and drivers read every
/// chunk of a result by the schema of the first.
fn masked_width(physical: DataType) -> DataType {
    match physical {
        DataType::Int8 | DataType::Int16 | DataType::Int32 => DataType::Int64,
        other => other,
    }
}

/// An array of the physical type; a value that does not fit is NULL.
fn build<'v>(
    values: impl ExactSizeIterator<Item = Value<'v>>,
    physical: &DataType,
    column: &Column,
) -> Result<ArrayRef, RowsError> {
    let scale = column.scale.unwrap_or(0);
    Ok(match (column.kind, physical) {
        (Kind::Fixed, DataType::Int64) => Arc::new(narrow::<Int64Type>(values)),
        // As narrow as it came: what stands in place of a found number fits any width.
        (Kind::Fixed, DataType::Int8) => Arc::new(narrow::<Int8Type>(values)),
        (Kind::Fixed, DataType::Int16) => Arc::new(narrow::<Int16Type>(values)),
        (Kind::Fixed, DataType::Int32) => Arc::new(narrow::<Int32Type>(values)),
        (Kind::Fixed, DataType::Decimal128(precision, scale)) => {
            let array: Decimal128Array = values.map(|value| number(&value)).collect();
            Arc::new(array.with_precision_and_scale(*precision, *scale)?)
        }
        (Kind::Real, DataType::Float64) => {
            let real = |value| if let Value::Real(real) = value { Some(real) } else { None };
            Arc::new(values.map(real).collect::<Float64Array>())
        }
        (Kind::Text | Kind::SemiStructured, DataType::Utf8) => {
            Arc::new(values.map(text).collect::<StringArray>())
        }
        (Kind::Text | Kind::SemiStructured, DataType::LargeUtf8) => {
            Arc::new(values.map(text).collect::<LargeStringArray>())
        }
        (Kind::Boolean, DataType::Boolean) => {
            let truth = |value| if let Value::Boolean(truth) = value { Some(truth) } else { None };
            Arc::new(values.map(truth).collect::<BooleanArray>())
        }
        (Kind::Date, DataType::Date32) => {
            let days = |value| if let Value::Date(days) = value { Some(days) } else { None };
            Arc::new(values.map(days).collect::<Date32Array>())
        }
        (Kind::Time, DataType::Int32) => {
            let units = |value| time(&value).and_then(|units| i32::try_from(units).ok());
            Arc::new(values.map(units).collect::<Int32Array>())
        }
        (Kind::Time, DataType::Int64) => {
            Arc::new(values.map(|value| time(&value)).collect::<Int64Array>())
        }
        (Kind::TimestampNtz | Kind::TimestampLtz, DataType::Int64) => {
            let units = |value: Value<'_>| match value {
                Value::Timestamp { seconds, nanos, offset: None } => {
                    together(seconds, nanos, scale)
                }
                _ => None,
            };
            Arc::new(values.map(units).collect::<Int64Array>())
        }
        (Kind::TimestampNtz | Kind::TimestampLtz | Kind::TimestampTz, DataType::Struct(fields)) => {
            parts(values, fields, column)?
        }
        (Kind::Binary, DataType::Binary) => Arc::new(values.map(bytes).collect::<BinaryArray>()),
        (Kind::Binary, DataType::LargeBinary) => {
            Arc::new(values.map(bytes).collect::<LargeBinaryArray>())
        }
        (_, other) => new_null_array(other, values.count()),
    })
}

fn number(value: &Value<'_>) -> Option<i128> {
    if let Value::Fixed(number) = value { Some(*number) } else { None }
}

/// Integers of one width; one that does not fit is NULL.
fn narrow<'v, T: ArrowPrimitiveType<Native: TryFrom<i128>>>(
    values: impl Iterator<Item = Value<'v>>,
) -> PrimitiveArray<T> {
    values.map(|value| number(&value).and_then(|number| number.try_into().ok())).collect()
}

fn time(value: &Value<'_>) -> Option<i64> {
    if let Value::Time(units) = value { Some(*units) } else { None }
}

fn text(value: Value<'_>) -> Option<Cow<'_, str>> {
    if let Value::Text(text) = value { Some(text) } else { None }
}

fn bytes(value: Value<'_>) -> Option<Cow<'_, [u8]>> {
    if let Value::Binary(bytes) = value { Some(bytes) } else { None }
}

/// Timestamps taken apart into the children that the column has.
fn parts<'v>(
    values: impl ExactSizeIterator<Item = Value<'v>>,
    fields: &Fields,
    column: &Column,
) -> Result<ArrayRef, RowsError> {
    let scale = column.scale.unwrap_or(0);
    let has_fraction = fields.iter().any(|field| field.name() == "fraction");
    let has_zone = column.kind == Kind::TimestampTz;
    let rows: Vec<Option<(i64, i32, i32)>> = values
        .map(|value| match value {
            Value::Timestamp { seconds, nanos, offset } if offset.is_some() == has_zone => {
                let epoch = if has_fraction { seconds } else { together(seconds, nanos, scale)? };
                let zone = offset.unwrap_or(0).checked_add(1440)?;
                Some((epoch, i32::try_from(nanos).ok()?, zone))
            }
            _ => None,
        })
        .collect();
    let mut children: Vec<ArrayRef> = Vec::with_capacity(fields.len());
    for field in fields {
        children.push(match (field.name().as_str(), field.data_type()) {
            ("epoch", DataType::Int64) => Arc::new(Int64Array::from_iter_values(
                rows.iter().map(|row| row.map_or(0, |(epoch, ..)| epoch)),
            )),
            ("fraction", DataType::Int32) => Arc::new(Int32Array::from_iter_values(
                rows.iter().map(|row| row.map_or(0, |(_, nanos, _)| nanos)),
            )),
            ("timezone", DataType::Int32) => Arc::new(Int32Array::from_iter_values(
                rows.iter().map(|row| row.map_or(0, |(.., zone)| zone)),
            )),
            // A child that nobody knows cannot be written: the whole column becomes NULL.
            _ => return Ok(new_null_array(&DataType::Struct(fields.clone()), rows.len())),
        });
    }
    let nulls: NullBuffer = rows.iter().map(Option::is_some).collect();
    Ok(Arc::new(StructArray::try_new(fields.clone(), children, Some(nulls))?))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use arrow_array::types::Int32Type as Key;
    use arrow_array::{
        DictionaryArray, FixedSizeListArray, Int8Array, Int16Array, ListArray, MapArray,
    };
    use arrow_buffer::OffsetBuffer;
    use arrow_ipc::reader::StreamReader;
    use proptest::prelude::*;

    use super::super::tests::{Nothing, Same, Stamp, column, layout, searched};
    use super::*;

    fn stream(schema: Schema, batches: Vec<Vec<ArrayRef>>) -> Vec<u8> {
        let schema = Arc::new(schema);
        let mut writer = StreamWriter::try_new(Vec::new(), &schema).unwrap();
        for arrays in batches {
            writer.write(&RecordBatch::try_new(Arc::clone(&schema), arrays).unwrap()).unwrap();
        }
        writer.into_inner().unwrap()
    }

    fn read(bytes: &[u8]) -> (SchemaRef, Vec<RecordBatch>) {
        let reader = StreamReader::try_new(bytes, None).unwrap();
        (reader.schema(), reader.map(Result::unwrap).collect())
    }

    fn field(name: &str, data_type: DataType) -> Field {
        let metadata = HashMap::from([("logicalType".to_owned(), name.to_owned())]);
        Field::new(name, data_type, true).with_metadata(metadata)
    }

    fn timestamp_parts(names: &[&str]) -> (Fields, ArrayRef) {
        let fields: Fields = names
            .iter()
            .map(|name| {
                let data_type = if *name == "epoch" { DataType::Int64 } else { DataType::Int32 };
                Field::new(*name, data_type, true)
            })
            .collect();
        let children = names
            .iter()
            .map(|name| -> ArrayRef {
                match *name {
                    "epoch" => Arc::new(Int64Array::from(vec![1_700_000_000, 0])),
                    "fraction" => Arc::new(Int32Array::from(vec![123_456_789, 0])),
                    _ => Arc::new(Int32Array::from(vec![1980, 0])),
                }
            })
            .collect();
        let nulls = NullBuffer::from(vec![true, false]);
        let array = StructArray::new(fields.clone(), children, Some(nulls));
        (fields, Arc::new(array))
    }

    /// Every physical encoding the account uses, each with a value and a NULL.
    fn everything() -> (Vec<u8>, Vec<Column>) {
        let (ntz, ntz_array) = timestamp_parts(&["epoch", "fraction"]);
        let (tz16, tz16_array) = timestamp_parts(&["epoch", "fraction", "timezone"]);
        let (tz8, tz8_array) = timestamp_parts(&["epoch", "timezone"]);
        let decimal = Decimal128Array::from(vec![Some(12_345), None])
            .with_precision_and_scale(38, 2)
            .unwrap();
        let dictionary: DictionaryArray<Key> = vec![Some("x"), None].into_iter().collect();
        let columns: Vec<(&str, Option<u32>, ArrayRef)> = vec![
            ("fixed", Some(0), Arc::new(Int8Array::from(vec![Some(-5), None]))),
            ("fixed", Some(0), Arc::new(Int16Array::from(vec![Some(1500), None]))),
            ("fixed", Some(2), Arc::new(Int32Array::from(vec![Some(150_001), None]))),
            ("fixed", Some(0), Arc::new(Int64Array::from(vec![Some(i64::MIN), None]))),
            ("fixed", Some(2), Arc::new(decimal)),
            ("real", None, Arc::new(Float64Array::from(vec![Some(1.5), None]))),
            ("text", None, Arc::new(StringArray::from(vec![Some("secret"), None]))),
            ("variant", None, Arc::new(StringArray::from(vec![Some("{}"), None]))),
            ("boolean", None, Arc::new(BooleanArray::from(vec![Some(true), None]))),
            ("date", None, Arc::new(Date32Array::from(vec![Some(18_628), None]))),
            ("time", Some(3), Arc::new(Int32Array::from(vec![Some(45_296_123), None]))),
            ("time", Some(9), Arc::new(Int64Array::from(vec![Some(45_296_123_456_789), None]))),
            ("timestamp_ntz", Some(3), Arc::new(Int64Array::from(vec![Some(-1_500), None]))),
            ("timestamp_ntz", Some(9), ntz_array),
            ("timestamp_tz", Some(9), tz16_array),
            ("timestamp_tz", Some(0), tz8_array),
            ("binary", None, Arc::new(BinaryArray::from(vec![Some(&b"\x1f"[..]), None]))),
            ("text", None, Arc::new(dictionary)),
        ];
        assert_eq!(ntz.len() + tz16.len() + tz8.len(), 7);
        let fields: Vec<Field> =
            columns.iter().map(|(word, _, array)| field(word, array.data_type().clone())).collect();
        let metadata = HashMap::from([("account".to_owned(), "kept".to_owned())]);
        let schema = Schema::new_with_metadata(fields, metadata);
        let layout = columns.iter().map(|(word, scale, _)| column(word, *scale)).collect();
        (stream(schema, vec![columns.into_iter().map(|(.., array)| array).collect()]), layout)
    }

    #[test]
    fn a_mask_that_changes_nothing_keeps_every_encoding_and_all_metadata() {
        let (bytes, columns) = everything();
        let same = mask_stream(&bytes, &layout(columns.clone(), Some(Arc::new(Same)))).unwrap();
        let ((before, rows_before), (after, rows_after)) = (read(&bytes), read(&same.bytes));
        assert_eq!(before.metadata(), after.metadata());
        for (position, field) in before.fields().iter().enumerate() {
            assert_eq!(field.metadata(), after.field(position).metadata());
            if matches!(field.data_type(), DataType::Dictionary(..)) {
                assert_eq!(after.field(position).data_type(), &DataType::Utf8);
                continue;
            }
            if matches!(field.data_type(), DataType::Int8 | DataType::Int16 | DataType::Int32)
                && columns[position].kind == Kind::Fixed
            {
                assert_eq!(after.field(position).data_type(), &DataType::Int64);
                continue;
            }
            assert_eq!(field.data_type(), after.field(position).data_type());
            let (left, right) = (rows_before[0].column(position), rows_after[0].column(position));
            assert_eq!(left, right, "column {position}");
        }
        assert_eq!((same.rows, same.masked_cells), (2, 36));
    }

    #[test]
    fn every_encoding_is_masked_in_its_own_form() {
        let (bytes, columns) = everything();
        let masked = mask_stream(&bytes, &layout(columns, Some(Arc::new(Stamp)))).unwrap();
        let (schema, rows) = read(&masked.bytes);
        let shown: Vec<String> = schema
            .fields()
            .iter()
            .zip(rows[0].columns())
            .map(|(field, array)| format!("{}: {array:?}", field.data_type()))
            .collect();
        insta::assert_snapshot!(shown.join("\n"));
    }

    #[test]
    fn masked_integers_have_one_width_in_every_chunk() {
        let schema = Schema::new(vec![Field::new("A", DataType::Int8, false)]);
        let batches: Vec<Vec<ArrayRef>> = vec![
            vec![Arc::new(Int8Array::from(vec![5]))],
            vec![Arc::new(Int8Array::from(vec![-5]))],
        ];
        let bytes = stream(schema, batches);
        let columns = vec![column("fixed", Some(0))];
        let masked = mask_stream(&bytes, &layout(columns, Some(Arc::new(Stamp)))).unwrap();
        let (schema, rows) = read(&masked.bytes);
        assert_eq!(schema.field(0).data_type(), &DataType::Int64);
        assert!(schema.field(0).is_nullable());
        assert_eq!(rows[0].column(0).as_primitive::<Int64Type>().value(0), 0);
        assert_eq!(rows[1].column(0).as_primitive::<Int64Type>().value(0), -1000);
    }

    #[test]
    fn a_type_that_is_not_taken_apart_can_only_become_null() {
        let (bytes, mut columns) = everything();
        for column in &mut columns {
            column.kind = Kind::Other;
        }
        let masked = mask_stream(&bytes, &layout(columns, Some(Arc::new(Same)))).unwrap();
        let (_, rows) = read(&masked.bytes);
        assert!(rows[0].columns().iter().all(|array| array.null_count() == array.len()));
    }

    #[test]
    fn a_column_of_another_physical_type_than_its_row_type_becomes_null() {
        let schema = Schema::new(vec![Field::new("A", DataType::Utf8, true)]);
        let bytes = stream(schema, vec![vec![Arc::new(StringArray::from(vec!["secret"]))]]);
        let columns = vec![column("fixed", Some(0))];
        let masked = mask_stream(&bytes, &layout(columns, Some(Arc::new(Same)))).unwrap();
        assert_eq!(read(&masked.bytes).1[0].column(0).null_count(), 1);
    }

    #[test]
    fn streams_that_do_not_fit_are_refused() {
        let (bytes, columns) = everything();
        let narrow = layout(columns[1..].to_vec(), Some(Arc::new(Nothing)));
        assert_eq!(
            mask_stream(&bytes, &narrow).unwrap_err(),
            RowsError::Width { expected: 17, found: 18 }
        );
        assert!(mask_stream(b"", &narrow).is_err());
        assert!(mask_stream(&bytes[..bytes.len() / 2], &layout(columns, None)).is_err());
    }

    /// Texts in every physical form, the needle in the first row.
    fn texts() -> Vec<(&'static str, ArrayRef)> {
        let rows = vec![Some("the needle"), None, Some("hay"), Some("the needle"), Some("straw")];
        let strings = StringArray::from(rows.clone());
        let dictionary: DictionaryArray<Key> = rows.clone().into_iter().collect();
        let inner = Arc::new(Field::new("inner", DataType::Utf8, true));
        let offsets = OffsetBuffer::from_lengths([1, 0, 1, 2, 1]);
        let list =
            ListArray::new(Arc::clone(&inner), offsets.clone(), Arc::new(strings.clone()), None);
        let object = StructArray::new(
            vec![Arc::clone(&inner)].into(),
            vec![Arc::new(strings.clone()) as ArrayRef],
            None,
        );
        let entries = StructArray::new(
            vec![
                Field::new("key", DataType::Utf8, false),
                Field::new("value", DataType::Utf8, true),
            ]
            .into(),
            vec![
                Arc::new(StringArray::from(vec!["inner"; 5])) as ArrayRef,
                Arc::new(strings.clone()),
            ],
            None,
        );
        let entry = Arc::new(Field::new("entries", entries.data_type().clone(), false));
        let map = MapArray::new(entry, offsets, entries, None, false);
        let pairs: Vec<Option<&str>> = rows.iter().flat_map(|row| [Some("x"), *row]).collect();
        let fixed = FixedSizeListArray::new(
            Arc::new(Field::new("item", DataType::Utf8, true)),
            2,
            Arc::new(StringArray::from(pairs)),
            None,
        );
        let binary: BinaryArray = [Some("needle"), None, Some("hay"), Some("needle"), Some("x")]
            .map(|row| row.map(str::as_bytes))
            .into_iter()
            .collect();
        let int = |a, b| Int64Array::from(vec![Some(a), None, Some(b), Some(a), Some(b)]);
        let decimal = Decimal128Array::from(vec![Some(77), None, Some(1), Some(77), Some(1)])
            .with_precision_and_scale(38, 0)
            .unwrap();
        vec![
            ("text", Arc::new(LargeStringArray::from(rows))),
            ("text", Arc::new(StringArray::from(vec!["needle"; 5]))),
            ("text", Arc::new(strings.clone())),
            ("text", Arc::new(dictionary)),
            ("variant", Arc::new(strings)),
            ("array", Arc::new(list)),
            ("object", Arc::new(object)),
            ("map", Arc::new(map)),
            ("vector", Arc::new(fixed)),
            ("binary", Arc::new(binary)),
            ("fixed", Arc::new(int(77, 78))),
            ("fixed", Arc::new(Int8Array::from(vec![Some(77), None, Some(1), Some(77), Some(1)]))),
            ("fixed", Arc::new(decimal)),
        ]
    }

    #[test]
    fn what_is_found_in_any_encoding_is_hidden_and_its_bytes_are_gone() {
        let columns = texts();
        let fields: Vec<Field> =
            columns.iter().map(|(word, array)| field(word, array.data_type().clone())).collect();
        let words: Vec<&str> = columns.iter().map(|(word, _)| *word).collect();
        let arrays: Vec<ArrayRef> = columns.into_iter().map(|(_, array)| array).collect();
        for (position, word) in words.iter().enumerate().filter(|(position, _)| *position != 1) {
            let schema = Schema::new(vec![fields[position].clone(), fields[1].clone()]);
            let bytes =
                stream(schema, vec![vec![Arc::clone(&arrays[position]), Arc::clone(&arrays[1])]]);
            let mut kinds = vec![column(word, Some(0)), column("text", None)];
            if arrays[position].data_type().is_nested() {
                kinds[0].kind = Kind::Other;
            }
            let found = mask_stream(&bytes, &searched(kinds)).unwrap();
            let (schema, rows) = read(&found.bytes);
            let (before, after) = (&arrays[position], rows[0].column(0));
            assert_eq!(schema.field(0).data_type(), &plain(before.data_type()), "{word}");
            assert_eq!(schema.field(0).metadata(), fields[position].metadata());
            assert!(schema.field(0).is_nullable());
            assert!(after.is_null(0) && after.is_null(3) && after.is_valid(2), "{word}: {after:?}");
            assert_eq!(found.masked_cells, 2, "{word}");
            let kind = if matches!(*word, "object" | "map") { 3 } else { 1 };
            assert_eq!(found.found, Findings::from([((0, kind), 2)]), "{word}");
            if !matches!(before.data_type(), DataType::Dictionary(..)) {
                assert_eq!(&after.slice(4, 1), &before.slice(4, 1), "{word}");
            }
            // Only the column that is not searched still has it.
            let shown = String::from_utf8_lossy(&found.bytes).matches("needle").count();
            assert_eq!(shown, 5, "{word}");
        }
    }

    #[test]
    fn a_searched_column_in_which_nothing_is_found_keeps_its_arrays() {
        let (bytes, columns) = everything();
        let found = mask_stream(&bytes, &searched(columns)).unwrap();
        let ((_, before), (schema, after)) = (read(&bytes), read(&found.bytes));
        assert_eq!((found.masked_cells, found.found.len()), (0, 0));
        for (position, array) in before[0].columns().iter().enumerate() {
            assert_eq!(schema.field(position).data_type(), &plain(array.data_type()));
            if !matches!(array.data_type(), DataType::Dictionary(..)) {
                assert_eq!(array, after[0].column(position));
            }
        }
        let text = after[0].column(17).as_string::<i32>();
        assert_eq!((text.value(0), text.is_null(1)), ("x", true));
    }

    #[test]
    fn a_dictionary_keeps_no_value_that_was_hidden_or_that_no_row_shows() {
        let keys = Int32Array::from(vec![Some(1), Some(0), None]);
        let values =
            StringArray::from(vec![Some("needle"), Some("hay"), Some("unused needle"), None]);
        let dictionary: ArrayRef = Arc::new(DictionaryArray::new(keys, Arc::new(values)));
        let schema = Schema::new(vec![field("text", dictionary.data_type().clone())]);
        let bytes = stream(schema, vec![vec![dictionary]]);
        let found = mask_stream(&bytes, &searched(vec![column("text", None)])).unwrap();
        assert!(!String::from_utf8_lossy(&found.bytes).contains("needle"));
        let (_, rows) = read(&found.bytes);
        let text = rows[0].column(0).as_string::<i32>();
        assert_eq!(text.iter().collect::<Vec<_>>(), [Some("hay"), None, None]);
    }

    proptest! {
        #[test]
        fn cut_or_flipped_streams_never_show_the_secret(at in 0_usize..4096, flip in 1_u8..=255) {
            let (mut bytes, columns) = everything();
            let at = at % bytes.len();
            bytes[at] ^= flip;
            let masked = std::panic::catch_unwind(|| {
                mask_stream(&bytes, &layout(columns, Some(Arc::new(Stamp))))
            });
            if let Ok(Ok(masked)) = masked {
                let shown = String::from_utf8_lossy(&masked.bytes);
                prop_assert!(!shown.contains("secret"));
            }
        }
    }
}
