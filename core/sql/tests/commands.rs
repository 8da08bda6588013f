//! Every command of Snowflake's reference has a kind and an effect that somebody chose.

use sql::{Catalog, Effect, Session, Thing, Word, analyze};

/// What can be made, changed and dropped, by the kind of thing it is to a policy and by what that does.
const THINGS: &[(Effect, Thing, &[&str])] = &[
    (Effect::Define, Thing::Database, &["DATABASE"]),
    (Effect::Define, Thing::Table, &["TABLE", "INTERACTIVE TABLE"]),
    (Effect::Define, Thing::DynamicTable, &["DYNAMIC TABLE", "ONLINE FEATURE TABLE"]),
    (Effect::Define, Thing::EventTable, &["EVENT TABLE"]),
    (Effect::Define, Thing::ExternalTable, &["EXTERNAL TABLE"]),
    (Effect::Define, Thing::HybridTable, &["HYBRID TABLE"]),
    (Effect::Define, Thing::IcebergTable, &["ICEBERG TABLE"]),
    (Effect::Define, Thing::View, &["VIEW"]),
    (Effect::Define, Thing::MaterializedView, &["MATERIALIZED VIEW"]),
    (Effect::Define, Thing::SemanticView, &["SEMANTIC VIEW"]),
    (Effect::Define, Thing::Schema, &["SCHEMA"]),
    (Effect::Define, Thing::Sequence, &["SEQUENCE"]),
    (
        Effect::Define,
        Thing::Function,
        &["FUNCTION", "EXTERNAL FUNCTION", "DATA METRIC FUNCTION", "AGGREGATE FUNCTION"],
    ),
    (Effect::Define, Thing::Procedure, &["PROCEDURE"]),
    (Effect::Define, Thing::Stage, &["STAGE"]),
    (Effect::Define, Thing::FileFormat, &["FILE FORMAT"]),
    (Effect::Define, Thing::Index, &["INDEX"]),
    (Effect::Define, Thing::Type, &["TYPE"]),
    (
        Effect::Administer,
        Thing::Account,
        &["ACCOUNT", "ORGANIZATION ACCOUNT", "MANAGED ACCOUNT", "ORGANIZATION PROFILE"],
    ),
    (
        Effect::Administer,
        Thing::Cortex,
        &[
            "AGENT",
            "EXTERNAL AGENT",
            "CORTEX SEARCH SERVICE",
            "MCP SERVER",
            "PROVISIONED THROUGHPUT",
        ],
    ),
    (
        Effect::Administer,
        Thing::Policy,
        &[
            "AGGREGATION POLICY",
            "AUTHENTICATION POLICY",
            "BACKUP POLICY",
            "FEATURE POLICY",
            "JOIN POLICY",
            "NETWORK POLICY",
            "PACKAGES POLICY",
            "PASSWORD POLICY",
            "PRIVACY POLICY",
            "PROJECTION POLICY",
            "SESSION POLICY",
            "SNAPSHOT POLICY",
            "STORAGE LIFECYCLE POLICY",
        ],
    ),
    (Effect::Administer, Thing::MaskingPolicy, &["MASKING POLICY"]),
    (Effect::Administer, Thing::RowAccessPolicy, &["ROW ACCESS POLICY"]),
    (Effect::Administer, Thing::Alert, &["ALERT"]),
    (Effect::Administer, Thing::Application, &["APPLICATION", "APPLICATION PACKAGE"]),
    (
        Effect::Administer,
        Thing::Integration,
        &[
            "API INTEGRATION",
            "CATALOG INTEGRATION",
            "EXTERNAL ACCESS INTEGRATION",
            "NOTIFICATION INTEGRATION",
            "SECURITY INTEGRATION",
            "STORAGE INTEGRATION",
        ],
    ),
    (Effect::Administer, Thing::Role, &["ROLE", "DATABASE ROLE", "APPLICATION ROLE"]),
    (Effect::Administer, Thing::User, &["USER", "ORGANIZATION USER"]),
    (
        Effect::Administer,
        Thing::Repository,
        &["ARTIFACT REPOSITORY", "GIT REPOSITORY", "IMAGE REPOSITORY"],
    ),
    (Effect::Administer, Thing::Backup, &["BACKUP SET", "SNAPSHOT", "SNAPSHOT SET"]),
    (Effect::Administer, Thing::ComputePool, &["COMPUTE POOL"]),
    (Effect::Administer, Thing::Connection, &["CONNECTION"]),
    (Effect::Administer, Thing::Contact, &["CONTACT"]),
    (Effect::Administer, Thing::Dataset, &["DATASET"]),
    (Effect::Administer, Thing::Gateway, &["GATEWAY"]),
    (
        Effect::Administer,
        Thing::Project,
        &["DBT PROJECT", "DCM PROJECT", "NOTEBOOK PROJECT", "WORKSPACE"],
    ),
    (Effect::Administer, Thing::Group, &["FAILOVER GROUP", "REPLICATION GROUP"]),
    (Effect::Administer, Thing::Listing, &["LISTING", "ORGANIZATION LISTING", "DATA EXCHANGE"]),
    (Effect::Administer, Thing::Model, &["MODEL", "MODEL MONITOR", "EXPERIMENT"]),
    (Effect::Administer, Thing::NetworkRule, &["NETWORK RULE"]),
    (Effect::Administer, Thing::Notebook, &["NOTEBOOK"]),
    (Effect::Administer, Thing::Pipe, &["PIPE"]),
    (Effect::Administer, Thing::ResourceMonitor, &["RESOURCE MONITOR"]),
    (Effect::Administer, Thing::Secret, &["SECRET"]),
    (Effect::Administer, Thing::Service, &["SERVICE"]),
    (Effect::Administer, Thing::Share, &["SHARE"]),
    (Effect::Administer, Thing::Stream, &["STREAM"]),
    (Effect::Administer, Thing::Streamlit, &["STREAMLIT"]),
    (Effect::Administer, Thing::Tag, &["TAG"]),
    (Effect::Administer, Thing::Task, &["TASK"]),
    (Effect::Administer, Thing::Volume, &["EXTERNAL VOLUME"]),
    (Effect::Administer, Thing::Warehouse, &["WAREHOUSE", "INTERACTIVE WAREHOUSE"]),
    (Effect::Administer, Thing::Other, &["POSTGRES INSTANCE", "OPENFLOW DATA PLANE"]),
];

