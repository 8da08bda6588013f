//! The kind and effect of statements, whether or not a parser reads them.

use sql::{Access, Catalog, CatalogColumn, Definition, Lineage, Name, Object, Session, analyze};

#[test]
fn each_statement_has_the_kind_that_its_head_says() {
    let kinds = [
        ("select 1", "Select Read"),
        ("/* c */ -- d\n SELECT 1", "Select Read"),
        ("((select 1) union (select 2))", "Select Read"),
        ("with x as (select 1) select * from x", "Select Read"),
        ("WITH p AS PROCEDURE () RETURNS INT LANGUAGE SQL AS $$ x $$ CALL p()", "Call Opaque"),
        ("insert overwrite into t select 1", "Insert+Truncate Write"),
        ("insert all into a into b select 1", "Insert Write"),
        ("create or replace temporary table x (a int)", "CreateTable+DropTable Define"),
        ("create transient table x (a int)", "CreateTable Define"),
        ("create or alter table x (a int)", "CreateTable+DropTable Define"),
        ("create or replace secure view v as select 1", "CreateView+DropView Define"),
        ("create secure recursive view v as select 1", "CreateView Define"),
        ("create materialized view v as select 1", "CreateMaterializedView Define"),
        (
            "create or replace row access policy p as (x int) returns boolean -> true",
            "CreateRowAccessPolicy+DropRowAccessPolicy Administer",
        ),
        (
            "create masking policy p as (x string) returns string -> '*'",
            "CreateMaskingPolicy Administer",
        ),
        ("create network policy p", "CreatePolicy Administer"),
        ("create storage integration i", "CreateIntegration Administer"),
        ("create function f() returns int as '1'", "CreateFunction Define"),
        ("create secure external function f() returns int as 'u'", "CreateFunction Define"),
        ("create user u", "CreateUser Administer"),
        ("create database role r", "CreateRole Administer"),
        ("create warehouse if not exists w", "CreateWarehouse Administer"),
        ("create stage s url='s3://x'", "CreateStage Define"),
        ("create frobnicator f", "CreateOther Administer"),
        ("alter session set x = 1", "AlterSession Session"),
        ("alter table t drop column c", "AlterTable+DropTable Define"),
        ("alter table t swap with u", "AlterTable+DropTable Define"),
        ("alter table t add column c int", "AlterTable Define"),
        ("alter user u set password = 'x'", "AlterUser Administer"),
        ("alter account set x = 1", "AlterAccount Administer"),
        ("drop table if exists t", "DropTable Define"),
        ("drop share s", "DropShare Administer"),
        ("undrop table t", "Undrop Define"),
        ("truncate table t", "Truncate Write"),
        ("copy into @s from t", "CopyIntoLocation Write"),
        ("copy into 's3://b/' from t", "CopyIntoLocation Write"),
        ("copy into t from @s", "CopyIntoTable Write"),
        ("copy files into @a from @b", "CopyIntoLocation Write"),
        ("put file:///tmp/x @s", "Put Write"),
        ("get @s file:///tmp", "Get Write"),
        ("ls @s", "List Read"),
        ("rm @s", "Remove Write"),
        ("grant select on t to role r", "Grant Administer"),
        ("revoke select on t from role r", "Revoke Administer"),
        ("use role r", "UseRole Session"),
        ("use secondary roles all", "UseSecondaryRoles Session"),
        ("use warehouse w", "UseWarehouse Session"),
        ("use d", "UseDatabase Session"),
        ("use d.s", "UseSchema Session"),
        ("begin", "Begin Transaction"),
        ("begin work name x", "Begin Transaction"),
        ("start transaction", "Begin Transaction"),
        ("begin drop table t; end", "Scripting Opaque"),
        ("begin transaction; drop table t", "Scripting Opaque"),
        ("declare x int; begin return 1; end", "Scripting Opaque"),
        ("execute immediate 'x'", "ExecuteImmediate Opaque"),
        ("execute task t", "Execute Opaque"),
        ("call p()", "Call Opaque"),
        ("explain drop table t", "Explain Read"),
        ("desc table t", "Describe Read"),
        ("show grants", "ShowAccount Read"),
        ("comment on table t is 'x'", "Comment Define"),
        ("set a = 1", "Set Session"),
        ("unset a", "Unset Session"),
        ("commit", "Commit Transaction"),
        ("!print x", "Unknown Opaque"),
        ("selec 1", "Unknown Opaque"),
        ("", "Unknown Opaque"),
    ];
    for (text, expected) in kinds {
        let analysis = analyze(text, &Session::default(), &Catalog::default());
        // EXPLAIN adds what it explains; here only the head counts.
        let words: Vec<String> = analysis.words.iter().map(ToString::to_string).collect();
        let words =
            if analysis.word.to_string() == "Explain" { "Explain".into() } else { words.join("+") };
        assert_eq!(format!("{words} {}", analysis.effect), expected, "{text}");
    }
}

