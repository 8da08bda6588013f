"""Statements: what they answer, change and refuse."""

import base64
import datetime
import decimal
import uuid

import pytest
import snowflake.connector
from snowflake.connector.errors import ProgrammingError

REFUSED = [
    ("selec 1", "001003", "42000"),
    ("select 'open", "001003", "42000"),
    ("", "000900", "42601"),
    ("select 1; select 2", "000008", "0A000"),
    ("select * from nowhere", "002003", "42S02"),
    ("select * from nowhere.public.t", "002003", "42S02"),
    ("select nothing from customers", "000904", "42000"),
    ("select no_such_function(1)", "002140", "42601"),
    ("select system$no_such_function()", "002140", "42601"),
    ("call no_such_procedure()", "002140", "42601"),
    ("select 'x'::int", "100038", "22018"),
    ("insert into customers (id) values (null)", "100072", "22000"),
    ("create table customers (id int)", "002002", "42710"),
    ("use schema nowhere", "002003", "02000"),
    ("use database nowhere", "002043", "02000"),
    ("use role nobody", "002003", "02000"),
    ("alter session set no_such_parameter = 1", "000904", "42000"),
    ("select $unset", "002211", "42601"),
    ("put file:///tmp/x @stage", "000002", "0A000"),
    ("copy into customers from @stage", "000002", "0A000"),
    ("select * from @stage", "000002", "0A000"),
    ("execute immediate 'select 1'", "000002", "0A000"),
    ("select ?", "002049", "42601"),
]


READ = [
    # statement, names of the columns, first row in JSON
    ("select * exclude (email, phone, ssn, credit_limit, created_at, notes) from customers where id = 1",
     ["ID", "NAME", "COUNTRY"], ["1", "Ada Fischer", "DE"]),
    ("select c.* from (select id, ssn as s from customers) c where id = 2", ["ID", "S"], ["2", "234-56-7890"]),
    ("select demo.public.customers.id from demo..customers order by 1", ["ID"], ["1"]),
    ('select id as "at", "ID" as Plain from customers order by "at"', ["at", "PLAIN"], ["1", "1"]),
    ("select id, notes:contact.email::string from customers where notes:tier = 'gold' order by 1",
     ["ID", "NOTES:CONTACT.EMAIL::STRING"], ["1", "ada.private@example.net"]),
    ("select f.value::string v from customers c, lateral flatten(input => c.notes:flags) f order by 1", ["V"],
     ["disputed"]),
    ("select sum(amount), max(id) from orders", ["SUM(AMOUNT)", "MAX(ID)"], ["499920500.00", "100000"]),
    ("select row_number() over (order by id) rn, name from customers qualify rn = 2", ["RN", "NAME"],
     ["2", "Bruno Keller"]),
    ("with recursive r as (select 1 n union all select n + 1 from r where n < 5) select max(n) from r", ["MAX(N)"],
     ["5"]),
    ("select id from customers union select customer_id from orders order by 1 desc limit 1", ["ID"], ["8"]),
    ("select iff(true, 'y', 'n') a, nvl(null, 'x') b, div0(1, 0) c", ["A", "B", "C"], ["y", "x", "0.0"]),
    ("select 1 as a, 2 as a", ["A", "A"], ["1", "2"]),
    ("select $2 as b, column1 as a from values (1, 'x'), (2, 'y') order by $1", ["B", "A"], ["x", "1"]),
    ("select * from table('customers') limit 0", None, None),
    ("show terse users like 'ADMIN'", None, None),
    ("show tables like 'ORDERS' in schema demo.public", None, None),
    ("show user functions in demo.public", None, None),
    ("explain using text select * from orders", None, None),
]


@pytest.mark.parametrize(("sql", "names", "row"), READ, ids=[r[0] for r in READ])
def test_queries_read_as_snowflake_names_and_writes_them(warehouse, sql, names, row):
    answer = warehouse.client(CLIENT_APP_ID="JavaScript").run(sql)
    assert answer["success"], answer
    if names is not None:
        assert [c["name"] for c in answer["data"]["rowtype"]] == names and answer["data"]["rowset"][0] == row


@pytest.mark.parametrize(("sql", "code", "state"), REFUSED, ids=[r[0] for r in REFUSED])
def test_a_failing_statement_answers_200_with_the_service_code(warehouse, sql, code, state):
    answer = warehouse.client().run(sql)
    assert answer["success"] is False and answer["code"] == code, answer
    assert answer["data"]["sqlState"] == state and answer["data"]["errorCode"] == code
    assert uuid.UUID(answer["data"]["queryId"])


