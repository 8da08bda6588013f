//! Speaks the Snowflake drivers' HTTP protocol: bytes to typed messages and back.
