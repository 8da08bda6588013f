"""The process's listening sockets and their HTTP servers."""

from __future__ import annotations

import contextlib
import socket

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


def bound(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    # asyncio sends small answers without delay only on sockets that name their protocol
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, port))
    return listener


class _Protocol(HttpToolsProtocol):
    """Lets a request reach its connection, so that it can be cut without an answer."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["transport"] = self.transport


class _Server(uvicorn.Server):
    """One of several servers of the process, which handles the signals itself."""

    @contextlib.contextmanager
    def capture_signals(self):
        yield


def server(app, log_level: str, cert: str | None = None, key: str | None = None) -> uvicorn.Server:
    return _Server(uvicorn.Config(
        app, http=_Protocol, ws="none", lifespan="off", log_level=log_level, access_log=False, server_header=False,
        timeout_keep_alive=75, timeout_graceful_shutdown=2, ssl_certfile=cert, ssl_keyfile=key))
