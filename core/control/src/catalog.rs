//! Columns, view texts and functions of the account, read by the operator.

use serde::{Deserialize, Serialize};

/// A fully qualified name, each part as Snowflake stores it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CatalogName {
    /// Database.
    pub database: String,
    /// Schema.
    pub schema: String,
    /// Table or view.
    pub name: String,
}

/// Which objects the sidecar wants to know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CatalogAsk {
    /// Their names, at most 256.
    pub names: Vec<CatalogName>,
    /// Read the account anew instead of answering from memory (after DDL, or a mismatch of columns).
    #[serde(default)]
    pub refresh: bool,
}

/// The objects that exist; a name that is missing here does not exist for the connection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CatalogAnswer {
    /// The objects.
    pub objects: Vec<CatalogObject>,
}

/// One table or view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CatalogObject {
    /// Its name.
    pub name: CatalogName,
    /// Its columns in order.
    pub columns: Vec<CatalogColumn>,
    /// The view's text; absent for a table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub view: Option<String>,
    /// A view whose text may not be read: refused where masks apply.
    #[serde(default)]
    pub opaque: bool,
}

/// One column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CatalogColumn {
    /// Name as stored.
    pub name: String,
    /// Type as `INFORMATION_SCHEMA.COLUMNS.DATA_TYPE` says it.
    pub data_type: String,
}
