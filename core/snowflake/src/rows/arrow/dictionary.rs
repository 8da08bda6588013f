//! Dictionaries: masked and searched columns have none in the end, as it would keep what no row shows.

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_schema::DataType;

use super::super::RowsError;

/// Bytes that one column of a batch may take without its dictionary: a short batch can name a long value in every row.
const LONGEST: usize = 64 << 20;

/// The type of the values.
pub(super) fn plain(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, values) => values.as_ref().clone(),
        other => other.clone(),
    }
}

/// An error when the column would be too long without its dictionary.
pub(super) fn bounded(array: &dyn Array) -> Result<(), RowsError> {
    let Some(dictionary) = array.as_any_dictionary_opt() else { return Ok(()) };
    let values = dictionary.values().as_ref();
    if values.is_empty() {
        return Ok(());
    }
    let longest = values.get_buffer_memory_size();
    if longest.saturating_mul(array.len()) <= LONGEST {
        return Ok(());
    }
    let lengths: Vec<usize> = match values.data_type() {
        DataType::Utf8 => values.as_string::<i32>().offsets().lengths().collect(),
        DataType::LargeUtf8 => values.as_string::<i64>().offsets().lengths().collect(),
        DataType::Binary => values.as_binary::<i32>().offsets().lengths().collect(),
        DataType::LargeBinary => values.as_binary::<i64>().offsets().lengths().collect(),
        // Of other types every value is as long as the next, or may be as long as all.
        other => vec![other.primitive_width().unwrap_or(longest); values.len()],
    };
    let keys = dictionary.normalized_keys();
    let length = keys
        .iter()
        .filter_map(|key| lengths.get(*key))
        .fold(0, |all, length| usize::saturating_add(all, *length));
    if length > LONGEST {
        return Err(RowsError::Unreadable("a dictionary makes a column too long".to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::types::Int8Type;
    use arrow_array::{DictionaryArray, Int8Array, StringArray};

    use super::*;

    fn rows_of(value: &str, rows: usize) -> DictionaryArray<Int8Type> {
        let values = StringArray::from(vec![value, "a"]);
        DictionaryArray::new(Int8Array::from(vec![0; rows]), Arc::new(values))
    }

    #[test]
    fn a_long_value_in_every_row_of_a_short_batch_is_refused() {
        let long = "x".repeat(1 << 20);
        assert!(bounded(&rows_of(&long, 64)).is_ok());
        assert!(bounded(&rows_of(&long, 65)).is_err());
    }

    #[test]
    fn a_long_value_that_few_rows_show_is_not() {
        let long = "x".repeat(1 << 20);
        let values = StringArray::from(vec![long.as_str(), "a"]);
        let mut keys = vec![1; 1000];
        keys[5] = 0;
        let array = DictionaryArray::<Int8Type>::new(Int8Array::from(keys), Arc::new(values));
        assert!(bounded(&array).is_ok());
        assert!(bounded(&StringArray::from(vec![long.as_str(); 65])).is_ok());
    }
}
