//! Columns that show one value: written at once, without a look at the cells.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    BinaryType, ByteArrayType, Date32Type, Decimal128Type, Float64Type, Int32Type, Int64Type,
    LargeBinaryType, LargeUtf8Type, Utf8Type,
};
use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, GenericByteArray, PrimitiveArray, StructArray,
    new_null_array,
};
use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::DataType;

use super::super::{Column, Constant, RowsError, Value};
use super::build;

/// As many rows as `array` has, each with the constant, or NULL where it stays.
pub(super) fn fill(
    array: &dyn Array,
    constant: &Constant,
    physical: &DataType,
    column: &Column,
) -> Result<ArrayRef, RowsError> {
    let rows = array.len();
    let one = build(std::iter::once(constant.value.clone()), physical, column)?;
    if one.logical_nulls().is_some_and(|nulls| nulls.is_null(0)) {
        return Ok(new_null_array(physical, rows));
    }
    let nulls = if constant.keeps_null { array.logical_nulls() } else { None };
    if let Some(filled) = repeat(&one, rows, nulls.clone())? {
        return Ok(filled);
    }
    let is_null = |row| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
    let values =
        (0..rows).map(|row| if is_null(row) { Value::Null } else { constant.value.clone() });
    build(values, physical, column)
}

/// The one value of an array so often; `None` for a type that is put together value by value.
fn repeat(
    one: &ArrayRef,
    rows: usize,
    nulls: Option<NullBuffer>,
) -> Result<Option<ArrayRef>, RowsError> {
    Ok(Some(match one.data_type() {
        DataType::Int32 => numbers::<Int32Type>(one, rows, nulls)?,
        DataType::Int64 => numbers::<Int64Type>(one, rows, nulls)?,
        DataType::Decimal128(..) => numbers::<Decimal128Type>(one, rows, nulls)?,
        DataType::Float64 => numbers::<Float64Type>(one, rows, nulls)?,
        DataType::Date32 => numbers::<Date32Type>(one, rows, nulls)?,
        DataType::Utf8 => bytes::<Utf8Type>(one, rows, nulls)?,
        DataType::LargeUtf8 => bytes::<LargeUtf8Type>(one, rows, nulls)?,
        DataType::Binary => bytes::<BinaryType>(one, rows, nulls)?,
        DataType::LargeBinary => bytes::<LargeBinaryType>(one, rows, nulls)?,
        DataType::Struct(fields) => {
            let mut parts = Vec::with_capacity(fields.len());
            for part in one.as_struct().columns() {
                let Some(part) = repeat(part, rows, None)? else { return Ok(None) };
                parts.push(part);
            }
            Arc::new(StructArray::try_new(fields.clone(), parts, nulls)?)
        }
        _ => return Ok(None),
    }))
}

fn numbers<T: ArrowPrimitiveType>(
    one: &ArrayRef,
    rows: usize,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, RowsError> {
    let values = ScalarBuffer::from(vec![one.as_primitive::<T>().value(0); rows]);
    let array = PrimitiveArray::<T>::try_new(values, nulls)?;
    Ok(Arc::new(array.with_data_type(one.data_type().clone())))
}

fn bytes<T: ByteArrayType>(
    one: &ArrayRef,
    rows: usize,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, RowsError> {
    let value = one.as_bytes::<T>().value_data();
    let offsets = OffsetBuffer::try_from_repeated_length(value.len(), rows)
        .map_err(|error| RowsError::Unreadable(error.to_string()))?;
    let values = Buffer::from_vec(value.repeat(rows));
    Ok(Arc::new(GenericByteArray::<T>::try_new(offsets, values, nulls)?))
}
