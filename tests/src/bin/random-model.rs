//! `random-model ARCH OUT.gguf [--shape small|1b|phone] [--type TYPE]`: writes a model with random
//! weights.

use ondol_models::quant::DType;
use ondol_tests::random_model::{ARCHITECTURES, FURTHER, PHONES, RandomModel};
use std::error::Error;
use std::fs::File;
use std::io::BufWriter;
use std::process::ExitCode;

const USAGE: &str = "usage: random-model ARCH OUT.gguf [--shape small|1b|phone] [--type TYPE]";

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("random-model: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut args: impl Iterator<Item = String>) -> Result<(), Box<dyn Error>> {
    let (name, path) = (args.next().ok_or(USAGE)?, args.next().ok_or(USAGE)?);
    let mut known = ARCHITECTURES.into_iter().chain(FURTHER);
    let architecture = known
        .find(|known| *known == name)
        .ok_or_else(|| format!("`{name}` is none of {ARCHITECTURES:?} and {FURTHER:?}"))?;
    let (mut shape, mut dtype) = (String::from("small"), DType::F32);
    while let Some(option) = args.next() {
        let value = args.next().ok_or(USAGE)?;
        match option.as_str() {
            "--shape" => shape = value,
            "--type" => {
                dtype = DType::from_name(&value).ok_or_else(|| format!("unknown type `{value}`"))?
            }
            _ => return Err(USAGE.into()),
        }
    }
    let model = match (shape.as_str(), architecture) {
        ("small", _) if dtype == DType::F32 => RandomModel::small(architecture),
        ("small", _) => RandomModel::small(architecture).quantized(dtype),
        ("1b", "llama") => RandomModel::one_billion(dtype),
        ("phone", _) if PHONES.contains(&architecture) => RandomModel::phone(architecture),
        _ => {
            let phones = PHONES.join(", ");
            return Err(format!("shapes are `small`; `1b` for llama; `phone` for {phones}").into());
        }
    };
    model.write(BufWriter::new(File::create(path)?))?;
    Ok(())
}
