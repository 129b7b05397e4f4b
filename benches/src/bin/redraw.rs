//! `redraw RESULTS.json...`: writes the tables and plots of results again.

use ondol_benches::Result;
use ondol_benches::results::Results;
use std::path::PathBuf;

fn main() -> Result<()> {
    let paths: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if paths.is_empty() {
        return Err("usage: redraw RESULTS.json...".into());
    }
    paths
        .iter()
        .try_for_each(|path| Results::load(path)?.save(path))
}
