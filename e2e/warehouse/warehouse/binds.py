"""Puts bound values into a statement: literals into its text, arrays of them beside it as a table."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation

import pyarrow as pa
from sqlglot import Expr, exp

from .errors import SqlError
from .lexer import Token, lex

_EPOCH = datetime(1970, 1, 1)
_BULK = "_BINDS"


def splice(sql: str, tokens: list[Token], bindings: dict) -> str:
    """`sql` with its placeholders replaced; those of array binds stay for [`bulk`]."""
    if not bindings or is_array(bindings):
        return sql
    parts, at = [], 0
    for first, last, key in places(tokens):
        bind = _bound(bindings, key)
        parts += [sql[at:first.start], _sql(bind["type"], bind["value"])]
        at = last.end
    return "".join([*parts, sql[at:]])


def is_array(bindings: dict) -> bool:
    return any(isinstance(bind.get("value"), list) for bind in bindings.values())


def bulk(statement: Expr, bindings: dict, duck) -> None:
    """An array bind: the row of an INSERT's VALUES becomes a query over a table of the bound values."""
    values = statement.args.get("expression") if isinstance(statement, exp.Insert) else None
    if not isinstance(values, exp.Values) or len(values.expressions) != 1:
        raise SqlError("002060", "0A000", "SQL compilation error:\nArray Bind is only supported for INSERT ... VALUES.")
    duck.register(_BULK, _table(bindings))
    row = values.expressions[0]
    for position, place in enumerate(list(row.find_all(exp.Placeholder, bfs=False)), 1):
        key = place.name if place.this else str(position)
        _bound(bindings, key)
        column = exp.column(exp.to_identifier(f"_{key}", quoted=True))
        row = column if place is row else row
        place.replace(column)
    source = exp.Table(this=exp.to_identifier(_BULK, True), db=exp.to_identifier("main", True),
                       catalog=exp.to_identifier("temp", True))
    items = row.expressions if isinstance(row, exp.Tuple) else [row]
    statement.set("expression", exp.Select(expressions=items).from_(source))


def _table(bindings: dict) -> pa.Table:
    length = max(len(b["value"]) for b in bindings.values() if isinstance(b["value"], list))
    columns = {}
    for key, bind in bindings.items():
        values = bind["value"] if isinstance(bind["value"], list) else [bind["value"]] * length
        try:
            columns[f"_{key}"] = _array(bind["type"].upper(), values)
        except (ValueError, InvalidOperation, pa.ArrowException) as error:
            raise SqlError("100038", "22018", f"A bound value is not recognized: {error}", "EXECUTION")
    return pa.table(columns)


def _array(kind: str, values: list[str | None]) -> pa.Array:
    def each(convert, to: pa.DataType | None = None) -> pa.Array:
        return pa.array([None if v is None else convert(v) for v in values], to)

    match kind:
        case "FIXED":
            whole = all(v is None or "." not in v for v in values)
            return each(int, pa.int64()) if whole else each(Decimal)
        case "REAL":
            return each(float, pa.float64())
        case "BOOLEAN":
            return each(_truth, pa.bool_())
        case "DATE":
            return each(lambda v: _EPOCH.date() + timedelta(milliseconds=int(v)), pa.date32())
        case "TIME":
            return each(lambda v: int(v) // 1000, pa.time64("us"))
        case "TIMESTAMP_NTZ" | "TIMESTAMP":
            return each(lambda v: int(v) // 1000, pa.timestamp("us"))
        case "TIMESTAMP_LTZ" | "TIMESTAMP_TZ":
            return each(lambda v: int(v.partition(" ")[0]) // 1000, pa.timestamp("us", tz="UTC"))
        case "BINARY":
            return each(bytes.fromhex, pa.binary())
    return each(str, pa.string())


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
                before.kind in ("word", "quoted", "number", "string") or before.text in "])")
            if name.start == token.end and name.kind in ("number", "word") and not is_path:
                found.append((token, name, name.text))
    return found


def _bound(bindings: dict, key: str) -> dict:
    if key not in bindings:
        raise SqlError("002049", "42601", f"SQL compilation error:\nBind variable :{key} not set.")
    return bindings[key]


def _truth(content: str) -> bool:
    return content.lower() in ("true", "1", "t", "yes")


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
                return "TRUE" if _truth(content) else "FALSE"
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
    moment = (_EPOCH + timedelta(microseconds=int(nanoseconds) // 1000)).replace(tzinfo=UTC)
    return moment.astimezone(zone).isoformat(sep=" ")


def count(sql: str) -> int:
    return len(places(lex(sql)))
