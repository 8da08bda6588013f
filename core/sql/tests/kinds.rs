//! The kind and effect of statements, whether or not a parser reads them.

use sql::{Catalog, Session, analyze};

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
        ("show grants", "Show Read"),
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
