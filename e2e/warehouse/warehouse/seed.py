"""Fills the account: a script run as the administrator, and the demonstration data."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from . import statements
from .lexer import lex
from .lexer import statements as split
from .queries import Query
from .users import User, public_key

if TYPE_CHECKING:
    from .account import Account

DEMO = Path(__file__).with_name("demo.sql")
BROKER = "FROSTGATE_BROKER"


def run(account: Account, sql: str) -> int:
    """Runs a script in one session of the administrator; the first failure ends it."""
    session, count = account.administrator(), 0
    try:
        for tokens in split(lex(sql)):
            text = sql[tokens[0].start: tokens[-1].end]
            entry = {"started": time.time(), "attempts": []}
            statements.run(Query(f"seed-{count}", session, "", text, {}, {}, False, False, "", entry))
            count += 1
    finally:
        session.release()
    return count


def broker(account: Account, pem: str) -> None:
    """The privileged user whose key only the operator holds: it may create users and hand out two roles."""
    _service(account, BROKER, pem, BROKER, "creates the users of sessions")


def agent(account: Account, pem: str) -> None:
    """A fixed service user, for connections that do not create users."""
    _service(account, "SVC_AGENT", pem, "ANALYST", "a fixed service user")


def _service(account: Account, name: str, pem: str, role: str, comment: str) -> None:
    account.users[name] = User(name, "ACCOUNTADMIN", roles={role}, properties={
        "TYPE": "SERVICE", "RSA_PUBLIC_KEY": public_key(pem), "DEFAULT_ROLE": role, "DEFAULT_SECONDARY_ROLES": [],
        "DEFAULT_WAREHOUSE": "COMPUTE_WH", "COMMENT": comment})
