//! What is known of the account's objects, learned from the operator as statements name them.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use control::{CatalogAsk, CatalogName, CatalogObject};
use sql::{CatalogColumn, Definition, Name, Object};
use tokio::time::Instant;

use crate::operator::{CallError, Operator};

/// A name that did not exist is not asked for again within this time.
const ABSENT: Duration = Duration::from_secs(5);
/// Names per question.
const BATCH: usize = 256;
/// Names that are remembered as absent.
const ABSENT_MOST: usize = 4096;

/// The catalog as far as it is known.
#[derive(Default)]
pub(crate) struct Catalog {
    known: ArcSwap<sql::Catalog>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    absent: HashMap<Name, Instant>,
    /// Names that changed: the operator is asked to read them anew.
    changed: HashSet<Name>,
}

impl Catalog {
    /// What is known now.
    pub(crate) fn known(&self) -> sql::Catalog {
        sql::Catalog::clone(&self.known.load())
    }

    /// Asks for the names; those that do not exist stay unknown.
    pub(crate) async fn learn(
        &self,
        operator: &Operator,
        session: &str,
        names: &BTreeSet<Name>,
    ) -> Result<(), CallError> {
        let (ask, refresh): (Vec<Name>, bool) = {
            let mut state = self.state();
            state.absent.retain(|_, since| since.elapsed() < ABSENT);
            let ask: Vec<Name> =
                names.iter().filter(|name| !state.absent.contains_key(name)).cloned().collect();
            let refresh = ask.iter().any(|name| state.changed.contains(name));
            (ask, refresh)
        };
        for batch in ask.chunks(BATCH) {
            let question = CatalogAsk { names: batch.iter().map(word).collect(), refresh };
            let answer = operator.catalog(session, &question).await?;
            let found: Vec<Object> = answer.objects.into_iter().map(object).collect();
            let mut state = self.state();
            for name in batch {
                state.changed.remove(name);
                if state.absent.len() < ABSENT_MOST
                    && !found.iter().any(|object| object.name == *name)
                {
                    state.absent.insert(name.clone(), Instant::now());
                }
            }
            drop(state);
            self.known.rcu(|known| known.with(found.clone()));
        }
        Ok(())
    }

    /// These objects may have changed.
    pub(crate) fn forget(&self, names: &[Name]) {
        if names.is_empty() {
            return;
        }
        let mut state = self.state();
        for name in names {
            state.absent.remove(name);
            if state.changed.len() < ABSENT_MOST {
                state.changed.insert(name.clone());
            }
        }
        drop(state);
        self.known.rcu(|known| {
            let kept = known.objects().filter(|object| !names.contains(&object.name));
            sql::Catalog::new(kept.map(|object| Object::clone(object)))
        });
    }

    /// Everything may have changed.
    pub(crate) fn forget_all(&self) {
        self.known.store(std::sync::Arc::default());
        *self.state() = State::default();
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn word(name: &Name) -> CatalogName {
    CatalogName {
        database: name.database.clone(),
        schema: name.schema.clone(),
        name: name.object.clone(),
    }
}

fn object(object: CatalogObject) -> Object {
    let CatalogName { database, schema, name } = object.name;
    Object {
        name: Name::new(database, schema, name),
        columns: object
            .columns
            .into_iter()
            .map(|column| CatalogColumn { name: column.name, data_type: column.data_type })
            .collect(),
        definition: match (object.opaque, object.view) {
            (true, _) => Definition::Opaque,
            (false, Some(text)) => Definition::View(text),
            (false, None) => Definition::Table,
        },
    }
}
