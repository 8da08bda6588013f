"""Starts the account: `python -m warehouse --help` lists what can be set."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys

from . import seed
from .account import ADMIN_USER, Account, read
from .admin import admin_app
from .app import Front
from .listeners import bound, server
from .queries import Limits


def _arguments() -> argparse.Namespace:
    p = argparse.ArgumentParser(prog="warehouse", description="A stand-in Snowflake account.")
    p.add_argument("--host", default="demo.snowflakecomputing.com", help="the account's host name")
    p.add_argument("--account", help="the account's name (default: first label of --host)")
    p.add_argument("--chunk-host", default="localhost", help="the host name of result chunks; not that of the account")
    p.add_argument("--listen", default="0.0.0.0", help="address of the account and chunk listeners")
    p.add_argument("--port", type=int, default=8443)
    p.add_argument("--chunk-port", type=int, help="a listener of its own for chunks (default: the same one)")
    p.add_argument("--public-chunk-port", type=int, help="the port in chunk URLs, where it differs from the listener's")
    p.add_argument("--tls-cert", help="PEM chain valid for both host names; without it: plain http")
    p.add_argument("--tls-key", help="PEM key")
    p.add_argument("--admin-listen", default="127.0.0.1")
    p.add_argument("--admin-port", type=int, default=9443)
    p.add_argument("--admin-password", default=os.environ.get("WAREHOUSE_ADMIN_PASSWORD"),
                   help=f"lets user {ADMIN_USER} log in by password (also WAREHOUSE_ADMIN_PASSWORD)")
    p.add_argument("--broker-public-key", help=f"PEM file: registers user {seed.BROKER}")
    p.add_argument("--agent-public-key", help="PEM file: registers user SVC_AGENT")
    p.add_argument("--seed", action="append", default=[], help="SQL file run at start, after the demonstration data")
    p.add_argument("--no-demo", action="store_true", help="leave the demonstration data out")
    p.add_argument("--validity", type=float, default=3600, help="seconds that a session token holds")
    p.add_argument("--master-validity", type=float, default=14400, help="seconds that a master token holds")
    p.add_argument("--poll-after", type=float, default=45, help="seconds before an answer says: in progress")
    p.add_argument("--clock-skew", type=float, default=30, help="seconds of tolerance for key-pair tokens")
    p.add_argument("--chunk-lifetime", type=float, default=3600, help="seconds that a chunk URL holds")
    p.add_argument("--inline-rows", type=int, default=1000, help="rows sent inline; more come in chunks")
    p.add_argument("--inline-bytes", type=int, default=262144)
    p.add_argument("--chunk-rows", type=int, default=20000)
    p.add_argument("--chunk-bytes", type=int, default=16 * 2**20)
    p.add_argument("--log-level", default="error")
    return p.parse_args()


async def _serve(args: argparse.Namespace) -> None:
    scheme = "https" if args.tls_cert else "http"
    main = bound(args.listen, args.port)
    chunks = None if args.chunk_port is None else bound(args.listen, args.chunk_port)
    admin = bound(args.admin_listen, args.admin_port)
    chunk_port = args.public_chunk_port or (chunks or main).getsockname()[1]
    default = 443 if args.tls_cert else 80
    base = f"{scheme}://{args.chunk_host}" + ("" if chunk_port == default else f":{chunk_port}")
    account = Account(
        args.account or args.host.split(".")[0], Limits(args.inline_rows, args.inline_bytes, args.chunk_rows,
                                                        args.chunk_bytes),
        args.validity, args.master_validity, base, args.chunk_lifetime, args.poll_after, args.clock_skew)
    _fill(account, args)
    tls = (args.tls_cert, args.tls_key)
    servers = [(server(Front(account, args.chunk_host), args.log_level, *tls), main),
               (server(admin_app(account), args.log_level), admin)]
    if chunks:
        servers.append((server(Front(account, args.chunk_host, True), args.log_level, *tls), chunks))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, lambda: [setattr(s, "should_exit", True) for s, _ in servers])
    running = [asyncio.create_task(s.serve(sockets=[listener])) for s, listener in servers]
    while not all(s.started for s, _ in servers):
        if any(t.done() for t in running):
            sys.exit("a listener did not start")
        await asyncio.sleep(0.01)
    print(f"ready account={account.name} host={args.host} listen={scheme}://{args.listen}:{main.getsockname()[1]} "
          f"chunks={base} admin=http://{args.admin_listen}:{admin.getsockname()[1]}", flush=True)
    await asyncio.gather(*running)
    account.queries.close()


def _fill(account: Account, args: argparse.Namespace) -> None:
    if args.admin_password:
        account.users[ADMIN_USER].properties["PASSWORD"] = args.admin_password
    if not args.no_demo:
        account.seed(seed.DEMO.read_text(encoding="utf-8"))
    for path in args.seed:
        account.seed(read(path))
    if args.broker_public_key:
        seed.broker(account, read(args.broker_public_key))
    if args.agent_public_key:
        seed.agent(account, read(args.agent_public_key))


def main() -> None:
    args = _arguments()
    if bool(args.tls_cert) != bool(args.tls_key):
        sys.exit("--tls-cert and --tls-key go together")
    if args.host == args.chunk_host:
        sys.exit("--chunk-host must be another name than --host")
    asyncio.run(_serve(args))


if __name__ == "__main__":
    main()
