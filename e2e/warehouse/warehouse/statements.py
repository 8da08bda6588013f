"""Runs one statement of a session: the account's own kinds here, the rest on the engine."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pyarrow as pa
import sqlglot
from sqlglot import Expr, exp
from sqlglot.errors import SqlglotError

from . import access, answers, binds, catalog, definitions, dialect, functions, origins, roles, routines, settings, users
from .answers import Answer, of_rows, status
from .columns import Column, of_duck, text
from .errors import SqlError, canceled, syntax, unsupported
from .lexer import Reader, Token, lex, statements
from .naming import name_outputs

if TYPE_CHECKING:
    from .queries import Query
    from .sessions import Session

_TYPES = {
    exp.Insert: answers.INSERT, exp.Update: answers.UPDATE, exp.Delete: answers.DELETE, exp.Merge: answers.MERGE,
    exp.Copy: answers.COPY, exp.Show: answers.SHOW, exp.Describe: answers.DESCRIBE, exp.Create: answers.DDL,
    exp.Drop: answers.DDL, exp.Alter: answers.DDL, exp.TruncateTable: answers.DDL, exp.Comment: answers.DDL,
    exp.Commit: answers.TRANSACTION, exp.Rollback: answers.TRANSACTION, exp.Transaction: answers.TRANSACTION,
}
_COUNTS = {
    answers.INSERT: ["number of rows inserted"],
    answers.UPDATE: ["number of rows updated", "number of multi-joined rows updated"],
    answers.DELETE: ["number of rows deleted"],
    answers.MERGE: ["number of rows inserted", "number of rows updated"],
}
_STATS = {"inserted": "numRowsInserted", "updated": "numRowsUpdated", "deleted": "numRowsDeleted"}


def run(query: Query) -> Answer:
    session = query.session
    texts = _texts(query)
    if len(texts) > 1:
        return _several(query, texts)
    sql, tokens = _filled(query, texts[0])
    if owned := _account_statement(session, tokens, query):
        return owned
    functions.wait(query, tokens)  # before the lock: other statements of the session go on meanwhile
    with session.lock:
        session.current = query
        try:
            if query.cancelled.is_set() or session.ended:
                raise canceled()
            session.connection.settle(session)
            if tokens[0].word in ("SET", "UNSET") and len(tokens) > 1:
                return _variable(query, sql, tokens)
            return _on_engine(query, binds.splice(sql, tokens, query.bindings))
        finally:
            session.current = None
            if session.ended:
                session.release()


def _texts(query: Query) -> list[str]:
    """The statements of a request, as many as it says."""
    found = statements(lex(query.sql))
    wanted = int(query.session.parameter("MULTI_STATEMENT_COUNT", query.parameters))
    if not found:
        raise SqlError("000900", "42601", "SQL compilation error:\nEmpty SQL statement.")
    if wanted not in (0, len(found)):
        raise SqlError("000008", "0A000", f"Actual statement count {len(found)} did not match the desired statement "
                       f"count {wanted}.")
    return [query.sql[tokens[0].start: tokens[-1].end] for tokens in found]


def _several(query: Query, texts: list[str]) -> Answer:
    """Runs them one after the other, up to the first that fails; each can be asked for by an id of its own."""
    if query.describe_only:
        raise unsupported("describing several statements")
    parts = {}
    for sql in texts:
        part = query.session.account.queries.part(query, sql)
        if part.error:
            raise part.error
        parts[part.id] = part.answer.type_id
    message = "Multiple statements executed successfully."
    return of_rows([text("multiple statement execution")], [[message]], answers.SEVERAL, parts=parts)


def _filled(query: Query, sql: str) -> tuple[str, list[Token]]:
    """A statement with session variables filled in."""
    tokens = lex(sql)
    is_assignment = tokens[0].word in ("SET", "UNSET")
    variables = [t for t in tokens if t.kind == "word" and t.text.startswith("$") and not t.text[1:].isdigit()]
    for token in [] if is_assignment else reversed(variables):
        name = token.text[1:].upper()
        if name not in query.session.variables:
            raise SqlError("002211", "42601", f"SQL compilation error:\nSession variable '${name}' does not exist")
        sql = sql[:token.start] + query.session.variables[name] + sql[token.end:]
    return sql, lex(sql)


def _account_statement(session: Session, tokens: list[Token], query: Query) -> Answer | None:
    """The statements about users, roles, warehouses and the session itself."""
    reader = Reader(tokens)
    if reader.accept("CREATE"):
        replace = reader.accept("OR", "REPLACE")
        for words, create in ((("USER",), users.create), (("ROLE",), roles.create),
                              (("WAREHOUSE",), settings.create_warehouse)):
            if reader.accept(*words):
                return status() if query.describe_only else create(session, reader, replace)
        return None
    for words, act in _ACCOUNT.items():
        if reader.accept(*words):
            changes = words[0] not in ("SHOW", "DESC", "DESCRIBE")
            return status() if query.describe_only and changes else act(session, reader)
    return None


_ACCOUNT = {
    ("ALTER", "USER"): users.alter,
    ("DROP", "USER"): users.drop,
    ("DESC", "USER"): users.describe,
    ("DESCRIBE", "USER"): users.describe,
    ("SHOW", "USERS"): users.show,
    ("SHOW", "TERSE", "USERS"): users.show,
    ("DROP", "ROLE"): roles.drop,
    ("SHOW", "ROLES"): roles.show,
    ("SHOW", "GRANTS"): roles.show_grants,
    ("GRANT",): roles.grant,
    ("REVOKE",): lambda session, reader: roles.grant(session, reader, revoke=True),
    ("USE",): settings.use,
    ("ALTER", "SESSION"): settings.alter_session,
    ("SHOW", "PARAMETERS"): settings.show_parameters,
    ("ALTER", "WAREHOUSE"): settings.alter_warehouse,
    ("DROP", "WAREHOUSE"): settings.drop_warehouse,
    ("SHOW", "WAREHOUSES"): settings.show_warehouses,
    ("SHOW", "USER", "FUNCTIONS"): routines.show,
    ("SHOW", "USER", "PROCEDURES"): routines.show,
}


def _variable(query: Query, sql: str, tokens: list[Token]) -> Answer:
    """SET name = expression, UNSET name."""
    reader = Reader(tokens[1:])
    name = reader.identifier()
    if tokens[0].word == "UNSET":
        reader.end()
        query.session.variables.pop(name, None)
        return status()
    reader.expect("=")
    if reader.done:
        raise reader.unexpected()
    expression = binds.splice(sql[reader.next.start:], lex(sql[reader.next.start:]), query.bindings)
    if query.describe_only:
        return status()
    answer = _on_engine(query, f"SELECT {expression}")
    content = answer.table.column(0)[0].as_py()
    is_plain = content is None or isinstance(content, (bool, int, float)) or answer.columns[0].type == "fixed"
    query.session.variables[name] = "NULL" if content is None else str(content) if is_plain else binds.quoted(
        str(content))
    return status()


def _on_engine(query: Query, sql: str) -> Answer:
    session, engine = query.session, query.session.connection
    type_id = None
    first = lex(sql)[0].word
    if first == "CALL":
        sql, type_id = "SELECT " + sql[4:], answers.CALL
    if first == "START":
        sql = "BEGIN"
    if first == "EXPLAIN":
        return _explain(session, sql)
    if first == "CREATE":
        sql = _unscoped(sql)
    if first in ("PUT", "GET", "LIST", "LS", "REMOVE", "RM", "COPY"):
        raise unsupported(f"{first} and stages")
    if first == "EXECUTE":
        raise unsupported("EXECUTE")
    placeholders = binds.count(sql)
    statement = _parsed(sql)
    type_id = type_id or _type_of(statement)
    names = name_outputs(statement, sql)
    bound = access.bind(session, statement)
    if isinstance(statement, exp.Command) or type_id is None:
        raise syntax(f"syntax error line 1 at position 0 unexpected '{first}'.")
    _result_scans(session, query, statement, engine)
    statement = functions.fill(session, query, statement)
    catalog.attach(session, engine.duck, bound)
    if query.describe_only:
        answer = _described(engine, statement, bound, type_id)
        answer.columns = [c.renamed(names.get(c.name, c.name)) for c in answer.columns]
        answer.binds, answer.described = placeholders, True
        return answer
    if placeholders and binds.is_array(query.bindings):
        binds.bulk(statement, query.bindings, engine.duck)
    elif placeholders:
        raise SqlError("002049", "42601", "SQL compilation error: error line 1 at position 0\nBind variable ? not set.")
    if isinstance(statement, (exp.Create, exp.Drop, exp.Alter, exp.Undrop, exp.Comment)):
        with session.account.objects.defining:
            return definitions.define(query, statement, bound)
    if isinstance(statement, exp.Describe):
        return definitions.describe_table(session, statement, bound)
    if isinstance(statement, exp.Show):
        table, seen = engine.run(sql)
        return _shown(session, table, [of_duck(*c) for c in seen])
    known = origins.of_query(statement, bound)
    run = engine.query if isinstance(statement, exp.Query) else engine.run
    table, seen = run(dialect.translated(statement, bound))
    columns = origins.overlay([of_duck(*c) for c in seen], known)
    columns = [c.renamed(names.get(c.name, c.name)) for c in columns]
    return Answer(table, columns, type_id, stats=_stats(type_id, table, columns))


def _unscoped(sql: str) -> str:
    """CREATE SCOPED TEMPORARY, as Snowpark writes it: there is nothing smaller than a session here."""
    tokens = lex(sql)
    scoped = [t for t, after in zip(tokens[:4], tokens[1:]) if t.word == "SCOPED" and after.word.startswith("TEMP")]
    return sql[:scoped[0].start] + sql[scoped[0].end:] if scoped else sql


def _parsed(sql: str) -> Expr:
    try:
        statement = sqlglot.parse_one(sql, read="snowflake")
    except SqlglotError as error:
        detail = re.sub(r"\x1b\[\d+m", "", str(error)).split("\n")[0]
        raise syntax(f"syntax error line 1 at position 0: {detail}")
    except RecursionError:
        raise SqlError("000603", "XX000", "SQL execution internal error: statement is nested too deeply.")
    if statement is None:
        raise SqlError("000900", "42601", "SQL compilation error:\nEmpty SQL statement.")
    return statement


def _type_of(statement: Expr) -> int | None:
    if isinstance(statement, (exp.Query, exp.Values)):
        return answers.SELECT
    return _TYPES.get(type(statement))


def _result_scans(session: Session, query: Query, statement: Expr, engine) -> None:
    """TABLE(RESULT_SCAN('id')): the rows of an earlier statement of the same user."""
    for node in list(statement.find_all(exp.TableFromRows)):
        call = node.this
        if not isinstance(call, exp.Anonymous) or call.name.upper() != "RESULT_SCAN":
            continue
        asked = functions.fill(session, query, call.expressions[0])
        found = session.account.queries.readable(session, asked.name)
        if found is None or found.answer is None:
            raise SqlError("000709", "02000", f"Statement {asked.name} not found")
        name = f"_RESULT_{found.id}"
        engine.duck.register(name, found.answer.table.rename_columns([c.name for c in found.answer.columns]))
        named = exp.Table(this=exp.to_identifier(name, True), db=exp.to_identifier("main", True),
                          catalog=exp.to_identifier("temp", True))
        if alias := node.args.get("alias"):
            named.set("alias", alias)
        node.replace(named)


def _described(engine, statement: Expr, bound: access.Bound, type_id: int) -> Answer:
    if type_id in _COUNTS:
        return of_rows([Column(n, "fixed", 38, 0) for n in _COUNTS[type_id]], [], type_id)
    if type_id not in (answers.SELECT, answers.CALL):
        return of_rows([text("status")], [], type_id)
    for node in list(statement.find_all(exp.Placeholder)):
        node.replace(exp.null())
    known = origins.of_query(statement, bound)
    seen = [of_duck(*c) for c in engine.describe(dialect.translated(statement, bound))]
    columns = origins.overlay(seen, known)
    return Answer(pa.table([pa.array([], pa.string())] * len(columns), names=[f"c{i}" for i in range(len(columns))]),
                  columns, type_id)


def _stats(type_id: int, table: pa.Table, columns: list[Column]) -> dict | None:
    if type_id not in answers.DML:
        return None
    counts = dict.fromkeys(("numRowsInserted", "numRowsUpdated", "numRowsDeleted", "numDmlDuplicates"), 0)
    for column, cells in zip(columns, table.columns):
        for word, stat in _STATS.items():
            if column.name == f"number of rows {word}":
                counts[stat] = int(cells[0].as_py())
    return counts


def _shown(session: Session, table: pa.Table, columns: list[Column]) -> Answer:
    """The rows of a SHOW that this session's roles may see."""
    names = [c.name for c in columns]
    name = "table_name" if "table_name" in names else "name"
    if {"database_name", "schema_name", name} <= set(names):
        paths = zip(*(table.column(names.index(n)).to_pylist() for n in ("database_name", "schema_name", name)))
        objects = session.account.objects
        seen = [p not in objects.tables or objects.visible(session, objects.tables[p]) for p in paths]
        table = table.filter(pa.array(seen, pa.bool_()))
    return Answer(table, columns, answers.SHOW)


def _explain(session: Session, sql: str) -> Answer:
    tokens = lex(sql)
    at = 3 if len(tokens) > 2 and tokens[1].word == "USING" else 1
    if at >= len(tokens):
        raise syntax("syntax error line 1 at position 0 unexpected '<EOF>'.")
    bound = access.bind(session, _parsed(sql[tokens[at].start:]))
    names = ("step", "id", "parentOperators", "operation", "objects", "alias", "expressions", "partitionsTotal",
             "partitionsAssigned", "bytesAssigned")
    scans = [["1", str(i), "[0]", "TableScan", ".".join(o.path), None,
              ", ".join(c.name for c in o.columns), "1", "1", "0"] for i, o in enumerate(bound.reads, 1)]
    rows = [[None, None, None, "GlobalStats", None, None, None, "1", "1", "0"],
            ["1", "0", None, "Result", None, None, None, None, None, None], *scans]
    return of_rows([text(n) for n in names], rows, answers.EXPLAIN)
