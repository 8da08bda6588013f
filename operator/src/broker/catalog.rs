//! What the account has: columns, views and their texts, read by name and remembered for a while.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use control::{CatalogColumn, CatalogName, CatalogObject};
use snowflake::table::Table;
use tokio::time::Instant;

use super::account::{Account, Error};
use super::statement;
use crate::objects::Objects;

/// Names per statement: keeps its text and its result small.
const BATCH: usize = 64;
/// That a name does not exist is believed no longer than this: somebody may be creating it.
const MISSING_FOR: Duration = Duration::from_secs(15);
/// More than this is forgotten, the oldest first.
const REMEMBERED_MAX: usize = 20_000;

/// What a read gave.
#[derive(Clone, Debug)]
pub struct Read {
    /// The objects that exist.
    pub objects: Vec<CatalogObject>,
    /// Whether anything was found to be other than remembered.
    pub changed: bool,
}

/// What is remembered of one connection.
#[derive(Default)]
pub(super) struct Memory {
    known: Mutex<HashMap<CatalogName, Known>>,
    /// Held while reading: those who need the same names wait for one read.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Known {
    at: Instant,
    object: Option<CatalogObject>,
}

impl Memory {
    /// The objects among `names`, read where they are not remembered, too old, or `refresh` says so.
    pub(super) async fn read(
        &self,
        account: &Account,
        objects: &dyn Objects,
        names: &[CatalogName],
        believed: Duration,
        refresh: bool,
    ) -> Result<Read, Error> {
        let asked = Instant::now();
        let names: BTreeSet<&CatalogName> = names.iter().collect();
        let mut changed = false;
        if !self.unknown(&names, believed, refresh.then_some(asked)).is_empty() {
            let _turn = self.turn.lock().await;
            // Somebody else may have read them while this one waited, even for a refresh.
            let wanted = self.unknown(&names, believed, refresh.then_some(asked));
            for (database, members) in by_database(&wanted) {
                for batch in members.chunks(BATCH) {
                    let found = fetch(account, objects, database, batch).await?;
                    changed |= self.remember(batch, found);
                }
            }
        }
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let objects =
            names.into_iter().filter_map(|name| known.get(name)?.object.clone()).collect();
        Ok(Read { objects, changed })
    }

    /// The names that must be read.
    fn unknown<'a>(
        &self,
        names: &BTreeSet<&'a CatalogName>,
        believed: Duration,
        not_before: Option<Instant>,
    ) -> Vec<&'a CatalogName> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let good = |known: &Known| {
            let believed =
                if known.object.is_some() { believed } else { believed.min(MISSING_FOR) };
            known.at.elapsed() < believed && not_before.is_none_or(|moment| known.at >= moment)
        };
        names.iter().copied().filter(|name| !known.get(name).is_some_and(good)).collect()
    }

    /// Remembers what was found of the batch; whether it differs from what was known.
    fn remember(
        &self,
        batch: &[&CatalogName],
        mut found: BTreeMap<CatalogName, CatalogObject>,
    ) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = false;
        for name in batch {
            let now = Known { at: Instant::now(), object: found.remove(*name) };
            let before = known.insert((*name).clone(), now.clone());
            changed |= before.is_some_and(|before| before.object != now.object);
        }
        if known.len() > REMEMBERED_MAX {
            let mut times: Vec<Instant> = known.values().map(|known| known.at).collect();
            times.sort_unstable();
            let middle = times[times.len() / 2];
            known.retain(|_, known| known.at >= middle);
        }
        changed
    }
}

fn by_database<'a>(names: &[&'a CatalogName]) -> BTreeMap<&'a str, Vec<&'a CatalogName>> {
    let mut databases = BTreeMap::<_, Vec<_>>::new();
    for name in names {
        databases.entry(name.database.as_str()).or_default().push(*name);
    }
    databases
}

async fn fetch(
    account: &Account,
    objects: &dyn Objects,
    database: &str,
    batch: &[&CatalogName],
) -> Result<BTreeMap<CatalogName, CatalogObject>, Error> {
    let pairs: Vec<(&str, &str)> =
        batch.iter().map(|name| (name.schema.as_str(), name.name.as_str())).collect();
    let columns = match account.execute(objects, &statement::columns(database, &pairs)).await {
        Ok(columns) => columns,
        // A database that the catalog's role does not see has no objects for anybody.
        Err(error) if error.says_missing() => return Ok(BTreeMap::new()),
        Err(error) => return Err(error),
    };
    let tables = account.execute(objects, &statement::tables(database, &pairs)).await?;
    let views = account.execute(objects, &statement::views(database, &pairs)).await?;
    Ok(assemble(database, &columns, &tables, &views))
}

