//! `ondol prune`.

use crate::error::Result;
use crate::home::Home;
use crate::output::{self, megabytes};
use crate::packed::Store;

/// Arguments of `ondol prune`.
#[derive(clap::Args)]
#[command(after_help = "\
Packed copies are removed whose model is gone or has other bytes now, and what killed processes
and older versions left. Models stay, and copies that are of use: `ondol rm` removes those.

Examples:
  ondol prune")]
pub struct Args {}

/// Removes packed copies that are of no use, and prints each.
pub fn run(_args: &Args) -> Result<()> {
    let removed = Store::of(&Home::find()?).prune()?;
    for (path, bytes) in &removed {
        output::line(format!("{:>9}  {}", megabytes(*bytes), path.display()))?;
    }
    let bytes = removed.iter().map(|(_, bytes)| bytes).sum();
    output::line(format!("{} were freed", megabytes(bytes)))
}
