//! Result chunks: the list in an answer, and the headers their store wants.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One part of a large result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Chunk {
    /// Where it lies.
    pub url: String,
    /// Rows in it.
    pub row_count: u64,
    /// Bytes before compression.
    #[serde(default)]
    pub uncompressed_size: u64,
    /// Bytes in the store.
    #[serde(default)]
    pub compressed_size: u64,
}

/// The headers a GET of a chunk needs.
#[must_use]
pub fn headers(
    given: Option<BTreeMap<String, String>>,
    qrmk: Option<&str>,
) -> BTreeMap<String, String> {
    match (given, qrmk) {
        (Some(given), _) if !given.is_empty() => given,
        (_, Some(key)) => BTreeMap::from([
            ("x-amz-server-side-encryption-customer-algorithm".to_owned(), "AES256".to_owned()),
            ("x-amz-server-side-encryption-customer-key".to_owned(), key.to_owned()),
        ]),
        _ => BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_headers_win_over_the_key_alone() {
        let given = BTreeMap::from([("x-a".to_owned(), "1".to_owned())]);
        assert_eq!(headers(Some(given.clone()), Some("k")), given);
        assert_eq!(headers(None, Some("k")).len(), 2);
        assert_eq!(headers(Some(BTreeMap::new()), Some("k")).len(), 2);
        assert!(headers(None, None).is_empty());
    }
}