#[test]
fn clauses_of_a_definition_that_show_no_column_are_passed_over_before_its_query_alone() {
    let catalog = Catalog::new([Object {
        name: Name::new("D", "S", "T"),
        columns: ["SCOPED", "TEMP"]
            .map(|name| CatalogColumn { name: name.into(), data_type: "TEXT".into() })
            .to_vec(),
        definition: Definition::Table,
    }]);
    for text in [
        "CREATE TABLE x (a INT AUTOINCREMENT START 10 INCREMENT -1 NOORDER, b INT IDENTITY INCREMENT 2)",
        "CREATE SCOPED TEMPORARY TABLE x (a INT)",
        "CREATE OR REPLACE TABLE x (a INT) COPY GRANTS COPY TAGS",
        "CREATE OR REPLACE VIEW v IGNORE GRANTS AS SELECT temp FROM t",
    ] {
        let analysis = analyze(text, &session(), &catalog);
        assert_eq!((analysis.problem, analysis.parsed), (None, true), "{text}");
    }
    let view = analyze("CREATE VIEW v AS SELECT scoped temp FROM t", &session(), &catalog);
    assert_eq!(view.flows[0].columns[0].to_string(), "D.S.T.SCOPED");
}

/// Which of the kinds that a policy can allow are understood, and what they touch.
#[test]
fn statements_without_a_query_are_understood_by_their_tokens() {
    let understood = [
        ("GRANT SELECT ON ALL TABLES IN SCHEMA d.s TO ROLE r", ""),
        ("GRANT CREATE MATERIALIZED VIEW ON SCHEMA d.s TO DATABASE ROLE d.r", ""),
        ("REVOKE ROLE r FROM USER \"u\"", ""),
        ("GRANT OWNERSHIP ON TABLE t TO ROLE r REVOKE CURRENT GRANTS", ""),
        ("UNDROP TABLE t", "Create D.S.T"),
        ("UNDROP SCHEMA e.x", "Create E.X"),
        ("UNDROP SCHEMA x", "Create D.X"),
        ("UNDROP DATABASE x", "Create X"),
        ("LIST @s/a/b.csv PATTERN = '.*csv'", ""),
        ("ls @~", ""),
        ("REMOVE @%t", ""),
        ("CREATE USER IF NOT EXISTS u PASSWORD = 'x' DEFAULT_ROLE = r", ""),
        ("ALTER WAREHOUSE w SET WAREHOUSE_SIZE = SMALL AUTO_SUSPEND = 60", ""),
        ("ALTER USER u UNSET RSA_PUBLIC_KEY", ""),
        ("CREATE OR REPLACE ROLE r COMMENT = 'x'", ""),
        ("CREATE RESOURCE MONITOR m WITH CREDIT_QUOTA = 10", ""),
        ("CREATE STAGE e.f.s FILE_FORMAT = (TYPE = 'CSV' FIELD_DELIMITER = '|')", "Create E.F.S"),
        (
            "CREATE OR REPLACE SEQUENCE q START WITH 1 INCREMENT BY 2 ORDER",
            "Create D.S.Q, Drop D.S.Q",
        ),
        ("CREATE SEQUENCE IDENTIFIER('e.f.q')", "Create E.F.Q"),
        ("CREATE TAG cost ALLOWED_VALUES 'a', 'b'", "Create D.S.COST"),
        ("CREATE STORAGE INTEGRATION i TYPE = EXTERNAL_STAGE STORAGE_PROVIDER = 'S3'", ""),
        ("CREATE DATABASE IF NOT EXISTS x DATA_RETENTION_TIME_IN_DAYS = 1", "Create X"),
        ("DROP ROLE IF EXISTS r", ""),
        ("DROP ICEBERG TABLE IF EXISTS t RESTRICT", "Drop D.S.T"),
        ("DROP FUNCTION d.s.f(OBJECT(a VARCHAR), NUMBER(38, 0))", "Drop D.S.F"),
        ("DROP TASK e", "Drop D.S.E"),
    ];
    for (text, touched) in understood {
        let analysis = analyze(text, &session(), &Catalog::default());
        assert_eq!(analysis.problem, None, "{text}");
        assert!(analysis.parsed, "{text}");
        let touches: Vec<String> = analysis
            .objects
            .iter()
            .map(|touch| format!("{:?} {}", touch.access, touch.name))
            .collect();
        assert_eq!(touches.join(", "), touched, "{text}");
    }
    let refused = [
        "GRANT SELECT ON TABLE t TO SHARE s",
        "GRANT SELECT ON TABLE t TO ROLE IDENTIFIER($r)",
        "GRANT (SELECT 1)",
        "UNDROP TABLE t RENAME TO u",
        "UNDROP SHARE s",
        "LIST",
        "LIST $x",
        "LIST (SELECT 1)",
        "PUT 'file:///tmp/x' @s",
        "GET @s 'file:///tmp/'",
        "CREATE USER u PASSWORD = $p",
        "CREATE DATABASE x CLONE d",
        "CREATE DATABASE x FROM SHARE a.b",
        "CREATE STAGE s CLONE e",
        "CREATE STAGE s AS SELECT 1",
        "CREATE TAG t WITH (SELECT 1)",
        "CREATE SEQUENCE IDENTIFIER($q)",
        "ALTER USER IDENTIFIER($u) SET DISABLED = TRUE",
        "DROP ROLE r, q",
        "DROP FUNCTION f",
        "CREATE SHARE s",
        "CREATE TASK e AS SELECT 1",
        "CREATE ALERT a IF (EXISTS (SELECT 1)) THEN SELECT 1",
        "CREATE FUNCTION f() RETURNS INT AS '1'",
    ];
    for text in refused {
        assert!(analyze(text, &session(), &Catalog::default()).problem.is_some(), "{text}");
    }
}