/// Puts the three results together. What is some kind of view and shows no text is opaque.
fn assemble(
    database: &str,
    columns: &Table,
    tables: &Table,
    views: &Table,
) -> BTreeMap<CatalogName, CatalogObject> {
    let name = |row: &HashMap<String, &str>| {
        Some(CatalogName {
            database: database.to_owned(),
            schema: (*row.get("table_schema")?).to_owned(),
            name: (*row.get("table_name")?).to_owned(),
        })
    };
    let mut found = BTreeMap::new();
    for row in columns.named() {
        let (Some(name), Some(column)) = (name(&row), row.get("column_name")) else { continue };
        let object = found.entry(name.clone()).or_insert_with(|| CatalogObject {
            name,
            columns: Vec::new(),
            view: None,
            opaque: false,
        });
        object.columns.push(CatalogColumn {
            name: (*column).to_owned(),
            data_type: row.get("data_type").copied().unwrap_or_default().to_owned(),
        });
    }
    for row in tables.named() {
        let kind = row.get("table_type").copied().unwrap_or_default();
        if let Some(object) = name(&row).and_then(|name| found.get_mut(&name)) {
            object.opaque = kind.to_ascii_uppercase().contains("VIEW");
        }
    }
    for row in views.named() {
        let Some(object) = name(&row).and_then(|name| found.get_mut(&name)) else { continue };
        object.view = row
            .get("view_definition")
            .filter(|text| !text.trim().is_empty())
            .map(|text| (*text).to_owned());
        object.opaque = object.view.is_none();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(columns: &[&str], rows: &[&[Option<&str>]]) -> Table {
        Table {
            columns: columns.iter().map(|&name| name.to_owned()).collect(),
            rows: rows
                .iter()
                .map(|row| row.iter().map(|cell| cell.map(str::to_owned)).collect())
                .collect(),
        }
    }

    #[test]
    fn tables_views_and_views_without_a_text_are_told_apart() {
        let (s, c) = (Some("PUBLIC"), Some("C"));
        let columns = table(
            &["TABLE_SCHEMA", "TABLE_NAME", "COLUMN_NAME", "DATA_TYPE"],
            &[
                &[s, Some("T"), c, Some("NUMBER")],
                &[s, Some("T"), Some("D"), Some("TEXT")],
                &[s, Some("V"), c, Some("TEXT")],
                &[s, Some("SECURE"), c, Some("TEXT")],
                &[s, Some("MATERIALIZED"), c, Some("TEXT")],
            ],
        );
        let tables = table(
            &["TABLE_SCHEMA", "TABLE_NAME", "TABLE_TYPE"],
            &[
                &[s, Some("T"), Some("BASE TABLE")],
                &[s, Some("V"), Some("VIEW")],
                &[s, Some("SECURE"), Some("VIEW")],
                &[s, Some("MATERIALIZED"), Some("MATERIALIZED VIEW")],
            ],
        );
        let views = table(
            &["TABLE_SCHEMA", "TABLE_NAME", "VIEW_DEFINITION"],
            &[
                &[s, Some("V"), Some("create view V as select C from T")],
                &[s, Some("SECURE"), None],
            ],
        );
        let found = assemble("DB", &columns, &tables, &views);
        let seen: Vec<_> = found
            .values()
            .map(|o| (o.name.name.as_str(), o.columns.len(), o.view.is_some(), o.opaque))
            .collect();
        let expected = [
            ("MATERIALIZED", 1, false, true),
            ("SECURE", 1, false, true),
            ("T", 2, false, false),
            ("V", 1, true, false),
        ];
        assert_eq!(seen, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_old_missing_or_doubted_is_read_again() {
        let memory = Memory::default();
        let name = |name: &str| CatalogName {
            database: "D".into(),
            schema: "S".into(),
            name: name.into(),
        };
        let (there, gone) = (name("THERE"), name("GONE"));
        let names = BTreeSet::from([&there, &gone]);
        let object =
            CatalogObject { name: there.clone(), columns: vec![], view: None, opaque: false };
        let hour = Duration::from_secs(3600);
        assert_eq!(memory.unknown(&names, hour, None).len(), 2);
        let found = BTreeMap::from([(there.clone(), object.clone())]);
        assert!(!memory.remember(&[&there, &gone], found.clone()), "nothing was known before");
        assert!(memory.unknown(&names, hour, None).is_empty());
        tokio::time::advance(MISSING_FOR).await;
        assert_eq!(memory.unknown(&names, hour, None), [&gone]);
        assert_eq!(memory.unknown(&names, hour, Some(Instant::now())).len(), 2);
        tokio::time::advance(hour).await;
        assert_eq!(memory.unknown(&names, hour, None).len(), 2);
        assert!(!memory.remember(&[&there], found));
        assert!(memory.remember(&[&there], BTreeMap::new()), "it was dropped");
    }
}
