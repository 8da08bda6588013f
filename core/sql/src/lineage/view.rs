//! Views: followed by their text, with their own database and schema as current.

use std::rc::Rc;
use std::sync::Arc;

use super::scope::{Ctes, Field, Fields};
use super::{Resolver, stored, unknown, unsupported};
use crate::dialect::{ast, parse_view};
use crate::{CatalogColumn, Name, Problem};

/// Views inside of views.
const LEVELS: usize = 32;

impl Resolver<'_> {
    /// The columns of a view, as its text says and under the names that the catalog says.
    pub(super) fn view(
        &mut self,
        name: &Arc<Name>,
        columns: &[CatalogColumn],
        text: &str,
    ) -> Result<Fields, Problem> {
        if self.inside.len() >= LEVELS || self.inside.contains(name) {
            return Err(unknown(&format!("view {name} is nested too deeply")));
        }
        let database = self.database.replace(name.database.clone());
        let schema = self.schema.replace(name.schema.clone());
        let defining = std::mem::take(&mut self.defining);
        self.inside.push(Arc::clone(name));
        let result = self.view_text(name, text);
        self.inside.pop();
        self.defining = defining;
        self.database = database;
        self.schema = schema;
        let mut fields = result?;
        if self.is_missing() {
            fields.resize(
                columns.len(),
                Field { name: None, provenance: super::Provenance::clean() },
            );
        }
        if fields.len() != columns.len() {
            return Err(unknown(&format!(
                "view {name} has {} columns in the catalog and {} in its text",
                columns.len(),
                fields.len()
            )));
        }
        for (field, column) in fields.iter_mut().zip(columns) {
            field.name = Some(column.name.clone());
        }
        Ok(Rc::new(fields))
    }

    fn view_text(&mut self, name: &Arc<Name>, text: &str) -> Result<Vec<Field>, Problem> {
        let not_followed = |problem: Problem| {
            unknown(&format!("the text of view {name} is not understood ({})", problem.message))
        };
        let statement = parse_view(text).map_err(not_followed)?;
        let (query, names) = match &statement {
            ast::Statement::Query(query) => (query, Vec::new()),
            ast::Statement::CreateView(view) => {
                let mut names = Vec::with_capacity(view.columns.len());
                for column in &view.columns {
                    names.push(stored(&column.name)?);
                }
                (&view.query, names)
            }
            _ => return Err(unsupported("a view whose text is not a query")),
        };
        let fields = self.query(query, &Ctes::default(), None).map_err(not_followed)?;
        super::query::rename(fields, &names)
    }
}
