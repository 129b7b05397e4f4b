//! Checks that `ondol.h` is up to date with the source.

use std::fs;
use std::path::Path;

/// The header that cbindgen generates from the source.
fn header(root: &Path) -> String {
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).unwrap();
    let mut made = Vec::new();
    cbindgen::Builder::new()
        .with_config(config)
        .with_crate(root)
        .generate()
        .unwrap()
        .write(&mut made);
    String::from_utf8(made).unwrap()
}

/// Rewrites the header if it differs, so that the next run passes.
#[test]
fn the_header_is_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (path, made) = (root.join("ondol.h"), header(root));
    let found = fs::read_to_string(&path).unwrap_or_default();
    if made != found {
        fs::write(&path, made).unwrap();
        panic!("ondol.h was out of date and is written anew: look at it and commit it");
    }
}
