//! Generates, checks and tries out.

fn main() {}
