"""Encodes rows as Snowflake does: JSON row sets and Arrow streams with its physical types."""

from __future__ import annotations

import base64
import json
import math
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .columns import Column

_NARROW = [(pa.int8(), 1), (pa.int16(), 2), (pa.int32(), 4), (pa.int64(), 8)]
_UTC_OFFSET = 1440  # zone offsets travel as minutes + 1440


def integers(table: pa.Table, columns: list[Column]) -> list[pa.DataType | None]:
    """The narrowest integer that holds each NUMBER column, unscaled.

    One choice for the whole result: connector 5 reads every chunk by the schema of the first rows.
    """
    return [_narrowest(_flat(a)) if c.type == "fixed" else None for a, c in zip(table.columns, columns, strict=True)]


def arrow_stream(table: pa.Table, columns: list[Column], kinds: list[pa.DataType | None]) -> bytes:
    """One Arrow IPC stream of these rows, with `kinds` from [`integers`] of the whole result."""
    arrays, fields = [], []
    for array, column, kind in zip(table.columns, columns, kinds, strict=True):
        encoded, width = _number(_flat(array), kind) if kind else _arrow_array(_flat(array), column)
        arrays.append(encoded)
        fields.append(pa.field(column.name, encoded.type, column.nullable, _metadata(column, width)))
    schema = pa.schema(fields)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        if table.num_rows:
            writer.write_batch(pa.record_batch(arrays, schema=schema))
    return sink.getvalue().to_pybytes()


def arrow_base64(table: pa.Table, columns: list[Column], kinds: list[pa.DataType | None]) -> str:
    return base64.b64encode(arrow_stream(table, columns, kinds)).decode()


def json_rows(table: pa.Table, columns: list[Column]) -> list[tuple[str | None, ...]]:
    """Every cell as text or null."""
    if not table.num_rows:
        return []
    cells = [_json_cells(_flat(array), column) for array, column in zip(table.columns, columns, strict=True)]
    return list(zip(*cells))


def json_chunk(table: pa.Table, columns: list[Column]) -> bytes:
    """The rows of a chunk, without the outer brackets."""
    rows = json_rows(table, columns)
    return json.dumps(rows, ensure_ascii=False, separators=(",", ":")).encode()[1:-1]


def _flat(column: pa.ChunkedArray) -> pa.Array:
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    if isinstance(array.type, pa.BaseExtensionType):
        array = array.storage
    return array


def _metadata(column: Column, width: int) -> dict[str, str]:
    return {
        "logicalType": column.type.upper(),
        "precision": str(column.precision or (38 if column.type == "fixed" else 0)),
        "scale": str(column.scale or 0),
        "charLength": str(column.length or 0),
        "byteLength": str(column.byte_length or width),
        "finalType": "T",
    }


def _arrow_array(array: pa.Array, column: Column) -> tuple[pa.Array, int]:
    match column.type:
        case "real":
            return array.cast(pa.float64()), 8
        case "boolean":
            return array.cast(pa.bool_()), 1
        case "date":
            return array.cast(pa.date32()), 4
        case "time":
            nanoseconds = pc.multiply(array.cast(pa.time64("us")).cast(pa.int64()), 1000)
            return _rescaled(nanoseconds, column.scale), 8
        case "timestamp_ntz" | "timestamp_ltz" | "timestamp_tz":
            return _timestamp(array, column)
        case "binary":
            return array.cast(pa.binary()), 0
        case "variant" | "object" | "array":
            return pa.array(_documents(array), pa.string()), 0
    return pa.array(_texts(array), pa.string()), 0


def _rescaled(nanoseconds: pa.Array, scale: int | None) -> pa.Array:
    divisor = 10 ** (9 - (9 if scale is None else scale))
    return nanoseconds if divisor == 1 else pc.divide(nanoseconds, divisor)


def _narrowest(array: pa.Array) -> pa.DataType:
    if pa.types.is_null(array.type):
        return pa.int8()
    scale = array.type.scale if pa.types.is_decimal(array.type) else 0
    low, high = (x.as_py() or 0 for x in pc.min_max(_whole(array)).values())
    for kind, width in _NARROW:
        if -(2 ** (8 * width - 1)) <= low and high < 2 ** (8 * width - 1):
            return kind
    return pa.decimal128(38, scale)


def _number(array: pa.Array, kind: pa.DataType) -> tuple[pa.Array, int]:
    if pa.types.is_decimal(kind):
        return array.cast(kind), 16
    return _whole(array).cast(kind), kind.byte_width


def _whole(array: pa.Array) -> pa.Array:
    """The numbers as integers, their decimal point dropped."""
    if pa.types.is_decimal(array.type):
        return _unscaled(array)
    return array.cast(pa.int64()) if pa.types.is_floating(array.type) else array


