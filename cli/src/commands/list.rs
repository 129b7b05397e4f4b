//! `ondol list`.

use crate::catalog::{Catalog, Entry};
use crate::error::Result;
use crate::home::Home;
use crate::{fetch, output, packed};
use serde::Serialize;
use std::path::PathBuf;

/// Arguments of `ondol list`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  ondol list
  ondol list --json")]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints the catalog and what of it is here.
pub fn run(args: &Args) -> Result<()> {
    let catalog = Catalog::load()?;
    let home = Home::find()?;
    if args.json {
        let listed = |entry| Listed {
            entry,
            path: fetch::cached(&home, entry),
            packed: packed::existing(&home, &home.model(&entry.name)),
        };
        let models: Vec<_> = catalog.models.iter().map(listed).collect();
        return output::json(&models);
    }
    let width = catalog
        .models
        .iter()
        .map(|entry| entry.name.len())
        .max()
        .unwrap_or(0)
        .max("hello".len());
    output::line(format!(
        "{:width$}  {:>9}  {:8}  {:18}  description",
        "name", "size", "here", "licence"
    ))?;
    output::line(format!(
        "{:width$}  {:>9}  {:8}  {:18}  built in: a tiny model, Korean and English, for first steps",
        "hello", "-", "yes", "as Ondol"
    ))?;
    for entry in &catalog.models {
        let packed = packed::existing(&home, &home.model(&entry.name));
        let here = match (fetch::cached(&home, entry), packed) {
            (None, _) => "no",
            (Some(_), None) => "yes",
            (Some(_), Some(_)) => "packed",
        };
        let size = output::megabytes(entry.size);
        let (name, licence) = (&entry.name, &entry.licence);
        output::line(format!(
            "{name:width$}  {size:>9}  {here:8}  {licence:18}  {}",
            entry.description
        ))?;
    }
    output::line(format!("\nmodels are kept in {}", home.models().display()))
}

/// An entry as the catalog has it, and the paths of the file and of its packed
/// copy if they are here.
#[derive(Serialize)]
struct Listed<'a> {
    #[serde(flatten)]
    entry: &'a Entry,
    path: Option<PathBuf>,
    packed: Option<PathBuf>,
}
