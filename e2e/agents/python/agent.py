"""An agent's database access by snowflake-connector-python, reduced to one call: see task.py."""

import threading
import time

import snowflake.connector
import task as tasks


def connect(task):
    settings = tasks.LOGIN | {"login_timeout": 60} | task.get("connect", {})
    if "token" in settings or "token_file_path" in settings:
        settings.pop("password", None)
    if task.get("binds") or task.get("many"):
        snowflake.connector.paramstyle = "qmark"
    return snowflake.connector.connect(**settings)


def ask(connection, task):
    cursor, mode, sql = connection.cursor(), task.get("mode", "query"), task["sql"]
    answer = {"driver": snowflake.connector.__version__}
    for statement in task.get("before", []):
        connection.cursor().execute(statement)
    time.sleep(task.get("pause", 0))
    if mode == "describe":
        return answer | {"columns": [column.name for column in cursor.describe(sql)]}
    if mode == "async" or task.get("cancel"):
        cursor.execute_async(sql)
        if task.get("cancel"):
            time.sleep(task["cancel"])
            cursor.abort_query(cursor.sfqid)
        cursor.get_results_from_sfqid(cursor.sfqid)
    elif task.get("many"):
        cursor.executemany(sql, task["many"])
    elif task.get("seconds"):
        # A driver-side limit: the driver aborts the statement when it has run that long.
        cursor.execute(sql, timeout=task["seconds"])
    elif task.get("binds"):
        cursor.execute(sql, task["binds"])
    else:
        cursor.execute(sql)
    columns = [column[0] for column in cursor.description or []]
    return answer | {"queryId": cursor.sfqid, "columns": columns} | tasks.read(task, cursor)


def run(task):
    connection = connect(task)
    try:
        return ask(connection, task)
    finally:
        # A closing that hangs must not hide the result.
        closing = threading.Thread(target=connection.close, daemon=True)
        closing.start()
        closing.join(10)


tasks.main(run, snowflake.connector.errors.Error)
