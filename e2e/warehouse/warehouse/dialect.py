"""Puts right what the engine's translation of Snowflake's dialect would get wrong."""

from __future__ import annotations

from sqlglot import Expr, exp

from .access import Bound
from .origins import column_of, sources


def translated(statement: Expr, bound: Bound) -> str:
    """The text that is handed to the engine; the statement itself is changed."""
    _keep_sums_exact(statement, bound)
    _compare_paths_as_text(statement)
    _name_values(statement)
    _quote_names(statement)
    return statement.sql(dialect="snowflake")


def _keep_sums_exact(statement: Expr, bound: Bound) -> None:
    """Sums of NUMBER columns: the engine would sum them as floating point."""
    for total in list(statement.find_all(exp.Sum)):
        if isinstance(total.this, exp.Column) and (query := total.find_ancestor(exp.Select)):
            found = column_of(total.this, sources(query, bound))
            if found and found[1].type == "fixed":
                total.set("this", exp.cast(total.this, f"decimal(38, {found[1].scale})"))


def _compare_paths_as_text(statement: Expr) -> None:
    """`v:path = 'text'`: the engine would read the text as JSON."""
    for comparison in list(statement.find_all(exp.EQ, exp.NEQ, exp.Like, exp.ILike, exp.In)):
        path = comparison.this
        others = comparison.expressions if isinstance(comparison, exp.In) else [comparison.expression]
        if isinstance(path, exp.JSONExtract) and others and all(
                isinstance(o, exp.Literal) and o.is_string for o in others):
            comparison.set("this", exp.cast(path.copy(), "varchar"))


def _name_values(statement: Expr) -> None:
    """The columns of VALUES are COLUMN1, COLUMN2, ..., and $1, $2, ... by their places."""
    for query in list(statement.find_all(exp.Select)):
        values = query.args["from_"].this if query.args.get("from_") else None
        if not isinstance(values, exp.Values) or query.args.get("joins"):
            continue
        alias = values.args.get("alias") or exp.TableAlias(this=exp.to_identifier("_VALUES", quoted=True))
        if not alias.columns:
            first = values.expressions[0]
            width = len(first.expressions) if isinstance(first, exp.Tuple) else 1
            alias.set("columns", [exp.to_identifier(f"COLUMN{i}", quoted=True) for i in range(1, width + 1)])
        values.set("alias", alias)
        for place in list(query.find_all(exp.Parameter)):
            number = int(place.name) if place.name.isdigit() else 0
            if place.find_ancestor(exp.Select) is query and 0 < number <= len(alias.columns):
                place.replace(exp.column(alias.columns[number - 1].copy()))


def _quote_names(statement: Expr) -> None:
    """The engine reserves other words than Snowflake does; quoted, no name is one of them."""
    for name in statement.find_all(exp.Identifier):
        if not name.quoted:
            is_key = isinstance(name.parent, exp.PropertyEQ)  # of an object literal, where case counts
            name.set("this", name.name if is_key else name.name.upper())
            name.set("quoted", True)
