//! `ondol rm NAME`.

use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::home::Home;
use crate::output::megabytes;
use crate::packed;
use crate::{fetch, model};
use ondol::store::Store;
use std::path::Path;

/// Arguments of `ondol rm`.
#[derive(clap::Args)]
#[command(after_help = "\
For a name from the catalog, the downloaded model and its packed copy are deleted. For a path, only
the packed copy is deleted, never the file itself; the file may be gone already.

Examples:
  ondol rm smollm2
  ondol rm smollm2 gemma3-270m
  ondol rm ~/models/mine.gguf                its packed copy")]
pub struct Args {
    /// Names from the catalog, or paths of files that have packed copies
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// Deletes models, and files of unfinished pulls.
pub fn run(args: &Args) -> Result<()> {
    let catalog = Catalog::load()?;
    let home = Home::find()?;
    let store = packed::store(&home);
    for name in &args.names {
        if catalog.find(name).is_some() {
            let packed = packed::remove(&store, &home.model(name))?.is_some();
            if !fetch::remove(&home, name)? && !packed {
                return Err(Error::NotDownloaded { name: name.clone() });
            }
            note!("removed {name}");
        } else if name == model::HELLO {
            return Err(Error::BuiltIn {
                name: name.clone(),
                action: "remove",
            });
        } else {
            remove_copy(&store, name)?;
        }
    }
    Ok(())
}

fn remove_copy(store: &Store, name: &str) -> Result<()> {
    let name = name.to_owned();
    match packed::remove(store, Path::new(&name))? {
        Some(bytes) => {
            note!("removed the packed copy of {name}, {}", megabytes(bytes));
            Ok(())
        }
        None if Path::new(&name).exists() => Err(Error::NoCopy { name }),
        None => Err(Error::NotInCatalog { name }),
    }
}
