"""Roles, grants, and the statements about them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from . import answers
from .answers import Answer, of_rows, status
from .columns import Column, text
from .errors import SqlError, exists, insufficient, missing
from .lexer import Reader
from .users import like

if TYPE_CHECKING:
    from .sessions import Session

ADMIN = "ACCOUNTADMIN"
PUBLIC = "PUBLIC"

_TABLE_KINDS = {"TABLE", "VIEW"}
_ALL = {
    "DATABASE": ["USAGE", "CREATE SCHEMA", "MONITOR", "MODIFY"],
    "SCHEMA": ["USAGE", "CREATE TABLE", "CREATE VIEW", "MONITOR", "MODIFY"],
    "TABLE": ["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES"],
    "VIEW": ["SELECT", "REFERENCES"],
    "WAREHOUSE": ["USAGE", "OPERATE", "MONITOR", "MODIFY"],
}


@dataclass(frozen=True)
class Grant:
    """A privilege on an object; a last part of `*` means every table of that schema, now or later."""

    privilege: str
    kind: str
    name: tuple[str, ...]


@dataclass
class Role:
    name: str
    owner: str | None
    comment: str = ""
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    inherits: set[str] = field(default_factory=set)
    grants: set[Grant] = field(default_factory=set)


def builtin() -> dict[str, Role]:
    """The roles that every account has."""
    roles = {n: Role(n, None) for n in (ADMIN, "SECURITYADMIN", "USERADMIN", "SYSADMIN", PUBLIC)}
    roles[ADMIN].inherits |= {"SECURITYADMIN", "SYSADMIN"}
    roles["SECURITYADMIN"].inherits.add("USERADMIN")
    account = lambda *privileges: {Grant(p, "ACCOUNT", ()) for p in privileges}
    roles["SECURITYADMIN"].grants |= account("MANAGE GRANTS", "MANAGE USERS")
    roles["USERADMIN"].grants |= account("CREATE USER", "CREATE ROLE")
    roles["SYSADMIN"].grants |= account("CREATE DATABASE", "CREATE WAREHOUSE")
    return roles


def closure(roles: dict[str, Role], start: set[str]) -> set[str]:
    """These roles and every role granted to them."""
    found, todo = set(), list(start)
    while todo:
        name = todo.pop()
        role = roles.get(name)
        if role and name not in found:
            found.add(name)
            todo.extend(role.inherits)
    return found


def create(session: Session, reader: Reader, replace: bool) -> Answer:
    unless = reader.accept("IF", "NOT", "EXISTS")
    name = reader.identifier()
    comment = reader.take().text if reader.accept("COMMENT", "=") else ""
    reader.end()
    if not session.may("CREATE ROLE"):
        raise insufficient("account", session.account.name)
    if name in session.account.roles and unless:
        return status(f"{name} already exists, statement succeeded.")
    if name in session.account.roles and not replace:
        raise exists(name)
    session.account.roles[name] = Role(name, session.role, comment)
    return status(f"Role {name} successfully created.")


def drop(session: Session, reader: Reader) -> Answer:
    unless = reader.accept("IF", "EXISTS")
    name = reader.identifier()
    reader.end()
    role = session.account.roles.get(name)
    if role is None:
        if unless:
            return status(f"Drop statement executed successfully ({name} already dropped).")
        raise missing("Role", name)
    if not session.holds(role.owner):
        raise insufficient("role", name)
    del session.account.roles[name]
    for other in list(session.account.roles.values()):
        other.inherits.discard(name)
    for user in list(session.account.users.values()):
        user.roles.discard(name)
    return status(f"{name} successfully dropped.")


def grant(session: Session, reader: Reader, revoke: bool = False) -> Answer:
    if revoke:
        reader.accept("GRANT", "OPTION", "FOR")
    if reader.accept("ROLE"):
        return _grant_role(session, reader, revoke)
    privileges = _privileges(reader)
    reader.expect("ON")
    kind, name = _target(session, reader, privileges)
    reader.expect("FROM" if revoke else "TO")
    reader.accept("ROLE")
    role = _role(session, reader.identifier())
    for tail in (("COPY", "CURRENT", "GRANTS"), ("REVOKE", "CURRENT", "GRANTS"), ("WITH", "GRANT", "OPTION"),
                 ("CASCADE",), ("RESTRICT",)):
        reader.accept(*tail)
    reader.end()
    if not _may_grant(session, kind, name):
        raise insufficient(kind.lower(), ".".join(name) or session.account.name)
    if privileges == ["OWNERSHIP"] and not revoke:
        _give(session, kind, name, role.name)
        return status()
    grants = {Grant(p, "TABLE" if kind in _TABLE_KINDS else kind, name)
              for p in (_ALL.get(kind, ["USAGE"]) if privileges == ["ALL"] else privileges)}
    role.grants = role.grants - grants if revoke else role.grants | grants
    return status()


def _privileges(reader: Reader) -> list[str]:
    found = [""]
    while not (reader.next and reader.next.word == "ON"):
        if reader.accept(","):
            found.append("")
        else:
            found[-1] = f"{found[-1]} {reader.identifier()}".strip()
    return ["ALL" if p in ("ALL", "ALL PRIVILEGES") else p for p in found]


def _target(session: Session, reader: Reader, privileges: list[str]) -> tuple[str, tuple[str, ...]]:
    if reader.accept("ACCOUNT"):
        return "ACCOUNT", ()
    if reader.accept("ALL") or reader.accept("FUTURE"):
        plural = reader.identifier()
        reader.expect("IN")
        scope = reader.identifier()
        if plural not in ("TABLES", "VIEWS") or scope not in ("SCHEMA", "DATABASE"):
            raise SqlError("000002", "0A000", f"Unsupported feature 'GRANT ON ALL {plural} IN {scope}'.")
        name = session.account.objects.namespace(session, reader.name(), scope)
        return plural[:-1], name + ("*",) * (3 - len(name))
    kind = reader.identifier()
    name = reader.name()
    account = session.account
    match kind:
        case "TABLE" | "VIEW":
            found = account.objects.find(session, name)
            if found is None:
                raise missing("Object", ".".join(name))
            return kind, found.path
        case "DATABASE" | "SCHEMA":
            return kind, account.objects.namespace(session, name, kind)
        case "WAREHOUSE" if name[0] not in account.warehouses:
            raise missing("Warehouse", name[0])
        case "USER" if name[0] not in account.users:
            raise missing("User", name[0])
        case "ROLE" if name[0] not in account.roles:
            raise missing("Role", name[0])
    return kind, name


def _role(session: Session, name: str) -> Role:
    if name not in session.account.roles:
        raise missing("Role", name)
    return session.account.roles[name]


def _owner(session: Session, kind: str, name: tuple[str, ...]) -> str | None:
    account = session.account
    match kind:
        case "TABLE" | "VIEW":
            found = account.objects.tables.get(name)
            return found.owner if found else account.objects.owners.get(tuple(p for p in name if p != "*"))
        case "DATABASE" | "SCHEMA":
            return account.objects.owners.get(name)
        case "USER":
            return account.users[name[0]].owner
        case "ROLE":
            return account.roles[name[0]].owner
        case "WAREHOUSE":
            return account.warehouses[name[0]]["owner"]
    return None


def _may_grant(session: Session, kind: str, name: tuple[str, ...]) -> bool:
    return session.may("MANAGE GRANTS") or session.holds(_owner(session, kind, name))


def _give(session: Session, kind: str, name: tuple[str, ...], role: str) -> None:
    account = session.account
    match kind:
        case "TABLE" | "VIEW":
            for path, found in account.objects.tables.items():
                if all(want in ("*", part) for want, part in zip(name, path)):
                    found.owner = role
        case "DATABASE" | "SCHEMA":
            account.objects.owners[name] = role
        case "USER":
            account.users[name[0]].owner = role
        case "ROLE":
            account.roles[name[0]].owner = role
        case "WAREHOUSE":
            account.warehouses[name[0]]["owner"] = role


def _grant_role(session: Session, reader: Reader, revoke: bool) -> Answer:
    role = _role(session, reader.identifier())
    reader.expect("FROM" if revoke else "TO")
    if not session.may("MANAGE GRANTS") and not session.holds(role.owner):
        raise insufficient("role", role.name)
    if reader.accept("USER"):
        name = reader.identifier()
        reader.end()
        user = session.account.users.get(name)
        if user is None:
            raise missing("User", name)
        target = user.roles
    else:
        reader.expect("ROLE")
        other = _role(session, reader.identifier())
        reader.end()
        if not revoke and other.name in closure(session.account.roles, {role.name}):
            raise SqlError("003013", "42710", "SQL compilation error:\n"
                           f"Cannot grant role {role.name} to {other.name}: cycle in the role hierarchy.")
        target = other.inherits
    (target.discard if revoke else target.add)(role.name)
    return status()


def show(session: Session, reader: Reader) -> Answer:
    pattern = reader.take().text if reader.accept("LIKE") else None
    reader.end()
    matches = like(pattern)
    columns = [Column("created_on", "timestamp_ltz", 0, 3)] + [text(n) for n in (
        "name", "is_default", "is_current", "is_inherited", "assigned_to_users", "granted_to_roles", "granted_roles",
        "owner", "comment")]
    account, rows = session.account, []
    for name, role in sorted(account.roles.items()):
        if matches(name):
            users = sum(name in u.roles for u in list(account.users.values()))
            above = sum(name in r.inherits for r in list(account.roles.values()))
            rows.append([role.created, name, _yes(session.user.properties.get("DEFAULT_ROLE") == name),
                         _yes(session.role == name), _yes(name in session.active and name != session.role),
                         str(users), str(above), str(len(role.inherits)), role.owner or "", role.comment])
    return of_rows(columns, rows, answers.SHOW)


def _yes(content: bool) -> str:
    return "Y" if content else "N"


def show_grants(session: Session, reader: Reader) -> Answer:
    account = session.account
    if reader.accept("TO", "USER") or reader.done:
        name = session.user.name if reader.done else reader.identifier()
        user = account.users.get(name)
        if user is None:
            raise missing("User", name)
        rows = [[user.created, r, "USER", name, account.roles[r].owner or ""] for r in sorted(user.roles)]
        names = ("role", "granted_to", "grantee_name", "granted_by")
    elif reader.accept("OF", "ROLE"):
        role = _role(session, reader.identifier())
        rows = [[role.created, role.name, "USER", u.name, role.owner or ""] for u in list(account.users.values())
                if role.name in u.roles]
        rows += [[role.created, role.name, "ROLE", r.name, role.owner or ""] for r in list(account.roles.values())
                 if role.name in r.inherits]
        names = ("role", "granted_to", "grantee_name", "granted_by")
    elif reader.accept("TO", "ROLE"):
        role = _role(session, reader.identifier())
        rows = [[role.created, g.privilege, g.kind, ".".join(g.name) or account.name, "ROLE", role.name, "false", ""]
                for g in sorted(role.grants, key=lambda g: (g.kind, g.name, g.privilege))]
        rows += [[role.created, "USAGE", "ROLE", r, "ROLE", role.name, "false", ""] for r in sorted(role.inherits)]
        names = ("privilege", "granted_on", "name", "granted_to", "grantee_name", "grant_option", "granted_by")
    else:
        reader.expect("ON")
        kind, name = _target(session, reader, [])
        rows = [[role.created, g.privilege, kind, ".".join(name), "ROLE", role.name, "false", ""]
                for role in list(account.roles.values()) for g in role.grants if g.name == name]
        names = ("privilege", "granted_on", "name", "granted_to", "grantee_name", "grant_option", "granted_by")
    return of_rows([Column("created_on", "timestamp_ltz", 0, 3), *map(text, names)], rows, answers.SHOW)
