"""CREATE, ALTER and DROP of databases, schemas, tables and views, and DESCRIBE TABLE."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import Expr, exp

from . import access, answers, dialect, origins
from .answers import Answer, of_rows, status
from .columns import of_duck, text
from .errors import exists, missing

if TYPE_CHECKING:
    from .queries import Query
    from .sessions import Session


def define(query: Query, statement: Expr, bound: access.Bound) -> Answer:
    session, engine, objects = query.session, query.session.connection, query.session.account.objects
    kind = str(statement.args.get("kind") or "").upper()
    if isinstance(statement, exp.Drop) and kind in ("DATABASE", "SCHEMA"):
        return _drop_namespace(session, statement, kind)
    if isinstance(statement, exp.Create) and kind == "DATABASE":
        return _create_database(session, statement)
    known = origins.of_definition(statement, bound) if isinstance(statement, exp.Create) else []
    temporary, secure = False, statement.find(exp.SecureProperty) is not None
    if isinstance(statement, exp.Create) and statement.args.get("properties"):
        kept = [p for p in statement.args["properties"].expressions
                if not isinstance(p, (exp.TemporaryProperty, exp.TransientProperty))]
        temporary = any(isinstance(p, exp.TemporaryProperty) for p in statement.args["properties"].expressions)
        statement.set("properties", exp.Properties(expressions=kept) if kept else None)
    if statement.args.get("exists") and isinstance(statement, exp.Create) and bound.defines in objects.tables:
        return status(f"{bound.defines[2]} already exists, statement succeeded.")
    table, seen = engine.run(dialect.translated(statement, bound))
    if isinstance(statement, exp.Create) and bound.defines:
        objects.forget(bound.defines)
    objects.sync(engine.duck, session, bound.defines)
    made = objects.tables.get(bound.defines) if isinstance(statement, exp.Create) else None
    if made:
        made.text, made.owner, made.secure = query.sql.strip().rstrip(";"), session.role, secure
        made.columns = [
            same.renamed(column.name) if same and origins.compatible(same, column) else column
            for column, same in zip(made.columns, known)] if len(known) == len(made.columns) else made.columns
        if temporary:
            made.session = session.id
            session.temporary.add(bound.defines)
    return Answer(table, [of_duck(*c) for c in seen], answers.DDL)


def _create_database(session: Session, statement: exp.Create) -> Answer:
    table = statement.this
    name = table.name if table.this.quoted else table.name.upper()
    objects = session.account.objects
    if (name,) in objects.owners:
        if statement.args.get("exists"):
            return status(f"{name} already exists, statement succeeded.")
        raise exists(name)
    session.connection.run(f'CREATE DATABASE "{name}"')
    session.connection.statement(f'CREATE SCHEMA "{name}"."PUBLIC"')
    objects.sync(session.connection.duck, session, None)
    session.database, session.schema = name, "PUBLIC"
    return status(f"Database {name} successfully created.")


def _drop_namespace(session: Session, statement: exp.Drop, kind: str) -> Answer:
    objects = session.account.objects
    name = access.namespace(session, (statement.args.get("tables") or [statement.this])[0], kind)
    if name not in objects.owners:
        return status(f"Drop statement executed successfully ({name[-1]} already dropped).")
    if kind == "DATABASE":
        if session.database == name[0]:
            session.connection.leave()
        session.connection.statement(f'DETACH "{name[0]}"')
    else:
        session.connection.statement(f'DROP SCHEMA "{name[0]}"."{name[1]}" CASCADE')
    for other in list(session.account.sessions.all.values()):
        if other.database == name[0] and (kind == "DATABASE" or other.schema == name[1]):
            other.schema = None
            other.database = None if kind == "DATABASE" else other.database
    objects.sync(session.connection.duck, session, None)
    return status(f"{name[-1]} successfully dropped.")


def describe_table(session: Session, statement: exp.Describe, bound: access.Bound) -> Answer:
    found = next(iter(bound.sources.values()), None)
    if found is None:
        raise missing("Object", statement.this.sql(dialect="snowflake"))
    names = ("name", "type", "kind", "null?", "default", "primary key", "unique key", "check", "expression",
             "comment", "policy name", "privacy domain")
    rows = [[c.name, c.described, "COLUMN", "Y" if c.nullable else "N", None, "N", "N", None, None, None, None, None]
            for c in found.columns]
    return of_rows([text(n) for n in names], rows, answers.DESCRIBE)
