//! Speaks the Snowflake drivers' HTTP protocol: bytes to typed messages and back.
//!
//! ```text
//! driver                                                          account
//!   POST /session/v1/login-request      login::LoginRequest    -> login::LoginAnswer
//!   POST /queries/v1/query-request      query::QueryRequest    -> query::Answer | in progress | error::Failure
//!   GET  /queries/{id}/result                                  -> the same, once it is done
//!   GET  <chunk url>                                           -> rows (JSON or Arrow), see rows and chunks
//!   POST /queries/v1/abort-request      session::Abort
//!   GET  /monitoring/queries/{id}                              -> monitoring::status
//!   POST /session/token-request         session::Renewal       -> session::Renewed
//!   POST /session/heartbeat, /session?delete=true, /telemetry/send
//!   POST /api/v2/statements             rest::StatementRequest -> rest::Reply
//! ```
//!
//! Nothing here knows a policy: rows are walked with one [`rows::Mask`] per column that the caller brings.
//! Everything is decoded strictly; what is not understood is an error, never a guess.

pub mod chunks;
pub mod decode;
pub mod endpoint;
pub mod error;
pub mod login;
pub mod monitoring;
pub mod parameters;
pub mod query;
pub mod rest;
pub mod rows;
pub mod session;
pub mod several;
pub mod table;
pub mod value;

pub use decode::{Limits, Malformed};
pub use endpoint::Endpoint;
pub use error::Failure;
