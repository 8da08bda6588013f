//! Spellings that only Snowflake has mean what their plain forms mean, and chains mean what their last statement shows.

use sql::{Analysis, Catalog, CatalogColumn, Definition, Lineage, Name, Object, Session, analyze};

fn understood(text: &str) -> Analysis {
    let column = |name: &str| CatalogColumn { name: name.into(), data_type: "TEXT".into() };
    let catalog = Catalog::new(["T", "U"].map(|table| Object {
        name: Name::new("D", "S", table),
        columns: ["A", "B", "C"].map(column).to_vec(),
        definition: Definition::Table,
    }));
    let session =
        Session { database: Some("D".into()), schema: Some("S".into()), ..Session::default() };
    analyze(text, &session, &catalog)
}

#[test]
fn each_spelling_is_analyzed_as_its_plain_form() {
    let pairs = [
        ("SELECT {*} FROM t", "SELECT OBJECT_CONSTRUCT(*) FROM t"),
        ("SELECT {t.*} AS o, u.a FROM t, u", "SELECT OBJECT_CONSTRUCT(t.*) AS o, u.a FROM t, u"),
        ("SELECT {* EXCLUDE (a, b)} FROM t", "SELECT OBJECT_CONSTRUCT(* EXCLUDE (a, b)) FROM t"),
        ("SELECT {* ILIKE 'a%'} FROM t", "SELECT OBJECT_CONSTRUCT(* ILIKE 'a%') FROM t"),
        ("SELECT {'k': b} AS o FROM t", "SELECT OBJECT_CONSTRUCT('k', b) AS o FROM t"),
        (
            "SELECT t.a FROM t INNER DIRECTED JOIN u ON t.b = u.b",
            "SELECT t.a FROM t JOIN u ON t.b = u.b",
        ),
        (
            "SELECT t.a FROM t LEFT OUTER DIRECTED JOIN u USING (b)",
            "SELECT t.a FROM t LEFT JOIN u USING (b)",
        ),
        ("SELECT DATE_PART(year FROM b) AS y FROM t", "SELECT DATE_PART(year, b) AS y FROM t"),
        ("SELECT DATE_PART('year' FROM b) AS y FROM t", "SELECT DATE_PART('year', b) AS y FROM t"),
        (
            "SELECT b::TIMESTAMP WITH LOCAL TIME ZONE AS x FROM t",
            "SELECT b::TIMESTAMP WITH TIME ZONE AS x FROM t",
        ),
        ("SELECT CAST(b AS ARRAY(INT)) AS x FROM t", "SELECT CAST(b AS ARRAY) AS x FROM t"),
        (
            "SELECT b::OBJECT(a INT, c ARRAY(VARCHAR(3)))  AS x FROM t",
            "SELECT b::OBJECT AS x FROM t",
        ),
        (
            "SELECT CAST(b AS OBJECT(a INT) RENAME FIELDS ADD FIELDS) AS x FROM t",
            "SELECT CAST(b AS OBJECT) AS x FROM t",
        ),
        (
            "SELECT NTH_VALUE(b, 2) FROM FIRST IGNORE NULLS OVER (PARTITION BY a ORDER BY c) AS x FROM t",
            "SELECT NTH_VALUE(b, 2) IGNORE NULLS OVER (PARTITION BY a ORDER BY c) AS x FROM t",
        ),
        (
            "WITH q (SELECT b AS x FROM t) SELECT x FROM q",
            "WITH q AS (SELECT b AS x FROM t) SELECT x FROM q",
        ),
        ("SELECT b FROM TABLE('t') TABLESAMPLE BERNOULLI (20.3)", "SELECT b FROM t"),
        (
            "SELECT id FROM t MATCH_RECOGNIZE (PARTITION BY a ORDER BY b MEASURES FINAL LAST(c) AS id, RUNNING MAX(c) AS m \
             ONE ROW PER MATCH PATTERN (^ x+ $) DEFINE x AS c > 'k')",
            "SELECT id FROM t MATCH_RECOGNIZE (PARTITION BY a ORDER BY b MEASURES LAST(c) AS id, MAX(c) AS m \
             ONE ROW PER MATCH PATTERN (^ x+ $) DEFINE x AS c > 'k')",
        ),
        (
            "SELECT a, PRIOR b AS p FROM t START WITH a = 'x' CONNECT BY PRIOR a = c",
            "SELECT a, CONNECT_BY_ROOT b AS p FROM t START WITH a = 'x' CONNECT BY PRIOR a = c",
        ),
        ("SELECT IDENTIFIER('upper')(b) AS x FROM t", "SELECT UPPER(b) AS x FROM t"),
        ("SELECT IDENTIFIER('d.s.secret')(b) AS x FROM t", "SELECT d.s.secret(b) AS x FROM t"),
        (
            "WITH p AS (SELECT a FROM t), q (SELECT b AS x FROM t) SELECT x FROM q",
            "WITH p AS (SELECT a FROM t), q AS (SELECT b AS x FROM t) SELECT x FROM q",
        ),
        ("SELECT * ILIKE '%' EXCLUDE (b, c) FROM t", "SELECT * EXCLUDE (b, c) FROM t"),
        (
            "SELECT t.* ILIKE '%' EXCLUDE c RENAME a AS x FROM t, u",
            "SELECT t.* EXCLUDE c RENAME a AS x FROM t, u",
        ),
        (
            "SELECT {t.* ILIKE 'b%'} AS o FROM t, u",
            "SELECT OBJECT_CONSTRUCT('B', t.b, 'B', t.b) AS o FROM t, u",
        ),
        ("SELECT HASH(d.s.t.* EXCLUDE (a, c)) AS o FROM t, u", "SELECT HASH(t.b) AS o FROM t, u"),
        (
            "SELECT COUNT(b, c) FILTER (WHERE a = 'x') AS n FROM t",
            "SELECT COUNT(IFF(a = 'x', b, c)) AS n FROM t",
        ),
        ("SELECT a FROM (SELECT b AS a FROM t) SAMPLE (10) SEED (3)", "SELECT b AS a FROM t"),
        (
            "SELECT at.a, before.b FROM d.s.t at JOIN u before WHERE at.c = before.c",
            "SELECT x.a, y.b FROM t AS x JOIN u AS y WHERE x.c = y.c",
        ),
        // What only looks alike stays what it is.
        ("SELECT x.a FROM t AT (OFFSET => -60) x", "SELECT a FROM t"),
        ("SELECT at, changes FROM (SELECT a AS at, b AS changes FROM t)", "SELECT a, b FROM t"),
        (
            "SELECT b || c AS x, FILTER(c, v -> v IS NULL) AS y FROM t",
            "SELECT CONCAT(b, c) AS x, CONCAT(c, '') AS y FROM t",
        ),
        ("SELECT a AS directed, b FROM t", "SELECT a AS x, b FROM t"),
        ("SELECT CAST(a AS VARCHAR) AS array, b AS object FROM t", "SELECT a::TEXT, b FROM t"),
    ];
    for (spelled, plain) in pairs {
        let (spelled_as, plainly) = (understood(spelled), understood(plain));
        assert_eq!(spelled_as.problem, None, "{spelled}");
        assert!(spelled_as.parsed, "{spelled}");
        let sources = |analysis: &Analysis| match &analysis.lineage {
            Lineage::Columns(outputs) => {
                outputs.iter().map(|output| output.sources.clone()).collect::<Vec<_>>()
            }
            other => panic!("{spelled}: {other:?}"),
        };
        assert_eq!(sources(&spelled_as), sources(&plainly), "{spelled}");
        assert_eq!(spelled_as.uses, plainly.uses, "{spelled}");
        assert_eq!(spelled_as.functions, plainly.functions, "{spelled}");
        assert_eq!(spelled_as.objects, plainly.objects, "{spelled}");
    }
}

