//! Runs in the cluster: controllers, webhooks, control server, ledger.

pub mod broker;
pub mod certificates;
pub mod config;
pub mod directory;
pub mod grants;
pub mod https;
pub mod identity;
pub mod lease;
pub mod ledger;
pub mod objects;
pub mod outbound;
pub mod proxies;
pub mod sidecar;
pub mod telemetry;
pub mod webhooks;
