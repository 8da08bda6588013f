"""Misbehaviour on order, and how the driver comes through it."""

import time

import pytest
import requests

QUERY = "/queries/v1/query-request"


@pytest.mark.parametrize("order", [
    {"kind": "status", "status": 503}, {"kind": "status", "status": 500, "after": True}, {"kind": "cut"},
    {"kind": "cut", "after": True}, {"kind": "slow", "seconds": 0.5}, {"kind": "slow", "seconds": 0.5, "after": True},
], ids=str)
def test_the_driver_comes_through_and_the_statement_runs_once(warehouse, order):
    sql = f"insert into survived values ('{order['kind']} {'after' if order.get('after') else 'before'}')"
    with warehouse.connect() as connection:
        cursor = connection.cursor()
        cursor.execute("create or replace temporary table survived (what varchar)")
        warehouse.admin.fault(path=QUERY, **order)
        cursor.execute(sql)
        assert cursor.execute("select count(*) from survived").fetchone() == (1,)
    [entry] = warehouse.admin.executed(sql)
    assert len(entry["attempts"]) == (2 if order.get("after") and order["kind"] != "slow" else 1)
    met = [r for r in warehouse.admin.get("/requests", path=QUERY) if r.get("fault")]
    assert len(met) == 1 and not warehouse.admin.get("/fault")


def test_chunks_can_fail_and_are_fetched_again(warehouse):
    warehouse.admin.fault(kind="status", status=503, count=2, host="chunks", path="/results")
    with warehouse.connect() as connection:
        assert len(connection.cursor().execute("select * from orders").fetchall()) == 100_000


def test_a_connection_can_be_cut_before_or_within_an_answer(warehouse):
    client = warehouse.client()
    for kind, error in (("cut", "Connection aborted|reset"), ("truncate", "IncompleteRead")):
        warehouse.admin.fault(kind=kind, path="/session/heartbeat")
        with pytest.raises(requests.exceptions.RequestException, match=error):
            client.post("/session/heartbeat", {})
    assert client.post("/session/heartbeat", {})["success"]


def test_slow_is_slow_only_as_often_as_ordered(warehouse):
    client = warehouse.client()
    warehouse.admin.fault(kind="slow", seconds=0.6, path="/session/heartbeat")
    spent = []
    for _ in range(2):
        started = time.time()
        client.post("/session/heartbeat", {})
        spent.append(time.time() - started)
    assert spent[0] > 0.6 > spent[1]


def test_sessions_can_be_ended(warehouse):
    client = warehouse.client()
    warehouse.admin.fault(kind="end-sessions", user="ADMIN")
    assert client.query("select 1")["code"] == "390111"


def test_an_order_that_makes_no_sense_is_refused(warehouse):
    for order in ({"kind": "unknown"}, {"kind": "cut", "count": 0}, {"kind": "slow", "host": "x"},
                  {"kind": "cut", "x": 1}):
        assert warehouse.admin.post("/fault", order).status_code == 400


def test_more_can_be_seeded_while_it_runs(warehouse):
    answer = requests.post(f"{warehouse.admin.base}/seed", data="create or replace table demo.public.added (id int);"
                           "insert into demo.public.added values (1);", timeout=10)
    assert answer.json() == {"statements": 2}
    assert warehouse.client().rows("select * from added") == [["1"]]
    assert requests.post(f"{warehouse.admin.base}/seed", data="selec", timeout=10).status_code == 400
    assert warehouse.admin.get("/healthz") == {"status": "ok"}
