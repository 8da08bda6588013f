"""Misbehaviour on order: the next requests fail, are slow, or lose their connection."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass

from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

KINDS = ("status", "slow", "cut", "truncate")


@dataclass
class Fault:
    """One order. `after` lets the request take effect first and spoils its answer."""

    kind: str
    count: int = 1
    path: str = "/"
    host: str = "account"
    status: int = 503
    seconds: float = 1.0
    after: bool = False

    @classmethod
    def ordered(cls, order: dict) -> "Fault":
        fault = cls(**order)
        if fault.kind not in KINDS or fault.host not in ("account", "chunks") or fault.count < 1:
            raise ValueError(f"kind is one of {', '.join(KINDS)}; host is account or chunks; count is at least 1")
        return fault


class Faults:
    def __init__(self) -> None:
        self.pending: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> None:
        with self._lock:
            self.pending.append(fault)

    def clear(self) -> None:
        with self._lock:
            self.pending.clear()

    def take(self, host: str, path: str) -> Fault | None:
        """The fault that this request meets, used up by one."""
        with self._lock:
            for fault in self.pending:
                if fault.host == host and path.startswith(fault.path):
                    fault.count -= 1
                    if not fault.count:
                        self.pending.remove(fault)
                    return fault
        return None


async def suffer(fault: Fault, app, scope: Scope, receive: Receive, send: Send) -> None:
    """Handles a request as the fault says."""
    if fault.kind == "slow":
        if fault.after:
            return await app(scope, receive, _delayed(send, fault.seconds))
        await asyncio.sleep(fault.seconds)
        return await app(scope, receive, send)
    if fault.after:
        async def discard(message) -> None:
            pass

        await app(scope, receive, discard)
    if fault.kind == "cut":
        scope["transport"].abort()
        return None
    if fault.kind == "truncate":
        # a body shorter than announced makes the server close the connection in the middle of it
        await send({"type": "http.response.start", "status": 200, "headers": [
            (b"content-type", b"application/json"), (b"content-length", b"4096")]})
        return await send({"type": "http.response.body", "body": b'{"data":', "more_body": True})
    headers = {"Retry-After": "1"} if fault.status in (429, 503) else None
    response: Response = JSONResponse({"data": None, "code": None, "message": "fault on order", "success": False},
                                      fault.status, headers=headers)
    await response(scope, receive, send)


def _delayed(send: Send, seconds: float) -> Send:
    async def later(message) -> None:
        if message["type"] == "http.response.start":
            await asyncio.sleep(seconds)
        await send(message)

    return later
