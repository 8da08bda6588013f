"""Sessions: their tokens and validity, and what a session's statements see as current."""

from __future__ import annotations

import itertools
import secrets
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from . import roles
from .errors import Refused

if TYPE_CHECKING:
    from .account import Account
    from .engine import Connection
    from .queries import Query
    from .users import User

DEFAULTS = {
    "AUTOCOMMIT": True,
    "ABORT_DETACHED_QUERY": False,
    "BINARY_OUTPUT_FORMAT": "HEX",
    "CLIENT_MEMORY_LIMIT": 1536,
    "CLIENT_METADATA_REQUEST_USE_CONNECTION_CTX": False,
    "CLIENT_PREFETCH_THREADS": 4,
    "CLIENT_RESULT_CHUNK_SIZE": 160,
    "CLIENT_SESSION_KEEP_ALIVE": False,
    "CLIENT_SESSION_KEEP_ALIVE_HEARTBEAT_FREQUENCY": 3600,
    "CLIENT_STAGE_ARRAY_BINDING_THRESHOLD": 0,  # keeps array binds in the request: there are no stages
    "CLIENT_TELEMETRY_ENABLED": True,
    "CLIENT_TIMESTAMP_TYPE_MAPPING": "TIMESTAMP_LTZ",
    "DATE_OUTPUT_FORMAT": "YYYY-MM-DD",
    "ERROR_ON_NONDETERMINISTIC_MERGE": True,
    "JSON_INDENT": 2,
    "MULTI_STATEMENT_COUNT": 1,
    "QUERY_TAG": "",
    "QUOTED_IDENTIFIERS_IGNORE_CASE": False,
    "ROWS_PER_RESULTSET": 0,
    "SEARCH_PATH": "$current, $public",
    "STATEMENT_TIMEOUT_IN_SECONDS": 172800,
    "TIMESTAMP_LTZ_OUTPUT_FORMAT": "",
    "TIMESTAMP_NTZ_OUTPUT_FORMAT": "YYYY-MM-DD HH24:MI:SS.FF3",
    "TIMESTAMP_OUTPUT_FORMAT": "YYYY-MM-DD HH24:MI:SS.FF3 TZHTZM",
    "TIMESTAMP_TYPE_MAPPING": "TIMESTAMP_NTZ",
    "TIMESTAMP_TZ_OUTPUT_FORMAT": "",
    "TIMEZONE": "UTC",
    "TIME_OUTPUT_FORMAT": "HH24:MI:SS",
    "USE_CACHED_RESULT": True,
    "WEEK_OF_YEAR_POLICY": 0,
    "WEEK_START": 0,
    "PYTHON_CONNECTOR_QUERY_RESULT_FORMAT": "ARROW",
    "JDBC_QUERY_RESULT_FORMAT": "ARROW",
    "GO_QUERY_RESULT_FORMAT": "ARROW",
    "ODBC_QUERY_RESULT_FORMAT": "ARROW",
    "DOTNET_QUERY_RESULT_FORMAT": "JSON",
    "JS_QUERY_RESULT_FORMAT": "JSON",
}

_FORMATS = {"PYTHONCONNECTOR": "PYTHON_CONNECTOR", "JDBC": "JDBC", "GO": "GO", "ODBC": "ODBC", ".NET": "DOTNET",
            "JAVASCRIPT": "JS"}