#[test]
fn a_chain_of_queries_is_a_row_of_common_table_expressions() {
    let pairs = [
        ("SELECT a, b FROM t ->> SELECT b FROM $1", "SELECT b FROM (SELECT a, b FROM t)"),
        (
            "SELECT a FROM t ->> SELECT b FROM u ->> SELECT * FROM $1 JOIN $2",
            "SELECT * FROM (SELECT b FROM u) JOIN (SELECT a FROM t)",
        ),
        ("SELECT a, b FROM t ->> SELECT $2 FROM $1", "SELECT $2 FROM (SELECT a, b FROM t)"),
        (
            "SELECT a, b FROM t WHERE c > 1 ->> SELECT a FROM $1 ORDER BY b",
            "SELECT a FROM (SELECT a, b FROM t WHERE c > 1) ORDER BY b",
        ),
    ];
    for (chain, nested) in pairs {
        let (chained, nested) = (understood(chain), understood(nested));
        assert_eq!(chained.problem, None, "{chain}");
        assert_eq!(chained.lineage, nested.lineage, "{chain}");
        assert_eq!((chained.uses, chained.objects), (nested.uses, nested.objects), "{chain}");
    }
}

#[test]
fn a_chain_behind_a_listing_shows_only_the_listing() {
    let good = [
        "SHOW TABLES ->> SELECT \"name\", \"rows\" FROM $1 WHERE \"rows\" > 10 ORDER BY \"name\"",
        "SHOW TERSE SCHEMAS IN DATABASE d ->> SELECT * FROM $1",
        "DESCRIBE TABLE t ->> SELECT COUNT(*) FROM $1",
        "SHOW TABLES ->> SHOW VIEWS ->> SELECT * FROM $2",
        "SELECT 1 AS one ->> SHOW TABLES",
    ];
    for text in good {
        let analysis = understood(text);
        assert_eq!((analysis.problem, &analysis.lineage), (None, &Lineage::Metadata), "{text}");
        assert!(analysis.parsed, "{text}");
    }
    let bad = [
        "SHOW TABLES ->> SELECT t.b FROM $1, t",
        "SHOW TABLES ->> SELECT (SELECT MAX(b) FROM t) FROM $1",
        "SELECT b FROM t ->> SHOW TABLES ->> SELECT * FROM $2",
        "SHOW TABLES ->> SELECT * FROM $2",
        "SHOW TABLES ->> INSERT INTO t SELECT * FROM $1",
        "SHOW TABLES ->> DROP TABLE t",
        "SHOW TABLES ->>",
        "->> SELECT 1",
        "SELECT 1 - >> SELECT 2",
        "SELECT * FROM $1",
    ];
    for text in bad {
        assert!(understood(text).problem.is_some(), "{text}");
    }
}

