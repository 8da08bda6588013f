"""Statements under way and done: run once per session and request id, waited for, cancelled, read again."""

from __future__ import annotations

import asyncio
import gzip
import threading
import time
import uuid
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from . import results, statements
from .answers import Answer
from .errors import SqlError, canceled
from .history import History

if TYPE_CHECKING:
    from .sessions import Session

KEPT_BYTES = 256 * 2**20  # of results that can still be read; older ones are gone, as after a day
KEPT_STATEMENTS = 10_000


@dataclass(frozen=True)
class Limits:
    """When a result is cut into chunks."""

    inline_rows: int
    inline_bytes: int
    chunk_rows: int
    chunk_bytes: int


@dataclass
class Encoded:
    """A result as it goes out: the first rows inline, the others as compressed chunks."""

    inline: dict
    chunks: list[tuple[bytes, int, int]] = field(default_factory=list)  # gzip, rows, plain size
    size: int = 0


@dataclass
class Query:
    id: str
    session: Session
    request_id: str
    sql: str
    bindings: dict
    parameters: dict
    describe_only: bool
    asynchronous: bool
    address: str
    entry: dict
    status: str = "RUNNING"
    answer: Answer | None = None
    error: SqlError | None = None
    encoded: Encoded | None = None
    final: dict = field(default_factory=dict)
    started: float = field(default_factory=time.time)
    ended: float | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)
    timed_out: int | None = None
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def cancel(self) -> bool:
        """Whether there was anything to cancel."""
        if self.ended is not None:
            return False
        self.cancelled.set()
        if self.session.current is self:
            self.session.connection.interrupt()
        return True

    def content(self) -> tuple:
        """What a retry under the same request id must repeat."""
        return self.sql, self.bindings, self.describe_only, self.asynchronous


class Queries:
    def __init__(self, limits: Limits, history: History):
        self.limits, self.history = limits, history
        self.all: OrderedDict[str, Query] = OrderedDict()
        self._requests: dict[tuple[int, str], Query] = {}
        self._pool = ThreadPoolExecutor(max_workers=64, thread_name_prefix="statement")

    def submit(self, session: Session, request_id: str, body: dict, address: str, attempt: dict) -> Query:
        """Starts a statement, or finds the one that this request id started before."""
        known = self._requests.get((session.id, request_id))
        query = self._new(session, request_id, body, address)
        if known is not None:
            if known.content() != query.content():
                raise SqlError("000603", "XX000", f"Request id {request_id} was used before for another statement.")
            known.entry["attempts"].append(attempt)
            return known
        query.entry["attempts"].append(attempt)
        self.history.record(query.entry)
        self.all[query.id] = self._requests[(session.id, request_id)] = query
        self._forget()
        loop = asyncio.get_running_loop()
        loop.run_in_executor(self._pool, self._execute, query, loop)
        return query

    def part(self, whole: Query, sql: str) -> Query:
        """Runs one of several statements of a request, here and now."""
        body = {"sqlText": sql, "bindings": whole.bindings, "parameters": whole.parameters | {"MULTI_STATEMENT_COUNT": 1}}
        part = self._new(whole.session, whole.request_id, body, whole.address)
        part.cancelled = whole.cancelled
        self.history.record(part.entry)
        self.all[part.id] = part
        self._run(part)
        part.done.set()
        return part

    def _new(self, session: Session, request_id: str, body: dict, address: str) -> Query:
        query_id = str(uuid.uuid4())
        entry = {
            "query_id": query_id, "request_id": request_id, "session_id": session.id, "user": session.user.name,
            "role": session.role, "secondary_roles": list(session.secondary), "database": session.database,
            "schema": session.schema, "warehouse": session.warehouse, "sql_text": body.get("sqlText", ""),
            "bindings": body.get("bindings"), "describe_only": bool(body.get("describeOnly")),
            "async": bool(body.get("asyncExec")), "is_internal": bool(body.get("isInternal")),
            "parameters": body.get("parameters") or {}, "query_tag": session.parameter(
                "QUERY_TAG", body.get("parameters") or {}),
            "application": session.application, "query_context": body.get("queryContextDTO"),
            "status": "RUNNING", "error_code": None, "error_message": None,
            "rows": None, "started": time.time(), "ended": None, "attempts": [],
        }
        return Query(query_id, session, request_id, str(body.get("sqlText", "")), body.get("bindings") or {},
                     body.get("parameters") or {}, entry["describe_only"], entry["async"], address, entry)

    def _execute(self, query: Query, loop: asyncio.AbstractEventLoop) -> None:
        session = query.session
        limit = int(session.parameter("STATEMENT_TIMEOUT_IN_SECONDS", query.parameters) or 0)
        timer = threading.Timer(limit, self._time_out, (query, limit)) if 0 < limit < 3600 else None
        if timer:
            timer.daemon = True
            timer.start()
        try:
            self._run(query)
        finally:
            if timer:
                timer.cancel()
        loop.call_soon_threadsafe(query.done.set)

    def _run(self, query: Query) -> None:
        session = query.session
        try:
            query.answer = statements.run(query)
            query.encoded = _encode(query, self.limits)
        except SqlError as error:
            query.error = error
        except Exception as error:  # a defect here must not look like a transport error to drivers
            query.error = SqlError("000603", "XX000", f"SQL execution internal error: {error!r}", "EXECUTION")
        if query.cancelled.is_set() and query.error is not None:
            query.error = canceled() if query.timed_out is None else SqlError(
                "000630", "57014", f"Statement reached its statement or warehouse timeout of {query.timed_out} "
                "second(s) and was canceled.", "EXECUTION")
        query.final = {"finalDatabaseName": session.database, "finalSchemaName": session.schema,
                       "finalWarehouseName": session.warehouse, "finalRoleName": session.role}
        query.status = "FAILED_WITH_ERROR" if query.error else "SUCCESS"
        query.ended = time.time()
        session.last_query = query.id
        query.entry.update(
            status=query.status, ended=query.ended, rows=query.answer.table.num_rows if query.answer else None,
            error_code=query.error.code if query.error else None,
            error_message=query.error.message if query.error else None)

    def _time_out(self, query: Query, limit: int) -> None:
        query.timed_out = limit
        query.cancel()

    def of(self, session: Session) -> list[Query]:
        return [q for q in list(self.all.values()) if q.session is session]

    def by_request(self, session: Session, request_id: str) -> Query | None:
        return self._requests.get((session.id, request_id))

    def readable(self, session: Session, query_id: str) -> Query | None:
        """A statement whose result this session may read: its own user's."""
        found = self.all.get(query_id.lower())
        return found if found and found.session.user is session.user else None

    def _forget(self) -> None:
        """Drops the oldest results; their request ids stay known, so that no late retry runs twice."""
        total = 0
        for query in reversed(list(self.all.values())):
            total += query.encoded.size if query.encoded else 0
            if total > KEPT_BYTES and query.ended is not None:
                query.answer = query.encoded = None
        while len(self.all) > KEPT_STATEMENTS:
            self.all.popitem(last=False)

    def close(self) -> None:
        """Cancels what runs, so that the process can end."""
        for query in list(self.all.values()):
            query.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def closed(self, session: Session) -> None:
        """Forgets the request ids of a session that takes no more requests."""
        for key in [k for k in list(self._requests) if k[0] == session.id]:
            self._requests.pop(key, None)


