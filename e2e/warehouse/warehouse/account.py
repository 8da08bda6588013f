"""The account: everything that sessions share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from . import roles
from .chunks import Chunks
from .engine import Engine
from .faults import Faults
from .history import History
from .objects import Objects
from .queries import Limits, Queries, Query
from .sessions import Session, Sessions
from .users import User

ADMIN_USER = "ADMIN"


class Account:
    def __init__(self, name: str, limits: Limits, validity: float, master_validity: float, chunk_base: str,
                 chunk_lifetime: float, poll_after: float, clock_skew: float):
        self.name = name.upper()
        self.history = History()
        self.faults = Faults()
        self.engine = Engine()
        self.objects = Objects()
        self.roles = roles.builtin()
        self.users = {ADMIN_USER: User(ADMIN_USER, None, properties={"DEFAULT_ROLE": roles.ADMIN, "TYPE": "SERVICE"})}
        self.users[ADMIN_USER].roles.add(roles.ADMIN)
        self.warehouses: dict[str, dict] = {}
        self.sessions = Sessions(validity, master_validity)
        self.queries = Queries(limits, self.history)
        self.chunks = Chunks(chunk_base, chunk_lifetime, self.history)
        self.poll_after, self.clock_skew = poll_after, clock_skew

    def session(self, user: User, application: str, role: str, parameters: dict) -> Session:
        return Session(self, self.sessions.next_id(), user, application, role, parameters,
                       secondary=list(user.secondary_roles), connection=self.engine.connect())

    def administrator(self) -> Session:
        """A session of the built-in administrator; it has no token and cannot be reached from outside."""
        return self.session(self.users[ADMIN_USER], "seed", roles.ADMIN, {})

    def end_session(self, session: Session, why: str) -> None:
        self.sessions.end(session, why)
        for query in self.queries.of(session):
            query.cancel()
        self.queries.closed(session)
        self._drop_temporary(session)
        session.release()

    def end_sessions(self, user: User, why: str) -> None:
        for session in list(self.sessions.all.values()):
            if session.user is user and not session.ended:
                self.end_session(session, why)

    def abort_queries(self, chosen: Callable[[Session], bool], but: Query | None = None) -> None:
        for query in list(self.queries.all.values()):
            if query is not but and chosen(query.session):
                query.cancel()

    def _drop_temporary(self, session: Session) -> None:
        if not session.temporary:
            return
        with self.objects.defining:
            cleaner = self.administrator()
            for database, schema, name in session.temporary:
                cleaner.connection.statement(f'DROP TABLE IF EXISTS "{database}"."{schema}"."{name}"')
            self.objects.sync(cleaner.connection.duck, cleaner, None)
            cleaner.connection.close()
        session.temporary.clear()

    def seed(self, sql: str) -> int:
        """Runs a script as the administrator; the first failure ends it."""
        from .seed import run

        return run(self, sql)


def read(path: str) -> str:
    return Path(path).read_text(encoding="utf-8")
