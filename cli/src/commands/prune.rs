//! `ondol prune`.

use crate::error::Result;
use crate::home::Home;
use crate::output::{self, megabytes};
use crate::packed::{self, LimitArgs};

/// Arguments of `ondol prune`.
#[derive(clap::Args)]
#[command(after_help = "\
Packed copies are removed whose model is gone or has other bytes now, and what killed processes
and older versions left. Models stay, and copies that are of use: `ondol rm` removes those. With a
limit, copies that were not used for longest are removed until the rest keeps it.

Examples:
  ondol prune
  ondol prune --pack-limit 2GB")]
pub struct Args {
    #[command(flatten)]
    limit: LimitArgs,
}

/// Removes packed copies that are of no use, and prints each.
pub fn run(args: &Args) -> Result<()> {
    let removed = packed::prune(&Home::find()?, &args.limit)?;
    for (path, bytes) in &removed {
        output::line(format!("{:>9}  {}", megabytes(*bytes), path.display()))?;
    }
    let bytes = removed.iter().map(|(_, bytes)| bytes).sum();
    output::line(format!("{} were freed", megabytes(bytes)))
}
