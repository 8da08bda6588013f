//! Runs in the cluster: controllers, webhooks, control server, ledger.
