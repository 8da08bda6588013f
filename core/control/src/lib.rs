//! The words that the proxy and the operator say to each other.
