//! `ondol inspect FILE`.

mod verdict;

use crate::engine::{EngineArgs, at_least_one};
use crate::error::{Error, Result};
use crate::fetch::Glance;
use crate::model::{self, Files};
use crate::output::{self, megabytes};
use ondol::{Memory, Model};
use ondol_models::gguf::{Array, Gguf, TensorInfo, Value};
use ondol_models::quant::Layout;
use ondol_models::screen;
use serde::Serialize;
use serde_json::{Map, Value as Json, json};
use verdict::Verdict;

/// How many elements of a long array are shown.
const SHOWN_ELEMENTS: usize = 6;
/// How many characters of a long string are shown.
const SHOWN_CHARS: usize = 70;

/// Arguments of `ondol inspect`.
#[derive(clap::Args)]
#[command(after_help = "\
The first lines say whether the model runs in this build on this computer, and if not, why. Of a
file at an address only the header is transferred, some megabytes, so that this is known before
its download.

The memory figures are exact for an engine with one session of --ctx tokens and --threads, and for
the model itself (mostly its vocabulary); nothing is allocated to compute them. Files with only a
vocabulary, or with a model that can't be run, are shown too.

Examples:
  ondol inspect model.gguf
  ondol inspect smollm2 --ctx 2048 --tensors
  ondol inspect https://example.com/model-Q4_K_M.gguf
  ondol inspect model.gguf --json")]
pub struct Args {
    /// A file, a name from the catalog, `hello`, or the address of a file (http, https)
    model: String,
    /// Context in tokens for the memory figures [default: the model's training context,
    /// at most 4096]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    ctx: Option<usize>,
    /// List every tensor
    #[arg(long)]
    tensors: bool,
    #[command(flatten)]
    engine: EngineArgs,
    /// Print JSON: everything, tensors too
    #[arg(long)]
    json: bool,
}

/// Tensors of one type.
#[derive(Serialize)]
struct Share {
    #[serde(rename = "type")]
    dtype: String,
    tensors: usize,
    parameters: u64,
    bytes: u64,
}

/// Shows the file, whether it runs, and the memory that a session would take.
pub fn run(args: &Args) -> Result<()> {
    let is_address = ["http://", "https://"]
        .iter()
        .any(|scheme| args.model.starts_with(scheme));
    if !is_address {
        return show_model(args, &Files::open(&args.model)?, || {
            model::open(&args.model)
        });
    }
    let glance = Glance::at(&args.model)?;
    let files = Files::at(glance.path(), &args.model)?;
    note!(
        "only the header was transferred: {} of {}",
        megabytes(glance.transferred),
        megabytes(files.byte_len())
    );
    show_model(args, &files, || {
        Model::open(glance.path()).map_err(model::runtime_error(&args.model))
    })
}

fn show_model(args: &Args, files: &Files, open: impl FnOnce() -> Result<Model>) -> Result<()> {
    let gguf = files.gguf()?;
    let shown = Shown {
        args,
        files,
        mix: mix(&gguf),
        verdict: Verdict::of(&gguf, args.engine.kernels()),
        memory: open().and_then(|model| memory(args, &model)),
        gguf,
    };
    match args.json {
        true => shown.print_json(),
        false => shown.print(),
    }
}

/// The memory of a session, or why there can't be one.
fn memory(args: &Args, model: &Model) -> Result<Memory> {
    model
        .memory(&args.engine.options(args.ctx))
        .map_err(model::runtime_error(&args.model))
}

/// Whether a tensor belongs to the screen and not to the model itself.
fn is_screen(tensor: &TensorInfo) -> bool {
    [screen::WEIGHT, screen::ERROR].contains(&tensor.name)
}

/// A tensor's type, and its layout if packed; tensors of a screen count as a separate type.
fn type_name(tensor: &TensorInfo) -> String {
    if is_screen(tensor) {
        return "screen".to_owned();
    }
    match tensor.layout {
        Layout::Rows => tensor.dtype.name().to_owned(),
        Layout::Packed => format!("{} packed", tensor.dtype.name()),
    }
}

