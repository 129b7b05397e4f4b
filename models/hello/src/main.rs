//! Trains the built-in model `hello`.
fn main() {}
