"""The listener for tests: what happened, what is there, and orders to misbehave."""

from __future__ import annotations

import asyncio

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from .account import Account
from .errors import SqlError
from .faults import Fault
from .users import User, fingerprint


def _user(user: User) -> dict:
    p = user.properties
    return {
        "name": user.name, "login_name": user.login_name, "type": p.get("TYPE"), "owner": user.owner,
        "disabled": user.disabled, "roles": sorted(user.roles), "default_role": p.get("DEFAULT_ROLE"),
        "default_secondary_roles": user.secondary_roles, "comment": p.get("COMMENT"),
        "days_to_expiry": p.get("DAYS_TO_EXPIRY"), "created": user.created.timestamp(),
        "last_login": user.last_login.timestamp() if user.last_login else None,
        "fingerprints": [fingerprint(k) for k in user.keys()],
    }


def admin_app(account: Account) -> Starlette:
    history = account.history
    logs = {"/history": history.statements, "/logins": history.logins, "/chunk-fetches": history.fetches,
            "/requests": history.requests}

    async def log(request: Request) -> JSONResponse:
        since = int(request.query_params.get("since", 0))
        wanted = {k: v for k, v in request.query_params.items() if k != "since"}
        return JSONResponse([e for e in list(logs[request.url.path]) if e["index"] > since
                             and all(str(e.get(k)) == v for k, v in wanted.items())])

    async def users(request: Request) -> JSONResponse:
        return JSONResponse([_user(u) for u in list(account.users.values())])

    async def sessions(request: Request) -> JSONResponse:
        return JSONResponse([s.describe() for s in list(account.sessions.all.values())])

    async def seed(request: Request) -> JSONResponse:
        sql = (await request.body()).decode()
        try:
            return JSONResponse({"statements": await asyncio.to_thread(account.seed, sql)})
        except SqlError as error:
            return JSONResponse({"code": error.code, "message": error.message}, 400)

    async def fault(request: Request) -> JSONResponse:
        if request.method == "DELETE":
            account.faults.clear()
        elif request.method == "POST":
            order = await request.json()
            match order.get("kind"):
                case "expire-tokens":
                    account.sessions.expire_tokens(masters=bool(order.get("masters")))
                case "expire-chunks":
                    account.chunks.expire()
                case "end-sessions":
                    for session in list(account.sessions.all.values()):
                        if not session.ended and order.get("user") in (None, session.user.name):
                            await asyncio.to_thread(account.end_session, session, "ended on order")
                case _:
                    try:
                        account.faults.add(Fault.ordered(order))
                    except (TypeError, ValueError) as error:
                        return JSONResponse({"message": str(error)}, 400)
        return JSONResponse([f.__dict__ for f in account.faults.pending])

    async def reset(request: Request) -> JSONResponse:
        history.clear()
        account.faults.clear()
        return JSONResponse({})

    async def healthz(request: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"})

    routes = [Route(path, log) for path in logs]
    routes += [
        Route("/users", users), Route("/sessions", sessions), Route("/healthz", healthz),
        Route("/seed", seed, methods=["POST"]), Route("/reset", reset, methods=["POST"]),
        Route("/fault", fault, methods=["GET", "POST", "DELETE"]),
    ]
    return Starlette(routes=routes)
