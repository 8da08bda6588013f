"""Puts bound values into a statement's text as literals."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation

from .errors import SqlError
from .lexer import Token, lex

_EPOCH = datetime(1970, 1, 1)


def splice(sql: str, tokens: list[Token], bindings: dict) -> str:
    """`sql` with its placeholders replaced. An array bind repeats the row of an INSERT's VALUES."""
    if not bindings:
        return sql
    columns = {k: b["value"] if isinstance(b.get("value"), list) else None for k, b in bindings.items()}
    length = max((len(v) for v in columns.values() if v is not None), default=None)
    if length is None:
        return _fill(sql, 0, len(sql), places(tokens), lambda key: _literal(bindings, key))
    start, end = _values_row(tokens)
    inside = [p for p in places(tokens) if start <= p[0].start < end]
    rows = []
    for row in range(length):
        def literal(key: str, row: int = row) -> str:
            bind = _bound(bindings, key)
            values = columns[key]
            return _sql(bind["type"], values[row] if values is not None else bind["value"])
        rows.append(_fill(sql, start, end, inside, literal))
    return sql[:start] + ", ".join(rows) + sql[end:]


def places(tokens: list[Token]) -> list[tuple[Token, Token, str]]:
    """First and last token of every placeholder, and the key of its bind."""
    found, count = [], 0
    for i, token in enumerate(tokens):
        if token.text == "?" and token.kind == "punct":
            count += 1
            found.append((token, token, str(count)))
        elif token.text == ":" and token.kind == "punct" and i + 1 < len(tokens):
            name, before = tokens[i + 1], tokens[i - 1] if i else None
            is_path = before is not None and before.end == token.start and (
                before.kind in ("word", "quoted") or before.text in "])")
            if name.start == token.end and name.kind in ("number", "word") and not is_path:
                found.append((token, name, name.text))
    return found


def _fill(sql: str, start: int, end: int, found: list[tuple[Token, Token, str]], literal) -> str:
    parts, at = [], start
    for first, last, key in found:
        parts += [sql[at:first.start], literal(key)]
        at = last.end
    return "".join([*parts, sql[at:end]])


def _values_row(tokens: list[Token]) -> tuple[int, int]:
    """Where the parenthesised row after VALUES starts and ends."""
    at = max((i for i, t in enumerate(tokens) if t.word == "VALUES"), default=None)
    if at is None or at + 1 >= len(tokens) or tokens[at + 1].text != "(":
        raise SqlError("002060", "0A000", "SQL compilation error:\nArray Bind is only supported for INSERT ... VALUES.")
    depth = 0
    for token in tokens[at + 1:]:
        if token.kind == "punct":
            depth += (token.text == "(") - (token.text == ")")
        if depth == 0:
            return tokens[at + 1].start, token.end
    raise SqlError("001003", "42000", "SQL compilation error:\nsyntax error unexpected '<EOF>'.")


def _bound(bindings: dict, key: str) -> dict:
    if key not in bindings:
        raise SqlError("002049", "42601", f"SQL compilation error:\nBind variable :{key} not set.")
    return bindings[key]


def _literal(bindings: dict, key: str) -> str:
    bind = _bound(bindings, key)
    return _sql(bind["type"], bind["value"])


def _sql(kind: str, content: str | None) -> str:
    if content is None:
        return "NULL"
    try:
        match kind.upper():
            case "FIXED":
                return f"{Decimal(content):f}"
            case "REAL":
                number = float(content)
                return f"CAST('{number!r}' AS DOUBLE)"
            case "BOOLEAN":
                return "TRUE" if content.lower() in ("true", "1", "t", "yes") else "FALSE"
            case "DATE":
                return f"CAST('{_EPOCH + timedelta(milliseconds=int(content)):%Y-%m-%d}' AS DATE)"
            case "TIME":
                return f"CAST('{_EPOCH + timedelta(microseconds=int(content) // 1000):%H:%M:%S.%f}' AS TIME)"
            case "TIMESTAMP_NTZ" | "TIMESTAMP":
                return f"CAST('{_moment(content)}' AS TIMESTAMP_NTZ)"
            case "TIMESTAMP_LTZ":
                return f"CAST('{_moment(content)}+00:00' AS TIMESTAMP_LTZ)"
            case "TIMESTAMP_TZ":
                return f"CAST('{_zoned(content)}' AS TIMESTAMP_TZ)"
            case "BINARY":
                return f"TO_BINARY('{bytes.fromhex(content).hex()}', 'HEX')"
    except (ValueError, InvalidOperation):
        raise SqlError("100038", "22018", f"Numeric value '{content}' is not recognized", "EXECUTION")
    return quoted(content)


def quoted(content: str) -> str:
    """A string literal of Snowflake's, where a backslash escapes."""
    return "'" + content.replace("\\", "\\\\").replace("'", "''") + "'"


def _moment(content: str) -> str:
    return (_EPOCH + timedelta(microseconds=int(content) // 1000)).isoformat(sep=" ")


def _zoned(content: str) -> str:
    nanoseconds, _, offset = content.partition(" ")
    zone = timezone(timedelta(minutes=int(offset or 1440) - 1440))
    moment = (_EPOCH + timedelta(microseconds=int(nanoseconds) // 1000)).replace(tzinfo=timezone.utc)
    return moment.astimezone(zone).isoformat(sep=" ")


def count(sql: str) -> int:
    return len(places(lex(sql)))
