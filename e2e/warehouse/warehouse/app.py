"""The endpoints of the account's host, as drivers call them."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import time
import zlib

from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from .account import Account
from .errors import Refused, SqlError
from .faults import suffer
from .login import login
from .queries import Query
from .sessions import Session

_TOKEN = re.compile(r'Snowflake Token="(.*)"')
_LARGEST = 256 * 2**20
_ABORTS_AFTER = 300


def envelope(data, code: str | None = None, message: str | None = None, success: bool = True) -> JSONResponse:
    return JSONResponse({"data": data, "code": code, "message": message, "success": success})


async def _body(request: Request) -> dict:
    raw = await request.body()
    if request.headers.get("content-encoding") == "gzip":
        inflater = zlib.decompressobj(wbits=31)
        raw = inflater.decompress(raw, _LARGEST)
        if inflater.unconsumed_tail:
            raise Refused("390400", "The request body is too large.")
    try:
        body = json.loads(raw or b"{}")
    except ValueError:
        raise Refused("390400", "The request body is not JSON.")
    if not isinstance(body, dict):
        raise Refused("390400", "The request body is not an object.")
    return body


def _token(request: Request) -> str | None:
    found = _TOKEN.fullmatch(request.headers.get("authorization", ""))
    return found[1] if found and found[1] != "None" else None


class Endpoints:
    def __init__(self, account: Account):
        self.account = account

    def session(self, request: Request) -> Session:
        return self.account.sessions.of(_token(request))

    async def login(self, request: Request) -> JSONResponse:
        data = (await _body(request)).get("data")
        if not isinstance(data, dict):
            raise Refused("390400", "The request body has no data.")
        client = request.client.host if request.client else None
        wishes = dict(request.query_params)
        return envelope(await asyncio.to_thread(login, self.account, data, wishes, client))

    async def renew(self, request: Request) -> JSONResponse:
        body = await _body(request)
        if body.get("requestType") != "RENEW":
            raise Refused("390400", "Bad request type.")
        sessions = self.account.sessions
        session = sessions.renew(_token(request), str(body.get("oldSessionToken")))
        validity, master = int(sessions.validity), int(sessions.master_validity)
        return envelope({
            "sessionToken": session.token, "validityInSecondsST": validity, "masterToken": session.master,
            "validityInSecondsMT": master, "masterValidityInSeconds": master, "sessionId": session.id})

    async def close(self, request: Request) -> JSONResponse:
        session = self.session(request)
        if request.query_params.get("delete", "").lower() == "true":
            await asyncio.to_thread(self.account.end_session, session, "logged out")
        return envelope(None)

    async def heartbeat(self, request: Request) -> JSONResponse:
        self.session(request)
        return envelope(None)

    async def telemetry(self, request: Request) -> JSONResponse:
        if not request.url.path.endswith("sessionless"):
            self.session(request)
        await _body(request)
        return envelope("Log Received")

    async def query(self, request: Request) -> JSONResponse:
        session = self.session(request)
        body = await _body(request)
        request_id = request.query_params.get("requestId") or ""
        if not request_id:
            raise Refused("390400", "The request has no requestId.")
        attempt = {"at": time.time(), "request_guid": request.query_params.get("request_guid"),
                   "retry_count": request.query_params.get("retryCount"), "retry": request.query_params.get("retry")}
        address = request.client.host if request.client else ""
        try:
            query = self.account.queries.submit(session, request_id, body, address, attempt)
        except SqlError as error:
            return _failure(error, request_id)
        if query.asynchronous:
            return self.pending(query)
        return await self.outcome(query)

    async def result(self, request: Request) -> JSONResponse:
        session = self.session(request)
        query = self.account.queries.readable(session, request.path_params["id"])
        if query is None:
            return _failure(SqlError("000612", "02000", "Result for query not found."), request.path_params["id"])
        return await self.outcome(query)

    async def outcome(self, query: Query) -> JSONResponse:
        """The end of a statement, or word that it goes on when it takes longer than a driver should wait."""
        try:
            await asyncio.wait_for(query.done.wait(), self.account.poll_after)
        except TimeoutError:
            return self.pending(query)
        if query.error is not None:
            return _failure(query.error, query.id)
        if query.encoded is None:
            return _failure(SqlError("000612", "02000", "Result for query not found."), query.id)
        return envelope(_success(query) | self.account.chunks.links(query))

    def pending(self, query: Query) -> JSONResponse:
        data = {"queryId": query.id, "getResultUrl": f"/queries/{query.id}/result",
                "queryAbortsAfterSecs": _ABORTS_AFTER, "progressDesc": None}
        if query.asynchronous:
            return envelope(data, "333334", "Asynchronous execution in progress. Use provided query id to perform "
                            "query monitoring and management.")
        return envelope(data, "333333", "Query execution in progress.")

    async def abort_request(self, request: Request) -> JSONResponse:
        session = self.session(request)
        body = await _body(request)
        return _aborted(self.account.queries.by_request(session, str(body.get("requestId"))))

    async def abort_query(self, request: Request) -> JSONResponse:
        session = self.session(request)
        return _aborted(self.account.queries.readable(session, request.path_params["id"]))

    async def monitoring(self, request: Request) -> JSONResponse:
        session = self.session(request)
        query = self.account.queries.readable(session, request.path_params["id"])
        return envelope({"queries": [] if query is None else [_monitored(query)]})


def _aborted(query: Query | None) -> JSONResponse:
    if query is None or not query.cancel():
        return envelope(None, "000605", "Identified SQL statement is not currently executing.", False)
    return envelope(None)


def _failure(error: SqlError, query_id: str) -> JSONResponse:
    data = {"internalError": False, "unredactedFromSecureObject": False, "errorCode": error.code, "age": 0,
            "sqlState": error.sqlstate, "queryId": query_id, "line": -1, "pos": -1, "type": error.kind}
    return envelope(data, error.code, error.message, False)


def _success(query: Query) -> dict:
    answer = query.answer
    listed = query.session.listed_parameters()
    return {
        "parameters": listed, "rowtype": [c.row_type() for c in answer.columns], **query.encoded.inline,
        "total": answer.table.num_rows, "returned": answer.table.num_rows, "queryId": query.id,
        "databaseProvider": None, **query.final, "numberOfBinds": answer.binds,
        "arrayBindSupported": answer.type_id == 0x3100, "statementTypeId": answer.type_id, "version": 1,
        "sendResultTime": int(time.time() * 1000), "queryContext": _context(query),
        "metaDataOfBinds": [_TEXT_BIND | {"name": str(i + 1)} for i in range(answer.binds)],
        **({"stats": answer.stats} if answer.stats else {}),
        **({"resultIds": ",".join(answer.parts), "resultTypes": ",".join(map(str, answer.parts.values()))}
           if answer.parts else {}),
    }


def _context(query: Query) -> dict:
    """What drivers keep and send back with their next statement, without looking into it."""
    content = base64.b64encode(query.id.encode()).decode()
    return {"entries": [{"id": 0, "timestamp": int(query.started * 1_000_000), "priority": 0, "context": content}]}


_TEXT_BIND = {"type": "text", "nullable": True, "length": 16777216, "byteLength": 16777216, "precision": None,
              "scale": None, "database": "", "schema": "", "table": "", "collation": None}


def _monitored(query: Query) -> dict:
    ended = query.ended or 0
    return {
        "id": query.id, "status": query.status, "state": "SUCCEEDED" if query.status == "SUCCESS" else query.status,
        "sqlText": query.sql, "startTime": int(query.started * 1000), "endTime": int(ended * 1000),
        "errorCode": query.error.code if query.error else None,
        "errorMessage": query.error.message if query.error else None,
        "stats": {"scanBytes": 0, "producedRows": query.answer.table.num_rows if query.answer else 0},
        "sessionId": query.session.id, "totalDuration": int(((query.ended or time.time()) - query.started) * 1000),
        "warehouseId": 1, "warehouseName": query.session.warehouse, "warehouseExternalSize": None,
        "warehouseServerType": None, "clientSendTime": 0,
    }


async def _refused(request: Request, refusal: Refused) -> JSONResponse:
    return envelope({}, refusal.code, refusal.message, False)


async def _unknown(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"data": None, "code": "390404", "message": "Not found.", "success": False}, 404)


def account_app(account: Account) -> Starlette:
    e = Endpoints(account)
    post, get = ["POST"], ["GET"]
    routes = [
        Route("/session/v1/login-request", e.login, methods=post),
        Route("/session/token-request", e.renew, methods=post),
        Route("/session/heartbeat", e.heartbeat, methods=post),
        Route("/session", e.close, methods=post),
        Route("/telemetry/send", e.telemetry, methods=post),
        Route("/telemetry/send/sessionless", e.telemetry, methods=post),
        Route("/queries/v1/query-request", e.query, methods=post),
        Route("/queries/v1/abort-request", e.abort_request, methods=post),
        Route("/queries/{id}/abort-request", e.abort_query, methods=post),
        Route("/queries/{id}/result", e.result, methods=get),
        Route("/monitoring/queries/{id}", e.monitoring, methods=get),
    ]
    app = Starlette(routes=routes, exception_handlers={Refused: _refused, 404: _unknown, 405: _unknown})
    app.add_middleware(GZipMiddleware, minimum_size=1024, compresslevel=1)
    return app


def chunk_app(account: Account) -> Starlette:
    return Starlette(routes=[Route("/results/{rest:path}", account.chunks.serve, methods=["GET"])],
                     exception_handlers={404: _unknown, 405: _unknown})


class Front:
    """Sends each request to the host it names, unless a fault was ordered for it."""

    def __init__(self, account: Account, chunk_host: str, chunks_only: bool = False):
        self.account, self.chunk_host, self.chunks_only = account, chunk_host.lower(), chunks_only
        self.apps = {"account": account_app(account), "chunks": chunk_app(account)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = dict(scope["headers"])
        name = headers.get(b"host", b"").decode("latin-1").rsplit(":", 1)[0].lower()
        host = "chunks" if self.chunks_only or name == self.chunk_host else "account"
        scope = dict(scope, path=re.sub(r"/{2,}", "/", scope["path"]))
        entry = {"host": host, "method": scope["method"], "path": scope["path"],
                 "query": scope["query_string"].decode("latin-1"), "status": None,
                 "user_agent": headers.get(b"user-agent", b"").decode("latin-1"), "seconds": None}
        self.account.history.request(entry)

        async def noted(message) -> None:
            if message["type"] == "http.response.start":
                entry["status"] = message["status"]
            await send(message)

        started = time.monotonic()
        fault = self.account.faults.take(host, scope["path"])
        if fault:
            entry["fault"] = fault.kind
            await suffer(fault, self.apps[host], scope, receive, noted)
        else:
            await self.apps[host](scope, receive, noted)
        entry["seconds"] = round(time.monotonic() - started, 6)
