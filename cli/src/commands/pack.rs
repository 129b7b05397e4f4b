//! `ondol pack IN [OUT]`.

use crate::error::Result;
use crate::model::Files;
use crate::outfile::{self, Outfile};
use crate::output::{self, megabytes};
use crate::{interrupt, packed};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Arguments of `ondol pack`.
#[derive(clap::Args)]
#[command(after_help = "\
A packed copy has the rows of its matrices interleaved, so that decode reads memory as one stream.
Its weights take as many bytes as the original's, it gives the same answers bit for bit, and it runs
wherever Ondol runs; other programs can't read it. If the output head is a large part of the model,
a 4-bit copy of it is added, the screen (docs/screened-head.md). Plain floats are not interleaved;
such a model only gets a screen. `ondol run` makes packed copies by itself: use this command for
files that you ship.

Examples:
  ondol pack model.gguf                     writes model.packed.gguf
  ondol pack smollm2 app/assets/model.gguf --force
  ondol pack model-00001-of-00003.gguf whole.gguf --json
  ondol pack model.gguf /dev/stdout | ssh board 'cat > model.gguf'")]
pub struct Args {
    /// A file, a name from the catalog, or `hello`
    #[arg(value_name = "IN")]
    input: String,
    /// The file to write [default: IN with the ending `.packed.gguf`, in the same
    /// folder; for a name from the catalog, in the current folder]
    #[arg(value_name = "OUT")]
    output: Option<PathBuf>,
    /// Replace OUT if it exists
    #[arg(long)]
    force: bool,
    /// Print JSON: path, bytes, seconds. OUT then can't be standard output
    #[arg(long)]
    json: bool,
}

/// The written file.
#[derive(Serialize)]
struct Written {
    path: PathBuf,
    bytes: u64,
    seconds: f64,
}

/// Writes the packed file.
pub fn run(args: &Args) -> Result<()> {
    let files = Files::open(&args.input)?;
    let path = match &args.output {
        Some(path) => path.clone(),
        // The files of the catalog's models lie in a folder of Ondol's own.
        None => Path::new(&args.input)
            .with_file_name(files.path().file_name().unwrap_or_default())
            .with_extension("packed.gguf"),
    };
    outfile::refuse_output_of_json(&path, args.json)?;
    let cancel = interrupt::cancel_on_ctrl_c()?;
    let out = Outfile::create(&path, args.force, &files.paths())?;
    let through = out.part().is_none();
    let start = Instant::now();
    let bytes = packed::write(&files, out, &cancel)?;
    let written = Written {
        bytes,
        seconds: start.elapsed().as_secs_f64(),
        path,
    };
    let line = format!("{}: {}", written.path.display(), megabytes(written.bytes));
    output::written(&written, line, args.json, through)
}
