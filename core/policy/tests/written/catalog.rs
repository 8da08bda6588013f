//! A catalog as tests write it: columns with their types by table, texts and columns of views.

use indexmap::IndexMap;
use serde::Deserialize;
use sql::{Catalog, CatalogColumn, Definition, Name, Object};

/// Columns with their types by table, in order.
pub(crate) type Tables = IndexMap<String, IndexMap<String, String>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct View {
    /// Absent for a view whose text nobody may read.
    sql: Option<String>,
    columns: Vec<String>,
}

#[expect(clippy::unwrap_used, reason = "a test ends where a name is none")]
pub(crate) fn catalog(tables: &Tables, views: &IndexMap<String, View>) -> Catalog {
    let column = |name: &String, data_type: &str| CatalogColumn {
        name: name.clone(),
        data_type: data_type.to_owned(),
    };
    let tables = tables.iter().map(|(name, columns)| Object {
        name: Name::parse(name).unwrap(),
        columns: columns.iter().map(|(name, data_type)| column(name, data_type)).collect(),
        definition: Definition::Table,
    });
    let views = views.iter().map(|(name, view)| Object {
        name: Name::parse(name).unwrap(),
        columns: view.columns.iter().map(|name| column(name, "")).collect(),
        definition: view.sql.clone().map_or(Definition::Opaque, Definition::View),
    });
    Catalog::new(tables.chain(views))
}
