"""Requests as an attacker writes them: no driver, every byte chosen.

    raw.py leaks ACCOUNT_ADDRESS | malformed

One JSON line per answer.
"""

import gzip
import json
import socket
import ssl
import sys
import time
import urllib.parse
import uuid

HOST = "demo.snowflakecomputing.com"
OURS = ssl.create_default_context(cafile="/frostgate/trust/bundle.pem")
ANYONE = ssl.create_default_context()
ANYONE.check_hostname, ANYONE.verify_mode = False, ssl.CERT_NONE
LOGIN = {"data": {"ACCOUNT_NAME": "demo", "LOGIN_NAME": "a", "PASSWORD": "b", "CLIENT_APP_ID": "PythonConnector",
                  "CLIENT_APP_VERSION": "4.8.1", "SESSION_PARAMETERS": {}, "CLIENT_ENVIRONMENT": {}}}


def send(address, method, path, body=b"", headers=(), host=HOST):
    """One request on a connection of its own; the status and the body."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Accept: application/json", f"Content-Length: {len(body)}",
             "Connection: close", *headers]
    context = OURS if address == "127.0.0.1" else ANYONE
    raw = socket.create_connection((address, 443), timeout=30)
    with raw, context.wrap_socket(raw, server_hostname=host) as tls:
        try:
            tls.sendall(("\r\n".join(lines) + "\r\n\r\n").encode() + body)
        except OSError:
            pass  # the other side has heard enough; its answer is still to be read
        answer = b""
        try:
            while part := tls.recv(65536):
                answer += part
        except OSError:
            pass
    head, _, body = answer.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" in head.lower():
        body = dechunked(body)
    if b"content-encoding: gzip" in head.lower():
        body = gzip.decompress(body)
    return int(head.split(b" ", 2)[1] or 0) if head else 0, body.decode(errors="replace")


def dechunked(body):
    whole = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size.split(b";")[0] or b"0", 16)
        if not length:
            break
        whole, body = whole + body[:length], body[length + 2:]
    return whole


def post(address, path, body, token=None):
    headers = ["Content-Type: application/json"]
    if token:
        headers.append(f'Authorization: Snowflake Token="{token}"')
    status, text = send(address, "POST", path, json.dumps(body).encode(), headers)
    try:
        return json.loads(text)
    except ValueError:
        return {"success": False, "status": status, "text": text}


def login():
    return post("127.0.0.1", "/session/v1/login-request", LOGIN)


def query(address, sql, token):
    path = f"/queries/v1/query-request?requestId={uuid.uuid4()}"
    return post(address, path, {"sqlText": sql, "sequenceId": 1}, token)


def say(what, **answer):
    print(json.dumps({"what": what, **answer}), flush=True)


def leaks(account):
    """Tries what it was given, at the account's own address."""
    opened = login()
    token, master = opened["data"]["token"], opened["data"]["masterToken"]
    refused = query("127.0.0.1", "DROP TABLE customers", token)
    result = query("127.0.0.1", "SELECT id, quantity, product FROM orders", token)
    say("seen", text=json.dumps([opened, refused, result]))
    for place, address in (("sidecar", "127.0.0.1"), ("account", account)):
        reply = query(address, "SELECT 1", token)
        say(f"token at the {place}", ok=bool(reply.get("success")), answer=str(reply)[:300])
        chunk = result["data"]["chunks"][0]["url"]
        parts = urllib.parse.urlsplit(chunk)
        headers = [f"{name}: {value}" for name, value in (result["data"].get("chunkHeaders") or {}).items()]
        for host in {HOST, parts.hostname, "chunks.demo-storage.example"} if place == "account" else {parts.hostname}:
            status, _ = send(address, "GET", f"{parts.path}?{parts.query}", b"", headers, host)
            say(f"chunk at the {place}", ok=status == 200, answer=f"{host}: {status}")
        if place == "account":
            body = {"oldSessionToken": token, "requestType": "RENEW"}
            reply = post(address, "/session/token-request", body, master)
            say("master token at the account", ok=bool(reply.get("success")), answer=str(reply)[:300])


def malformed():
    """Sends what no driver sends, and looks whether the door still works."""
    json_type = ["Content-Type: application/json"]
    bomb = gzip.compress(b'{"data":{"ACCOUNT_NAME":"' + b"a" * (1 << 28) + b'"}}')
    tries = [
        ("broken JSON", "POST", "/session/v1/login-request", b'{"data": {', json_type),
        ("a list", "POST", "/session/v1/login-request", b"[]", json_type),
        ("a key twice", "POST", "/session/v1/login-request", b'{"data":{"LOGIN_NAME":"a","LOGIN_NAME":"b"}}', json_type),
        ("a gzip bomb", "POST", "/session/v1/login-request", bomb, [*json_type, "Content-Encoding: gzip"]),
        ("no gzip", "POST", "/session/v1/login-request", b"plain", [*json_type, "Content-Encoding: gzip"]),
        ("an unknown endpoint", "POST", "/no/such/endpoint", b"{}", json_type),
        ("a hidden endpoint", "POST", "/session/../no/such/endpoint", b"{}", json_type),
        ("a query without a session", "POST", f"/queries/v1/query-request?requestId={uuid.uuid4()}",
         b'{"sqlText":"SELECT 1"}', json_type),
    ]
    for what, *request in tries:
        start = time.monotonic()
        status, text = send("127.0.0.1", *request)
        say(what, status=status, text=text[:2000], seconds=time.monotonic() - start)
    say("a login", ok=bool(login().get("success")))


if __name__ == "__main__":
    {"leaks": leaks, "malformed": malformed}[sys.argv[1]](*sys.argv[2:])
