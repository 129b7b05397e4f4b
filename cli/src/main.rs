//! The `ondol` command.
fn main() {}
