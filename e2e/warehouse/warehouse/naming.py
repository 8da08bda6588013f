"""Output columns without a name: the service calls them by their text."""

from __future__ import annotations

from sqlglot import Expr, exp

from .lexer import lex


def name_outputs(statement: Expr, sql: str) -> dict[str, str]:
    """Gives unnamed output columns a name for the engine, and says what the service calls them: their text."""
    while isinstance(statement, exp.SetOperation):
        statement = statement.left
    if not isinstance(statement, exp.Select):
        return {}
    texts = _texts(sql)
    if len(texts) != len(statement.expressions):
        texts = [e.sql(dialect="snowflake") for e in statement.expressions]
    items, names = [], {}
    for i, (item, written) in enumerate(zip(statement.expressions, texts)):
        if not (isinstance(item, (exp.Alias, exp.Column, exp.Star)) or item.is_star):
            names[f"_OUTPUT_{i}"] = written.upper()
            item = exp.alias_(item, f"_OUTPUT_{i}", quoted=True)
        items.append(item)
    statement.set("expressions", items)
    return names


def _texts(sql: str) -> list[str]:
    tokens, depth, starts, found = lex(sql), 0, None, []
    for token in tokens:
        if token.kind == "punct" and token.text in "([{":
            depth += 1
        elif token.kind == "punct" and token.text in ")]}":
            depth -= 1
        if depth:
            continue
        if starts is None:
            if token.word == "SELECT":
                starts = token.end
        elif token.word in ("DISTINCT", "ALL") and not sql[starts:token.start].strip():
            starts = token.end
        elif token.text == "," and token.kind == "punct":
            found.append(sql[starts:token.start].strip())
            starts = token.end
        elif token.word in ("FROM", "UNION", "EXCEPT", "MINUS", "INTERSECT", "WHERE", "GROUP", "HAVING", "QUALIFY",
                            "ORDER", "LIMIT", "FETCH"):
            return [*found, sql[starts:token.start].strip()]
    return [*found, sql[starts:tokens[-1].end].strip()] if starts is not None else found
