//! The tables, views and columns of the account, as far as they are known.

use std::collections::HashMap;
use std::sync::Arc;

use crate::Name;

/// The objects of the account; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    objects: Arc<HashMap<Name, Arc<Object>>>,
}

/// One table or view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its name.
    pub name: Name,
    /// Its columns in order.
    pub columns: Vec<CatalogColumn>,
    /// What its rows are made of.
    pub definition: Definition,
}

/// What an object's rows are made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Definition {
    /// Its own rows.
    Table,
    /// The view's text, either the query or the whole `CREATE VIEW` statement.
    View(String),
    /// A view whose text nobody may read: its columns are its own, and it is refused where masks could hide behind it.
    Opaque,
}

/// One column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogColumn {
    /// Name as stored.
    pub name: String,
    /// Type as `INFORMATION_SCHEMA.COLUMNS.DATA_TYPE` says it.
    pub data_type: String,
}

impl Catalog {
    /// A catalog of these objects; of two with one name the later counts.
    pub fn new(objects: impl IntoIterator<Item = Object>) -> Self {
        let objects =
            objects.into_iter().map(|object| (object.name.clone(), Arc::new(object))).collect();
        Self { objects: Arc::new(objects) }
    }

    /// This catalog with more objects.
    #[must_use]
    pub fn with(&self, objects: impl IntoIterator<Item = Object>) -> Self {
        let mut all = HashMap::clone(&self.objects);
        all.extend(objects.into_iter().map(|object| (object.name.clone(), Arc::new(object))));
        Self { objects: Arc::new(all) }
    }

    /// This catalog without some objects.
    #[must_use]
    pub fn without<'a>(&self, names: impl IntoIterator<Item = &'a Name>) -> Self {
        let mut all = HashMap::clone(&self.objects);
        for name in names {
            all.remove(name);
        }
        Self { objects: Arc::new(all) }
    }

    /// The object of that name.
    #[must_use]
    pub fn get(&self, name: &Name) -> Option<&Arc<Object>> {
        self.objects.get(name)
    }

    /// Every object, in no order.
    pub fn objects(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.objects.values()
    }
}
