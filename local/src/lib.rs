//! Runs operator and proxy in one process from a folder, without a cluster.
