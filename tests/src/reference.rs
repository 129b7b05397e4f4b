//! The reference part as a plug-in: a device that computes correctly, in an arithmetic that
//! the environment variable `ONDOL_REFERENCE_PART` chooses. It is an example of its crate, and
//! `cargo test` of the whole workspace builds it.

use std::path::PathBuf;

/// The library, which cargo builds with the tests.
///
/// # Panics
/// If the library was not built.
pub fn plugin() -> PathBuf {
    let program = std::env::current_exe().expect("a program with a path");
    let profile = program.ancestors().nth(2).expect("target/debug");
    let library = profile.join("examples/libondol_delegate_reference.so");
    assert!(
        library.exists(),
        "cargo build --workspace --examples makes it"
    );
    library
}