@dataclass
class Session:
    account: Account
    id: int
    user: User
    application: str
    role: str
    parameters: dict
    secondary: list[str] = field(default_factory=list)  # [] none, ["ALL"], or named roles
    database: str | None = None
    schema: str | None = None
    warehouse: str | None = None
    variables: dict[str, str] = field(default_factory=dict)
    temporary: set = field(default_factory=set)
    last_query: str | None = None
    connection: Connection | None = None
    current: Query | None = None  # the statement that is on the engine now
    lock: threading.RLock = field(default_factory=threading.RLock)
    token: str = ""
    master: str = ""
    token_expires: float = 0.0
    master_expires: float = 0.0
    opened: float = field(default_factory=time.time)
    ended: str | None = None  # why, once it is over

    @property
    def active(self) -> set[str]:
        """Every role whose privileges the session has."""
        chosen = {self.role, roles.PUBLIC}
        chosen |= self.user.roles if self.secondary == ["ALL"] else set(self.secondary)
        return roles.closure(self.account.roles, chosen)

    def may(self, privilege: str) -> bool:
        """An account-wide privilege."""
        return self.allowed(privilege, "ACCOUNT", ())

    def holds(self, owner: str | None) -> bool:
        active = self.active
        return roles.ADMIN in active or owner in active

    def allowed(self, privilege: str | None, kind: str, name: tuple[str, ...]) -> bool:
        """A granted privilege on an object; None asks for any."""
        active = self.active
        if roles.ADMIN in active:
            return True
        held = [r for r in map(self.account.roles.get, active) if r]  # others may drop one meanwhile
        return any(
            grant.kind == kind and privilege in (None, grant.privilege) and len(grant.name) == len(name)
            and all(given in ("*", asked) for given, asked in zip(grant.name, name))
            for role in held for grant in role.grants
        )

    def parameter(self, name: str, statement: dict | None = None):
        if statement and name in statement:
            return statement[name]
        return self.parameters.get(name, DEFAULTS.get(name))

    def wants_arrow(self, statement: dict) -> bool:
        """Arrow only for the drivers that ask for it, as the account decides from their name."""
        prefix = _FORMATS.get(self.application.upper())
        chosen = prefix and self.parameter(f"{prefix}_QUERY_RESULT_FORMAT", statement)
        return bool(chosen) and str(chosen).upper().startswith("ARROW")

    def listed_parameters(self) -> list[dict]:
        return [{"name": n, "value": v} for n, v in sorted((DEFAULTS | self.parameters).items())]

    def release(self) -> None:
        """Closes the engine's connection of an ended session, once nothing runs on it."""
        with self.lock:
            if self.current is None and self.connection is not None:
                self.connection.close()
                self.connection = None

    def describe(self) -> dict:
        return {
            "session_id": self.id, "user": self.user.name, "role": self.role, "secondary_roles": self.secondary,
            "database": self.database, "schema": self.schema, "warehouse": self.warehouse,
            "application": self.application, "opened": self.opened, "ended": self.ended,
            "query_tag": self.parameter("QUERY_TAG"),
            # what an agent must never see, for those who look for it
            "token": self.token, "master_token": self.master,
        }


class Sessions:
    """Every session of the account, found by its tokens."""

    def __init__(self, validity: float, master_validity: float):
        self.validity, self.master_validity = validity, master_validity
        self.all: dict[int, Session] = {}
        self._tokens: dict[str, Session] = {}
        self._masters: dict[str, Session] = {}
        self._ids = itertools.count(secrets.randbelow(2**40) * 1000 + 1)

    def next_id(self) -> int:
        return next(self._ids)

    def open(self, session: Session) -> None:
        self.all[session.id] = session
        self._issue(session)

    def _issue(self, session: Session) -> None:
        now = time.time()
        session.token, session.master = (f"ver:3-hint:{session.id}-{secrets.token_urlsafe(96)}" for _ in range(2))
        session.token_expires, session.master_expires = now + self.validity, now + self.master_validity
        self._tokens[session.token] = session
        self._masters[session.master] = session

    def of(self, token: str | None) -> Session:
        """The session of a token that is valid now."""
        if not token:
            raise Refused("390101", "Authorization header not found in the request data.")
        session = self._tokens.get(token)
        if session is None:
            raise Refused("390104", "User must login again to access the service.")
        if session.ended:
            raise Refused("390111", "Session no longer exists.  New login required to access the service.")
        if token != session.token or session.token_expires <= time.time():
            raise Refused("390112", "Your session has expired. Please login again.")
        return session

    def renew(self, master: str | None, old: str) -> Session:
        if not master:
            raise Refused("390101", "Authorization header not found in the request data.")
        session = self._masters.get(master)
        if session is None:
            raise Refused("390113", "Authentication token is not found. The user must authenticate again.")
        if session.ended or session.master_expires <= time.time():
            raise Refused("390114", "Authentication token has expired.  The user must authenticate again.")
        if master != session.master or self._tokens.get(old) is not session:
            raise Refused("390115", "Authentication token is invalid.  The user must authenticate again.")
        self._issue(session)
        return session

    def end(self, session: Session, why: str) -> None:
        session.ended = session.ended or why

    def expire_tokens(self, masters: bool) -> None:
        for session in list(self.all.values()):
            session.token_expires = 0.0
            if masters:
                session.master_expires = 0.0
