//! A second oracle: every statement of the tables of cases runs against the stand-in account, whose masked columns hold
//! markers. Whatever is decided, no marker may reach the client, the recording, the log or the metrics, and nothing that
//! is seen may depend on which markers they are.
//!
//! It needs an environment of the stand-in account, so it runs on demand: `cargo xtask markers` names its Python in
//! `FROSTGATE_WAREHOUSE`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on fails, and says how much it tried"
)]

mod account;
mod driver;
mod gate;
mod scanner;
mod scene;
mod sessions;
mod table;
mod world;

use std::collections::{BTreeMap, BTreeSet};

use driver::Seen;
use scanner::Scanner;
use scene::Scene;
use sessions::{Ending, Sessions};
use table::Table;
use world::{NUMBERS, OTHERS, WORDS};

/// How much was tried: less than this is a hole in the net.
#[derive(Debug, Default)]
struct Count {
    statements: usize,
    refused: usize,
    /// The account's engine could not run them.
    failed: usize,
    ran: usize,
    /// The account itself shows a marker for the same text.
    telling: usize,
    ways: usize,
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stand-in account in FROSTGATE_WAREHOUSE"]
async fn no_masked_value_reaches_the_client_the_recording_the_log_or_the_metrics() {
    let scene = Scene::set();
    let scanner = Scanner::of(&[WORDS, NUMBERS]);
    let (mut leaks, mut all) = (Vec::new(), Count::default());
    for table in Table::all() {
        let count = look(&scene, &table, &scanner, &mut leaks).await;
        println!("{}: {count:?}", table.name);
        all.add(&count);
    }
    let log = scene.log.take();
    assert!(!log.is_empty(), "there is no log to look into");
    leaks.extend(scanner.find(&log).map(|around| format!("the log: {around}")));
    println!("all: {all:?}");
    // What the engine cannot run tries nothing, and what shows nothing anywhere proves nothing.
    assert!(all.ran * 10 >= (all.ran + all.failed) * 6, "too much fails: {all:?}");
    assert!(all.telling >= 250 && all.ways >= 12_000, "too little is tried: {all:?}");
    assert!(leaks.is_empty(), "{} leaks:\n{}", leaks.len(), leaks.join("\n"));
}

/// Every statement of a table, in every way, over words and over numbers.
async fn look(scene: &Scene, table: &Table, scanner: &Scanner, leaks: &mut Vec<String>) -> Count {
    let mut count = Count { statements: table.statements.len(), ..Count::default() };
    scene.lay(table, &WORDS);
    let gate = scene.gate(table, |_| {}).await;
    let mut refused = BTreeSet::new();
    for world in [WORDS, NUMBERS] {
        scene.lay(table, &world);
        let mut sessions = Sessions::open(scene, table, &gate).await;
        for sql in &table.statements {
            if refused.contains(sql) {
                continue;
            }
            let (ending, ways) = if world == WORDS {
                sessions.every_way(sql).await
            } else {
                sessions.one_way(sql).await
            };
            count.ways += ways;
            for seen in sessions.seen() {
                let around = scanner.find_in(&seen);
                leaks.extend(around.map(|around| {
                    format!("{} over {}: {sql}\n    {around}", table.name, world.word)
                }));
            }
            if world == WORDS {
                let tells = ending.is_reading() && {
                    let seen = sessions.around(sql).await;
                    scanner.find_in(&seen).is_some()
                };
                count.telling += usize::from(tells);
                match ending {
                    Ending::Refused => {
                        count.refused += 1;
                        refused.insert(sql.clone());
                    }
                    Ending::Failed => count.failed += 1,
                    Ending::Read | Ending::Wrote | Ending::Moved => count.ran += 1,
                }
            }
            sessions.restore(ending, scene, table, &world, &gate).await;
        }
    }
    let metrics = gate.metrics().await;
    leaks.extend(scanner.find(&metrics).map(|around| format!("{}: metrics: {around}", table.name)));
    for (path, bytes) in gate.end().await {
        let around = scanner.find(&bytes);
        leaks.extend(around.map(|it| format!("{}: {}: {it}", table.name, path.display())));
    }
    count
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stand-in account in FROSTGATE_WAREHOUSE"]
async fn without_masks_the_same_way_shows_every_marker_to_the_client_and_the_recording() {
    let scene = Scene::set();
    let scanner = Scanner::of(&[WORDS]);
    let table = Table::all().into_iter().find(|table| table.name == "failing").unwrap();
    scene.lay(&table, &WORDS);
    let gate = scene
        .gate(&table, |policy| {
            policy.as_mapping_mut().unwrap().remove("masking");
        })
        .await;
    let sessions = Sessions::open(&scene, &table, &gate).await;
    for column in ["ssn", "pay", "born", "doc"] {
        for sql in
            [format!("SELECT {column} FROM s"), format!("SELECT {column} FROM s WHERE id = 1")]
        {
            assert_eq!(sessions.every_way(&sql).await.0, Ending::Read);
            for seen in sessions.seen() {
                assert!(scanner.find_cell(&seen.rows).is_some(), "{sql} shows nothing");
            }
            let seen = sessions.around(&sql).await;
            assert!(scanner.find_in(&seen).is_some(), "{sql} shows nothing at the account");
        }
    }
    let sql = "SELECT ssn::NUMBER FROM s";
    assert_eq!(sessions.every_way(sql).await.0, Ending::Failed);
    for seen in sessions.seen() {
        assert!(scanner.find(&seen.bytes).is_some(), "the error does not quote a value");
    }
    let files = gate.end().await;
    let shown = files.iter().filter(|(_, bytes)| scanner.find(bytes).is_some()).count();
    assert!(shown > 10, "the recording shows markers in {shown} places only");
}

/// What a statement showed.
#[derive(PartialEq, Eq)]
struct View {
    ending: Ending,
    rows: Vec<Vec<Option<String>>>,
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stand-in account in FROSTGATE_WAREHOUSE"]
async fn what_lies_under_a_mask_changes_nothing_that_is_seen() {
    let scene = Scene::set();
    let mut different = Vec::new();
    let mut compared = 0;
    for table in Table::all() {
        scene.lay(&table, &WORDS);
        // Of other methods something stays, as was wished.
        let gate = scene
            .gate(&table, |policy| {
                let rules = policy.get_mut("masking").and_then(|rules| rules.as_sequence_mut());
                for rule in rules.into_iter().flatten() {
                    rule["method"] = serde_yaml::from_str("{type: Full}").unwrap();
                }
            })
            .await;
        let mut views: BTreeMap<&str, View> = BTreeMap::new();
        for world in [WORDS, OTHERS] {
            scene.lay(&table, &world);
            let mut sessions = Sessions::open(&scene, &table, &gate).await;
            for sql in &table.statements {
                if world == OTHERS && !views.contains_key(sql.as_str()) {
                    continue;
                }
                let approved = gate.approved();
                let (ending, _) = sessions.one_way(sql).await;
                let [seen, _] = sessions.seen();
                let view = View::of(ending, seen);
                sessions.restore(ending, &scene, &table, &world, &gate).await;
                // A human allowed the use of values; moments and samples are others each time.
                let is_free = gate.approved() > approved
                    || ["CURRENT_", "SAMPLE", "RANDOM"].iter().any(|word| sql.contains(word));
                if world == WORDS && !is_free && ending.is_reading() {
                    views.insert(sql, view);
                } else if let Some(before) = views.get(sql.as_str()) {
                    compared += 1;
                    if *before != view {
                        different.push(format!(
                            "{}: {sql}\n    {:?} {:?}\n    {:?} {:?}",
                            table.name, before.ending, before.rows, view.ending, view.rows
                        ));
                    }
                }
            }
        }
        gate.end().await;
    }
    println!("{compared} statements compared");
    assert!(compared >= 700, "only {compared} were compared");
    assert!(different.is_empty(), "{} differ:\n{}", different.len(), different.join("\n"));
}

impl View {
    /// Without the order of rows: where none was asked for, the engine's own shows nothing that the account's would.
    fn of(ending: Ending, seen: Seen) -> Self {
        let mut rows = seen.rows;
        rows.sort();
        Self { ending, rows }
    }
}

impl Count {
    fn add(&mut self, other: &Self) {
        self.statements += other.statements;
        self.refused += other.refused;
        self.failed += other.failed;
        self.ran += other.ran;
        self.telling += other.telling;
        self.ways += other.ways;
    }
}
