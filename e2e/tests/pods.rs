//! One test per promise, in real pods.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

#[path = "pods/approvals.rs"]
mod approvals;
#[path = "pods/attacks.rs"]
mod attacks;
#[path = "pods/detectors.rs"]
mod detectors;
#[path = "pods/evidence.rs"]
mod evidence;
#[path = "pods/injection.rs"]
mod injection;
#[path = "pods/metrics.rs"]
mod metrics;
#[path = "pods/refusals.rs"]
mod refusals;
#[path = "pods/restarts.rs"]
mod restarts;
#[path = "pods/statements.rs"]
mod statements;
