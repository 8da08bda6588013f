"""Starts accounts for the tests, each a process of its own on free loopback ports."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import snowflake.connector
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from wire import Admin, Client

ROOT = Path(__file__).parents[1]
PASSWORD = "the-administrator"

os.environ.setdefault("SNOWFLAKE_DISABLE_PLATFORM_DETECTION", "true")


class Key:
    """A key pair, in the forms that the account and the drivers take."""

    def __init__(self) -> None:
        self.private = rsa.generate_private_key(65537, 2048)
        self.der = self.private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        self.pem = self.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        self.body = "".join(self.pem.splitlines()[1:-1])


class Warehouse:
    def __init__(self, *flags: str) -> None:
        command = [sys.executable, "-m", "warehouse", "--listen", "127.0.0.1", "--port", "0", "--admin-port", "0",
                   "--admin-password", PASSWORD, *flags]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        found = re.search(r"listen=(\w+)://[\d.]+:(\d+) chunks=(\S+) admin=(\S+)", line)
        assert found, f"the account did not start: {line!r}"
        self.scheme, self.port, self.chunks = found[1], int(found[2]), found[3]
        self.admin = Admin(found[4])

    def stop(self) -> None:
        self.process.terminate()

    def stopped(self) -> None:
        assert self.process.wait(20) == 0

    def connect(self, user: str = "ADMIN", **more):
        """A connection of the real driver."""
        options = dict(account="demo", host="127.0.0.1", port=self.port, protocol="http", user=user, database="DEMO",
                       schema="PUBLIC", warehouse="COMPUTE_WH", login_timeout=10, network_timeout=20)
        if "private_key" in more:
            options["authenticator"] = "SNOWFLAKE_JWT"
        else:
            options["password"] = PASSWORD
        return snowflake.connector.connect(**(options | more))

    def client(self, **more) -> Client:
        """A logged-in session that shows the bare protocol."""
        client = Client(f"{self.scheme}://127.0.0.1:{self.port}")
        return client.login(**({"LOGIN_NAME": "ADMIN", "PASSWORD": PASSWORD} | more))


@pytest.fixture(scope="session")
def start():
    running: list[Warehouse] = []

    def begin(*flags: str) -> Warehouse:
        running.append(Warehouse(*flags))
        return running[-1]

    yield begin
    for warehouse in running:
        warehouse.stop()
    for warehouse in running:
        warehouse.stopped()


@pytest.fixture(scope="session")
def broker_key() -> Key:
    return Key()


@pytest.fixture(scope="session")
def agent_key() -> Key:
    return Key()


@pytest.fixture(scope="session")
def shared(start, broker_key, agent_key, tmp_path_factory) -> Warehouse:
    folder = tmp_path_factory.mktemp("keys")
    (folder / "broker.pem").write_text(broker_key.pem)
    (folder / "agent.pem").write_text(agent_key.pem)
    return start("--poll-after", "0.5", "--inline-rows", "100", "--broker-public-key", str(folder / "broker.pem"),
                 "--agent-public-key", str(folder / "agent.pem"))


@pytest.fixture
def warehouse(shared) -> Warehouse:
    """The account that tests share, with a clean history and no faults."""
    shared.admin.post("/reset")
    return shared


@pytest.fixture
def broker(warehouse, broker_key):
    """A connection of the user that creates users."""
    with warehouse.connect("FROSTGATE_BROKER", private_key=broker_key.der) as connection:
        yield connection


@pytest.fixture
def ephemeral(broker):
    """Creates a user as the operator does; they are dropped afterwards."""
    made: list[str] = []

    def make(key: Key, role: str = "ANALYST", **more) -> str:
        name = f"EPH_{time.time_ns()}"
        options = {"TYPE": "SERVICE", "RSA_PUBLIC_KEY": f"'{key.body}'", "DEFAULT_ROLE": role,
                   "DEFAULT_SECONDARY_ROLES": "()", "DAYS_TO_EXPIRY": "1", "COMMENT": "'session=test'"} | more
        words = " ".join(f"{k}={v}" for k, v in options.items())
        broker.cursor().execute(f'CREATE USER "{name}" {words}')
        broker.cursor().execute(f'GRANT ROLE {role} TO USER "{name}"')
        made.append(name)
        return name

    yield make
    for name in made:
        broker.cursor().execute(f'DROP USER IF EXISTS "{name}"')