#[test]
fn a_chain_counts_as_everything_in_it() {
    let kinds = [
        ("SHOW TABLES ->> SELECT * FROM $1", "Show+Select Read"),
        ("SHOW TABLES ->> DROP TABLE t", "DropTable Define"),
        ("SELECT 1 ->> INSERT INTO t SELECT * FROM $1", "Insert Write"),
        ("SELECT 1 ->> CALL p()", "Call Opaque"),
        ("SELECT 1; DROP USER u", "DropUser Administer"),
        ("EXPLAIN SELECT 1 ->> DELETE FROM t", "Delete Write"),
        ("WITH q AS (SELECT 1) INSERT INTO t SELECT * FROM q", "Insert Write"),
        ("WITH q AS (DELETE FROM t) SELECT 1", "Unknown Opaque"),
        ("SELECT * FROM (UPDATE t SET a = 1)", "Unknown Opaque"),
        ("SELECT INSERT(a, 1, 1, 'x') FROM t", "Select Read"),
    ];
    for (text, expected) in kinds {
        let analysis = understood(text);
        let words: Vec<String> = analysis.words.iter().map(ToString::to_string).collect();
        assert_eq!(format!("{} {}", words.join("+"), analysis.effect), expected, "{text}");
    }
}

#[test]
fn a_hexadecimal_literal_is_a_constant_and_nothing_else_may_look_like_one() {
    for text in ["SELECT x'0aFF' AS h FROM t", "SELECT X'' AS h FROM t"] {
        let analysis = understood(text);
        assert_eq!(analysis.problem, None, "{text}");
        let Lineage::Columns(outputs) = analysis.lineage else { panic!("{text}") };
        assert!(outputs[0].sources.is_empty(), "{text}");
    }
    for text in [
        "SELECT x'0a''ff'",
        "SELECT x'0g'",
        "SELECT x'abc'",
        "SELECT n'ab'",
        "SELECT xx'ab'",
        "SELECT x'ab",
    ] {
        assert!(understood(text).problem.is_some(), "{text}");
    }
}
