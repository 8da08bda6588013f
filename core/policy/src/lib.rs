//! Decides who may run which statement under which obligations.
