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
    /// One asks anew at a time.
    renewing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    absent: HashMap<Name, Instant>,
    /// When the account was last asked about each object that is known.
    learned: HashMap<Name, Instant>,
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
        let (ask, changed): (Vec<Name>, HashSet<Name>) = {
            let mut state = self.state();
            state.absent.retain(|_, since| since.elapsed() < ABSENT);
            let ask: Vec<Name> =
                names.iter().filter(|name| !state.absent.contains_key(name)).cloned().collect();
            let changed =
                ask.iter().filter(|name| state.changed.contains(*name)).cloned().collect();
            (ask, changed)
        };
        let refresh = !changed.is_empty();
        for batch in ask.chunks(BATCH) {
            let question = CatalogAsk { names: batch.iter().map(word).collect(), refresh };
            let answer = operator.catalog(session, &question).await?;
            let found: Vec<Object> = answer.objects.into_iter().map(object).collect();
            let mut state = self.state();
            let now = Instant::now();
            state.learned.extend(found.iter().map(|object| (object.name.clone(), now)));
            for name in batch {
                // What changed while the question was on its way is to be read once more.
                if changed.contains(name) {
                    state.changed.remove(name);
                }
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

    /// Asks anew for what was learned longer ago than that: other ways lead to the account than through here.
    pub(crate) async fn renew(
        &self,
        operator: &Operator,
        session: &str,
        age: Duration,
    ) -> Result<(), CallError> {
        let Ok(_one) = self.renewing.try_lock() else { return Ok(()) };
        let aged: Vec<Name> = {
            let state = self.state();
            let aged = state.learned.iter().filter(|(_, since)| since.elapsed() >= age);
            aged.map(|(name, _)| name.clone()).collect()
        };
        for batch in aged.chunks(BATCH) {
            let question = CatalogAsk { names: batch.iter().map(word).collect(), refresh: false };
            let answer = operator.catalog(session, &question).await?;
            let mut found: Vec<Object> = answer.objects.into_iter().map(object).collect();
            let mut state = self.state();
            // What was forgotten in the meantime is asked for when it is named again.
            found.retain(|object| {
                state.learned.contains_key(&object.name) && !state.changed.contains(&object.name)
            });
            for name in batch {
                state.learned.remove(name);
            }
            let now = Instant::now();
            state.learned.extend(found.iter().map(|object| (object.name.clone(), now)));
            self.known.rcu(|known| known.without(batch).with(found.clone()));
        }
        Ok(())
    }

    /// These objects may have changed; of a schema or database everything in it.
    pub(crate) fn forget(&self, names: &[Name]) {
        if names.is_empty() {
            return;
        }
        let mut state = self.state();
        let is_kept = |known: &Name| !names.iter().any(|changed| changed.holds(known));
        state.learned.retain(|known, _| is_kept(known));
        for name in names {
            state.absent.remove(name);
            if state.changed.len() < ABSENT_MOST {
                state.changed.insert(name.clone());
            }
        }
        drop(state);
        self.known.rcu(|known| {
            let kept = known.objects().filter(|object| is_kept(&object.name));
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
