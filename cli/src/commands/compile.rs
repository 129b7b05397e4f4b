//! `ondol compile MODEL --delegate LIBRARY -o BUNDLE`.

use crate::delegate::{self, PluginArgs, Stage};
use crate::engine::at_least_one;
use crate::error::{Error, Result};
use crate::model;
use crate::outfile::{self, Outfile};
use crate::output::{self, megabytes};
use ondol::delegate::{BundleError, OffloadOptions};
use serde::Serialize;
use std::path::PathBuf;
use std::time::Instant;

/// Arguments of `ondol compile`.
#[derive(clap::Args)]
#[command(after_help = "\
A bundle has all programs of a model for one part. It is compiled once, on a computer on which the
vendor's plug-in and compiler run, and loaded on every device with the same part: the same plug-in
(name and version), architecture and driver. It is bound to these and to the weights; on another
part, or with another model, it is refused.

Examples:
  ondol compile model.gguf --delegate ./libvendor.so -o model.npu
  ondol compile smollm2 --delegate ./libvendor.so --delegate-stages prefill,decode -o smollm2.npu
  ondol run model.gguf \"안녕하세요\" --delegate ./libvendor.so --delegate-bundle model.npu")]
pub struct Args {
    /// A file, a name from the catalog, or `hello`
    model: String,
    #[command(flatten)]
    plugin: PluginArgs,
    /// Stages to compile for: prefill, decode
    #[arg(
        long,
        value_name = "STAGE,..",
        value_delimiter = ',',
        default_value = "prefill"
    )]
    delegate_stages: Vec<Stage>,
    /// The most rows of one call of the device in prefill
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = at_least_one)]
    delegate_rows: usize,
    /// Compile with the plug-in in a process of its own; a bundle runs only with the same
    /// setting with which it was compiled
    #[arg(long)]
    isolated: bool,
    /// The file to write
    #[arg(long, short = 'o', value_name = "BUNDLE")]
    output: PathBuf,
    /// Replace BUNDLE if it exists
    #[arg(long)]
    force: bool,
    /// Print JSON: path, bytes, programs, seconds. BUNDLE then can't be standard output
    #[arg(long)]
    json: bool,
}

/// The written bundle.
#[derive(Serialize)]
struct Written {
    path: PathBuf,
    bytes: u64,
    programs: usize,
    seconds: f64,
}

/// Compiles, and writes the bundle.
pub fn run(args: &Args) -> Result<()> {
    let path = &args.output;
    outfile::refuse_output_of_json(path, args.json)?;
    let start = Instant::now();
    let model = model::open(&args.model)?;
    let open = match args.isolated {
        true => delegate::isolate,
        false => delegate::load,
    };
    let library = &args.plugin.library;
    let device = open(library, args.plugin.device)?;
    let inputs = [model::paths(&args.model)?, vec![library.clone()]];
    let mut out = Outfile::create(path, args.force, &inputs.concat())?;
    let through = out.part().is_none();
    let options = OffloadOptions {
        rows: args.delegate_rows,
        prefill: args.delegate_stages.contains(&Stage::Prefill),
        decode: args.delegate_stages.contains(&Stage::Decode),
        ..OffloadOptions::default()
    };
    let offload = delegate::compile(&model, &args.model, &device, &options)?;
    offload.write_bundle(&mut out).map_err(|e| match e {
        BundleError::Delegate(source) => Error::Delegate {
            path: library.clone(),
            source,
        },
        BundleError::Io(source) => Error::file("write", path)(source),
    })?;
    let written = Written {
        bytes: out.commit()?,
        programs: offload.report().programs,
        seconds: start.elapsed().as_secs_f64(),
        path: path.clone(),
    };
    let (name, size) = (written.path.display(), megabytes(written.bytes));
    let line = format!("{name}: {} programs, {size}", written.programs);
    output::written(&written, line, args.json, through)
}
