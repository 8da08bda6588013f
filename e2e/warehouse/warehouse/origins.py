"""Which output columns of a query are columns of a table, with the table's declared types."""

from __future__ import annotations

from dataclasses import replace

from sqlglot import Expr, exp

from .access import Bound
from .columns import Column, of_declared
from .objects import Object

_SPELLED = {"TIMESTAMPNTZ": "TIMESTAMP_NTZ", "TIMESTAMPLTZ": "TIMESTAMP_LTZ", "TIMESTAMPTZ": "TIMESTAMP_TZ"}


def overlay(columns: list[Column], known: list[Column | None] | None) -> list[Column]:
    """The engine's columns, with what is known of their origin."""
    if known is None or len(known) != len(columns):
        return columns
    return [same.renamed(column.name) if same and compatible(same, column) else column
            for column, same in zip(columns, known)]


def compatible(declared: Column, seen: Column) -> bool:
    semi = ("variant", "object", "array")
    if declared.type in semi:
        return seen.type in semi
    if declared.type.startswith("timestamp"):
        return seen.type.startswith("timestamp")
    return declared.type == seen.type


def of_query(query: Expr, bound: Bound) -> list[Column | None] | None:
    """One entry per output column; None where nothing is known of any."""
    if not isinstance(query, exp.Select):
        return None
    named = sources(query, bound)
    joined = bool(query.args.get("joins"))
    found: list[Column | None] = []
    for item in query.expressions:
        if isinstance(item, exp.Star) or isinstance(item, exp.Column) and isinstance(item.this, exp.Star):
            star = item if isinstance(item, exp.Star) else item.this
            prefix = item.table.upper() if isinstance(item, exp.Column) else None
            chosen = [o for a, o in named if prefix in (None, a.upper())]
            if any(star.args.values()) or not chosen or None in chosen:
                return None
            for source in chosen:
                found += [_direct(source, c, joined) for c in source.columns]
        else:
            found.append(_of_item(item.unalias(), named, joined))
    return found


def sources(query: exp.Select, bound: Bound) -> list[tuple[str, Object | None]]:
    nodes = [query.args["from_"].this] if query.args.get("from_") else []
    nodes += [j.this for j in query.args.get("joins") or []]
    return [(n.alias_or_name, bound.sources.get(id(n))) for n in nodes]


def _of_item(item: Expr, sources: list[tuple[str, Object | None]], joined: bool) -> Column | None:
    if isinstance(item, exp.Cast) and item.to.this == exp.DType.TIMESTAMPTZ:
        return Column("", "timestamp_tz", 0, 9)
    if not isinstance(item, exp.Column):
        return None
    found = column_of(item, sources)
    return _direct(*found, joined) if found else None


def column_of(item: exp.Column, sources: list[tuple[str, Object | None]]) -> tuple[Object, Column] | None:
    name = item.this.name if getattr(item.this, "quoted", False) else item.name.upper()
    table = item.table.upper()
    hits = [(o, c) for a, o in sources if o and (not table or a.upper() == table)
            for c in o.columns if c.name == name]
    return hits[0] if len(hits) == 1 else None


def _direct(source: Object, column: Column, joined: bool) -> Column:
    if joined:
        column = replace(column, nullable=True)
    if column.type == "text":  # the service leaves the table of text columns out
        return column
    database, schema, table = source.path
    return replace(column, database=database, schema=schema, table=table)


def of_definition(statement: exp.Create, bound: Bound) -> list[Column | None]:
    """The columns that a CREATE TABLE or VIEW declares, or takes from its query."""
    if statement.args.get("expression") is not None:
        known = of_query(statement.expression, bound) or []
        return [replace(c, database="", schema="", table="") if c else None for c in known]
    if not isinstance(statement.this, exp.Schema):
        return []
    return [_declared(c) for c in statement.this.expressions if isinstance(c, exp.ColumnDef)]


def _declared(definition: exp.ColumnDef) -> Column | None:
    kind = definition.args.get("kind")
    if kind is None:
        return None
    sizes = [int(p.name) for p in kind.expressions if isinstance(p, exp.DataTypeParam) and p.name.isdigit()]
    written = kind.this.value if hasattr(kind.this, "value") else str(kind.this)
    nullable = not any(isinstance(c.kind, (exp.NotNullColumnConstraint, exp.PrimaryKeyColumnConstraint))
                       and not c.kind.args.get("allow_null") for c in definition.constraints)
    identifier = definition.this
    name = identifier.name if identifier.quoted else identifier.name.upper()
    return of_declared(name, _SPELLED.get(written, written), sizes, nullable)
