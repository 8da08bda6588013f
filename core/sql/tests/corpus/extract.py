"""Prints every Snowflake statement that SQLGlot's own tests of its Snowflake dialect hold, one JSON line each.

The tests are run with the functions that take statements wrapped, so that a statement which is put together at run time
is found too. Expressions that are no statements are left out.

Usage: extract.py FOLDER, the unpacked source package
"""

import hashlib
import importlib
import io
import json
import sys
import unittest
import warnings

FOLDER = sys.argv[1]
sys.path.insert(0, FOLDER)
warnings.simplefilter("ignore")

import sqlglot  # noqa: E402
from sqlglot import exp  # noqa: E402

found = {}


def take(sql):
    if isinstance(sql, str) and sql.strip():
        found.setdefault(sql)


def wrapped(function, statements):
    def call(*args, **kwargs):
        for sql in statements(*args, **kwargs):
            take(sql)
        return function(*args, **kwargs)

    return call


def identity(test, sql, write_sql=None, *_, **kwargs):
    return [sql, write_sql] if kwargs.get("dialect", test.dialect) == "snowflake" else []


def every(test, sql, read=None, write=None, *_, **kwargs):
    own = [sql] if kwargs.get("dialect", test.dialect) == "snowflake" else []
    return own + [table.get("snowflake") for table in (read or {}, write or {})]


def parsed(sql, *_, **kwargs):
    return [sql] if "snowflake" in (kwargs.get("read"), kwargs.get("dialect")) else []


EXPRESSIONS = (exp.Condition, exp.Alias, exp.Interval, exp.DataType, exp.Tuple, exp.Schema)


def tree_of(sql):
    """What SQLGlot takes it for: Query, or the name of its tree; nothing for an expression that is no statement."""
    try:
        tree = sqlglot.parse_one(sql, dialect="snowflake")
    except sqlglot.errors.SqlglotError:
        return "Unread" if " " in sql.strip() else None
    if isinstance(tree, exp.Query):
        return "Query"
    return None if isinstance(tree, EXPRESSIONS) else type(tree).__name__


def main():
    validator = importlib.import_module("tests.dialects.test_dialect").Validator
    validator.validate_identity = wrapped(validator.validate_identity, identity)
    validator.validate_all = wrapped(validator.validate_all, every)
    tests = importlib.import_module("tests.dialects.test_snowflake")
    for name in ("parse_one", "parse", "transpile"):
        if hasattr(tests, name):
            setattr(tests, name, wrapped(getattr(tests, name), parsed))
    suite = unittest.defaultTestLoader.loadTestsFromModule(tests)
    result = unittest.TextTestRunner(stream=io.StringIO()).run(suite)
    if result.testsRun == 0:
        sys.exit("the package has no tests of the dialect")
    for sql in found:
        tree = tree_of(sql)
        if tree:
            digest = hashlib.sha256(sql.encode()).hexdigest()[:12]
            print(json.dumps({"id": digest, "tree": tree, "sql": sql}))


main()
