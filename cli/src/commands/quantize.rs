//! `ondol quantize IN OUT TYPE`.

use crate::engine::at_least_one;
use crate::error::{Error, Result};
use crate::interrupt;
use crate::model::Files;
use crate::outfile::Outfile;
use crate::output::megabytes;
use crate::progress::Progress;
use ondol::CancelToken;
use ondol_models::gguf::{Gguf, TensorInfo, Writer};
use ondol_models::heap;
use ondol_models::pack::PackError;
use ondol_models::quant::{self, DType, Layout, Mix, ModelShape};
use ondol_models::tokenizer;
use std::io::BufWriter;
use std::path::PathBuf;
use std::sync::Mutex;
use std::thread;

/// Elements that a thread quantizes at a time.
const PIECE: usize = 1 << 16;
/// The version of the block formats, `general.quantization_version`.
const QUANTIZATION_VERSION: u32 = 2;

/// Arguments of `ondol quantize`.
#[derive(clap::Args)]
#[command(after_help = "\
TYPE is one of F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K_S, Q3_K_M, Q3_K_L, Q4_K_S,
Q4_K_M, Q5_K_S, Q5_K_M, Q6_K, IQ4_NL, IQ4_XS, MXFP4. Mixes (_S, _M, _L) give more bits to the
tensors that need them; norms and other vectors stay as they are. `copy` keeps all types.

A file whose pre-tokenizer is unknown is refused, since its text would be split wrongly. If you know
which one its model has, --pre-tokenizer writes a copy with that name, for this command and for apps.

Examples:
  ondol quantize model-f16.gguf model-q4_k_m.gguf Q4_K_M
  ondol quantize model-bf16.gguf model-q8_0.gguf q8_0 --threads 4
  ondol quantize model-f16.gguf /dev/stdout q8_0 | ssh board 'cat > model.gguf'
  ondol quantize odd.gguf even.gguf copy --pre-tokenizer llama-bpe")]
pub struct Args {
    /// A file, a name from the catalog, or `hello`; best in F32, F16 or BF16
    #[arg(value_name = "IN")]
    input: String,
    /// The file to write
    #[arg(value_name = "OUT")]
    output: PathBuf,
    /// Type or mix, or `copy`
    #[arg(value_name = "TYPE", value_parser = types)]
    types: Types,
    /// Write this name as how text is split into words (tokenizer.ggml.pre)
    #[arg(long, value_name = "NAME", value_parser = pre_tokenizer)]
    pre_tokenizer: Option<String>,
    /// Threads [default: all cores]
    #[arg(long, short = 't', value_name = "N", value_parser = at_least_one)]
    threads: Option<usize>,
    /// Replace OUT if it exists
    #[arg(long)]
    force: bool,
}

/// The types of the copy's tensors.
#[derive(Clone, Copy, Debug)]
enum Types {
    /// As in the original.
    Copy,
    Mix(Mix),
}

fn types(name: &str) -> std::result::Result<Types, String> {
    if name == "copy" {
        return Ok(Types::Copy);
    }
    Mix::from_name(name).map(Types::Mix).ok_or_else(|| {
        let known: Vec<_> = Mix::all().map(|mix| mix.name()).collect();
        format!("the types are copy, {}", known.join(", "))
    })
}

fn pre_tokenizer(name: &str) -> std::result::Result<String, String> {
    let known: Vec<_> = tokenizer::pre_tokenizers().collect();
    match known.contains(&name) {
        true => Ok(name.to_owned()),
        false => Err(format!("the names are {}", known.join(", "))),
    }
}

/// Writes the quantized copy.
pub fn run(args: &Args) -> Result<()> {
    let files = Files::open(&args.input)?;
    let gguf = files.gguf()?;
    if gguf.tensors().iter().any(|t| t.layout == Layout::Packed) {
        return Err(Error::Pack {
            path: files.path().to_path_buf(),
            source: PackError::AlreadyPacked,
        });
    }
    let plan = plan(&gguf, args.types);
    if plan
        .iter()
        .any(|(tensor, dtype)| tensor.dtype != *dtype && tensor.dtype.block_len() > 1)
    {
        note!(
            "note: {} is quantized already; quantizing it again loses more than quantizing the original",
            args.input
        );
    }
    let cancel = interrupt::cancel_on_ctrl_c()?;
    let mut out = Outfile::create(&args.output, args.force, &files.paths())?;
    write(args, &files, &gguf, &plan, &cancel, &mut out)?;
    let size = out.commit()?;
    note!(
        "{}: {} -> {}",
        args.output.display(),
        megabytes(files.byte_len()),
        megabytes(size)
    );
    Ok(())
}

/// The type that each tensor gets.
fn plan<'g, 'a>(gguf: &'g Gguf<'a>, types: Types) -> Vec<(&'g TensorInfo<'a>, DType)> {
    let shape = shape(gguf);
    let wanted = |tensor: &TensorInfo| match types {
        Types::Copy => tensor.dtype,
        Types::Mix(mix) => mix
            .tensor_type(tensor.name, tensor.dims(), &shape)
            .unwrap_or(tensor.dtype),
    };
    gguf.tensors()
        .iter()
        .map(|tensor| (tensor, wanted(tensor)))
        .collect()
}