def _unscaled(array: pa.Array) -> pa.Array:
    """The same 128-bit integers with the decimal point dropped."""
    array = array.cast(pa.decimal128(38, array.type.scale))
    return pa.Array.from_buffers(pa.decimal128(38, 0), len(array), array.buffers(), offset=array.offset)


def _nanoseconds(array: pa.Array) -> pa.Array:
    """Nanoseconds since the epoch, whatever unit and zone the array carries."""
    if pa.types.is_date(array.type):
        array = array.cast(pa.timestamp("us"))
    per = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}[array.type.unit]
    return pc.multiply(array.cast(pa.int64()), per)


def _timestamp(array: pa.Array, column: Column) -> tuple[pa.Array, int]:
    nanoseconds = _nanoseconds(array)
    zoned = column.type == "timestamp_tz"
    scale = 9 if column.scale is None else column.scale
    if not zoned and scale <= 7:
        return _rescaled(nanoseconds, scale), 8
    absent = pc.is_null(nanoseconds)
    filled = pc.fill_null(nanoseconds, 0).to_numpy(zero_copy_only=False)
    seconds, fraction = np.divmod(filled, 10**9)
    fraction -= fraction % 10 ** (9 - scale)  # no digits beyond the declared scale
    parts = [pa.array(seconds, pa.int64()), pa.array(fraction, pa.int32())]
    names = ["epoch", "fraction"]
    if zoned:
        parts.append(pa.array(np.full(len(filled), _UTC_OFFSET), pa.int32()))
        names.append("timezone")
    return pa.StructArray.from_arrays(parts, names=names, mask=absent), 16 if zoned else 12


def _documents(array: pa.Array) -> list[str | None]:
    """Semi-structured values as the indented JSON text that the server sends."""
    if not (pa.types.is_string(array.type) or pa.types.is_large_string(array.type)):
        return [None if v is None else json.dumps(_plain(v), indent=2, ensure_ascii=False)
                for v in array.to_pylist()]
    encoded = array.dictionary_encode()
    documents = [None if v is None else _document(v) for v in encoded.dictionary.to_pylist()]
    return [None if i is None else documents[i] for i in encoded.indices.to_pylist()]


def _document(raw: str) -> str:
    try:
        return json.dumps(json.loads(raw), indent=2, ensure_ascii=False)
    except ValueError:
        return raw


def _plain(content):
    if isinstance(content, dict):
        return {str(k): _plain(v) for k, v in content.items()}
    if isinstance(content, (list, tuple)):
        return [_plain(v) for v in content]
    return content if isinstance(content, (str, int, float, bool, type(None))) else str(content)


def _texts(array: pa.Array) -> list[str | None]:
    if pa.types.is_nested(array.type) or pa.types.is_interval(array.type):
        return [None if v is None else str(v) for v in array.to_pylist()]
    return array.cast(pa.string()).to_pylist()


def _json_cells(array: pa.Array, column: Column) -> list[str | None]:
    match column.type:
        case "fixed":
            if pa.types.is_floating(array.type):
                array = array.cast(pa.int64())
            texts = array.cast(pa.string()).to_pylist()
            return [f"{Decimal(t):f}" if t and "E" in t else t for t in texts]
        case "real":
            return [None if v is None else _real(v) for v in array.cast(pa.float64()).to_pylist()]
        case "boolean":
            return pc.if_else(array.cast(pa.bool_()), "1", "0").to_pylist()
        case "date":
            return array.cast(pa.date32()).cast(pa.int32()).cast(pa.string()).to_pylist()
        case "time":
            times = pc.multiply(array.cast(pa.time64("us")).cast(pa.int64()), 1000).to_pylist()
            return [None if t is None else _seconds(t, column.scale) for t in times]
        case "timestamp_ntz" | "timestamp_ltz" | "timestamp_tz":
            zone = f" {_UTC_OFFSET}" if column.type == "timestamp_tz" else ""
            times = _nanoseconds(array).to_pylist()
            return [None if t is None else _seconds(t, column.scale) + zone for t in times]
        case "binary":
            return [None if v is None else v.hex().upper() for v in array.cast(pa.binary()).to_pylist()]
        case "variant" | "object" | "array":
            return _documents(array)
    return _texts(array)


def _real(number: float) -> str:
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "inf" if number > 0 else "-inf"
    return repr(number)


def _seconds(nanoseconds: int, scale: int | None) -> str:
    sign, size = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    whole, fraction = divmod(size, 10**9)
    digits = f"{fraction:09d}"[: 9 if scale is None else scale]
    return f"{sign}{whole}.{digits}" if digits else f"{sign}{whole}"