#[test]
fn a_called_procedure_is_a_function_that_a_policy_must_allow() {
    for (text, functions) in [
        ("CALL e.f.p(1, 'x')", vec!["E.F.P"]),
        ("CALL p(g(1))", vec!["D.S.G", "D.S.P"]),
        // A procedure may have the name of a built-in function.
        ("CALL upper('x')", vec!["D.S.UPPER"]),
    ] {
        let analysis = analyze(text, &session(), &Catalog::default());
        assert_eq!(analysis.problem, None, "{text}");
        assert_eq!(analysis.functions.iter().collect::<Vec<_>>(), functions, "{text}");
        assert!(matches!(analysis.lineage, Lineage::Unknown(_)), "{text}");
    }
    for text in ["CALL p(IDENTIFIER($x))", "CALL p() INTO :x", "CALL $x()"] {
        assert!(analyze(text, &session(), &Catalog::default()).problem.is_some(), "{text}");
    }
}

#[test]
fn settings_of_a_table_are_read_and_its_columns_go_where_masks_may_miss_them() {
    let catalog = Catalog::new([Object {
        name: Name::new("D", "S", "T"),
        columns: vec![CatalogColumn { name: "A".into(), data_type: "TEXT".into() }],
        definition: Definition::Table,
    }]);
    for text in [
        "ALTER TABLE t SET COMMENT = 'x'",
        "ALTER TABLE IF EXISTS s.t SET TAG a.b = 'x', c = 'y'",
        "ALTER TABLE t UNSET DATA_RETENTION_TIME_IN_DAYS, CHANGE_TRACKING",
    ] {
        let analysis = analyze(text, &session(), &catalog);
        assert_eq!(analysis.problem, None, "{text}");
        assert_eq!(analysis.flows.len(), 1, "{text}");
        assert_eq!(analysis.touched(Access::Alter).count(), 1, "{text}");
    }
    for text in ["ALTER TABLE t SET x = (SELECT 1)", "ALTER TABLE u SET COMMENT = 'x'"] {
        assert!(analyze(text, &session(), &catalog).problem.is_some(), "{text}");
    }
}

fn session() -> Session {
    Session { database: Some("D".into()), schema: Some("S".into()), ..Session::default() }
}
