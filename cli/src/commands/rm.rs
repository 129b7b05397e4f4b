//! `ondol rm NAME`.

use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::home::Home;
use crate::{fetch, packed};

/// Arguments of `ondol rm`.
#[derive(clap::Args)]
#[command(after_help = "\
Only what `ondol pull` brought is removed, and its packed copies, never a file that you gave by
its path.

Examples:
  ondol rm smollm2
  ondol rm smollm2 gemma3-270m")]
pub struct Args {
    /// Names of the catalog
    #[arg(required = true)]
    names: Vec<String>,
}

/// Deletes models, and what unfinished pulls of them left.
pub fn run(args: &Args) -> Result<()> {
    let catalog = Catalog::load()?;
    let home = Home::find()?;
    for name in &args.names {
        if catalog.find(name).is_none() {
            return Err(Error::NotInCatalog { name: name.clone() });
        }
        let packed = packed::remove(&home, &home.model(name))?;
        if !fetch::remove(&home, name)? && !packed {
            return Err(Error::NotDownloaded { name: name.clone() });
        }
        note!("removed {name}");
    }
    Ok(())
}
