//! Parses the arguments and runs.

fn main() {}
