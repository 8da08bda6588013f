//! INFORMATION_SCHEMA: what shows names and types only.

use std::rc::Rc;
use std::sync::Arc;

use super::provenance::Provenance;
use super::scope::{Field, Fields};
use super::{Resolver, unsupported};
use crate::{Access, Name, Problem, Touch};

/// Views and tables of INFORMATION_SCHEMA that show names and types only, with their columns. Others (histories,
/// privileges) are refused.
const METADATA: &[(&str, &[&str])] = &[
    (
        "TABLES",
        &[
            "TABLE_CATALOG",
            "TABLE_SCHEMA",
            "TABLE_NAME",
            "TABLE_OWNER",
            "TABLE_TYPE",
            "IS_TRANSIENT",
            "CLUSTERING_KEY",
            "ROW_COUNT",
            "BYTES",
            "RETENTION_TIME",
            "SELF_REFERENCING_COLUMN_NAME",
            "REFERENCE_GENERATION",
            "USER_DEFINED_TYPE_CATALOG",
            "USER_DEFINED_TYPE_SCHEMA",
            "USER_DEFINED_TYPE_NAME",
            "IS_INSERTABLE_INTO",
            "IS_TYPED",
            "COMMIT_ACTION",
            "CREATED",
            "LAST_ALTERED",
            "LAST_DDL",
            "LAST_DDL_BY",
            "AUTO_CLUSTERING_ON",
            "COMMENT",
            "IS_TEMPORARY",
            "IS_ICEBERG",
            "IS_DYNAMIC",
            "IS_IMMUTABLE",
            "IS_HYBRID",
        ],
    ),
    (
        "COLUMNS",
        &[
            "TABLE_CATALOG",
            "TABLE_SCHEMA",
            "TABLE_NAME",
            "COLUMN_NAME",
            "ORDINAL_POSITION",
            "COLUMN_DEFAULT",
            "IS_NULLABLE",
            "DATA_TYPE",
            "CHARACTER_MAXIMUM_LENGTH",
            "CHARACTER_OCTET_LENGTH",
            "NUMERIC_PRECISION",
            "NUMERIC_PRECISION_RADIX",
            "NUMERIC_SCALE",
            "DATETIME_PRECISION",
            "INTERVAL_TYPE",
            "INTERVAL_PRECISION",
            "CHARACTER_SET_CATALOG",
            "CHARACTER_SET_SCHEMA",
            "CHARACTER_SET_NAME",
            "COLLATION_CATALOG",
            "COLLATION_SCHEMA",
            "COLLATION_NAME",
            "DOMAIN_CATALOG",
            "DOMAIN_SCHEMA",
            "DOMAIN_NAME",
            "UDT_CATALOG",
            "UDT_SCHEMA",
            "UDT_NAME",
            "SCOPE_CATALOG",
            "SCOPE_SCHEMA",
            "SCOPE_NAME",
            "MAXIMUM_CARDINALITY",
            "DTD_IDENTIFIER",
            "IS_SELF_REFERENCING",
            "IS_IDENTITY",
            "IDENTITY_GENERATION",
            "IDENTITY_START",
            "IDENTITY_INCREMENT",
            "IDENTITY_MAXIMUM",
            "IDENTITY_MINIMUM",
            "IDENTITY_CYCLE",
            "IDENTITY_ORDERED",
            "COMMENT",
        ],
    ),
    (
        "SCHEMATA",
        &[
            "CATALOG_NAME",
            "SCHEMA_NAME",
            "SCHEMA_OWNER",
            "IS_TRANSIENT",
            "IS_MANAGED_ACCESS",
            "RETENTION_TIME",
            "DEFAULT_CHARACTER_SET_CATALOG",
            "DEFAULT_CHARACTER_SET_SCHEMA",
            "DEFAULT_CHARACTER_SET_NAME",
            "SQL_PATH",
            "CREATED",
            "LAST_ALTERED",
            "COMMENT",
        ],
    ),
    (
        "VIEWS",
        &[
            "TABLE_CATALOG",
            "TABLE_SCHEMA",
            "TABLE_NAME",
            "TABLE_OWNER",
            "VIEW_DEFINITION",
            "CHECK_OPTION",
            "IS_UPDATABLE",
            "INSERTABLE_INTO",
            "IS_SECURE",
            "CREATED",
            "LAST_ALTERED",
            "LAST_DDL",
            "LAST_DDL_BY",
            "COMMENT",
        ],
    ),
];

impl Resolver<'_> {
    /// The columns of one of them.
    pub(super) fn metadata(&mut self, name: Name) -> Result<Fields, Problem> {
        let Some((_, columns)) = METADATA.iter().find(|(view, _)| *view == name.object) else {
            return Err(unsupported(&format!(
                "INFORMATION_SCHEMA.{} (TABLES, COLUMNS, SCHEMATA and VIEWS are)",
                name.object
            )));
        };
        self.touches.insert(Touch {
            name: Arc::new(name),
            access: Access::Read,
            metadata: true,
            opaque: false,
            through: self.inside.first().cloned(),
        });
        let field = |column: &&str| Field {
            name: Some((*column).to_owned()),
            provenance: Provenance::clean(),
        };
        Ok(Rc::new(columns.iter().map(field).collect()))
    }
}
