"""Prints the benchmark queries that DuckDB bundles, with the tables they run over, as one JSON object."""

from __future__ import annotations

import json
import sys

import duckdb


def benchmark(extension: str, generate: str) -> dict[str, object]:
    """The tables of one benchmark and its queries, in order."""
    connection = duckdb.connect()
    connection.execute(f"LOAD {extension}")
    connection.execute(f"CALL {generate}(sf=0)")
    columns = connection.execute(
        "SELECT table_name, column_name, data_type FROM information_schema.columns ORDER BY table_name, ordinal_position"
    ).fetchall()
    tables: dict[str, dict[str, str]] = {}
    for table, column, data_type in columns:
        tables.setdefault(table.upper(), {})[column.upper()] = data_type
    queries = connection.execute(f"SELECT query FROM {extension}_queries() ORDER BY query_nr").fetchall()
    return {"tables": tables, "queries": [query for (query,) in queries]}


def main() -> None:
    printed = {"tpch": benchmark("tpch", "dbgen"), "tpcds": benchmark("tpcds", "dsdgen")}
    json.dump(printed, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
