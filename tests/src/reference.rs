//! The reference part as a plug-in: a healthy part of any arithmetic, which
//! `ONDOL_REFERENCE` chooses. It is an example of its crate, which `cargo test` of the
//! whole workspace builds.

use std::path::PathBuf;

/// The library, which cargo builds with the tests.
///
/// # Panics
/// Where it was not built.
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
