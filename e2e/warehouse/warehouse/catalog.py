"""INFORMATION_SCHEMA, showing what the session's roles may see and nothing more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
from sqlglot import exp

from .access import Bound
from .columns import Column
from .errors import missing
from .objects import INFORMATION_SCHEMA

if TYPE_CHECKING:
    from .sessions import Session

_TEXT, _NUMBER, _TIME = pa.string(), pa.int64(), pa.timestamp("us", tz="UTC")

_VIEWS: dict[str, list[tuple[str, pa.DataType]]] = {
    "DATABASES": [("DATABASE_NAME", _TEXT), ("DATABASE_OWNER", _TEXT), ("IS_TRANSIENT", _TEXT), ("COMMENT", _TEXT),
                  ("TYPE", _TEXT)],
    "SCHEMATA": [("CATALOG_NAME", _TEXT), ("SCHEMA_NAME", _TEXT), ("SCHEMA_OWNER", _TEXT), ("IS_TRANSIENT", _TEXT),
                 ("IS_MANAGED_ACCESS", _TEXT), ("COMMENT", _TEXT)],
    "TABLES": [("TABLE_CATALOG", _TEXT), ("TABLE_SCHEMA", _TEXT), ("TABLE_NAME", _TEXT), ("TABLE_OWNER", _TEXT),
               ("TABLE_TYPE", _TEXT), ("IS_TRANSIENT", _TEXT), ("CREATED", _TIME), ("LAST_ALTERED", _TIME),
               ("COMMENT", _TEXT), ("IS_TEMPORARY", _TEXT)],
    "VIEWS": [("TABLE_CATALOG", _TEXT), ("TABLE_SCHEMA", _TEXT), ("TABLE_NAME", _TEXT), ("TABLE_OWNER", _TEXT),
              ("VIEW_DEFINITION", _TEXT), ("CHECK_OPTION", _TEXT), ("IS_UPDATABLE", _TEXT), ("INSERTABLE_INTO", _TEXT),
              ("IS_SECURE", _TEXT), ("CREATED", _TIME), ("LAST_ALTERED", _TIME), ("COMMENT", _TEXT)],
    "COLUMNS": [("TABLE_CATALOG", _TEXT), ("TABLE_SCHEMA", _TEXT), ("TABLE_NAME", _TEXT), ("COLUMN_NAME", _TEXT),
                ("ORDINAL_POSITION", _NUMBER), ("COLUMN_DEFAULT", _TEXT), ("IS_NULLABLE", _TEXT), ("DATA_TYPE", _TEXT),
                ("CHARACTER_MAXIMUM_LENGTH", _NUMBER), ("CHARACTER_OCTET_LENGTH", _NUMBER),
                ("NUMERIC_PRECISION", _NUMBER), ("NUMERIC_PRECISION_RADIX", _NUMBER), ("NUMERIC_SCALE", _NUMBER),
                ("DATETIME_PRECISION", _NUMBER), ("COLLATION_NAME", _TEXT), ("IS_IDENTITY", _TEXT),
                ("COMMENT", _TEXT)],
    "ENABLED_ROLES": [("ROLE_NAME", _TEXT), ("ROLE_OWNER", _TEXT)],
    "FUNCTIONS": [("FUNCTION_CATALOG", _TEXT), ("FUNCTION_SCHEMA", _TEXT), ("FUNCTION_NAME", _TEXT),
                  ("FUNCTION_OWNER", _TEXT), ("ARGUMENT_SIGNATURE", _TEXT), ("DATA_TYPE", _TEXT),
                  ("FUNCTION_DEFINITION", _TEXT), ("FUNCTION_LANGUAGE", _TEXT)],
    "PROCEDURES": [("PROCEDURE_CATALOG", _TEXT), ("PROCEDURE_SCHEMA", _TEXT), ("PROCEDURE_NAME", _TEXT),
                   ("PROCEDURE_OWNER", _TEXT), ("ARGUMENT_SIGNATURE", _TEXT), ("DATA_TYPE", _TEXT)],
}


def attach(session: Session, duck, bound: Bound) -> None:
    """Registers the views that a statement names, and points the statement at them."""
    for table, database, view in bound.schemas:
        if view not in _VIEWS:
            raise missing("Object", f"{database}.{INFORMATION_SCHEMA}.{view}")
        name = f"_INFORMATION_{database}_{view}"
        duck.register(name, _content(session, database, view))
        alias = table.alias or view
        for part, text in (("catalog", "temp"), ("db", "main"), ("this", name)):
            table.set(part, exp.to_identifier(text, quoted=True))
        table.set("alias", exp.TableAlias(this=exp.to_identifier(alias, quoted=bool(table.args.get("alias")))))


def _content(session: Session, database: str, view: str) -> pa.Table:
    fields = _VIEWS[view]
    rows = list(_rows(session, database, view))
    arrays = [pa.array([row[i] for row in rows], kind) for i, (_, kind) in enumerate(fields)]
    return pa.table(arrays, names=[name for name, _ in fields])


def _rows(session: Session, database: str, view: str):
    objects = session.account.objects
    seen = [o for _, o in sorted(objects.tables.items()) if o.path[0] == database and objects.visible(session, o)]
    match view:
        case "DATABASES":
            for name, owner in sorted(objects.owners.items()):
                if len(name) == 1 and objects.usable(session, name):
                    yield [name[0], owner, "NO", None, "STANDARD"]
        case "SCHEMATA":
            yield [database, INFORMATION_SCHEMA, "", "NO", "NO", None]
            for name, owner in sorted(objects.owners.items()):
                if len(name) == 2 and name[0] == database and objects.usable(session, name):
                    yield [*name, owner, "NO", "NO", None]
        case "TABLES":
            for o in seen:
                kind = "VIEW" if o.kind == "VIEW" else "LOCAL TEMPORARY" if o.session else "BASE TABLE"
                yield [*o.path, o.owner, kind, "NO", o.created, o.created, None, "YES" if o.session else "NO"]
        case "VIEWS":
            for o in seen:
                if o.kind == "VIEW":
                    yield [*o.path, o.owner, objects.readable_text(session, o), "NONE", "NO", "NO",
                           "YES" if o.secure else "NO", o.created, o.created, None]
        case "COLUMNS":
            for o in seen:
                for position, column in enumerate(o.columns, 1):
                    yield [*o.path, column.name, position, None, "YES" if column.nullable else "NO",
                           column.schema_type, *_measures(column), None, "NO", None]
        case "ENABLED_ROLES":
            for name in sorted(session.active):
                yield [name, session.account.roles[name].owner]


def _measures(column: Column) -> list[int | None]:
    """Lengths in characters and bytes; numeric precision, radix and scale; fractional digits of times."""
    if column.type in ("text", "binary"):
        return [column.length, column.byte_length, None, None, None, None]
    if column.type == "fixed":
        return [None, None, column.precision, 10, column.scale, None]
    return [None, None, None, None, None, column.scale]