/// The type that most bytes of a model have.
pub fn precision(name: &str) -> Result<String> {
    let files = Files::open(name)?;
    let mix = mix(&files.gguf()?);
    let largest = mix.into_iter().next();
    Ok(largest.map_or(String::new(), |share| share.dtype))
}

/// Tensors by type, in descending order of bytes.
fn mix(gguf: &Gguf) -> Vec<Share> {
    let mut shares: Vec<Share> = Vec::new();
    for tensor in gguf.tensors() {
        let dtype = type_name(tensor);
        let index = shares
            .iter()
            .position(|share| share.dtype == dtype)
            .unwrap_or_else(|| {
                shares.push(Share {
                    dtype,
                    tensors: 0,
                    parameters: 0,
                    bytes: 0,
                });
                shares.len() - 1
            });
        let share = &mut shares[index];
        share.tensors += 1;
        if !is_screen(tensor) {
            share.parameters += tensor.elements() as u64;
        }
        share.bytes += tensor.data.len() as u64;
    }
    shares.sort_by_key(|share| std::cmp::Reverse(share.bytes));
    shares
}

/// All that is shown of a model.
struct Shown<'f> {
    args: &'f Args,
    files: &'f Files,
    gguf: Gguf<'f>,
    mix: Vec<Share>,
    verdict: Verdict,
    memory: Result<Memory>,
}

impl Shown<'_> {
    fn print(&self) -> Result<()> {
        output::line(format!("file          {}", self.files.name()))?;
        self.verdict.print()?;
        self.print_sizes()?;
        output::line("\nmetadata")?;
        for (key, value) in self.gguf.metadata() {
            output::line(format!("  {key} = {}", show(value)))?;
        }
        if self.args.tensors {
            self.print_tensors()?;
        }
        self.print_memory()
    }

    fn print_sizes(&self) -> Result<()> {
        let (gguf, bytes) = (&self.gguf, self.files.byte_len());
        output::line(format!(
            "size          {bytes} bytes ({})",
            megabytes(bytes)
        ))?;
        output::line(format!(
            "GGUF version  {}, alignment {}",
            gguf.version(),
            gguf.alignment()
        ))?;
        let parameters = self.parameters();
        output::line(format!(
            "parameters    {parameters} in {} tensors",
            gguf.tensors().len()
        ))?;
        if parameters > 0 {
            let weights = self.mix.iter().filter(|share| share.parameters > 0);
            let bytes: u64 = weights.map(|share| share.bytes).sum();
            let bits = bytes as f64 * 8.0 / parameters as f64;
            output::line(format!("bits/weight   {bits:.2}"))?;
            output::line("\ntype           tensors      parameters           bytes")?;
        }
        for share in &self.mix {
            output::line(format!(
                "{:13}  {:7}  {:14}  {:14}",
                share.dtype, share.tensors, share.parameters, share.bytes
            ))?;
        }
        Ok(())
    }

    fn parameters(&self) -> u64 {
        self.mix.iter().map(|share| share.parameters).sum()
    }

    fn print_tensors(&self) -> Result<()> {
        output::line("\ntensors")?;
        for tensor in self.gguf.tensors() {
            output::line(format!(
                "  {:14} {:20} {}",
                type_name(tensor),
                format!("{:?}", tensor.dims()),
                tensor.name
            ))?;
        }
        Ok(())
    }

    fn print_memory(&self) -> Result<()> {
        let memory = match &self.memory {
            Ok(memory) => memory,
            Err(error) => {
                let reason = reason(error);
                return output::line(format!("\nmemory: this file can't be run: {reason}"));
            }
        };
        output::line("\nmemory, in bytes")?;
        for (name, bytes) in memory_rows(memory) {
            output::line(format!("  {name:15} {bytes:14}  {:>9}", megabytes(bytes)))?;
        }
        Ok(())
    }

    fn print_json(&self) -> Result<()> {
        let metadata = self.gguf.metadata().iter();
        let metadata = metadata.map(|(key, v)| ((*key).to_owned(), as_json(v)));
        let tensors: Vec<Json> = self.gguf.tensors().iter().map(tensor_json).collect();
        output::json(&json!({
            "path": self.files.name(),
            "verdict": self.verdict,
            "bytes": self.files.byte_len(),
            "version": self.gguf.version(),
            "alignment": self.gguf.alignment(),
            "parameters": self.parameters(),
            "mix": self.mix,
            "metadata": metadata.collect::<Map<String, Json>>(),
            "tensors": tensors,
            "memory": self.memory.as_ref().ok().map(|memory| self.memory_json(memory)),
            "cannot_run": self.memory.as_ref().err().map(reason),
        }))
    }

    fn memory_json(&self, memory: &Memory) -> Map<String, Json> {
        let rows = memory_rows(memory).into_iter();
        let rows = rows.map(|(name, bytes)| (name.to_owned(), json!(bytes)));
        rows.chain([("ctx".to_owned(), json!(self.args.ctx))])
            .collect()
    }
}

