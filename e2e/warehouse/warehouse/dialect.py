"""Puts right what the engine's translation of Snowflake's dialect would get wrong."""

from __future__ import annotations

from sqlglot import Expr, exp

from .access import Bound
from .origins import column_of, sources


def translated(statement: Expr, bound: Bound) -> str:
    """The text that is handed to the engine; the statement itself is changed."""
    _keep_sums_exact(statement, bound)
    _compare_paths_as_text(statement)
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


def _quote_names(statement: Expr) -> None:
    """The engine reserves other words than Snowflake does; quoted, no name is one of them."""
    for name in statement.find_all(exp.Identifier):
        if not name.quoted:
            is_key = isinstance(name.parent, exp.PropertyEQ)  # of an object literal, where case counts
            name.set("this", name.name if is_key else name.name.upper())
            name.set("quoted", True)
