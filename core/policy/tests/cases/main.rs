//! Decisions as tables: `*.yaml` in this folder hold a policy, a catalog, a session and what is expected of each
//! statement. In a folder inside of it, `setting.yaml` holds what its other files share.

#![expect(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used,
    reason = "the tables are files, and a table that cannot be read fails its test"
)]

#[path = "../written/catalog.rs"]
mod catalog;
mod fuzz;
mod table;

use std::collections::BTreeMap;
use std::path::Path;

/// Every table, by its file's name and the folder that it shares a setting in.
fn tables() -> BTreeMap<String, table::Table> {
    let mut tables = BTreeMap::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases"), "", &mut tables);
    tables
}

fn read(folder: &Path, prefix: &str, tables: &mut BTreeMap<String, table::Table>) {
    let setting = std::fs::read_to_string(folder.join("setting.yaml")).unwrap_or_default();
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let name = format!("{prefix}{}", path.file_stem().unwrap().to_string_lossy());
        if path.is_dir() {
            read(&path, &format!("{name}/"), tables);
        } else if path.extension().is_some_and(|extension| extension == "yaml")
            && !name.ends_with("setting")
        {
            let text = setting.clone() + &std::fs::read_to_string(&path).unwrap();
            let table = serde_yaml::from_str(&text)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            tables.insert(name, table);
        }
    }
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
    assert!(count > 1_000, "only {count} cases were found");
    assert!(wrong.is_empty(), "{} of {count} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