/// The properties that mixes depend on; a missing or unusual key counts as that of a
/// dense model.
fn shape(gguf: &Gguf) -> ModelShape {
    let architecture = gguf.str("general.architecture").unwrap_or_default();
    let number = |key: &str| {
        gguf.opt_u32(&format!("{architecture}.{key}"))
            .ok()
            .flatten()
    };
    let heads = number("attention.head_count").unwrap_or(1);
    let kv_heads = number("attention.head_count_kv").unwrap_or(heads).max(1);
    ModelShape {
        layers: number("block_count").unwrap_or(0) as usize,
        queries_per_kv: (heads / kv_heads) as usize,
        experts: number("expert_count").unwrap_or(0) as usize,
        tied_head: gguf.tensor("output.weight").is_none(),
    }
}

fn write(
    args: &Args,
    files: &Files,
    gguf: &Gguf,
    plan: &[(&TensorInfo, DType)],
    cancel: &CancelToken,
    out: &mut Outfile,
) -> Result<()> {
    let writer = writer(args, gguf, plan).map_err(|source| files.error(source))?;
    let failed = |e| Error::file("write", &args.output)(e);
    let mut stream = writer.stream(BufWriter::new(out)).map_err(failed)?;
    let total = plan
        .iter()
        .map(|(tensor, _)| tensor.elements() as u64)
        .sum();
    let label = match args.types {
        Types::Copy => "copying, weights".to_owned(),
        Types::Mix(mix) => format!("quantizing to {mix}, weights"),
    };
    let progress = Progress::pieces(&label, total);
    let threads = args
        .threads
        .unwrap_or_else(|| thread::available_parallelism().map_or(1, |n| n.get()));
    for &(tensor, dtype) in plan {
        if tensor.dtype == dtype {
            stream.tensor(tensor.data).map_err(failed)?;
            progress.add(tensor.elements() as u64);
        } else {
            let data = convert(tensor, dtype, threads, cancel, &progress)
                .map_err(|source| files.error(source))?;
            stream.tensor(&data).map_err(failed)?;
        }
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
    }
    progress.finish();
    let out = stream.finish().map_err(failed)?;
    out.into_inner().map_err(|e| failed(e.into_error()))?;
    Ok(())
}

/// The input's metadata and directory, with the new types and the new name.
fn writer(args: &Args, gguf: &Gguf, plan: &[(&TensorInfo, DType)]) -> ondol_models::Result<Writer> {
    let mut writer = Writer::with_metadata_of(gguf);
    if let Types::Mix(mix) = args.types {
        writer.set("general.file_type", mix.file_type());
        writer.set("general.quantization_version", QUANTIZATION_VERSION);
    }
    if let Some(name) = &args.pre_tokenizer {
        writer.set(tokenizer::PRE_TOKENIZER, name.as_str());
    }
    for key in ["split.no", "split.count", "split.tensors.count"] {
        writer.remove(key);
    }
    for (tensor, dtype) in plan {
        writer.add_tensor(tensor.name, *dtype, tensor.dims())?;
    }
    Ok(writer)
}

/// Converts a tensor to another type, whole rows at a time on every thread. Ends early
/// if it is cancelled.
fn convert(
    tensor: &TensorInfo,
    to: DType,
    threads: usize,
    cancel: &CancelToken,
    progress: &Progress,
) -> ondol_models::Result<Vec<u8>> {
    let bad = |reason: String| ondol_models::Error::BadShape {
        name: tensor.name.to_owned(),
        reason,
    };
    let cols = tensor.cols();
    let row_bytes = |dtype: DType| {
        dtype
            .row_bytes(cols)
            .ok_or_else(|| bad(format!("rows of {cols} are not whole blocks of {dtype}")))
    };
    let (from_bytes, to_bytes) = (row_bytes(tensor.dtype)?, row_bytes(to)?);
    let rows = (PIECE / cols).max(1);
    let mut out = heap::filled(0, to_bytes * tensor.rows())?;
    // Allocated here, so that the work is done even if no other thread gets memory.
    let mut own_floats = heap::filled(0.0, rows * cols)?;
    let pieces = Mutex::new(
        tensor
            .data
            .chunks(rows * from_bytes)
            .zip(out.chunks_mut(rows * to_bytes)),
    );
    // A thread that is free takes the next piece.
    let next = || match cancel.is_cancelled() {
        true => None,
        false => pieces.lock().ok()?.next(),
    };
    let work = |floats: &mut [f32]| -> Result<(), quant::Error> {
        while let Some((from, to_piece)) = next() {
            let floats = &mut floats[..from.len() / from_bytes * cols];
            quant::dequantize(tensor.dtype, from, floats)?;
            quant::quantize(to, floats, to_piece, None)?;
            progress.add(floats.len() as u64);
        }
        Ok(())
    };
    let other = || match heap::filled(0.0, rows * cols) {
        Ok(mut floats) => work(&mut floats),
        Err(_) => Ok(()),
    };
    thread::scope(|scope| {
        // If the system refuses a thread, fewer threads do the work.
        let spawn = |_| thread::Builder::new().spawn_scoped(scope, other).ok();
        let others: Vec<_> = (1..threads).map_while(spawn).collect();
        let mut outcome = work(&mut own_floats);
        for other in others {
            match other.join() {
                Ok(done) => outcome = outcome.and(done),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        outcome.map_err(|e| bad(e.to_string()))
    })?;
    Ok(out)
}
