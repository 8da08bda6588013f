"""An agent's database access by Snowpark, reduced to one call: see task.py."""

import time

import snowflake.snowpark
import task as tasks
from snowflake.connector.errors import Error
from snowflake.snowpark import Session
from snowflake.snowpark.exceptions import SnowparkClientException
from snowflake.snowpark.functions import col


def own(session, task):
    """What Snowpark is used for: frames from here, frames from there, and writing them."""
    made = session.create_dataframe([[1, "one"], [2, "twö"], [3, None]], schema=["ID", "NOTE"])
    there = session.table("customers").filter(col("id") <= 2).select("id", "name").sort("id").to_pandas()
    made.write.mode("overwrite").save_as_table("DEMO.WORK.FRAMES")
    made.write.mode("append").save_as_table("DEMO.WORK.FRAMES")
    back = session.table("DEMO.WORK.FRAMES").filter(col("note").isin("one", "twö")).count()
    # More rows than fit a text go through a temporary table.
    many = session.create_dataframe([[number] for number in range(1000)], schema=["N"]).count()
    return {"rows": tasks.texts([*made.sort("ID").collect(), *there.values.tolist(), [back, many]])}


def ask(session, task):
    for statement in task.get("before", []):
        session.sql(statement).collect()
    time.sleep(task.get("pause", 0))
    answer = {"driver": snowflake.snowpark.__version__ if hasattr(snowflake.snowpark, "__version__") else "snowpark"}
    if task.get("mode") == "own":
        return answer | own(session, task)
    for row in task.get("many", []):
        session.sql(task["sql"], params=row).collect()
    if task.get("many"):
        return answer
    frame = session.sql(task["sql"], params=task.get("binds"))
    if task.get("cancel"):
        job = frame.collect_nowait()
        time.sleep(task["cancel"])
        job.cancel()
        return answer | tasks.read(task, job.result())
    if task.get("mode") == "async":
        return answer | tasks.read(task, frame.collect_nowait().result())
    if task.get("mode") == "count":
        return answer | tasks.read(task, frame.to_local_iterator())
    return answer | tasks.read(task, frame.collect())


def run(task):
    session = Session.builder.configs(tasks.LOGIN | task.get("connect", {})).create()
    try:
        return ask(session, task)
    finally:
        session.close()


tasks.main(run, (SnowparkClientException, Error))