def _encode(query: Query, limits: Limits) -> Encoded:
    answer, session = query.answer, query.session
    arrow = answer.is_query and session.wants_arrow(query.parameters)
    table, columns = answer.table, answer.columns
    cap = int(session.parameter("ROWS_PER_RESULTSET", query.parameters) or 0)
    if answer.is_query and cap:
        table = table.slice(0, cap)
        answer.table = table
    rows = table.num_rows
    inline_rows = rows
    if rows > limits.inline_rows or rows > 1 and table.nbytes > limits.inline_bytes:
        inline_rows = min(limits.inline_rows, max(1, rows * limits.inline_bytes // max(table.nbytes, 1)))
    first = table.slice(0, inline_rows)
    kinds = results.integers(table, columns) if arrow else []
    if arrow:
        inline = {"queryResultFormat": "arrow",
                  "rowsetBase64": "" if answer.described else results.arrow_base64(first, columns, kinds)}
    else:
        inline = {"queryResultFormat": "json", "rowset": results.json_rows(first, columns)}
    encoded = Encoded(inline)
    megabytes = int(session.parameter("CLIENT_RESULT_CHUNK_SIZE", query.parameters) or 160)
    size = min(limits.chunk_bytes, megabytes * 2**20)
    per_row = max(table.nbytes // max(rows, 1), 1)
    step = max(1, min(limits.chunk_rows, size // per_row))
    for start in range(inline_rows, rows, step):
        part = table.slice(start, step)
        plain = results.arrow_stream(part, columns, kinds) if arrow else results.json_chunk(part, columns)
        encoded.chunks.append((gzip.compress(plain, 1), part.num_rows, len(plain)))
    encoded.size = table.nbytes + sum(len(body) for body, _, _ in encoded.chunks)
    return encoded
