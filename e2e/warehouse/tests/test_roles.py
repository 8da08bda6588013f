"""What a role may see and do."""

import pytest
from conftest import Key
from snowflake.connector.errors import ProgrammingError

TABLE = [
    # role, statement, error number or None
    ("ANALYST", "select count(*) from customers", None),
    ("ANALYST", "select count(*) from active_customers", None),
    ("ANALYST", "select * from events", 2003),
    ("ANALYST", "with e as (select * from events) select * from e", 2003),
    ("ANALYST", "with events as (select * from events) select * from events", 2003),
    ("ANALYST", "with orders as (select 1 id), o as (select * from orders) select * from o", None),
    ("ANALYST", "select * from customers where id in (select id from demo.public.events)", 2003),
    ("ANALYST", "select * from identifier('events')", 2003),
    ("ANALYST", "select * from table('events')", 2003),
    ("ANALYST", "select * from demo..events", 2003),
    ("ANALYST", "create temporary table mine clone events", 2003),
    ("ANALYST", "explain select * from events", 2003),
    ("ANALYST", "describe table events", 2003),
    ("ANALYST", "select get_ddl('table', 'events')", 2003),
    ("ANALYST", "delete from customers where id = 1", 3001),
    ("ANALYST", "update customers set name = 'x'", 3001),
    ("ANALYST", "insert into customers (id) values (1)", 3001),
    ("ANALYST", "merge into customers c using orders o on c.id = o.id when matched then delete", 3001),
    ("ANALYST", "truncate table customers", 3001),
    ("ANALYST", "drop table customers", 3001),
    ("ANALYST", "alter table customers add column x int", 3001),
    ("ANALYST", "create table mine (id int)", 3001),
    ("ANALYST", "create database mine", 3001),
    ("ANALYST", "create role mine", 3001),
    ("ANALYST", "use role steward", 3013),
    ("ANALYST", "use role accountadmin", 3013),
    ("ANALYST", "use secondary roles steward", 3013),
    ("ANALYST", "use role public", None),
    ("STEWARD", "select count(*) from events", None),
    ("STEWARD", "update customers set name = name where id = 1", None),
    ("STEWARD", "drop table customers", 3001),
    ("FROSTGATE_CATALOG", "select * from customers", 3001),
    ("FROSTGATE_CATALOG", "select count(*) from information_schema.columns", None),
]


@pytest.fixture(scope="module")
def connections(shared, broker_key):
    with shared.connect("FROSTGATE_BROKER", private_key=broker_key.der) as broker:
        made = {}
        for role in {row[0] for row in TABLE}:
            key = Key()
            broker.cursor().execute(f"CREATE OR REPLACE USER TRY_{role} TYPE=SERVICE RSA_PUBLIC_KEY='{key.body}' "
                                    f"DEFAULT_ROLE={role} DEFAULT_SECONDARY_ROLES=()")
            broker.cursor().execute(f"GRANT ROLE {role} TO USER TRY_{role}")
            made[role] = shared.connect(f"TRY_{role}", private_key=key.der)
        yield made


@pytest.mark.parametrize(("role", "sql", "errno"), TABLE, ids=[f"{r}: {s}" for r, s, _ in TABLE])
def test_a_role_may_do_what_it_was_granted_and_nothing_else(connections, role, sql, errno):
    cursor = connections[role].cursor()
    cursor.execute(f"use role {role}")
    if errno is None:
        cursor.execute(sql)
    else:
        with pytest.raises(ProgrammingError) as caught:
            cursor.execute(sql)
        assert caught.value.errno == errno


def test_the_catalog_role_reads_columns_and_view_texts(connections):
    cursor = connections["FROSTGATE_CATALOG"].cursor()
    rows = cursor.execute("select column_name, data_type, numeric_precision, numeric_scale, is_nullable "
                          "from demo.information_schema.columns where table_name = 'CUSTOMERS' "
                          "order by ordinal_position").fetchall()
    assert rows[0] == ("ID", "NUMBER", 10, 0, "NO") and rows[6] == ("CREDIT_LIMIT", "NUMBER", 12, 2, "YES")
    assert [r[1] for r in rows] == ["NUMBER", *["TEXT"] * 5, "NUMBER", "TIMESTAMP_NTZ", "VARIANT"]
    text = cursor.execute("select view_definition from information_schema.views").fetchone()[0]
    assert text.startswith("CREATE VIEW ACTIVE_CUSTOMERS AS SELECT ID") and "FROM CUSTOMERS" in text