/// Every other command.
const OTHERS: &[(&str, Word, Effect)] = &[
    ("ALTER SESSION SET QUERY_TAG = 'x'", Word::AlterSession, Effect::Session),
    ("BEGIN", Word::Begin, Effect::Transaction),
    ("BEGIN TRANSACTION", Word::Begin, Effect::Transaction),
    ("START TRANSACTION", Word::Begin, Effect::Transaction),
    ("COMMIT", Word::Commit, Effect::Transaction),
    ("ROLLBACK", Word::Rollback, Effect::Transaction),
    ("CALL p()", Word::Call, Effect::Opaque),
    ("WITH p AS PROCEDURE () RETURNS INT AS '1' CALL p()", Word::Call, Effect::Opaque),
    ("COMMENT ON TABLE t IS 'x'", Word::Comment, Effect::Define),
    ("COMMENT IF EXISTS ON COLUMN t.c IS 'x'", Word::Comment, Effect::Define),
    ("COPY INTO t FROM @s", Word::CopyIntoTable, Effect::Write),
    ("COPY INTO @s FROM t", Word::CopyIntoLocation, Effect::Write),
    ("COPY FILES INTO @s FROM @e", Word::CopyIntoLocation, Effect::Write),
    ("DELETE FROM t", Word::Delete, Effect::Write),
    ("DESCRIBE TABLE t", Word::Describe, Effect::Read),
    ("DESC VIEW v", Word::Describe, Effect::Read),
    ("DESCRIBE RESULT 'x'", Word::Describe, Effect::Read),
    ("DESCRIBE SEARCH OPTIMIZATION ON t", Word::Describe, Effect::Read),
    ("DESCRIBE user.t", Word::Describe, Effect::Read),
    ("DESCRIBE USER u", Word::ShowAccount, Effect::Read),
    ("DESC SECURITY INTEGRATION i", Word::ShowAccount, Effect::Read),
    ("DESCRIBE NETWORK POLICY p", Word::ShowAccount, Effect::Read),
    ("DESCRIBE MASKING POLICY p", Word::ShowAccount, Effect::Read),
    ("DESCRIBE SECRET s", Word::ShowAccount, Effect::Read),
    ("DESCRIBE SHARE s", Word::ShowAccount, Effect::Read),
    ("EXECUTE ALERT a", Word::Execute, Effect::Opaque),
    ("EXECUTE DBT PROJECT p", Word::Execute, Effect::Opaque),
    ("EXECUTE IMMEDIATE 'x'", Word::ExecuteImmediate, Effect::Opaque),
    ("EXECUTE IMMEDIATE FROM @s/x.sql", Word::ExecuteImmediate, Effect::Opaque),
    ("EXECUTE JOB SERVICE IN COMPUTE POOL p", Word::Execute, Effect::Opaque),
    ("EXECUTE NOTEBOOK n()", Word::Execute, Effect::Opaque),
    ("EXECUTE TASK t", Word::Execute, Effect::Opaque),
    ("EXPLAIN SELECT 1", Word::Explain, Effect::Read),
    ("GET @s file:///tmp", Word::Get, Effect::Write),
    ("PUT file:///tmp/x @s", Word::Put, Effect::Write),
    ("LIST @s", Word::List, Effect::Read),
    ("REMOVE @s", Word::Remove, Effect::Write),
    ("GRANT SELECT ON t TO ROLE r", Word::Grant, Effect::Administer),
    ("GRANT ROLE r TO USER u", Word::Grant, Effect::Administer),
    ("GRANT OWNERSHIP ON TABLE t TO ROLE r", Word::Grant, Effect::Administer),
    ("GRANT DATABASE ROLE d.r TO ROLE r", Word::Grant, Effect::Administer),
    ("GRANT APPLICATION ROLE a.r TO ROLE r", Word::Grant, Effect::Administer),
    ("GRANT CALLER SELECT ON TABLE t TO ROLE r", Word::Grant, Effect::Administer),
    ("REVOKE SELECT ON t FROM ROLE r", Word::Revoke, Effect::Administer),
    ("INSERT INTO t VALUES (1)", Word::Insert, Effect::Write),
    ("INSERT FIRST WHEN a THEN INTO t SELECT 1 AS a", Word::Insert, Effect::Write),
    ("MERGE INTO t USING u ON a = b WHEN MATCHED THEN DELETE", Word::Merge, Effect::Write),
    ("UPDATE t SET a = 1", Word::Update, Effect::Write),
    ("TRUNCATE TABLE t", Word::Truncate, Effect::Write),
    ("TRUNCATE MATERIALIZED VIEW v", Word::Truncate, Effect::Write),
    ("SELECT 1", Word::Select, Effect::Read),
    ("VALUES (1)", Word::Select, Effect::Read),
    ("SET x = 1", Word::Set, Effect::Session),
    ("UNSET x", Word::Unset, Effect::Session),
    ("SHOW TABLES", Word::Show, Effect::Read),
    ("SHOW TERSE VIEWS", Word::Show, Effect::Read),
    ("SHOW PARAMETERS", Word::Show, Effect::Read),
    ("SHOW WAREHOUSES", Word::Show, Effect::Read),
    ("SHOW VARIABLES", Word::Show, Effect::Read),
    ("SHOW USERS", Word::ShowAccount, Effect::Read),
    ("SHOW TERSE USERS LIKE 'x'", Word::ShowAccount, Effect::Read),
    ("SHOW GRANTS", Word::ShowAccount, Effect::Read),
    ("SHOW GRANTS TO ROLE r", Word::ShowAccount, Effect::Read),
    ("SHOW FUTURE GRANTS IN SCHEMA d.s", Word::ShowAccount, Effect::Read),
    ("SHOW SECRETS", Word::ShowAccount, Effect::Read),
    ("SHOW SHARES", Word::ShowAccount, Effect::Read),
    ("SHOW INTEGRATIONS", Word::ShowAccount, Effect::Read),
    ("SHOW STORAGE INTEGRATIONS", Word::ShowAccount, Effect::Read),
    ("SHOW NETWORK POLICIES", Word::ShowAccount, Effect::Read),
    ("SHOW MASKING POLICIES", Word::ShowAccount, Effect::Read),
    ("SHOW ROW ACCESS POLICIES IN SCHEMA d.s", Word::ShowAccount, Effect::Read),
    ("SHOW RESOURCE MONITORS", Word::ShowAccount, Effect::Read),
    ("SHOW REPLICATION GROUPS", Word::ShowAccount, Effect::Read),
    ("SHOW DELEGATED AUTHORIZATIONS", Word::ShowAccount, Effect::Read),
    ("SHOW USER PROGRAMMATIC ACCESS TOKENS", Word::ShowAccount, Effect::Read),
    ("SHOW ORGANIZATION ACCOUNTS", Word::ShowAccount, Effect::Read),
    ("UNDROP TABLE t", Word::Undrop, Effect::Define),
    ("UNDROP ACCOUNT a", Word::Undrop, Effect::Define),
    ("USE ROLE r", Word::UseRole, Effect::Session),
    ("USE SECONDARY ROLES ALL", Word::UseSecondaryRoles, Effect::Session),
    ("USE WAREHOUSE w", Word::UseWarehouse, Effect::Session),
    ("USE DATABASE d", Word::UseDatabase, Effect::Session),
    ("USE SCHEMA d.s", Word::UseSchema, Effect::Session),
    ("DECLARE x INT; BEGIN RETURN 1; END", Word::Scripting, Effect::Opaque),
];

