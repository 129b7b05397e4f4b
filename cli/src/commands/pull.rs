//! `ondol pull NAME`.

use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::home::Home;
use crate::packed::{self, PackArgs};
use crate::{fetch, model, output};

/// Arguments of `ondol pull`.
#[derive(clap::Args)]
#[command(after_help = "\
The catalog's sources are tried in order, and the download is verified against its SHA-256. An
interrupted pull resumes where it stopped. Then a packed copy is made, which decodes faster; the
model's own file stays unchanged. Pulling a downloaded model again verifies all bytes of the model
and of its packed copy, and replaces what is damaged.

Examples:
  ondol pull smollm2
  HF_ENDPOINT=https://hub.example.org ondol pull smollm2     another hub
  ONDOL_CATALOG=models.toml ondol pull mine                  another catalog
  ONDOL_HOME=/data/ondol ondol pull smollm2                  another folder")]
pub struct Args {
    /// A name from the catalog; `ondol list` shows them
    name: String,
    #[command(flatten)]
    pack: PackArgs,
}

/// Pulls the model, and prints where it is.
pub fn run(args: &Args) -> Result<()> {
    if args.name == model::HELLO {
        return Err(Error::BuiltIn {
            name: args.name.clone(),
            action: "pull",
        });
    }
    let catalog = Catalog::load()?;
    let entry = catalog
        .find(&args.name)
        .ok_or_else(|| Error::NotInCatalog {
            name: args.name.clone(),
        })?;
    let path = fetch::pull(&Home::find()?, &catalog, entry)?;
    if !args.pack.no_pack {
        // The model is here, and runs without a packed copy as well.
        if let Err(reason) = packed::verify(&path, &args.pack.limit) {
            note!("{} has no packed copy: {reason}", entry.name);
        }
    }
    output::line(path.display())
}
