//! The Kubernetes API types of Frostgate, lowered into policy documents.
