"""An agent that runs `snow sql` of snowflake-cli, reduced to one call: see task.py."""

import json
import os
import signal
import subprocess
import sys

import task as tasks


class Refused(Exception):
    """What `snow` prints on standard error when it fails."""


def snow(task, words):
    settings = tasks.LOGIN | task.get("connect", {})
    # Wide enough that the frame around an error does not break its lines.
    environment = os.environ | {"COLUMNS": "4000"}
    environment |= {f"SNOWFLAKE_{name.upper()}": str(value) for name, value in settings.items()}
    program = os.path.join(os.path.dirname(sys.executable), "snow")
    running = subprocess.Popen([program, *words, "--temporary-connection", "--format", "json"], env=environment,
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        out, complaint = running.communicate(timeout=task.get("cancel"))
    except subprocess.TimeoutExpired:
        running.send_signal(signal.SIGINT)
        out, complaint = running.communicate()
    if running.returncode:
        raise Refused(" ".join(part.strip("│╭╮╰╯─ ") for part in (complaint + out).splitlines()))
    return json.loads(out or "[]")


def run(task):
    if task.get("mode") == "own":
        tested = snow(task, ["connection", "test"])
        listed = snow(task, ["object", "list", "table", "--like", "CUSTOMERS"])
        described = snow(task, ["object", "describe", "table", "DEMO.PUBLIC.CUSTOMERS"])
        return {"rows": tasks.texts([[tested["Status"]], [row["name"] for row in listed]]
                                    + [[row["name"], row["type"]] for row in described])}
    statements = [*task.get("before", []), task["sql"]]
    answers = snow(task, ["sql", "--query", ";\n".join(statements)])
    rows = answers[-1] if task.get("before") else answers
    return tasks.read(task, (row.values() for row in rows))


tasks.main(run, Refused)
