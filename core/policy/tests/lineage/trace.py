"""Prints what SQLGlot takes for the sources of every output column of the queries it is given, as JSON.

The first argument is the file of benchmark queries, the second the folder of case tables.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from sqlglot import exp, parse_one
from sqlglot.errors import SqlglotError
from sqlglot.lineage import to_node
from sqlglot.optimizer.normalize_identifiers import normalize_identifiers
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.qualify_tables import qualify_tables
from sqlglot.optimizer.scope import build_scope
from sqlglot.schema import MappingSchema

DIALECT = "snowflake"

# What the other tables of cases in its folder share.
SETTING = "setting.yaml"


@dataclass
class Group:
    """Statements over one catalog and session."""

    name: str
    database: str
    schema: str
    tables: dict[str, dict[str, str]]
    views: dict[str, dict[str, object]] = field(default_factory=dict)
    statements: list[str] = field(default_factory=list)

    def traced(self) -> dict[str, object]:
        """This group with what is known of each statement that SQLGlot can trace."""
        known = MappingSchema(dialect=DIALECT)
        for name, columns in self.tables.items():
            known.add_table(table(name), {f'"{column}"': kind for column, kind in columns.items()})
        views = {name: text for name, view in self.views.items() if (text := self.view(view)) is not None}
        statements = []
        for sql in self.statements:
            try:
                statements.append(self.statement(sql, known, views))
            except (SqlglotError, ValueError, RecursionError) as error:
                statements.append({"sql": sql, "error": str(error).splitlines()[0]})
        return {
            "name": self.name,
            "database": self.database,
            "schema": self.schema,
            "tables": self.tables,
            "views": self.views,
            "statements": statements,
        }

    def statement(self, sql: str, known: MappingSchema, views: dict[str, exp.Query]) -> dict[str, object]:
        """What is known of one statement: of each column of its result, or of what it puts elsewhere."""
        statement = parse_one(sql, dialect=DIALECT)
        if isinstance(statement, exp.Query):
            return {"sql": sql, "columns": self.columns(statement, known, views)}
        if isinstance(statement, (exp.Create, exp.Insert)) and isinstance(statement.expression, exp.Query):
            return {"sql": sql, "flows": sorted(set().union(*self.columns(statement.expression, known, views)))}
        raise ValueError("neither a query nor made from one")

    def columns(self, query: exp.Query, known: MappingSchema, views: dict[str, exp.Query]) -> list[list[str]]:
        """The sources of each output column, in order."""
        query = self.placed(query)
        if query.find(exp.MatchRecognize):
            raise ValueError("SQLGlot passes over MATCH_RECOGNIZE")
        query = exp.expand(query, views, dialect=DIALECT, copy=True)
        query = qualify(query, dialect=DIALECT, schema=known, validate_qualify_columns=False, identify=False)
        scope = build_scope(query)
        if scope is None:
            raise ValueError("no scope")
        cache: dict = {}
        return [
            sorted({
                source(leaf)
                for leaf in to_node(index, scope, DIALECT, known, _cache=cache).walk()
                if not leaf.downstream and is_source(leaf)
            })
            for index in range(len(query.selects))
        ]

    def placed(self, query: exp.Expression) -> exp.Expression:
        """The statement with full names of tables."""
        query = normalize_identifiers(query, dialect=DIALECT)
        return qualify_tables(query, db=self.schema, catalog=self.database, dialect=DIALECT)

    def view(self, view: dict[str, object]) -> exp.Query | None:
        """The query of a view under the names that its text gives."""
        if "sql" not in view:
            return None
        try:
            text = parse_one(str(view["sql"]), dialect=DIALECT)
        except SqlglotError:
            return None
        if not isinstance(text, exp.Create):
            return self.placed(text)
        query = self.placed(text.expression)
        for select, name in zip(query.selects, text.this.expressions, strict=True):
            select.replace(exp.alias_(select.unalias(), name.name))
        return query


def table(name: str) -> exp.Table:
    """A table by its stored name."""
    return exp.table_(*(part.strip('"') for part in reversed(name.split("."))), quoted=True)


def is_source(leaf) -> bool:
    """Whether a leaf is a column rather than a constant or a scope without columns."""
    return isinstance(leaf.source, exp.Placeholder) or isinstance(leaf.expression, exp.Table)


def source(leaf) -> str:
    """A base column in full, or what could not be resolved."""
    column = parse_one(leaf.name, dialect=DIALECT, into=exp.Column).name
    if isinstance(leaf.expression, exp.Table) and leaf.expression.name:
        parts = leaf.expression.catalog, leaf.expression.db, leaf.expression.name
        return ".".join([*map(written, parts), column])
    return f"?.{column}"


def written(part: str) -> str:
    """A part of an object's name as it is written: quoted where it must be."""
    return part if re.fullmatch(r"[A-Z_][A-Z0-9_$]*", part) else f'"{part}"'


def groups(queries: Path, cases: Path) -> list[Group]:
    """The benchmarks, then the tables of cases."""
    found = []
    for name, benchmark in json.loads(queries.read_text()).items():
        schema = name.upper()
        tables = {f"BENCH.{schema}.{table}": columns for table, columns in benchmark["tables"].items()}
        found.append(Group(name, "BENCH", schema, tables, statements=benchmark["queries"]))
    for path in sorted(cases.rglob("*.yaml")):
        if path.name == SETTING:
            continue
        setting = path.with_name(SETTING)
        text = yaml.safe_load((setting.read_text() if setting.exists() else "") + path.read_text())
        session = text["session"]
        if session.get("ignore_case") or session.get("schema") is None:
            continue
        statements = [case["sql"] for case in text["cases"]]
        name = path.relative_to(cases).with_suffix("").as_posix()
        found.append(Group(name, session["database"], session["schema"], text.get("tables", {}),
                           text.get("views", {}), statements))
    return found


def main() -> None:
    traced = [group.traced() for group in groups(Path(sys.argv[1]), Path(sys.argv[2]))]
    json.dump(traced, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