def test_a_repeated_request_id_answers_again_without_running_again(warehouse):
    client, request = warehouse.client(), str(uuid.uuid4())
    client.query("create or replace temporary table once (id int)")
    first = client.query("insert into once values (1)", request)
    again = client.query("insert into once values (1)", request, zipped=True)
    assert first["data"]["queryId"] == again["data"]["queryId"] and again["data"]["rowset"] == [["1"]]
    assert client.rows("select count(*) from once") == [["1"]]
    [entry] = warehouse.admin.executed("insert into once values (1)")
    assert len(entry["attempts"]) == 2


def test_a_request_id_is_of_one_session_and_one_text(warehouse):
    one, two, request = warehouse.client(), warehouse.client(), str(uuid.uuid4())
    assert one.query("select 1", request)["success"] and two.query("select 2", request)["success"]
    assert one.query("select 3", request)["code"] == "000603"


def test_data_can_be_changed_and_transactions_taken_back(warehouse):
    with warehouse.connect() as connection:
        cursor = connection.cursor()
        cursor.execute("create or replace temporary table notes (id int, body varchar(5))")
        assert cursor.execute("insert into notes values (1, 'a'), (2, 'b')").rowcount == 2
        assert cursor.execute("update notes set body = 'z' where id = 1").rowcount == 1
        cursor.execute("begin")
        assert cursor.execute("delete from notes").rowcount == 2
        cursor.execute("rollback")
        assert cursor.execute("select * from notes order by id").fetchall() == [(1, "z"), (2, "b")]
        merge = "merge into notes n using (select 2 id union all select 3) s on n.id = s.id " \
                "when matched then update set body = 'm' when not matched then insert (id) values (s.id)"
        assert cursor.execute(merge).rowcount == 2


def test_binds_keep_their_types(warehouse, monkeypatch):
    monkeypatch.setattr(snowflake.connector, "paramstyle", "qmark")
    values = (7, "it's \\ \"x\" ?", None, True, decimal.Decimal("-1.50"), datetime.date(2024, 2, 29),
              datetime.datetime(2024, 2, 29, 1, 2, 3, 456789), 0.25, b"\x00\xff")
    with warehouse.connect() as connection:
        cursor = connection.cursor()
        row = cursor.execute("select ?, ?, ?, ?, ?, ?, ?, ?, ? -- not this ?", values).fetchone()
        assert tuple(bytes(v) if isinstance(v, bytearray) else v for v in row) == values


def test_a_bulk_of_binds_is_one_statement_with_every_type(warehouse, monkeypatch):
    monkeypatch.setattr(snowflake.connector, "paramstyle", "qmark")
    moment = datetime.datetime(2024, 2, 29, 1, 2, 3, 456789)
    rows = [(i, f"'{i}' ?" if i % 3 else None, moment, i % 2 == 0, decimal.Decimal(i) / 4) for i in range(500)]
    sql = "insert into many (id, body, at, even, part) values (?, upper(?), ?, ?, ? + 1)"
    with warehouse.connect() as connection:
        cursor = connection.cursor()
        cursor.execute("create or replace temporary table many (id int, body varchar, at timestamp_ntz, even boolean, "
                       "part number(10,2))")
        cursor.executemany(sql, rows)
        assert cursor.rowcount == 500
        read = cursor.execute("select * from many order by id").fetchall()
        assert read == [(*row[:4], row[4] + 1) for row in rows]
    assert len(warehouse.admin.executed(sql)) == 1
    array = {"1": {"type": "FIXED", "value": ["1", "2"]}}
    assert warehouse.client().query("update customers set id = ?", bindings=array)["code"] == "002060"
    assert warehouse.client().rows("select {'a':1}") == [['{\n  "a": 1\n}']]


def test_describing_runs_nothing(warehouse):
    client = warehouse.client()
    client.query("create or replace temporary table kept (id int)")
    answer = client.query("insert into kept values (?)", describeOnly=True)["data"]
    assert answer["numberOfBinds"] == 1 and answer["arrayBindSupported"] and answer["rowset"] == []
    assert client.rows("select count(*) from kept") == [["0"]]
    answer = client.query("select id, name, created_at from customers where id = ?", describeOnly=True)["data"]
    assert [(c["name"], c["type"], c["scale"], c["length"]) for c in answer["rowtype"]] == [
        ("ID", "fixed", 0, None), ("NAME", "text", None, 80), ("CREATED_AT", "timestamp_ntz", 9, None)]
    assert client.query("drop user ADMIN", describeOnly=True)["success"]
    assert client.query("select * from nowhere", describeOnly=True)["code"] == "002003"


