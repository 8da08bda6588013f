//! Decisions as tables: `*.yaml` in this folder hold a policy, a catalog, a session and what is expected of each
//! statement.

#![expect(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used,
    reason = "the tables are files, and a table that cannot be read fails its test"
)]

mod fuzz;
mod table;

use std::collections::BTreeMap;
use std::path::Path;

/// Every table, by its file's name.
fn tables() -> BTreeMap<String, table::Table> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            let table = serde_yaml::from_str(&text)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            (path.file_stem().unwrap().to_string_lossy().into_owned(), table)
        })
        .collect()
}

fn table(name: &str) -> table::Table {
    tables().remove(name).unwrap()
}

#[test]
fn every_case_of_the_tables_is_decided_as_it_says() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for (name, table) in tables() {
        count += table.cases.len();
        wrong.extend(table.run(&name));
    }
    assert!(count > 100, "only {count} cases were found");
    assert!(wrong.is_empty(), "{} of {count} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