#[test]
fn each_command_has_the_kind_and_effect_that_were_chosen() {
    let kind = |text: &str| {
        let analysis = analyze(text, &Session::default(), &Catalog::default());
        (analysis.word, analysis.effect)
    };
    for (effect, thing, names) in THINGS {
        for name in *names {
            let (create, alter, drop) = (
                format!("CREATE OR REPLACE {name} IF NOT EXISTS x"),
                format!("ALTER {name} IF EXISTS x SET COMMENT = 'x'"),
                format!("DROP {name} IF EXISTS x"),
            );
            assert_eq!(kind(&create), (Word::Create(*thing), *effect), "{create}");
            assert_eq!(kind(&alter), (Word::Alter(*thing), *effect), "{alter}");
            assert_eq!(kind(&drop), (Word::Drop(*thing), *effect), "{drop}");
        }
    }
    for (text, word, effect) in OTHERS {
        assert_eq!(kind(text), (*word, *effect), "{text}");
    }
    let count: usize = THINGS.iter().map(|(_, _, names)| names.len()).sum();
    assert!(count > 80 && OTHERS.len() > 80, "{count} things and {} others", OTHERS.len());
}

#[test]
fn every_thing_that_a_policy_can_name_is_made_by_some_command() {
    for thing in Thing::ALL {
        assert!(THINGS.iter().any(|(_, other, _)| other == thing), "{thing}");
    }
}

#[test]
fn what_shows_the_account_is_read_to_its_end_and_holds_no_query() {
    for text in [
        "SHOW GRANTS ON FUNCTION d.s.f(NUMBER)",
        "SHOW USERS LIKE 'a%' STARTS WITH 'b' LIMIT 5 FROM 'c'",
        "DESCRIBE SECURITY INTEGRATION i",
        "SHOW USERS ->> SELECT \"name\" FROM $1",
    ] {
        let analysis = analyze(text, &Session::default(), &Catalog::default());
        assert_eq!(analysis.problem, None, "{text}");
        assert!(analysis.words.contains(&Word::ShowAccount), "{text}");
        assert!(sql::Group::Admin.contains(Word::ShowAccount));
    }
    for text in [
        "SHOW GRANTS TO ROLE IDENTIFIER($r)",
        "SHOW USERS (SELECT 1)",
        "SHOW USERS = 1",
        "SHOW PEOPLE",
    ] {
        let analysis = analyze(text, &Session::default(), &Catalog::default());
        assert!(analysis.problem.is_some(), "{text}");
    }
}