def test_the_catalog_role_finds_named_tables_with_quoted_names(connections):
    cursor = connections["FROSTGATE_CATALOG"].cursor()
    among = ("(TABLE_SCHEMA = 'PUBLIC' AND TABLE_NAME = 'ORDERS') OR "
             "(TABLE_SCHEMA = 'PUBLIC' AND TABLE_NAME = 'ACTIVE_CUSTOMERS')")
    rows = cursor.execute('SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME FROM "DEMO".INFORMATION_SCHEMA.COLUMNS '
                          f"WHERE {among} ORDER BY TABLE_SCHEMA, TABLE_NAME, ORDINAL_POSITION").fetchall()
    assert [r[2] for r in rows][:5] == ["ID", "NAME", "EMAIL", "COUNTRY", "CREDIT_LIMIT"] and len(rows) == 13
    kinds = cursor.execute('SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE FROM "DEMO".INFORMATION_SCHEMA.TABLES '
                           f"WHERE {among}").fetchall()
    assert {r[1:] for r in kinds} == {("ORDERS", "BASE TABLE"), ("ACTIVE_CUSTOMERS", "VIEW")}


def test_the_text_of_a_secure_view_is_its_owners(warehouse, connections):
    with warehouse.connect() as admin:
        admin.cursor().execute("create or replace secure view hidden as select id from customers")
        admin.cursor().execute("grant references on view hidden to role FROSTGATE_CATALOG")
        sql = "select view_definition, is_secure from information_schema.views where table_name = 'HIDDEN'"
        assert admin.cursor().execute(sql).fetchone()[0].startswith("create or replace secure view")
        cursor = connections["FROSTGATE_CATALOG"].cursor()
        assert cursor.execute(sql).fetchone() == (None, "YES")
        with pytest.raises(ProgrammingError):
            cursor.execute("select get_ddl('view', 'hidden')")
        admin.cursor().execute("drop view hidden")


def test_information_schema_shows_only_what_the_role_sees(connections):
    cursor = connections["ANALYST"].cursor()
    cursor.execute("use role analyst")
    names = {r[0] for r in cursor.execute("select table_name from information_schema.tables").fetchall()}
    assert names == {"CUSTOMERS", "ORDERS", "ACTIVE_CUSTOMERS"}
    assert {r[1] for r in cursor.execute("show tables").fetchall()} == {"CUSTOMERS", "ORDERS"}


def test_secondary_roles_add_privileges(warehouse):
    with warehouse.connect() as admin:
        cursor = admin.cursor()
        cursor.execute("create or replace user TWO_ROLES password='two' default_role=PUBLIC")
        cursor.execute("grant role ANALYST to user TWO_ROLES")
    with warehouse.connect("TWO_ROLES", password="two") as connection:
        cursor = connection.cursor()
        cursor.execute("select count(*) from customers")  # DEFAULT_SECONDARY_ROLES is ALL where unset
        cursor.execute("use secondary roles none")
        with pytest.raises(ProgrammingError):
            cursor.execute("select count(*) from customers")


def test_privileges_can_be_revoked(warehouse):
    with warehouse.connect() as admin:
        cursor = admin.cursor()
        cursor.execute("create or replace role SHORT_LIVED")
        cursor.execute("grant select on all tables in schema demo.public to role SHORT_LIVED")
        assert ("SELECT",) in {r[1:2] for r in cursor.execute("show grants to role SHORT_LIVED").fetchall()}
        cursor.execute("revoke select on all tables in schema demo.public from role SHORT_LIVED")
        assert cursor.execute("show grants to role SHORT_LIVED").fetchall() == []
        cursor.execute("drop role SHORT_LIVED")
