"""What a session sets for itself: USE, ALTER SESSION, SET, and SHOW PARAMETERS; and warehouses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import answers, roles
from .answers import Answer, of_rows, status
from .columns import text
from .errors import SqlError, exists, insufficient, missing
from .lexer import Reader
from .sessions import DEFAULTS
from .users import like

if TYPE_CHECKING:
    from .sessions import Session


def use(session: Session, reader: Reader) -> Answer:
    if reader.accept("ROLE"):
        name = reader.identifier()
        reader.end()
        role(session, name)
        return status(type_id=answers.USE)
    if reader.accept("SECONDARY", "ROLES"):
        return _secondary(session, reader)
    if reader.accept("WAREHOUSE"):
        name = reader.identifier()
        reader.end()
        warehouse(session, name)
        return status(type_id=answers.USE + 3)
    if reader.accept("DATABASE"):
        database(session, reader.identifier())
        reader.end()
        return status(type_id=answers.USE + 1)
    is_schema = reader.accept("SCHEMA")
    name = reader.name()
    reader.end()
    if len(name) == 1 and not is_schema:
        database(session, name[0])
    else:
        schema(session, name)
    return status(type_id=answers.USE + (2 if is_schema or len(name) == 2 else 1))


def role(session: Session, name: str) -> None:
    held = session.user.roles | {roles.PUBLIC}
    if name not in session.account.roles:
        raise missing("Role", name)
    if name not in roles.closure(session.account.roles, held):
        raise SqlError("003013", "42501", f"SQL access control error:\nRequested role '{name}' is not assigned to the "
                       "executing user. Specify another role to activate.")
    session.role = name


def _secondary(session: Session, reader: Reader) -> Answer:
    chosen = [reader.identifier()]
    while reader.accept(","):
        chosen.append(reader.identifier())
    reader.end()
    for name in chosen:
        if name not in ("ALL", "NONE") and name not in session.user.roles:
            raise SqlError("003013", "42501", f"SQL access control error:\nRequested role '{name}' is not assigned to "
                           "the executing user. Specify another role to activate.")
    session.secondary = [] if chosen == ["NONE"] else chosen
    return status(type_id=answers.USE)


def warehouse(session: Session, name: str) -> None:
    found = session.account.warehouses.get(name)
    if found is None or not (session.holds(found["owner"]) or session.allowed(None, "WAREHOUSE", (name,))):
        raise SqlError("002043", "02000",
                       "SQL compilation error:\nObject does not exist, or operation cannot be performed.")
    session.warehouse = name


def database(session: Session, name: str) -> None:
    objects = session.account.objects
    if not objects.usable(session, (name,)):
        raise SqlError("002043", "02000",
                       "SQL compilation error:\nObject does not exist, or operation cannot be performed.")
    session.database = name
    session.schema = "PUBLIC" if objects.usable(session, (name, "PUBLIC")) else None


def schema(session: Session, name: tuple[str, ...]) -> None:
    objects = session.account.objects
    full = objects.namespace(session, name, "SCHEMA") if len(name) == 1 else name
    if full[1] != "INFORMATION_SCHEMA" and not objects.usable(session, full):
        raise SqlError("002043", "02000",
                       "SQL compilation error:\nObject does not exist, or operation cannot be performed.")
    session.database, session.schema = full


def alter_session(session: Session, reader: Reader) -> Answer:
    if reader.accept("UNSET"):
        while not reader.done:
            session.parameters.pop(reader.identifier(), None)
            reader.accept(",")
    else:
        reader.expect("SET")
        changes = {}
        while not reader.done:
            name = reader.identifier()
            reader.expect("=")
            changes[name] = _literal(name, reader)
            reader.accept(",")
        for name, content in changes.items():
            set_parameter(session, name, content)
    return status(type_id=answers.ALTER_SESSION)


def set_parameter(session: Session, name: str, content) -> None:
    if name not in DEFAULTS:
        raise SqlError("002127" if not name.isidentifier() else "000904", "42000",
                       f"SQL compilation error:\ninvalid parameter '{name}'")
    session.parameters[name] = content


def _literal(name: str, reader: Reader):
    sign = -1 if reader.accept("-") else 1
    token = reader.take()
    if token.kind == "number":
        number = float(token.text) * sign
        return int(number) if number.is_integer() else number
    if token.word in ("TRUE", "FALSE"):
        return token.word == "TRUE"
    if isinstance(DEFAULTS.get(name), bool) and token.text.upper() in ("TRUE", "FALSE"):
        return token.text.upper() == "TRUE"
    return token.text


def show_parameters(session: Session, reader: Reader) -> Answer:
    pattern = reader.take().text if reader.accept("LIKE") else None
    while not reader.done:  # IN SESSION | ACCOUNT | USER x: one scope here
        reader.take()
    matches = like(pattern)
    rows = []
    for name, default in sorted(DEFAULTS.items()):
        if matches(name):
            kind = {bool: "BOOLEAN", int: "NUMBER"}.get(type(default), "STRING")
            level = "SESSION" if name in session.parameters else ""
            rows.append([name, _text(session.parameter(name)), _text(default), level, "", kind])
    names = ("key", "value", "default", "level", "description", "type")
    return of_rows([text(n) for n in names], rows, answers.SHOW)


def _text(content) -> str:
    return str(content).lower() if isinstance(content, bool) else str(content)


def create_warehouse(session: Session, reader: Reader, replace: bool) -> Answer:
    unless = reader.accept("IF", "NOT", "EXISTS")
    name = reader.identifier()
    if not session.may("CREATE WAREHOUSE"):
        raise insufficient("account", session.account.name)
    if name in session.account.warehouses and unless:
        return status(f"{name} already exists, statement succeeded.")
    if name in session.account.warehouses and not replace:
        raise exists(name)
    session.account.warehouses[name] = {"owner": session.role, "size": "X-Small"}
    session.warehouse = name
    return status(f"Warehouse {name} successfully created.")


def alter_warehouse(session: Session, reader: Reader) -> Answer:
    unless = reader.accept("IF", "EXISTS")
    name = reader.identifier()
    found = session.account.warehouses.get(name)
    if found is None:
        if unless:
            return status()
        raise missing("Warehouse", name)
    if not (session.holds(found["owner"]) or session.allowed("OPERATE", "WAREHOUSE", (name,))
            or session.allowed("MODIFY", "WAREHOUSE", (name,))):
        raise insufficient("warehouse", name)
    return status()


def drop_warehouse(session: Session, reader: Reader) -> Answer:
    unless = reader.accept("IF", "EXISTS")
    name = reader.identifier()
    found = session.account.warehouses.get(name)
    if found is None:
        if unless:
            return status(f"Drop statement executed successfully ({name} already dropped).")
        raise missing("Warehouse", name)
    if not session.holds(found["owner"]):
        raise insufficient("warehouse", name)
    del session.account.warehouses[name]
    return status(f"{name} successfully dropped.")


def show_warehouses(session: Session, reader: Reader) -> Answer:
    matches = like(reader.take().text if reader.accept("LIKE") else None)
    names = ("name", "state", "type", "size", "is_current", "owner")
    rows = [[n, "STARTED", "STANDARD", w["size"], "Y" if n == session.warehouse else "N", w["owner"]]
            for n, w in sorted(session.account.warehouses.items()) if matches(n)]
    return of_rows([text(n) for n in names], rows, answers.SHOW)
