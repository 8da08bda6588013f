//! Runs in the pod: speaks to the driver, enforces, records.

pub mod recorder;
