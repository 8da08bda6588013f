"""An agent's database access by SQLAlchemy, reduced to one call: see task.py."""

import time

import snowflake.sqlalchemy
import sqlalchemy
import task as tasks
from snowflake.sqlalchemy import URL
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

ADDRESS = {"account", "user", "password", "warehouse", "database", "schema", "role"}


class Base(DeclarativeBase):
    pass


class Note(Base):
    __tablename__ = "scratch"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    note: Mapped[str]


def placed(sql, values):
    """`?` are SQLAlchemy's own named parameters."""
    names = [f"p{number}" for number in range(len(values))]
    for name in names:
        sql = sql.replace("?", f":{name}", 1)
    return sql, names


def ask(connection, task):
    for statement in task.get("before", []):
        connection.exec_driver_sql(statement)
    time.sleep(task.get("pause", 0))
    answer, sql = {"driver": snowflake.sqlalchemy.__version__}, task["sql"]
    if task.get("mode") == "own":
        return answer | own(connection, task)
    if many := task.get("many"):
        sql, names = placed(sql, many[0])
        connection.execute(sqlalchemy.text(sql), [dict(zip(names, row)) for row in many])
        connection.commit()
        return answer
    if binds := task.get("binds"):
        sql, names = placed(sql, binds)
        result = connection.execute(sqlalchemy.text(sql), dict(zip(names, binds)))
    else:
        result = connection.exec_driver_sql(sql)
    answer |= {"columns": list(result.keys())} | tasks.read(task, result)
    connection.commit()
    return answer


def own(connection, task):
    """What SQLAlchemy is used for: looking at tables, and objects that are rows."""
    inspector = sqlalchemy.inspect(connection)
    columns = {column["name"]: str(column["type"]) for column in inspector.get_columns("customers")}
    with Session(connection) as session:
        session.add(Note(id=7, note=task["sql"]))
        session.commit()
        found = session.scalars(sqlalchemy.select(Note).where(Note.note == task["sql"])).one()
        session.delete(found)
        session.commit()
    return {"rows": [[inspector.has_table("customers"), columns["email"], found.id]]}


def run(task):
    settings = tasks.LOGIN | task.get("connect", {})
    # What the URL has no place for goes to the driver below, as SQLAlchemy has it.
    beside = {name: settings.pop(name) for name in settings.keys() - ADDRESS}
    engine = sqlalchemy.create_engine(URL(**settings), connect_args=beside)
    with engine.connect() as connection:
        return ask(connection, task)


tasks.main(run, sqlalchemy.exc.SQLAlchemyError)
