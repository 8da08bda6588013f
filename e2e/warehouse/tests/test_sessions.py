"""Tokens expire, are renewed, and end."""

import time

from conftest import PASSWORD


def renew(client, master=None, old=None):
    body = {"oldSessionToken": old or client.token, "requestType": "RENEW"}
    return client.post("/session/token-request", body, master or client.master)


def test_an_expired_token_asks_for_renewal_and_the_new_one_works(warehouse):
    client = warehouse.client()
    warehouse.admin.fault(kind="expire-tokens")
    assert client.query("select 1")["code"] == "390112"
    answer = renew(client)["data"]
    assert answer["sessionId"] == client.opened["sessionId"] and answer["validityInSecondsST"] == 3600
    old, client.token, client.master = client.token, answer["sessionToken"], answer["masterToken"]
    assert client.rows("select 1") == [["1"]]
    client.token = old
    assert client.query("select 1")["code"] == "390112"


def test_the_driver_renews_by_itself_and_the_statement_runs_once(warehouse):
    with warehouse.connect() as connection:
        warehouse.admin.fault(kind="expire-tokens")
        assert connection.cursor().execute("select 'renewed'").fetchone() == ("renewed",)
    assert len(warehouse.admin.executed("select 'renewed'")) == 1
    assert [r["status"] for r in warehouse.admin.get("/requests", path="/session/token-request")] == [200]


def test_a_short_validity_ends_by_time_alone(start):
    short = start("--no-demo", "--validity", "0.3", "--master-validity", "0.8")
    client = short.client()
    assert client.opened["validityInSeconds"] == 0
    time.sleep(0.4)
    assert client.query("select 1")["code"] == "390112"
    time.sleep(0.5)
    assert renew(client)["code"] == "390114"


def test_renewal_needs_the_right_tokens(warehouse):
    one, two = warehouse.client(), warehouse.client()
    assert renew(one, master="forged")["code"] == "390113"
    assert renew(one, old=two.token)["code"] == "390115"
    assert renew(one, master=one.token)["code"] == "390113"


def test_requests_without_a_session_are_refused(warehouse):
    client = warehouse.client()
    client.token = None
    assert client.query("select 1")["code"] == "390101"
    client.token = "forged"
    assert client.query("select 1")["code"] == "390104"
    client.token = client.master
    assert client.query("select 1")["code"] == "390104"


def test_logging_out_ends_the_session(warehouse):
    client = warehouse.client()
    assert client.post("/session/heartbeat", {})["success"]
    assert client.post("/session?delete=true", {})["success"]
    assert client.query("select 1")["code"] == "390111"
    assert renew(client)["code"] == "390114"


def test_telemetry_is_taken(warehouse):
    assert warehouse.client().post("/telemetry/send", {"logs": []}, zipped=True)["success"]


def test_unknown_paths_are_not_found(warehouse):
    client = warehouse.client(LOGIN_NAME="ADMIN", PASSWORD=PASSWORD)
    for path in ("/", "/api/v2/statements", "/session/authenticator-request", "/queries/v1/other"):
        assert client.http.post(client.base + path, json={}).status_code == 404


def test_a_session_shows_its_state_to_tests(warehouse):
    client = warehouse.client()
    client.query("use role sysadmin")
    client.query("alter session set query_tag = 'from a test'")
    state = [s for s in warehouse.admin.get("/sessions") if s["session_id"] == client.opened["sessionId"]]
    assert state[0]["role"] == "SYSADMIN" and state[0]["query_tag"] == "from a test"
