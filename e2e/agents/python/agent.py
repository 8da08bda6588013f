"""An agent's database access, reduced to one call: JSON in the first argument, one JSON line out.

    {"sql": "...", "binds": [...], "mode": "query" | "count" | "async" | "describe", "connect": {...}, "seconds": 0}

The driver is used as it comes: no host, no certificate, no proxy setting. `connect` overrides the placeholder login.
"""

import hashlib
import json
import sys
import threading

import snowflake.connector


def connect(given):
    settings = {"account": "demo", "user": "agent", "password": "placeholder", "login_timeout": 60}
    settings.update(given)
    if "token" in settings or "token_file_path" in settings:
        settings.pop("password", None)
    if settings.pop("qmark", False):
        snowflake.connector.paramstyle = "qmark"
    return snowflake.connector.connect(**settings)


def digest(rows):
    """The number of rows and a digest over them in order: large results are compared without being printed."""
    count, state = 0, hashlib.sha256()
    for row in rows:
        count += 1
        state.update(("|".join("" if cell is None else str(cell) for cell in row) + "\n").encode())
    return {"count": count, "digest": state.hexdigest()}


def run(task):
    given = dict(task.get("connect", {}))
    if task.get("binds"):
        given["qmark"] = True
    connection = connect(given)
    try:
        cursor = connection.cursor()
        mode = task.get("mode", "query")
        answer = {"ok": True, "driver": snowflake.connector.__version__}
        for statement in task.get("before", []):
            connection.cursor().execute(statement)
        if mode == "describe":
            answer["columns"] = [column.name for column in cursor.describe(task["sql"])]
            return answer
        if mode == "async":
            cursor.execute_async(task["sql"])
            cursor.get_results_from_sfqid(cursor.sfqid)
        elif task.get("seconds"):
            # A driver-side limit: the driver aborts the statement when it has run that long.
            cursor.execute(task["sql"], timeout=task["seconds"])
        elif task.get("binds"):
            cursor.execute(task["sql"], task["binds"])
        else:
            cursor.execute(task["sql"])
        answer["queryId"] = cursor.sfqid
        answer["columns"] = [column[0] for column in cursor.description or []]
        if mode == "count":
            answer.update(digest(cursor))
        else:
            answer["rows"] = [[None if cell is None else str(cell) for cell in row] for row in cursor.fetchall()]
        return answer
    finally:
        # A closing that hangs must not hide the result.
        closing = threading.Thread(target=connection.close, daemon=True)
        closing.start()
        closing.join(10)


def main():
    try:
        answer = run(json.loads(sys.argv[1]))
    except snowflake.connector.errors.Error as error:
        answer = {
            "ok": False,
            "errno": error.errno,
            "sqlstate": error.sqlstate,
            "message": str(error.msg),
            "kind": type(error).__name__,
        }
    print(json.dumps(answer), flush=True)


main()