def test_the_session_follows_use_and_tells_so(warehouse):
    client = warehouse.client()
    client.query("create or replace schema demo.other")
    final = client.query("use schema demo.other")["data"]
    assert (final["finalDatabaseName"], final["finalSchemaName"]) == ("DEMO", "OTHER")
    assert client.query("select * from customers")["code"] == "002003"
    assert client.query("use database demo")["data"]["finalSchemaName"] == "PUBLIC"
    assert client.query("use role sysadmin")["data"]["finalRoleName"] == "SYSADMIN"
    assert client.rows("select current_role(), current_schema(), current_warehouse()") == [
        ["SYSADMIN", "PUBLIC", "COMPUTE_WH"]]


def test_session_variables_are_filled_in(warehouse):
    client = warehouse.client()
    client.query("set who = 'Ada' || ' Fischer'")
    assert client.rows("select id, '$who' from customers where name = $who") == [["1", "$who"]]
    client.query("unset who")
    assert client.query("select $who")["code"] == "002211"


def test_views_resolve_in_their_own_schema_and_their_text_can_be_read(warehouse):
    client = warehouse.client()
    client.query("create or replace schema demo.views")
    client.query("create or replace table demo.views.base (id int, secret varchar)")
    assert client.query("create or replace view demo.views.shown as select id from base")["success"]
    client.query("use schema demo.public")
    assert client.rows("select * from demo.views.shown") == []
    [[text]] = client.rows("select get_ddl('view', 'demo.views.shown')")
    assert text == "create or replace VIEW SHOWN (\n\tID\n) as select id from base;"


def test_unnamed_columns_are_named_by_their_text(warehouse):
    data = warehouse.client().query("select count(*), 'a' || name, id from customers group by 2, 3")["data"]
    assert [c["name"] for c in data["rowtype"]] == ["COUNT(*)", "'A' || NAME", "ID"]


def test_results_of_earlier_statements_can_be_read_by_their_user_only(warehouse, broker):
    client = warehouse.client()
    query = client.query("select id, name from customers where id < 3 order by id")["data"]["queryId"]
    assert client.rows("select name from table(result_scan(last_query_id())) where id = 2") == [["Bruno Keller"]]
    assert warehouse.client().get(f"/queries/{query}/result")["data"]["total"] == 2
    with pytest.raises(ProgrammingError, match="not found"):
        broker.cursor().execute(f"select * from table(result_scan('{query}'))")


def test_temporary_tables_go_with_their_session(warehouse):
    client = warehouse.client()
    client.query("create scoped temporary table fleeting (id int)")
    assert warehouse.client().query("select * from fleeting")["code"] == "002003"
    assert client.query("select * from fleeting")["success"]
    client.post("/session?delete=true", {})
    assert warehouse.client().query("select * from fleeting")["code"] == "002003"


def test_history_holds_who_ran_what(warehouse):
    client, request = warehouse.client(), str(uuid.uuid4())
    answer = client.query("select /* exact  text */ 1 ;", request, parameters={"QUERY_TAG": "tagged"})
    [entry] = warehouse.admin.get("/history", request_id=request)
    assert entry["sql_text"] == "select /* exact  text */ 1 ;" and entry["query_id"] == answer["data"]["queryId"]
    assert (entry["user"], entry["role"], entry["status"], entry["rows"]) == ("ADMIN", "ACCOUNTADMIN", "SUCCESS", 1)
    assert entry["session_id"] == client.opened["sessionId"] and entry["query_tag"] == "tagged"


def test_drivers_send_back_the_query_context_they_were_given(warehouse):
    with warehouse.connect() as connection:
        cursor = connection.cursor()
        first = cursor.execute("select 'first'").sfqid
        cursor.execute("select 'second'")
    [entry] = warehouse.admin.executed("select 'second'")
    [sent] = entry["query_context"]["entries"]
    assert base64.b64decode(sent["context"]["base64Data"]).decode() == first


def test_several_statements_run_in_order_and_each_has_a_result_of_its_own(warehouse):
    with warehouse.connect() as connection:
        cursor = connection.cursor()
        sql = "create or replace temporary table pair (id int); insert into pair values (1), (2); select * from pair;"
        assert cursor.execute(sql, num_statements=3).fetchall() == [("Table PAIR successfully created.",)]
        assert cursor.nextset() and cursor.fetchall() == [(2,)]
        assert cursor.nextset() and cursor.fetchall() == [(1,), (2,)]
        assert cursor.nextset() is None
        assert cursor.execute("select 1; select 2", num_statements=0).fetchall() == [(1,)]
        with pytest.raises(ProgrammingError, match="Actual statement count 2 did not match the desired statement count 3"):
            cursor.execute("select 1; select 2", num_statements=3)
        with pytest.raises(ProgrammingError, match="does not exist"):
            cursor.execute("insert into pair values (3); select * from nowhere", num_statements=2)
        assert cursor.execute("select count(*) from pair").fetchone() == (3,)
