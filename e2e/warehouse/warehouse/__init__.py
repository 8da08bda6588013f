"""A stand-in Snowflake account: DuckDB behind the protocol that real drivers speak."""

__version__ = "0.1.0"
