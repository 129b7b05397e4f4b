//! `ondol pull NAME`.

use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::home::Home;
use crate::{fetch, output};

/// Arguments of `ondol pull`.
#[derive(clap::Args)]
#[command(after_help = "\
Sources are tried in the catalog's order, and what comes is verified against its SHA-256.
A pull that was broken off goes on where it stopped.

Examples:
  ondol pull smollm2
  HF_ENDPOINT=https://hub.example.org ondol pull smollm2     another hub
  ONDOL_CATALOG=models.toml ondol pull mine                  another catalog
  ONDOL_HOME=/data/ondol ondol pull smollm2                  another folder")]
pub struct Args {
    /// A name of the catalog; `ondol list` shows them
    name: String,
}

/// Pulls the model, and prints where it is.
pub fn run(args: &Args) -> Result<()> {
    let catalog = Catalog::load()?;
    let entry = catalog
        .find(&args.name)
        .ok_or_else(|| Error::NotInCatalog {
            name: args.name.clone(),
        })?;
    let path = fetch::pull(&Home::find()?, &catalog, entry)?;
    output::line(path.display())
}
