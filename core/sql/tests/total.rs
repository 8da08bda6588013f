//! Whatever the text, an analysis comes back: no panic, no overflow, and never a read that is not one.

use proptest::prelude::*;
use sql::{
    Catalog, CatalogColumn, Definition, Effect, Name, Object, Reason, Session, Word, analyze,
};

fn catalog() -> Catalog {
    let column = |name: &str| CatalogColumn { name: name.into(), data_type: "TEXT".into() };
    Catalog::new(["T", "U"].map(|table| Object {
        name: Name::new("D", "S", table),
        columns: ["A", "B", "C"].map(column).to_vec(),
        definition: Definition::Table,
    }))
}

fn session() -> Session {
    Session { database: Some("D".into()), schema: Some("S".into()), ..Session::default() }
}

/// Words and signs of which texts are made that come far into the parser.
const PIECES: &[&str] = &[
    "SELECT", "FROM", "WHERE", "t", "u", "a", "b", "*", ",", "(", ")", "=", "1", "'x'", "\"A\"",
    "AND", "OR", "NOT", "JOIN", "ON", "USING", "UNION", "ALL", "WITH", "AS", "q", "CASE", "WHEN",
    "THEN", "END", "::", "INT", ":", ".", "[", "]", "COUNT", "MAX", "OVER", "ORDER", "BY", "GROUP",
    "LATERAL", "FLATTEN", "=>", "->", "EXCLUDE", "PIVOT", "FOR", "IN", "INSERT", "INTO", "VALUES",
    "UPDATE", "SET", "DELETE", "MERGE", "CREATE", "TABLE", "VIEW", "DROP", "$1", "?", "$$x$$",
    "--", "\n", "/*", "*/", ";", "@", "SHOW", "DESC", "EXPLAIN", "BEGIN", "#", "`", "é", "\r",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_analyzed(text in any::<String>()) {
        let _ = analyze(&text, &session(), &catalog());
    }

    #[test]
    fn any_bytes_that_are_text_are_analyzed(text in "[\\x00-\\x7f'\"$/*\\\\\u{85}\u{2028}ä-]{0,60}") {
        let _ = analyze(&text, &session(), &catalog());
    }

    #[test]
    fn any_row_of_sql_words_is_analyzed(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..40)) {
        let text = pieces.join(" ");
        let analysis = analyze(&text, &session(), &catalog());
        // What is understood as a read begins like one.
        if analysis.problem.is_none() && analysis.effect == Effect::Read {
            let first = text
                .trim_start_matches(|c: char| c == '(' || c.is_whitespace())
                .to_ascii_uppercase();
            let is_read = ["SELECT", "WITH", "VALUES", "SHOW", "DESC", "EXPLAIN", "--", "/*"]
                .iter()
                .any(|word| first.starts_with(word));
            prop_assert!(is_read, "{text}");
        }
    }
}

#[test]
fn deep_and_long_texts_are_refused_before_they_are_parsed() {
    let many = |piece: &str, count: usize| piece.repeat(count);
    let texts = [
        format!("SELECT {}1{}", many("(", 60_000), many(")", 60_000)),
        format!("SELECT 1{}", many("+1", 60_000)),
        format!("SELECT a FROM t WHERE a=1{}", many(" AND a=1", 60_000)),
        format!("SELECT {}1{}", many("CASE WHEN 1=1 THEN ", 20_000), many(" END", 20_000)),
        format!("SELECT 1{}", many("::INT", 60_000)),
        format!("SELECT a{} FROM t", many(":x", 60_000)),
        format!("SELECT a{} FROM t", many("[0]", 60_000)),
        format!("SELECT 1{}", many(" UNION ALL SELECT 1", 20_000)),
        format!("SELECT {}TRUE", many("NOT ", 60_000)),
        format!("SELECT 1{}", many(" + CASE WHEN 1=1 THEN 1 END", 20_000)),
        format!("SELECT 1{}", many(" + values", 60_000)),
        format!("SELECT * FROM t{}", many(" JOIN t", 60_000)),
        many("(", 300_000),
        many("x", 2_000_000),
    ];
    for text in texts {
        let analysis = analyze(&text, &session(), &catalog());
        let reason = analysis.problem.map(|problem| problem.reason);
        assert!(
            matches!(reason, Some(Reason::Limit | Reason::Syntax)),
            "{:?} for {}...",
            reason,
            &text[..60]
        );
    }
}

#[test]
fn short_texts_with_columns_without_end_are_refused() {
    let doubled = |text: String, level: usize| {
        format!("{text}, a{level} AS (SELECT x.*, y.* FROM a{0} x, a{0} y)", level - 1)
    };
    let begin = "WITH a0 AS (SELECT * FROM t)".to_owned();
    let columns = |count: usize| {
        let names: Vec<String> = (0..count).map(|index| format!("a AS c{index}")).collect();
        format!("SELECT {} FROM t", names.join(", "))
    };
    let texts = [
        format!("{} SELECT COUNT(*) FROM a40", (1..=40).fold(begin, doubled)),
        format!("SELECT {}1 FROM ({}) x", "x.*, ".repeat(20_000), columns(5_000)),
        format!("SELECT {}1 FROM ({}) x", "HASH(*), ".repeat(20_000), columns(5_000)),
        format!("SELECT 1 FROM ({0}) x NATURAL JOIN ({0}) y", columns(16_000)),
        format!("{0} UNION BY NAME {0}", columns(16_000)),
    ];
    for text in texts {
        let analysis = analyze(&text, &session(), &catalog());
        let reason = analysis.problem.map(|problem| problem.reason);
        assert_eq!(reason, Some(Reason::Limit), "{}...", &text[..60]);
    }
}

#[test]
fn texts_at_the_limits_are_analyzed_on_a_small_stack() {
    let texts = [
        format!("SELECT 1{}", "+1".repeat(490)),
        format!("SELECT a FROM t WHERE a=1{}", " AND a=1".repeat(200)),
        format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(490)),
        format!("SELECT a FROM t WHERE a IN (1{})", ",1".repeat(50_000)),
        format!("SELECT {}1{}", "(".repeat(40), ")".repeat(40)),
    ];
    std::thread::Builder::new()
        .stack_size(256 << 10)
        .spawn(move || {
            for text in texts {
                let analysis = analyze(&text, &session(), &catalog());
                assert!(analysis.problem.is_none(), "{:?}", analysis.problem);
            }
        })
        .unwrap()
        .join()
        .unwrap();
}

#[test]
fn every_word_reads_back_as_itself() {
    for word in Word::all() {
        assert_eq!(Word::parse(&word.to_string()), Some(word));
    }
    assert!(Word::all().count() > 120);
}
