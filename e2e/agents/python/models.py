"""An agent that works with dbt, reduced to one call: see task.py. Its project is in ../dbt."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import task as tasks

PROJECT = Path(__file__).resolve().parent.parent / "dbt"


class Refused(Exception):
    """What dbt prints when it fails."""


def dbt(task, words):
    settings = tasks.LOGIN | task.get("connect", {})
    # What dbt learned of the project last time, with the same settings, makes it start in seconds.
    folder = os.path.join(os.environ["HOME"], "target", *sorted(settings))
    environment = os.environ | {f"AGENT_{name.upper()}": str(value) for name, value in settings.items()}
    environment |= {"DBT_TARGET_PATH": folder, "DBT_LOG_PATH": folder, "DBT_PROFILES_DIR": str(PROJECT),
                    "DBT_USE_COLORS": "false"}
    program = os.path.join(os.path.dirname(sys.executable), "dbt")
    running = subprocess.Popen([program, *words], cwd=PROJECT, env=environment, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        out, _ = running.communicate(timeout=task.get("cancel"))
    except subprocess.TimeoutExpired:
        running.send_signal(signal.SIGINT)
        out, _ = running.communicate()
    if running.returncode:
        raise Refused(" ".join(out.split()))
    return out


def run(task):
    if task.get("mode") == "own":
        done = [dbt(task, [verb]) for verb in ("debug", "run", "test")]
        return {"rows": [[out.strip().splitlines()[-1].split("  ")[-1] for out in done]]}
    if task.get("mode") == "login":
        return {"rows": [["42" if "All checks passed!" in dbt(task, ["debug"]) else None]]}
    out = dbt(task, ["--quiet", "run-operation", "ask", "--args", json.dumps({"sql": task["sql"]})])
    return tasks.read(task, json.loads(out.splitlines()[-1]))


tasks.main(run, Refused)
