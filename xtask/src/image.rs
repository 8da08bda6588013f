//! Container images: layers, manifests and the registry they are pushed to.

pub(crate) mod layer;
pub(crate) mod registry;