fn memory_rows(memory: &Memory) -> [(&'static str, u64); 11] {
    [
        ("weights_mapped", memory.weights_mapped),
        ("kv_cache", memory.kv_cache),
        ("activations", memory.activations),
        ("scratch", memory.scratch),
        ("logits", memory.logits),
        ("screen", memory.screen),
        ("vectors", memory.vectors),
        ("steps", memory.steps),
        ("model", memory.model),
        ("total", memory.total),
        ("further_session", memory.further_session),
    ]
}

/// The fault of the model, without its path.
fn reason(error: &Error) -> String {
    match error {
        Error::Runtime { source, .. } => source.to_string(),
        other => other.to_string(),
    }
}

/// A value in one line.
fn show(value: &Value) -> String {
    match value {
        Value::String(text) => {
            let text = text.to_string_lossy();
            let shown: String = text.chars().take(SHOWN_CHARS).collect();
            let more = if shown.len() < text.len() { " ..." } else { "" };
            format!("{shown:?}{more}")
        }
        Value::Array(array) => {
            let shown: Vec<String> = array
                .iter()
                .take(SHOWN_ELEMENTS)
                .map(|v| show(&v))
                .collect();
            let more = if array.len() > SHOWN_ELEMENTS {
                ", ..."
            } else {
                ""
            };
            format!("[{}{more}] ({} elements)", shown.join(", "), array.len())
        }
        other => as_json(other).to_string(),
    }
}

fn tensor_json(tensor: &TensorInfo) -> Json {
    json!({
        "name": tensor.name,
        "type": tensor.dtype.name(),
        "packed": tensor.layout == Layout::Packed,
        "dims": tensor.dims(),
        "bytes": tensor.data.len(),
        "shard": tensor.shard,
        "offset": tensor.offset,
    })
}

fn as_json(value: &Value) -> Json {
    match value {
        Value::U8(v) => json!(v),
        Value::I8(v) => json!(v),
        Value::U16(v) => json!(v),
        Value::I16(v) => json!(v),
        Value::U32(v) => json!(v),
        Value::I32(v) => json!(v),
        Value::U64(v) => json!(v),
        Value::I64(v) => json!(v),
        Value::F32(v) => json!(v),
        Value::F64(v) => json!(v),
        Value::Bool(v) => json!(v),
        Value::String(text) => json!(text.to_string_lossy()),
        Value::Array(array) => array_json(array),
    }
}

/// Shows only the beginning of an array: vocabularies have hundreds of thousands of elements.
fn array_json(array: &Array) -> Json {
    let first: Vec<Json> = array
        .iter()
        .take(SHOWN_ELEMENTS)
        .map(|v| as_json(&v))
        .collect();
    json!({ "length": array.len(), "first": first })
}
