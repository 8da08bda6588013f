//! Searched columns: cells in which something is found are replaced, the others are copied as they are.

use std::borrow::Cow;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
};
use arrow_array::{Array, ArrayRef, make_array};
use arrow_data::ArrayData;
use arrow_data::transform::MutableArrayData;
use arrow_schema::DataType;

use super::super::json::decimal;
use super::super::{Column, Findings, Pass, RowsError, Value, decfloat};
use super::dictionary::plain;
use super::{Reader, build};

/// One column in the hands of a pass.
pub(super) struct Searching<'s> {
    pub(super) position: usize,
    pub(super) column: &'s Column,
    pub(super) pass: &'s mut dyn Pass,
}

impl Searching<'_> {
    /// The array after the search, without dictionary; `findings` counts what was found.
    pub(super) fn array(
        mut self,
        array: &ArrayRef,
        findings: &mut Findings,
    ) -> Result<ArrayRef, RowsError> {
        let physical = plain(array.data_type());
        let found = self.look(array.as_ref(), &physical);
        for found in found.iter().filter(|found| **found != 0) {
            *findings.entry((self.position, *found)).or_default() += 1;
        }
        self.replace(array, &physical, &found)
    }

    /// What is found in each row.
    fn look(&mut self, array: &dyn Array, physical: &DataType) -> Vec<u16> {
        if let Some(dictionary) = array.as_any_dictionary_opt() {
            // Each value once, however many rows show it.
            let values = self.look(dictionary.values().as_ref(), physical);
            let at = |row: usize, key: &usize| {
                if array.is_null(row) { 0 } else { values.get(*key).copied().unwrap_or(0) }
            };
            let keys = if values.is_empty() { Vec::new() } else { dictionary.normalized_keys() };
            let mut found: Vec<u16> =
                keys.iter().enumerate().map(|(row, key)| at(row, key)).collect();
            found.resize(array.len(), 0);
            return found;
        }
        let reader = Reader::of(array, physical, self.column);
        let nested = matches!(reader, Reader::Opaque);
        (0..array.len())
            .map(|row| match (array.is_null(row), nested) {
                (true, _) => 0,
                (false, false) => self.pass.look(self.position, None, &reader.value(row)),
                (false, true) if self.column.word == "decfloat" => self.decfloat(array, row),
                (false, true) => self.leaves(array, row, None),
            })
            .collect()
    }

    /// What is found in a DECFLOAT, whose digits and exponent stand apart.
    fn decfloat(&mut self, array: &dyn Array, row: usize) -> u16 {
        let printed = array.as_struct_opt().and_then(|parts| {
            let exponent = parts.column_by_name("exponent")?.as_primitive_opt::<Int16Type>()?;
            let significand = parts.column_by_name("significand")?.as_binary_opt::<i32>()?;
            decfloat::of_parts(significand.value(row), exponent.value(row))
        });
        match printed {
            Some(text) => self.pass.look(self.position, None, &Value::Text(Cow::Owned(text))),
            None => self.leaves(array, row, None),
        }
    }

    /// What is found in the leaves of one row of an array of any type.
    fn leaves(&mut self, array: &dyn Array, row: usize, field: Option<&str>) -> u16 {
        if array.is_null(row) {
            return 0;
        }
        let value = match array.data_type() {
            DataType::Utf8 => Value::Text(Cow::Borrowed(array.as_string::<i32>().value(row))),
            DataType::LargeUtf8 => Value::Text(Cow::Borrowed(array.as_string::<i64>().value(row))),
            DataType::Utf8View => Value::Text(Cow::Borrowed(array.as_string_view().value(row))),
            DataType::Binary => Value::Binary(Cow::Borrowed(array.as_binary::<i32>().value(row))),
            DataType::LargeBinary => {
                Value::Binary(Cow::Borrowed(array.as_binary::<i64>().value(row)))
            }
            DataType::Int8 => Value::Fixed(array.as_primitive::<Int8Type>().value(row).into()),
            DataType::Int16 => Value::Fixed(array.as_primitive::<Int16Type>().value(row).into()),
            DataType::Int32 => Value::Fixed(array.as_primitive::<Int32Type>().value(row).into()),
            DataType::Int64 => Value::Fixed(array.as_primitive::<Int64Type>().value(row).into()),
            DataType::Decimal128(_, 0) => {
                Value::Fixed(array.as_primitive::<Decimal128Type>().value(row))
            }
            DataType::Decimal128(_, scale) => {
                let unscaled = array.as_primitive::<Decimal128Type>().value(row);
                let scale = u32::from(scale.unsigned_abs());
                Value::Text(Cow::Owned(decimal(unscaled, scale)))
            }
            DataType::Float32 => Value::Real(array.as_primitive::<Float32Type>().value(row).into()),
            DataType::Float64 => Value::Real(array.as_primitive::<Float64Type>().value(row)),
            DataType::Dictionary(..) => {
                let one = array.slice(row, 1);
                let dictionary = one.as_any_dictionary();
                let key = dictionary.normalized_keys().first().copied();
                let values = dictionary.values().as_ref();
                return key
                    .filter(|key| *key < values.len())
                    .map_or(0, |key| self.leaves(values, key, field));
            }
            DataType::Struct(_) => {
                let parts = array.as_struct();
                let names = parts.column_names().into_iter().zip(parts.columns());
                return names.fold(0, |found, (name, part)| {
                    found | self.leaves(part.as_ref(), row, Some(name))
                });
            }
            DataType::List(_) => {
                return self.items(array.as_list::<i32>().value(row).as_ref(), field);
            }
            DataType::LargeList(_) => {
                return self.items(array.as_list::<i64>().value(row).as_ref(), field);
            }
            DataType::FixedSizeList(..) => {
                return self.items(array.as_fixed_size_list().value(row).as_ref(), field);
            }
            DataType::Map(..) => return self.entries(&array.as_map().value(row)),
            // Nothing in it is text or a number of interest.
            _ => return 0,
        };
        self.pass.look(self.position, field, &value)
    }

    fn items(&mut self, items: &dyn Array, field: Option<&str>) -> u16 {
        (0..items.len()).fold(0, |found, item| found | self.leaves(items, item, field))
    }

    /// The entries of a map: its keys are the names of its values.
    fn entries(&mut self, entries: &arrow_array::StructArray) -> u16 {
        let [keys, values] = entries.columns() else { return 0 };
        let names = keys.as_string_opt::<i32>();
        (0..entries.len()).fold(0, |found, entry| {
            let name = names.filter(|names| names.is_valid(entry)).map(|names| names.value(entry));
            found
                | self.leaves(keys.as_ref(), entry, None)
                | self.leaves(values.as_ref(), entry, name)
        })
    }

    /// The array without the rows in which something was found. What is copied are single rows, so that no buffer keeps
    /// what was hidden.
    fn replace(
        &self,
        array: &ArrayRef,
        physical: &DataType,
        found: &[u16],
    ) -> Result<ArrayRef, RowsError> {
        let dictionary = array.as_any_dictionary_opt();
        if dictionary.is_none() && found.iter().all(|found| *found == 0) {
            return Ok(array.clone());
        }
        let mut kinds: Vec<u16> = found.iter().copied().filter(|found| *found != 0).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let source = dictionary.map_or_else(|| array.to_data(), |it| it.values().to_data());
        let mut sources: Vec<ArrayData> = vec![source];
        for kind in &kinds {
            let hidden = self.pass.hide(self.position, *kind);
            sources.push(build(std::iter::once(hidden), physical, self.column)?.to_data());
        }
        let keys = dictionary
            .filter(|dictionary| !dictionary.values().is_empty())
            .map(|dictionary| dictionary.normalized_keys());
        let mut rows = MutableArrayData::try_new(sources.iter().collect(), true, array.len())?;
        for (row, found) in found.iter().enumerate() {
            let kind = kinds.iter().position(|kind| kind == found);
            // A row of a dictionary stands where its key says.
            let at = match dictionary {
                Some(_) if array.is_null(row) => None,
                Some(_) => keys.as_ref().and_then(|keys| keys.get(row).copied()),
                None => Some(row),
            };
            match (kind, at) {
                (Some(kind), _) => rows.try_extend(kind + 1, 0, 1)?,
                (None, Some(at)) => rows.try_extend(0, at, at + 1)?,
                (None, None) => rows.try_extend_nulls(1)?,
            }
        }
        Ok(make_array(rows.freeze()))
    }
}
