"""SHOW FUNCTIONS and PROCEDURES: this account has none of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import answers
from .answers import Answer, of_rows
from .columns import Column, text
from .lexer import Reader

if TYPE_CHECKING:
    from .sessions import Session

_NAMES = ("name", "schema_name", "is_builtin", "is_aggregate", "is_ansi", "min_num_arguments", "max_num_arguments",
          "arguments", "description", "catalog_name", "is_table_function", "valid_for_clustering", "is_secure",
          "secrets", "external_access_integrations", "is_external_function", "language", "is_memoizable")


def show(_session: Session, _reader: Reader) -> Answer:
    return of_rows([Column("created_on", "timestamp_ltz", 0, 3), *(text(n) for n in _NAMES)], [], answers.SHOW)
