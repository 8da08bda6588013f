//! What of the session's state changes the meaning of a text.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::{Access, Analysis, Column, Effect, Lineage, Object, Output, Temporaries, Touch, Word};

/// The state of a session, tracked from the server's answers, never from the text of statements.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// Current database, as stored; unknown makes unqualified names unresolvable.
    pub database: Option<String>,
    /// Current schema, as stored.
    pub schema: Option<String>,
    /// Current role.
    pub role: Option<String>,
    /// Current warehouse.
    pub warehouse: Option<String>,
    /// `QUOTED_IDENTIFIERS_IGNORE_CASE` was seen true: names no longer mean what they say, so nothing is understood.
    pub ignore_case: bool,
    /// `SEARCH_PATH` was seen changed: unqualified names are not resolved.
    pub search_path: bool,
    /// Its temporary objects, from the statements that made them: no catalog has them.
    pub temporary: Temporaries,
    /// Its variables, from the statements that set them: no answer speaks of them.
    pub variables: Variables,
    /// Results that `RESULT_SCAN` reads, by the account's query id in lower case.
    pub results: Arc<BTreeMap<String, Arc<Earlier>>>,
}

impl Session {
    /// A statement is about to run: what its text says of variables and temporary objects holds from now on.
    pub fn begin(&mut self, analysis: &Analysis) {
        self.variables.follow(analysis);
        self.temporary.begin(analysis);
    }

    /// It ran, and did what its text says.
    pub fn end(&mut self, analysis: &Analysis) {
        self.temporary.end(analysis);
    }
}

/// What can be seen in the variables of a session.
///
/// Statements of one session can overlap, so nothing is ever taken back: a variable may hold whatever any statement so
/// far could have put into it. Which value that is, nobody knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables {
    /// The columns that can be seen in each.
    pub columns: BTreeMap<String, BTreeSet<Column>>,
    /// Something ran that may have set any of them to anything.
    pub lost: bool,
}

impl Variables {
    /// Takes over what a statement sets, before it runs.
    pub fn follow(&mut self, analysis: &Analysis) {
        let is_known = match analysis.word {
            Word::Set => analysis.problem.is_none(),
            word => word.effect() != Effect::Opaque,
        };
        self.lost |= !is_known;
        for (name, columns) in &analysis.sets {
            self.columns.entry(name.clone()).or_default().extend(columns.iter().cloned());
        }
    }

    /// The columns that can be seen in a variable; nothing where that is not known.
    pub(crate) fn columns(&self, name: &str) -> Option<&BTreeSet<Column>> {
        self.columns.get(name).filter(|_| !self.lost)
    }
}

/// The result of an earlier statement of the session, as far as lineage goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Earlier {
    /// Its columns: named as the account named them, each with the base columns that can be seen in it.
    pub(crate) columns: Vec<Output>,
    /// The objects it was read from: reading it again reads them.
    pub(crate) touches: Vec<Touch>,
    /// Their entries in the catalog.
    pub(crate) tables: Vec<Arc<Object>>,
}

impl Earlier {
    /// The result of a statement whose columns have these names; nothing where their source is not known.
    #[must_use]
    pub fn of<'a>(analysis: &Analysis, names: impl Iterator<Item = &'a str>) -> Option<Self> {
        let names: Vec<&str> = names.collect();
        let columns = match &analysis.lineage {
            _ if analysis.problem.is_some() => return None,
            Lineage::Unknown(_) => return None,
            Lineage::Columns(columns) if columns.len() != names.len() => return None,
            Lineage::Columns(columns) => columns.clone(),
            Lineage::Metadata => {
                let clean = Output { name: None, sources: Vec::new(), plain: false };
                vec![clean; names.len()]
            }
        };
        let named = columns.into_iter().zip(names);
        let reads = analysis.objects.iter().filter(|touch| touch.access == Access::Read);
        Some(Self {
            columns: named
                .map(|(column, name)| Output { name: Some(name.to_owned()), ..column })
                .collect(),
            touches: reads.cloned().collect(),
            tables: analysis.tables.clone(),
        })
    }
}
