//! `ondol prune`.

use crate::error::Result;
use crate::home::Home;
use crate::output::{self, megabytes};
use crate::packed::{self, LimitArgs};

/// Arguments of `ondol prune`.
#[derive(clap::Args)]
#[command(after_help = "\
Removes packed copies whose model is gone or has other bytes now, and files that killed processes
and older versions left. Models and other packed copies stay; `ondol rm` removes those. With a
limit, the copies that were unused for the longest time are removed until the rest is within it.

Examples:
  ondol prune
  ondol prune --pack-limit 2GB")]
pub struct Args {
    #[command(flatten)]
    limit: LimitArgs,
}

/// Removes packed copies without a use, and prints each.
pub fn run(args: &Args) -> Result<()> {
    let removed = packed::prune(&Home::find()?, &args.limit)?;
    for (path, bytes) in &removed {
        output::line(format!("{:>9}  {}", megabytes(*bytes), path.display()))?;
    }
    let bytes = removed.iter().map(|(_, bytes)| bytes).sum();
    output::line(format!("{} were freed", megabytes(bytes)))
}
