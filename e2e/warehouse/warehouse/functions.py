"""Functions whose value is the session's or the account's, put into a statement as literals."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from sqlglot import Expr, exp

from .errors import SqlError, canceled, insufficient, missing
from .lexer import Reader, Token, lex

if TYPE_CHECKING:
    from .queries import Query
    from .sessions import Session

VERSION = "10.20.0"
_UNITS = {"MILLISECONDS": 0.001, "SECONDS": 1, "MINUTES": 60}
_NAME = re.compile(r"(?<!^)(?=[A-Z])")


def fill(session: Session, query: Query, statement: Expr) -> Expr:
    """Replaces the calls in place."""
    for node in list(statement.find_all(exp.Func)):
        name = node.name.upper() if isinstance(node, exp.Anonymous) else _NAME.sub("_", type(node).__name__).upper()
        known = _FUNCTIONS.get(name)
        if known is None:
            if name.startswith("SYSTEM$"):
                raise SqlError("002140", "42601", f"SQL compilation error:\nUnknown function {name}")
            continue
        arguments = node.expressions if isinstance(node, exp.Anonymous) else []
        content = known(session, query, [a.name if isinstance(a, exp.Literal) else a.sql() for a in arguments])
        literal = exp.null() if content is None else exp.convert(content)
        if content is None:
            literal = exp.cast(literal, "varchar")
        if node is statement:
            return literal
        node.replace(literal)
    return statement


def _secondary_roles(session: Session, query: Query, _) -> str:
    names = sorted(session.user.roles - {session.role}) if session.secondary == ["ALL"] else session.secondary
    return json.dumps({"roles": ",".join(names), "value": "ALL" if session.secondary == ["ALL"] else ""})


def _waited(session: Session, query: Query, arguments: list[str]) -> str:
    unit = arguments[1].lower() if len(arguments) > 1 else "seconds"
    return f"waited {arguments[0]} {unit}"


def wait(query: Query, tokens: list[Token]) -> None:
    """Does the waiting of every SYSTEM$WAIT(n [, unit]) in a statement, until the query is cancelled."""
    seconds = 0.0
    for i, token in enumerate(tokens):
        if token.word == "SYSTEM$WAIT":
            reader = Reader(tokens[i + 1:])
            reader.expect("(")
            amount = reader.take().text
            unit = reader.take().text.upper() if reader.accept(",") else "SECONDS"
            if unit not in _UNITS or not amount.replace(".", "").isdigit():
                raise SqlError("002262", "22023", "SQL compilation error:\ninvalid arguments of SYSTEM$WAIT")
            seconds += float(amount) * _UNITS[unit]
    if seconds and not query.describe_only and query.cancelled.wait(seconds):
        raise canceled()


def _last_query(session: Session, query: Query, arguments: list[str]) -> str | None:
    if not arguments:
        return session.last_query
    done = [q.id for q in session.account.queries.of(session) if q is not query]
    position = int(arguments[0].replace(" ", ""))
    index = position - 1 if position > 0 else position
    return done[index] if -len(done) <= index < len(done) else None


def _abort_session(session: Session, query: Query, arguments: list[str]) -> str:
    target = session.account.sessions.all.get(int(arguments[0]))
    if target is None:
        raise SqlError("000709", "02000", f"Session {arguments[0]} not found.")
    if target.user is not session.user and not session.holds(target.user.owner) and not session.may("MANAGE USERS"):
        raise insufficient("session", arguments[0])
    if not query.describe_only:
        session.account.end_session(target, "aborted by SYSTEM$ABORT_SESSION")
    return "session aborted."


def _cancel_query(session: Session, query: Query, arguments: list[str]) -> str:
    found = session.account.queries.all.get(arguments[0].lower())
    if found is None or found.session.user is not session.user and not session.holds(found.session.user.owner):
        raise SqlError("000709", "02000", f"Invalid UUID: {arguments[0]}")
    if not query.describe_only:
        found.cancel()
    return f"query [{found.id}] terminated."


def _cancel_all(session: Session, query: Query, arguments: list[str]) -> str:
    target = int(arguments[0])
    session.account.abort_queries(lambda s: s.id == target and s.user is session.user, but=query)
    return "all queries cancelled"


def _ddl(session: Session, query: Query, arguments: list[str]) -> str:
    objects = session.account.objects
    name = Reader(lex(arguments[1])).name()
    found = objects.find(session, name)
    if found is None or not objects.visible(session, found) or objects.readable_text(session, found) is None:
        raise missing("Object", ".".join(name))
    columns = ",\n".join(
        f"\t{c.name}" + ("" if found.kind == "VIEW" else f" {c.described}" + ("" if c.nullable else " NOT NULL"))
        for c in found.columns)
    head = f"create or replace {found.kind} {found.path[2]} (\n{columns}\n)"
    return f"{head} as {view_body(found.text)};" if found.kind == "VIEW" else f"{head};"


def view_body(text: str) -> str:
    """The query of a CREATE VIEW statement."""
    tokens, depth = lex(text), 0
    for token in tokens:
        if token.kind == "punct":
            depth += (token.text == "(") - (token.text == ")")
        if token.word == "AS" and depth == 0:
            return text[token.end:].strip().rstrip(";")
    return text


def _constant(content):
    return lambda session, query, arguments: content


_FUNCTIONS = {
    "CURRENT_USER": lambda s, q, a: s.user.name,
    "CURRENT_ROLE": lambda s, q, a: s.role,
    "CURRENT_SECONDARY_ROLES": _secondary_roles,
    "CURRENT_AVAILABLE_ROLES": lambda s, q, a: json.dumps(sorted(s.user.roles | {"PUBLIC"})),
    "IS_ROLE_IN_SESSION": lambda s, q, a: a[0] in s.active,
    "CURRENT_ACCOUNT": lambda s, q, a: s.account.name,
    "CURRENT_ACCOUNT_NAME": lambda s, q, a: s.account.name,
    "CURRENT_ORGANIZATION_NAME": _constant("STANDIN"),
    "CURRENT_REGION": _constant("LOCAL"),
    "CURRENT_SESSION": lambda s, q, a: str(s.id),
    "CURRENT_STATEMENT": lambda s, q, a: q.sql,
    "CURRENT_TRANSACTION": _constant(None),
    "CURRENT_WAREHOUSE": lambda s, q, a: s.warehouse,
    "CURRENT_DATABASE": lambda s, q, a: s.database,
    "CURRENT_SCHEMA": lambda s, q, a: s.schema,
    "CURRENT_SCHEMAS": lambda s, q, a: json.dumps([f"{s.database}.{s.schema}"] if s.schema else []),
    "CURRENT_CLIENT": lambda s, q, a: s.application,
    "CURRENT_IP_ADDRESS": lambda s, q, a: q.address,
    "CURRENT_VERSION": _constant(VERSION),
    "LAST_QUERY_ID": _last_query,
    "GET_DDL": _ddl,
    "SYSTEM$WAIT": _waited,
    "SYSTEM$ABORT_SESSION": _abort_session,
    "SYSTEM$CANCEL_QUERY": _cancel_query,
    "SYSTEM$CANCEL_ALL_QUERIES": _cancel_all,
}
