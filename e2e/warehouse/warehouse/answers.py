"""What a statement answers with: rows, their columns, and what kind of statement it was."""

from __future__ import annotations

from dataclasses import dataclass, field

import pyarrow as pa

from .columns import Column, number, text

SELECT, EXPLAIN = 0x1000, 0x2000
INSERT, UPDATE, DELETE, MERGE, COPY = 0x3100, 0x3200, 0x3300, 0x3400, 0x3600
ALTER_SESSION, USE, SHOW, DESCRIBE = 0x4100, 0x4300, 0x4400, 0x4500
TRANSACTION, DDL, OTHER, CALL, SEVERAL = 0x5000, 0x6000, 0x8000, 0x9000, 0xA000

DML = {INSERT, UPDATE, DELETE, MERGE}


@dataclass
class Answer:
    table: pa.Table
    columns: list[Column]
    type_id: int
    stats: dict | None = None
    binds: int = 0
    described: bool = field(default=False)
    parts: dict[str, int] = field(default_factory=dict)  # of several statements: query ids and kinds, in order

    @property
    def is_query(self) -> bool:
        """Whether drivers may be given Arrow: queries and calls; everything else is JSON."""
        return self.type_id in (SELECT, CALL)


def of_rows(columns: list[Column], rows: list[list], type_id: int, **more) -> Answer:
    kinds = {"text": pa.string(), "fixed": pa.int64(), "boolean": pa.bool_(), "variant": pa.string(),
             "timestamp_ltz": pa.timestamp("us", tz="UTC")}
    arrays = [pa.array([row[i] for row in rows], kinds[c.type]) for i, c in enumerate(columns)]
    names = [f"c{i}" for i in range(len(columns))]
    return Answer(pa.table(arrays, names=names), columns, type_id, **more)


def status(message: str = "Statement executed successfully.", type_id: int = DDL) -> Answer:
    return of_rows([text("status")], [[message]], type_id)


def value(name: str, content: str | int, type_id: int = SELECT) -> Answer:
    column = number(name) if isinstance(content, int) else text(name)
    return of_rows([column], [[content]], type_id)
