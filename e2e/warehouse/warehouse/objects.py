"""Databases, schemas, tables and views: who owns them, how names resolve, who may see them."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from .columns import Column, of_duck
from .errors import SqlError, missing

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from .sessions import Session

INFORMATION_SCHEMA = "INFORMATION_SCHEMA"
_HIDDEN = "('system', 'temp', 'memory', '_fs_global')"
Path = tuple[str, str, str]


@dataclass
class Object:
    """A table or a view."""

    path: Path
    kind: str
    owner: str
    columns: list[Column] = field(default_factory=list)
    text: str = ""
    session: int | None = None  # of a temporary table
    secure: bool = False  # a view whose text is its owner's alone
    created: datetime = field(default_factory=lambda: datetime.now(UTC))


class Objects:
    def __init__(self) -> None:
        self.tables: dict[Path, Object] = {}
        self.owners: dict[tuple[str, ...], str] = {}  # databases and schemas, by their names
        self.defining = threading.RLock()  # one definition at a time; readers see the state before or after it

    def resolve(self, session: Session, name: tuple[str, ...], home: tuple[str, str] | None = None) -> Path:
        """The full name of an object; `home` stands in for the session's database and schema."""
        database, schema = home or (session.database, session.schema)
        if len(name) == 3:
            return name
        if database is None:
            raise SqlError("090105", "22000", "Cannot perform operation. This session does not have a current "
                           "database. Call 'USE DATABASE', or use a qualified name.")
        if len(name) == 2:
            return (database, *name)
        if schema is None:
            raise SqlError("090106", "22000", "Cannot perform operation. This session does not have a current "
                           "schema. Call 'USE SCHEMA', or use a qualified name.")
        return database, schema, name[0]

    def find(self, session: Session, name: tuple[str, ...], home: tuple[str, str] | None = None) -> Object | None:
        return self.tables.get(self.resolve(session, name, home))

    def visible(self, session: Session, found: Object) -> bool:
        return found.session in (None, session.id) and self.usable(session, found.path[:2]) and (
            session.holds(found.owner) or session.allowed(None, "TABLE", found.path))

    def readable_text(self, session: Session, found: Object) -> str | None:
        """The statement that made a view, for those who may read it."""
        return None if found.secure and not session.holds(found.owner) else found.text

    def usable(self, session: Session, name: tuple[str, ...]) -> bool:
        """Whether the session may use this database, or this schema and its database."""
        kinds = ("DATABASE", "SCHEMA")
        return all(
            name[: i + 1] in self.owners
            and (session.holds(self.owners[name[: i + 1]]) or session.allowed("USAGE", kinds[i], name[: i + 1]))
            for i in range(len(name))
        )

    def namespace(self, session: Session, name: tuple[str, ...], kind: str) -> tuple[str, ...]:
        """The full name of a database or schema that exists."""
        if kind == "SCHEMA" and len(name) == 1:
            if session.database is None:
                raise SqlError("090105", "22000", "Cannot perform operation. This session does not have a current "
                               "database. Call 'USE DATABASE', or use a qualified name.")
            name = (session.database, *name)
        if name not in self.owners:
            raise missing(kind.capitalize(), ".".join(name))
        return name

    def forget(self, path: Path | None) -> None:
        """What is known of a table that is replaced."""
        self.tables = {p: o for p, o in self.tables.items() if p != path}

    def sync(self, duck: DuckDBPyConnection, session: Session, touched: Path | None) -> None:
        """Takes over what a definition statement changed; new things belong to the session's role."""
        schemas = duck.execute(
            "select database_name, schema_name from duckdb_schemas() where database_name not in "
            f"{_HIDDEN} and schema_name not in ('main', '_fs_information_schema', 'pg_catalog', "
            "'information_schema')").fetchall()
        names = {(d,) for (d,) in duck.execute(
            f"select database_name from duckdb_databases() where database_name not in {_HIDDEN}").fetchall()}
        names |= set(schemas)
        self.owners = {n: self.owners.get(n, session.role) for n in names}
        found = {tuple(row[:3]): row[3] for row in duck.execute(
            "select database_name, schema_name, table_name, 'TABLE' from duckdb_tables() union all "
            "select database_name, schema_name, view_name, 'VIEW' from duckdb_views() where not internal").fetchall()
            if tuple(row[:2]) in names}
        tables = {path: o for path, o in self.tables.items() if path in found}
        for path in found.keys() - tables.keys():
            tables[path] = Object(path, found[path], session.role)
            tables[path].columns = self._columns(duck, path, {})
        if touched in tables:
            known = tables[touched]
            known.kind = found[touched]
            known.columns = self._columns(duck, touched, {c.name: c for c in known.columns})
        self.tables = tables

    def _columns(self, duck: DuckDBPyConnection, path: Path, known: dict[str, Column]) -> list[Column]:
        rows = duck.execute(
            "select column_name, data_type, is_nullable from duckdb_columns() where database_name = ? and "
            "schema_name = ? and table_name = ? order by column_index", list(path)).fetchall()
        found = []
        for name, kind, nullable in rows:
            column = of_duck(name, kind)
            same = known.get(name)
            if same and _family(same.type) == _family(column.type):
                column = same
            found.append(column if nullable else Column(**{**column.__dict__, "nullable": False}))
        return found


def _family(kind: str) -> str:
    if kind in ("variant", "object", "array"):
        return "variant"
    return "timestamp" if kind.startswith("timestamp") else kind
