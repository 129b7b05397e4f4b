//! `ondol list`.

use crate::catalog::{Catalog, Entry};
use crate::error::Result;
use crate::home::Home;
use crate::output::{self, megabytes};
use crate::{fetch, model, packed};
use ondol::store::{CopyState, PackedCopy};
use serde::Serialize;
use std::path::PathBuf;

/// Arguments of `ondol list`.
#[derive(clap::Args)]
#[command(after_help = "\
A packed copy is `stale` if its model has other bytes now, and `orphaned` if its model is gone:
`ondol prune` removes both. It is `unreadable` if its model can't be read; `ondol prune` keeps it.

Examples:
  ondol list
  ondol list --json")]
pub struct Args {
    /// Print JSON: models, and packed copies
    #[arg(long)]
    json: bool,
}

/// Prints the catalog, which of its models are downloaded, and the packed copies of all
/// models.
pub fn run(args: &Args) -> Result<()> {
    let catalog = Catalog::load()?;
    let home = Home::find()?;
    let store = packed::store(&home);
    let models: Vec<_> = catalog
        .models
        .iter()
        .map(|entry| Listed {
            entry,
            path: fetch::cached(&home, entry),
            packed: store.find(home.model(&entry.name)),
        })
        .collect();
    let copies = packed::list(&store)?;
    if args.json {
        let copies = copies.iter().map(ListedCopy::of).collect();
        return output::json(&Everything { models, copies });
    }
    print_models(&models)?;
    output::line(format!("\nmodels are kept in {}", home.models().display()))?;
    if copies.is_empty() {
        return Ok(());
    }
    output::line(format!(
        "\npacked copies, in {}: {} together\n{:>9}  {:10}  of",
        store.folder().display(),
        megabytes(copies.iter().map(|copy| copy.bytes).sum()),
        "size",
        "state"
    ))?;
    copies.iter().try_for_each(print_copy)
}

fn print_models(models: &[Listed]) -> Result<()> {
    let names = models.iter().map(|model| model.entry.name.len());
    let width = names.max().unwrap_or(0).max(model::HELLO.len());
    output::line(format!(
        "{:width$}  {:>9}  {:8}  {:18}  description",
        "name", "size", "here", "licence"
    ))?;
    output::line(format!(
        "{:width$}  {:>9}  {:8}  {:18}  built in: a tiny model, Korean and English, for first steps",
        model::HELLO,
        "-",
        "yes",
        "as Ondol"
    ))?;
    for model in models {
        let here = match (&model.path, &model.packed) {
            (None, _) => "no",
            (Some(_), None) => "yes",
            (Some(_), Some(_)) => "packed",
        };
        let Entry { name, licence, .. } = model.entry;
        let size = megabytes(model.entry.size);
        output::line(format!(
            "{name:width$}  {size:>9}  {here:8}  {licence:18}  {}",
            model.entry.description
        ))?;
    }
    Ok(())
}

fn print_copy(copy: &PackedCopy) -> Result<()> {
    let state = state(copy);
    // A copy whose source is not known is shown by its own path.
    let of = copy.source.as_ref().unwrap_or(&copy.path);
    output::line(format!(
        "{:>9}  {state:10}  {}",
        megabytes(copy.bytes),
        of.display()
    ))
}

fn state(copy: &PackedCopy) -> &'static str {
    match copy.state {
        CopyState::Current => "current",
        CopyState::Stale => "stale",
        CopyState::Orphaned => "orphaned",
        _ => "unreadable",
    }
}

/// The output of `--json`.
#[derive(Serialize)]
struct Everything<'a> {
    models: Vec<Listed<'a>>,
    copies: Vec<ListedCopy>,
}

/// A catalog entry, with the paths of its file and packed copy if they exist.
#[derive(Serialize)]
struct Listed<'a> {
    #[serde(flatten)]
    entry: &'a Entry,
    path: Option<PathBuf>,
    packed: Option<PathBuf>,
}

/// A packed copy.
#[derive(Serialize)]
struct ListedCopy {
    file: String,
    bytes: u64,
    source: Option<String>,
    state: &'static str,
}

impl ListedCopy {
    fn of(copy: &PackedCopy) -> ListedCopy {
        ListedCopy {
            file: copy.path.display().to_string(),
            bytes: copy.bytes,
            source: copy.source.as_ref().map(|path| path.display().to_string()),
            state: state(copy),
        }
    }
}
