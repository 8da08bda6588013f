//! Decisions as tables: `*.yaml` in this folder hold a policy, a catalog, a session and what is expected of each
//! statement.

#![expect(clippy::disallowed_methods, reason = "the tables are files")]

mod table;

use std::path::Path;

#[test]
fn every_case_of_the_tables_is_decided_as_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut wrong = Vec::new();
    let mut count = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let text = std::fs::read_to_string(&path).unwrap();
            let table: table::Table = serde_yaml::from_str(&text)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            count += table.cases.len();
            wrong.extend(table.run(&path.file_stem().unwrap().to_string_lossy()));
        }
    }
    assert!(count > 100, "only {count} cases were found");
    assert!(wrong.is_empty(), "{} of {count} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
