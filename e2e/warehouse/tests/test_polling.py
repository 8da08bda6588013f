"""Long statements: held, polled, asynchronous, cancelled."""

import threading
import time
import uuid

import pytest
from snowflake.connector.errors import ProgrammingError


def test_a_long_statement_is_polled_at_a_relative_url_that_stays(warehouse):
    client = warehouse.client()
    first = client.query("select system$wait(1.2), 1")
    assert first["code"] == "333333" and first["success"] is True
    url = first["data"]["getResultUrl"]
    assert url == f"/queries/{first['data']['queryId']}/result"
    again = client.get(url)
    assert again["code"] == "333333" and again["data"]["getResultUrl"] == url
    last = client.finish(again)
    assert last["success"] and "getResultUrl" not in last["data"] and last["data"]["total"] == 1


def test_an_asynchronous_statement_is_answered_at_once(warehouse):
    client = warehouse.client()
    started = time.time()
    first = client.query("call system$wait(1.5)", asyncExec=True)
    assert first["code"] == "333334" and first["success"] and time.time() - started < 1.4
    query = first["data"]["queryId"]
    [state] = client.get(f"/monitoring/queries//{query}")["data"]["queries"]
    assert state["status"] == "RUNNING" and state["sqlText"] == "call system$wait(1.5)"
    assert client.finish(first)["success"]
    assert client.get(f"/monitoring/queries/{query}")["data"]["queries"][0]["status"] == "SUCCESS"
    assert client.get(f"/monitoring/queries/{uuid.uuid4()}")["data"]["queries"] == []


def test_a_session_goes_on_beside_its_asynchronous_statement(warehouse):
    client = warehouse.client()
    client.query("select system$wait(3)", asyncExec=True)
    started = time.time()
    assert client.rows("select 1") == [["1"]] and time.time() - started < 2.5


def test_the_driver_waits_and_reads_asynchronous_results(warehouse):
    with warehouse.connect() as connection:
        cursor = connection.cursor()
        assert cursor.execute("select system$wait(1.2), 5").fetchone()[1] == 5
        query = cursor.execute_async("select count(*) c, system$wait(1) from orders")["queryId"]
        assert connection.is_still_running(connection.get_query_status(query))
        cursor.get_results_from_sfqid(query)
        assert cursor.fetchone()[0] == 100_000


@pytest.mark.parametrize("by", ["request", "query"])
def test_a_cancelled_statement_ends_with_its_code_while_polled(warehouse, by):
    client, request = warehouse.client(), str(uuid.uuid4())
    first = client.query("select system$wait(20)", request)
    if by == "request":
        answer = client.post(f"/queries/v1/abort-request?requestId={uuid.uuid4()}",
                             {"sqlText": "select system$wait(20)", "requestId": request})
    else:
        answer = client.post(f"/queries/{first['data']['queryId']}/abort-request", {})
    assert answer["success"]
    last = client.finish(first)
    assert last["code"] == "000604" and last["data"]["sqlState"] == "57014"
    assert client.post("/queries/v1/abort-request", {"requestId": request})["code"] == "000605"


def test_a_statement_on_the_engine_is_cancelled_too(warehouse):
    client, request = warehouse.client(), str(uuid.uuid4())
    heavy = "select count(*) from orders a, orders b, orders c where a.id + b.id + c.id = 7"
    ended = []
    thread = threading.Thread(target=lambda: ended.append(client.finish(client.query(heavy, request))))
    thread.start()
    time.sleep(0.7)
    client.post("/queries/v1/abort-request", {"requestId": request})
    thread.join(10)
    assert ended and ended[0]["code"] == "000604"


def test_a_statement_timeout_ends_it(warehouse):
    answer = warehouse.client().query("select system$wait(20)", parameters={"STATEMENT_TIMEOUT_IN_SECONDS": 1})
    client = warehouse.client()
    assert client.finish(answer)["code"] == "000630"


def test_the_driver_cancels(warehouse):
    with warehouse.connect() as connection:
        with pytest.raises(ProgrammingError) as caught:
            connection.cursor().execute("select system$wait(20)", timeout=1)
    assert caught.value.errno == 604


def test_nobody_else_reads_or_cancels_a_statement(warehouse, agent_key):
    client = warehouse.client()
    query = client.query("select system$wait(1)", asyncExec=True)["data"]["queryId"]
    with warehouse.connect("SVC_AGENT", private_key=agent_key.der) as other:
        client_of_other = warehouse.client()
        client_of_other.token = other.rest.token
        assert client_of_other.get(f"/queries/{query}/result")["code"] == "000612"
        assert client_of_other.get(f"/monitoring/queries/{query}")["data"]["queries"] == []
        assert client_of_other.post(f"/queries/{query}/abort-request", {})["code"] == "000605"
