"""What the agents in Python have in common: a task as JSON in the first argument, one line of JSON out.

    {"sql": "...", "connect": {...}}   and, where the client can: "binds": [...] one row, "many": [[...]] several,
    "mode": "query" | "count" | "async" | "describe" | "own", "before": ["..."] first, "pause": seconds in between,
    "seconds": the client's own limit, "cancel": after so many seconds

`connect` overrides the placeholder login. Everything else is the client as it comes: no host, no certificate, no proxy.
"""

import hashlib
import json
import sys

LOGIN = {"account": "demo", "user": "agent", "password": "placeholder"}


def texts(rows):
    return [[None if cell is None else str(cell) for cell in row] for row in rows]


def digest(rows):
    """The number of rows and a digest over them in order: large results are compared without being printed."""
    count, state = 0, hashlib.sha256()
    for row in rows:
        count += 1
        state.update(("|".join("" if cell is None else str(cell) for cell in row) + "\n").encode())
    return {"count": count, "digest": state.hexdigest()}


def read(task, rows):
    return digest(rows) if task.get("mode") == "count" else {"rows": texts(rows)}


def main(run, failures):
    """`failures` is the client's own kind of exception; any other is not an answer, and shows as a traceback."""
    task = json.loads(sys.argv[1])
    try:
        answer = {"ok": True} | run(task)
    except failures as error:
        answer = {
            "ok": False,
            "errno": getattr(error, "errno", None),
            "sqlstate": getattr(error, "sqlstate", None),
            "message": str(getattr(error, "msg", None) or error),
            "kind": type(error).__name__,
        }
    print(json.dumps(answer), flush=True)
