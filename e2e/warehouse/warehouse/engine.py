"""Runs statements on DuckDB, by way of fakesnow's translation of Snowflake's dialect."""

from __future__ import annotations

import logging
import re
import warnings
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import snowflake.connector.errors as driver
from fakesnow.dialect import parse_one
from fakesnow.instance import FakeSnow
from sqlglot import Expr

from .errors import SqlError, syntax

if TYPE_CHECKING:
    from .sessions import Session

warnings.filterwarnings("ignore", message="Arrow output on a DB-API result")
logging.getLogger("sqlglot").setLevel(logging.ERROR)


_TRANSLATIONS = 2000
_MEMORY = "4GB"  # a recursion without an end must fail, and not take the machine with it
_EFFECTS = ("seed", "result_scan_sfqid", "put_stage_data", "list_stage_name")


class Engine:
    def __init__(self) -> None:
        self._fakesnow = FakeSnow(create_database_on_connect=False, create_schema_on_connect=False)
        limits = f"SET memory_limit = '{_MEMORY}'; SET max_temp_directory_size = '0KB'"
        self._fakesnow.duck_conn.execute(limits)
        self._translations: dict[tuple, str | None] = {}

    def connect(self) -> "Connection":
        return Connection(self._fakesnow.connect(), self._translations)


class _NoVariables:
    """Session variables are filled in before the engine sees a statement."""

    def inline_variables(self, sql: str) -> str:
        return sql

    def update_variables(self, expression: Expr) -> None:
        pass


class Connection:
    """One session's connection. It is used by one thread at a time; only `interrupt` may come from another."""

    def __init__(self, connection, translations: dict[tuple, str | None]) -> None:
        self._connection, self._translations = connection, translations
        self._connection.variables = _NoVariables()
        self._connection.results_cache = {}
        self._home: tuple[str, str | None] | None = None

    @property
    def duck(self) -> duckdb.DuckDBPyConnection:
        return self._connection._duck_conn

    def interrupt(self) -> None:
        self.duck.interrupt()

    def close(self) -> None:
        self._connection.close()

    def leave(self) -> None:
        """Stands in no database, so that any can be dropped."""
        self.duck.execute("USE memory.main")
        self._home = None

    def settle(self, session: Session) -> None:
        """Makes the session's database and schema the engine's."""
        connection = self._connection
        autocommit = bool(session.parameter("AUTOCOMMIT"))
        if autocommit != connection._autocommit:
            connection.autocommit(autocommit)
        home = (session.database, session.schema)
        if home == self._home or session.database is None:
            return
        schema = session.schema if session.schema and session.schema != "INFORMATION_SCHEMA" else "main"
        self.duck.execute(f'SET schema=\'"{session.database}"."{schema}"\'')
        connection.database, connection._schema = session.database, session.schema
        connection.database_set, connection.schema_set = True, session.schema is not None
        self._home = home

    def run(self, sql: str) -> tuple[pa.Table, list[tuple[str, str]]]:
        """The rows of a statement, and the engine's names and types of its columns."""
        try:
            cursor = self._connection.cursor()
            cursor.execute(sql)
            return cursor._arrow_table, [row[:2] for row in cursor._describe_last_sql()]
        except Exception as error:
            raise _translated(error)
        finally:
            self._connection.results_cache.clear()

    def query(self, sql: str) -> tuple[pa.Table, list[tuple[str, str]]]:
        """As `run`, for queries: translates a text that comes again only once, as translating takes longest."""
        key = (sql, self._connection.database, self._connection.schema)
        try:
            translated = self._translations.get(key, "")
            if translated == "":
                if len(self._translations) >= _TRANSLATIONS:
                    self._translations.clear()
                translated = self._translations[key] = self._translate(sql)
            if translated is None:
                return self.run(sql)
            self.duck.execute(translated)
            table = self.duck.to_arrow_table()
            return table, [row[:2] for row in self.duck.execute(f"DESCRIBE {translated}").fetchall()]
        except Exception as error:
            raise _translated(error)

    def _translate(self, sql: str) -> str | None:
        """DuckDB's text for a query; None where running it takes more than that text."""
        cursor, expression = self._connection.cursor(), parse_one(sql)
        cursor.check_db_and_schema(expression)
        found = cursor._transform(expression, None)
        return None if any(found.args.get(a) for a in _EFFECTS) else found.sql(dialect="duckdb")

    def describe(self, sql: str) -> list[tuple[str, str]]:
        """The columns of a query that is not run."""
        table, _ = self.run(f"DESCRIBE {sql}")
        return [(row["column_name"], row["column_type"]) for row in table.to_pylist()]

    def statement(self, sql: str) -> None:
        """A statement in DuckDB's own words."""
        try:
            self.duck.execute(sql)
        except duckdb.Error as error:
            raise _translated(error)


def _translated(error: Exception) -> SqlError:
    if isinstance(error, SqlError):
        return error
    if isinstance(error, duckdb.InterruptException):
        return SqlError("000604", "57014", "SQL execution canceled", "EXECUTION")
    cause = error.__cause__ if isinstance(error, driver.Error) and error.__cause__ else error
    text = str(getattr(error, "raw_msg", None) or error)
    first = text.split("\n")[0]
    if isinstance(cause, duckdb.BinderException):
        if found := re.search(r'column "?([\w$]+)"? not found', text):
            return SqlError("000904", "42000", "SQL compilation error: error line 1 at position 0\n"
                            f"invalid identifier '{found[1]}'")
        return SqlError("002043", "42601", f"SQL compilation error:\n{first}")
    if isinstance(cause, duckdb.CatalogException):
        if found := re.search(r"Function with name (\S+) does not exist", text):
            return SqlError("002140", "42601", f"SQL compilation error:\nUnknown function {found[1].upper()}.")
        if found := re.search(r"with name (\S+) does not exist", text):
            return SqlError("002003", "42S02", "SQL compilation error:\n"
                            f"Object '{found[1].strip(chr(34)).upper()}' does not exist or not authorized.")
        return SqlError("002002", "42710", f"SQL compilation error:\n{first}")
    if isinstance(cause, duckdb.ConversionException):
        if found := re.search(r"Could not convert string '(.*?)'", text):
            return SqlError("100038", "22018", f"Numeric value '{found[1]}' is not recognized", "EXECUTION")
        return SqlError("100035", "22007", first, "EXECUTION")
    if isinstance(cause, duckdb.ConstraintException):
        return SqlError("100072", "22000", f"NULL result in a non-nullable column: {first}", "EXECUTION")
    if isinstance(cause, duckdb.TransactionException):
        return SqlError("000625", "57014", f"Statement was aborted because a lock was held by another transaction: "
                        f"{first}", "EXECUTION")
    if isinstance(cause, duckdb.OutOfRangeException):
        return SqlError("100046", "22003", f"Number out of representable range: {first}", "EXECUTION")
    if isinstance(error, driver.Error) and error.errno and error.errno > 0:
        if error.errno == 1003:
            return syntax(first)
        return SqlError(f"{error.errno:06d}", error.sqlstate or "42000", text)
    if isinstance(cause, duckdb.ParserException):
        return syntax(first)
    return SqlError("000603", "XX000", f"SQL execution internal error: Processing aborted by error: {first}",
                    "EXECUTION")
