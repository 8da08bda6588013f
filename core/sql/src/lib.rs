//! Understands Snowflake SQL: text to what it does and what it touches.
