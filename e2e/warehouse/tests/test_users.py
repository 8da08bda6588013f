"""Users that live as long as a session, and what ends with them."""

import threading
import time

import pytest
from conftest import Key
from snowflake.connector.errors import DatabaseError, ProgrammingError


def failure(connection, sql) -> ProgrammingError:
    with pytest.raises(ProgrammingError) as caught:
        connection.cursor().execute(sql)
    return caught.value


def test_the_broker_makes_a_user_that_logs_in_by_its_key_with_its_role_only(warehouse, ephemeral):
    key = Key()
    name = ephemeral(key)
    with warehouse.connect(name, private_key=key.der) as connection:
        row = connection.cursor().execute(
            "select current_user(), current_role(), current_secondary_roles()").fetchone()
        assert row == (name, "ANALYST", '{"roles": "", "value": ""}')
    listed = next(u for u in warehouse.admin.get("/users") if u["name"] == name)
    assert listed["type"] == "SERVICE" and listed["roles"] == ["ANALYST"] and listed["owner"] == "FROSTGATE_BROKER"
    assert listed["days_to_expiry"] == 1 and listed["comment"] == "session=test"


def test_dropping_a_user_cuts_its_sessions_and_its_login(warehouse, broker, ephemeral):
    key = Key()
    name = ephemeral(key)
    connection = warehouse.connect(name, private_key=key.der)
    broker.cursor().execute(f'DROP USER "{name}"')
    assert failure(connection, "select 1").errno == 390111
    with pytest.raises(DatabaseError) as caught:
        warehouse.connect(name, private_key=key.der)
    assert caught.value.errno == 390144
    assert broker.cursor().execute(f'DROP USER IF EXISTS "{name}"').fetchone()


def test_dropping_a_user_stops_what_it_runs(warehouse, broker, ephemeral):
    key = Key()
    name = ephemeral(key)
    connection, ended = warehouse.connect(name, private_key=key.der), []

    def wait() -> None:
        try:
            connection.cursor().execute("select system$wait(20)")
        except ProgrammingError as error:
            ended.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    while not warehouse.admin.executed("select system$wait(20)"):
        time.sleep(0.05)
    broker.cursor().execute(f'DROP USER "{name}"')
    thread.join(5)
    assert ended and not thread.is_alive()
    assert warehouse.admin.executed("select system$wait(20)")[0]["error_code"] == "000604"


def test_a_disabled_user_is_out(warehouse, broker, ephemeral):
    key = Key()
    name = ephemeral(key)
    connection = warehouse.connect(name, private_key=key.der)
    broker.cursor().execute(f'ALTER USER "{name}" SET DISABLED = TRUE')
    assert failure(connection, "select 1").errno == 390111
    with pytest.raises(DatabaseError):
        warehouse.connect(name, private_key=key.der)


def test_the_owner_aborts_queries_and_sessions(warehouse, broker, ephemeral):
    key = Key()
    name = ephemeral(key)
    client = warehouse.connect(name, private_key=key.der)
    query = client.cursor().execute_async("select system$wait(20)")["queryId"]
    broker.cursor().execute(f'ALTER USER "{name}" ABORT ALL QUERIES')
    deadline = time.time() + 5
    while client.is_still_running(client.get_query_status(query)) and time.time() < deadline:
        time.sleep(0.05)
    assert client.get_query_status(query).name == "FAILED_WITH_ERROR"
    broker.cursor().execute(f"SELECT SYSTEM$ABORT_SESSION({client.session_id})")
    assert failure(client, "select 1").errno == 390111


def test_only_the_owner_may_change_or_drop_a_user(warehouse, ephemeral, agent_key):
    name = ephemeral(Key())
    with warehouse.connect("SVC_AGENT", private_key=agent_key.der) as agent:
        for sql in (f'DROP USER "{name}"', f'ALTER USER "{name}" SET COMMENT = \'x\'', "CREATE USER OTHER",
                    'GRANT ROLE STEWARD TO USER SVC_AGENT'):
            assert failure(agent, sql).errno == 3001


def test_the_broker_hands_out_only_the_roles_it_owns(broker, ephemeral):
    name = ephemeral(Key())
    assert failure(broker, f'GRANT ROLE ACCOUNTADMIN TO USER "{name}"').errno == 3001
    assert failure(broker, f'GRANT ROLE FROSTGATE_BROKER TO USER "{name}"').errno == 3001
    broker.cursor().execute(f'GRANT ROLE FROSTGATE_CATALOG TO USER "{name}"')


def test_show_users_finds_by_pattern_and_hides_details_from_others(warehouse, broker, ephemeral, agent_key):
    name = ephemeral(Key())
    cursor = broker.cursor()
    row = cursor.execute("SHOW USERS LIKE 'eph_%'").fetchall()[-1]
    shown = dict(zip([d[0] for d in cursor.description], row))
    assert shown["name"] == name and shown["comment"] == "session=test" and shown["owner"] == "FROSTGATE_BROKER"
    assert shown["has_rsa_public_key"] == "true" and shown["default_role"] == "ANALYST"
    with warehouse.connect("SVC_AGENT", private_key=agent_key.der) as agent:
        row = agent.cursor().execute(f"SHOW USERS LIKE '{name}'").fetchone()
        assert row[0] == name and set(row[1:]) == {None}


def test_service_users_take_no_password_and_keys_must_be_keys(broker):
    assert "PASSWORD" in str(failure(broker, "CREATE USER X TYPE=SERVICE PASSWORD='p'"))
    assert failure(broker, "CREATE USER X TYPE=SERVICE RSA_PUBLIC_KEY='AAAA'").errno == 390170
    assert "DAYS_TO_EXPIRY" in str(failure(broker, "CREATE USER X DAYS_TO_EXPIRY=0"))


def test_a_key_can_be_rotated(warehouse, broker, ephemeral):
    old, new = Key(), Key()
    name = ephemeral(old)
    broker.cursor().execute(f"ALTER USER \"{name}\" SET RSA_PUBLIC_KEY_2 = '{new.body}'")
    warehouse.connect(name, private_key=old.der).close()
    warehouse.connect(name, private_key=new.der).close()
    broker.cursor().execute(f'ALTER USER "{name}" UNSET RSA_PUBLIC_KEY')
    with pytest.raises(DatabaseError):
        warehouse.connect(name, private_key=old.der)


def test_quoted_names_comments_and_escapes_survive(broker, ephemeral):
    name = ephemeral(Key(), COMMENT="'it''s a \\'test\\' \\\\ ; -- no comment'")
    rows = dict(r[:2] for r in broker.cursor().execute(f'DESC USER "{name}"').fetchall())
    assert rows["COMMENT"] == "it's a 'test' \\ ; -- no comment"
    assert rows["RSA_PUBLIC_KEY_FP"].startswith("SHA256:")
