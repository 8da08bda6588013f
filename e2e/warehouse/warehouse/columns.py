"""The columns of a result or a table, as row types and schema queries describe them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

TEXT_LENGTH = 16_777_216
BINARY_LENGTH = 8_388_608

_INTEGERS = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT",
             "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"}

# DuckDB type -> (Snowflake type, scale)
_SIMPLE = {
    "BOOLEAN": ("boolean", None),
    "DATE": ("date", None),
    "TIME": ("time", 9),
    "TIMESTAMP": ("timestamp_ntz", 9),
    "TIMESTAMP_NS": ("timestamp_ntz", 9),
    "TIMESTAMP_MS": ("timestamp_ntz", 3),
    "TIMESTAMP_S": ("timestamp_ntz", 0),
    "TIMESTAMP WITH TIME ZONE": ("timestamp_ltz", 9),
    "DOUBLE": ("real", None),
    "FLOAT": ("real", None),
    "JSON": ("variant", None),
}

# Snowflake type as written -> row type
_WRITTEN = {
    "VARCHAR": "text", "CHAR": "text", "CHARACTER": "text", "STRING": "text", "TEXT": "text",
    "NVARCHAR": "text", "NUMBER": "fixed", "DECIMAL": "fixed", "NUMERIC": "fixed", "INT": "fixed",
    "INTEGER": "fixed", "BIGINT": "fixed", "SMALLINT": "fixed", "TINYINT": "fixed", "BYTEINT": "fixed",
    "FLOAT": "real", "DOUBLE": "real", "REAL": "real", "FLOAT4": "real", "FLOAT8": "real",
    "BOOLEAN": "boolean", "DATE": "date", "TIME": "time", "BINARY": "binary", "VARBINARY": "binary",
    "TIMESTAMP": "timestamp_ntz", "DATETIME": "timestamp_ntz", "TIMESTAMP_NTZ": "timestamp_ntz",
    "TIMESTAMPNTZ": "timestamp_ntz", "TIMESTAMP_LTZ": "timestamp_ltz", "TIMESTAMPLTZ": "timestamp_ltz",
    "TIMESTAMP_TZ": "timestamp_tz", "TIMESTAMPTZ": "timestamp_tz",
    "VARIANT": "variant", "OBJECT": "object", "ARRAY": "array",
}

_SCHEMA_NAMES = {"fixed": "NUMBER", "real": "FLOAT", "text": "TEXT"}


@dataclass(frozen=True)
class Column:
    name: str
    type: str
    precision: int | None = None
    scale: int | None = None
    length: int | None = None
    nullable: bool = True
    database: str = ""
    schema: str = ""
    table: str = ""

    @property
    def byte_length(self) -> int | None:
        if self.type == "text":
            return min(4 * (self.length or TEXT_LENGTH), TEXT_LENGTH)
        return self.length

    def renamed(self, name: str) -> "Column":
        return replace(self, name=name)

    def row_type(self) -> dict:
        """The entry in a result's `rowtype`."""
        return {
            "name": self.name, "database": self.database, "schema": self.schema, "table": self.table,
            "type": self.type, "length": self.length, "byteLength": self.byte_length,
            "precision": self.precision, "scale": self.scale, "nullable": self.nullable,
            "collation": None,
        }

    @property
    def schema_type(self) -> str:
        """The word INFORMATION_SCHEMA uses."""
        return _SCHEMA_NAMES.get(self.type, self.type.upper())

    @property
    def described(self) -> str:
        """The type as DESCRIBE TABLE writes it."""
        match self.type:
            case "fixed":
                return f"NUMBER({self.precision},{self.scale})"
            case "text":
                return f"VARCHAR({self.length})"
            case "binary":
                return f"BINARY({self.length})"
            case "real":
                return "FLOAT"
            case "time" | "timestamp_ntz" | "timestamp_ltz" | "timestamp_tz":
                return f"{self.type.upper()}({self.scale})"
        return self.type.upper()


def text(name: str) -> Column:
    return Column(name, "text", length=TEXT_LENGTH)


def number(name: str) -> Column:
    return Column(name, "fixed", 38, 0)


def of_duck(name: str, duck_type: str) -> Column:
    """The column that DuckDB's DESCRIBE names."""
    if found := re.fullmatch(r"DECIMAL\((\d+),\s*(\d+)\)", duck_type):
        return Column(name, "fixed", int(found[1]), int(found[2]))
    if duck_type in _INTEGERS:
        return number(name)
    if duck_type in _SIMPLE:
        kind, scale = _SIMPLE[duck_type]
        return Column(name, kind, 0 if scale is not None else None, scale)
    if duck_type == "BLOB":
        return Column(name, "binary", length=BINARY_LENGTH)
    if duck_type.endswith("]"):
        return Column(name, "array")
    if duck_type.startswith(("STRUCT", "MAP", "UNION")):
        return Column(name, "object")
    return text(name)


def of_declared(name: str, written: str, sizes: list[int], nullable: bool) -> Column | None:
    """The column that a CREATE TABLE declares; None where the type word is unknown."""
    kind = _WRITTEN.get(written.upper())
    match kind:
        case None:
            return None
        case "fixed":
            precision, scale = (sizes + [0])[:2] if sizes else (38, 0)
            return Column(name, kind, precision, scale, nullable=nullable)
        case "text":
            length = sizes[0] if sizes else (1 if written.upper().startswith("CHAR") else TEXT_LENGTH)
            return Column(name, kind, length=length, nullable=nullable)
        case "binary":
            return Column(name, kind, length=sizes[0] if sizes else BINARY_LENGTH, nullable=nullable)
        case "time" | "timestamp_ntz" | "timestamp_ltz" | "timestamp_tz":
            return Column(name, kind, 0, sizes[0] if sizes else 9, nullable=nullable)
    return Column(name, kind, nullable=nullable)
