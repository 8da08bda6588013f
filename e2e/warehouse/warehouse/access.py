"""Resolves every table that a statement names, and checks the session's privileges on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import sqlglot
from sqlglot import Expr, exp

from .errors import SqlError, exists, insufficient, missing, unsupported
from .objects import INFORMATION_SCHEMA, Object, Path

if TYPE_CHECKING:
    from .sessions import Session


_CREATED = ("TABLE", "VIEW", "SCHEMA", "DATABASE", "SEQUENCE")


@dataclass
class Bound:
    """What a statement touches. `schemas` are its uses of INFORMATION_SCHEMA."""

    reads: list[Object] = field(default_factory=list)
    sources: dict[int, Object] = field(default_factory=dict)  # id of the table node -> what it names
    defines: Path | None = None
    schemas: list[tuple[exp.Table, str, str]] = field(default_factory=list)


def bind(session: Session, statement: Expr) -> Bound:
    """Qualifies the table names in place."""
    for node in list(statement.find_all(exp.Table, exp.TableFromRows)):
        _named_by_literal(node)
    bound, needs = Bound(), _needs(statement)
    home = _define(session, statement, bound)
    for table in list(statement.find_all(exp.Table)):
        if not isinstance(table.this, exp.Identifier):
            if isinstance(table.this, exp.Var) and table.this.name.startswith("@"):
                raise unsupported("stages")
            continue
        if _is_cte(table) or id(table) in needs and needs[id(table)] is None:
            continue
        name = _parts(table)
        path = session.account.objects.resolve(session, name, home)
        if path[1] == INFORMATION_SCHEMA:
            if not session.account.objects.usable(session, path[:1]):
                raise missing("Database", path[0])
            bound.schemas.append((table, path[0], path[2]))
            continue
        privileges = needs.get(id(table), ["SELECT"])
        found = session.account.objects.tables.get(path)
        if found is None or not session.account.objects.visible(session, found):
            if isinstance(statement, exp.Drop) and statement.args.get("exists") and found is None:
                continue
            raise missing("Object", ".".join(name))
        if not session.holds(found.owner) and not all(session.allowed(p, "TABLE", path) for p in privileges):
            raise insufficient(found.kind.lower(), path[2])
        if id(table) not in needs:
            bound.reads.append(found)
        bound.sources[id(table)] = found
        if isinstance(statement, (exp.Alter, exp.Drop)):
            bound.defines = path
        _qualify(table, path)
    for column in statement.find_all(exp.Column):  # tables are known by their last name alone from here on
        column.set("db", None)
        column.set("catalog", None)
    return bound


def _named_by_literal(node: Expr) -> None:
    """IDENTIFIER('name') and TABLE('name') become the table that they name."""
    holder = node if isinstance(node, exp.TableFromRows) else node.this
    if isinstance(holder, (exp.DynamicIdentifier, exp.TableFromRows)) and isinstance(holder.this, exp.Literal):
        named = sqlglot.to_table(holder.this.name, dialect="snowflake")
        if isinstance(node, exp.TableFromRows):
            named.set("alias", node.args.get("alias"))
            node.replace(named)
            return
        for part in ("this", "db", "catalog"):
            node.set(part, named.args.get(part))
    elif isinstance(holder, exp.DynamicIdentifier):
        raise SqlError("002218", "42601", "SQL compilation error:\ninvalid argument to IDENTIFIER")


def _parts(table: exp.Table) -> tuple[str, ...]:
    parts = [table.args.get(p) for p in ("catalog", "db", "this")]
    if parts[0] is not None and not parts[1]:
        parts[1] = exp.to_identifier("PUBLIC", quoted=True)  # db..table
    return tuple(p.name if p.quoted else p.name.upper() for p in parts if p)


def _qualify(table: exp.Table, path: Path) -> None:
    for part, name in zip(("catalog", "db", "this"), path):
        table.set(part, exp.to_identifier(name, quoted=True))
    parent = table.parent
    if not table.alias and isinstance(parent, (exp.From, exp.Join)):
        table.set("alias", exp.TableAlias(this=exp.to_identifier(path[2], quoted=True)))


def _is_cte(table: exp.Table) -> bool:
    """Whether a name is that of a WITH in reach: an earlier one, or its own where it is recursive."""
    if table.args.get("db"):
        return False
    name, below, scope = table.name.upper(), table, table.parent
    while scope is not None:
        if isinstance(scope, exp.With):  # from within one of its parts
            names = [cte.alias.upper() for cte in scope.expressions]
            own = next(i for i, cte in enumerate(scope.expressions) if cte is below)
            if name in names[: own + 1 if scope.recursive else own]:
                return True
        elif not isinstance(below, exp.With) and any(
                cte.alias.upper() == name for cte in getattr(scope, "ctes", None) or []):
            return True
        below, scope = scope, scope.parent
    return False


def _table_of(node: Expr | None) -> exp.Table | None:
    while isinstance(node, exp.Schema):
        node = node.this
    return node if isinstance(node, exp.Table) else None


def _needs(statement: Expr) -> dict[int, list[str] | None]:
    """What is needed on the tables that are not merely read; None for names that are no tables."""
    needs: dict[int, list[str] | None] = {}

    def need(node: Expr | None, privileges: list[str] | None) -> None:
        table = _table_of(node)
        if table is not None:
            needs[id(table)] = privileges

    for insert in statement.find_all(exp.Insert):
        need(insert.this, ["INSERT", "TRUNCATE"] if insert.args.get("overwrite") else ["INSERT"])
    match statement:
        case exp.Update():
            need(statement.this, ["UPDATE"])
        case exp.Delete():
            need(statement.this, ["DELETE"])
        case exp.Merge():
            whens = {type(w.args.get("then")) for w in statement.args["whens"].expressions}
            words = {exp.Insert: "INSERT", exp.Update: "UPDATE"}
            need(statement.this, sorted({words.get(w, "DELETE") for w in whens}))
        case exp.Create():
            need(statement.this, None)
        case exp.Drop():
            tables = statement.args.get("tables") or [statement.this]
            for table in tables:
                need(table, ["OWNERSHIP"] if statement.args.get("kind", "").upper() in ("TABLE", "VIEW") else None)
        case exp.Alter() | exp.Comment():
            is_table = str(statement.args.get("kind", "")).upper() in ("TABLE", "VIEW", "COLUMN")
            need(statement.this, ["OWNERSHIP"] if is_table else None)
            for rename in statement.find_all(exp.AlterRename):
                need(rename.this, None)
        case exp.TruncateTable():
            for table in statement.expressions:
                need(table, ["TRUNCATE"])
        case exp.Show() | exp.Use():
            for table in statement.find_all(exp.Table):
                need(table, None)
        case exp.Describe():
            need(statement.this, [])
    return needs


def _define(session: Session, statement: Expr, bound: Bound) -> tuple[str, str] | None:
    """Checks the right to define what CREATE or DROP names; a view's own schema is its body's home."""
    objects = session.account.objects
    if isinstance(statement, exp.Drop) and statement.args.get("kind", "").upper() in ("SCHEMA", "DATABASE"):
        kind = statement.args["kind"].upper()
        name = namespace(session, (statement.args.get("tables") or [statement.this])[0], kind)
        if name in objects.owners and not session.holds(objects.owners[name]):
            raise insufficient(kind.lower(), ".".join(name))
        if name not in objects.owners and not statement.args.get("exists"):
            raise missing(kind.capitalize(), ".".join(name))
        return None
    if not isinstance(statement, exp.Create):
        return None
    kind = (statement.args.get("kind") or "").upper()
    table = _table_of(statement.this)
    if kind == "DATABASE" and not session.may("CREATE DATABASE"):
        raise insufficient("account", session.account.name)
    if kind not in _CREATED:
        raise unsupported(f"CREATE {kind}")
    if kind == "SCHEMA":
        _namespace_owner(session, namespace(session, table, kind)[:1], "DATABASE", "CREATE SCHEMA")
    if kind not in ("TABLE", "VIEW") or table is None:
        return None
    path = objects.resolve(session, _parts(table))
    properties = statement.args.get("properties")
    if properties and any(isinstance(p, exp.TemporaryProperty) for p in properties.expressions):
        _namespace_owner(session, path[:2], "SCHEMA", "USAGE")  # temporary tables need no right to create
    else:
        _namespace_owner(session, path[:2], "SCHEMA", f"CREATE {kind}")
    if found := objects.tables.get(path):
        if statement.args.get("replace") and not session.holds(found.owner):
            raise insufficient(found.kind.lower(), path[2])
        if not statement.args.get("replace") and not statement.args.get("exists"):
            raise exists(".".join(path))
    bound.defines = path
    _qualify(table, path)
    return path[:2] if kind == "VIEW" else None


def namespace(session: Session, table: exp.Table, kind: str) -> tuple[str, ...]:
    # a schema is parsed into the slots of a table's database, or of the table itself
    parts = [table.args.get(p) for p in ("catalog", "db", "this")]
    name = tuple(p.name if p.quoted else p.name.upper() for p in parts if p)
    if kind == "SCHEMA" and len(name) == 1:
        if session.database is None:
            raise SqlError("090105", "22000", "Cannot perform CREATE SCHEMA. This session does not have a current "
                           "database. Call 'USE DATABASE', or use a qualified name.")
        name = (session.database, *name)
    return name


def _namespace_owner(session: Session, name: tuple[str, ...], kind: str, privilege: str) -> None:
    objects = session.account.objects
    if not objects.usable(session, name):
        raise missing(kind.capitalize(), ".".join(name))
    if not session.holds(objects.owners[name]) and not session.allowed(privilege, kind, name):
        raise insufficient(kind.lower(), name[-1])
