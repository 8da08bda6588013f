"""Who may log in, with what, and what is refused."""

import base64
import hashlib
import time

import jwt
import pytest
import snowflake.connector
from conftest import Key
from wire import Client


def token(key: Key, user: str, account: str = "DEMO", issuer: str | None = None, lives: int = 60, **claims) -> str:
    print_ = "SHA256:" + base64.b64encode(hashlib.sha256(base64.b64decode(key.body)).digest()).decode()
    now = int(time.time())
    content = {"iss": issuer or f"{account}.{user}.{print_}", "sub": f"{account}.{user}", "iat": now,
               "exp": now + lives} | claims
    return jwt.encode(content, key.private, "RS256")


def refused(warehouse, **data) -> str:
    answer = Client(f"http://127.0.0.1:{warehouse.port}").try_login(**data)
    assert answer["success"] is False and isinstance(answer["data"], dict)
    return answer["code"]


def test_a_password_opens_a_session_with_everything_drivers_need(warehouse):
    data = warehouse.client().opened
    assert data["token"] and data["masterToken"] and isinstance(data["sessionId"], int)
    assert data["validityInSeconds"] == 3600 and data["masterValidityInSeconds"] == 14400
    assert data["sessionInfo"] == {"databaseName": "DEMO", "schemaName": "PUBLIC", "warehouseName": "COMPUTE_WH",
                                   "roleName": "ACCOUNTADMIN"}
    assert {"AUTOCOMMIT", "TIMEZONE", "CLIENT_RESULT_CHUNK_SIZE"} <= {p["name"] for p in data["parameters"]}


def test_a_wrong_password_and_an_unknown_user_are_refused_alike(warehouse):
    assert refused(warehouse, LOGIN_NAME="ADMIN", PASSWORD="wrong") == "390100"
    assert refused(warehouse, LOGIN_NAME="NOBODY", PASSWORD="wrong") == "390100"
    assert refused(warehouse, LOGIN_NAME="SVC_AGENT", PASSWORD="") == "390100"


def test_a_key_pair_token_opens_a_session_of_its_user(warehouse, agent_key):
    with warehouse.connect("SVC_AGENT", private_key=agent_key.der) as connection:
        row = connection.cursor().execute("select current_user(), current_role()").fetchone()
    assert row == ("SVC_AGENT", "ANALYST")
    entry = warehouse.admin.get("/logins")[-1]
    assert entry["success"] and entry["authenticator"] == "SNOWFLAKE_JWT" and entry["role"] == "ANALYST"
    assert entry["claims"]["exp"] - entry["claims"]["iat"] <= 3600


WRONG = {
    "signed by another key": lambda k: token(Key(), "SVC_AGENT", issuer=jwt.decode(
        token(k, "SVC_AGENT"), options={"verify_signature": False})["iss"]),
    "another key's fingerprint": lambda k: token(Key(), "SVC_AGENT"),
    "issuer of another user": lambda k: token(k, "SVC_AGENT", issuer="DEMO.OTHER.SHA256:x"),
    "subject of an unknown user": lambda k: token(k, "NOBODY"),
    "another account": lambda k: token(k, "SVC_AGENT", account="ELSEWHERE"),
    "expired": lambda k: token(k, "SVC_AGENT", iat=int(time.time()) - 300, exp=int(time.time()) - 200),
    "lives two hours": lambda k: token(k, "SVC_AGENT", lives=7200),
    "issued in the future": lambda k: token(k, "SVC_AGENT", iat=int(time.time()) + 600, exp=int(time.time()) + 700),
    "no expiry": lambda k: token(k, "SVC_AGENT", exp=None),
    "not a token": lambda k: "x.y.z",
    "unsigned": lambda k: jwt.encode(jwt.decode(token(k, "SVC_AGENT"), options={"verify_signature": False}), None,
                                     "none"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_key_pair_token_that_is_not_right_is_refused(warehouse, agent_key, wrong):
    given = WRONG[wrong](agent_key)
    assert refused(warehouse, LOGIN_NAME="SVC_AGENT", AUTHENTICATOR="SNOWFLAKE_JWT", TOKEN=given) == "390144"
    entry = warehouse.admin.get("/logins")[-1]
    assert not entry["success"] and entry["reason"]


def test_clock_skew_within_the_tolerance_is_accepted(warehouse, agent_key):
    late = token(agent_key, "SVC_AGENT", iat=int(time.time()) - 70, exp=int(time.time()) - 10)
    Client(f"http://127.0.0.1:{warehouse.port}").login(AUTHENTICATOR="SNOWFLAKE_JWT", TOKEN=late)


def test_a_key_pair_token_must_be_of_the_login_name(warehouse, agent_key):
    given = token(agent_key, "SVC_AGENT")
    assert refused(warehouse, LOGIN_NAME="ADMIN", AUTHENTICATOR="SNOWFLAKE_JWT", TOKEN=given) == "390144"


def test_another_account_and_other_authenticators_are_refused(warehouse):
    assert refused(warehouse, ACCOUNT_NAME="other", LOGIN_NAME="ADMIN", PASSWORD="x") == "390201"
    assert refused(warehouse, AUTHENTICATOR="OAUTH", TOKEN="x") == "390190"


def test_a_role_that_is_not_granted_is_refused_at_login(warehouse, agent_key):
    with pytest.raises(snowflake.connector.errors.DatabaseError, match="STEWARD.*not granted"):
        warehouse.connect("SVC_AGENT", private_key=agent_key.der, role="STEWARD")
    assert warehouse.admin.get("/logins")[-1]["code"] == "390189"


def test_a_missing_database_leaves_the_session_without_one(warehouse):
    assert warehouse.client(query="databaseName=NOWHERE").opened["sessionInfo"]["databaseName"] is None
