//! The files that are measured: made once by Ondol, kept in `target/bench-models/`.

use crate::results::Facts;
use crate::{Result, builds};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The models: two real ones of the catalog, and one with random weights in the
/// shape of a Llama of a billion parameters.
pub const MODELS: [&str; 3] = ["smollm2", "gemma3-270m", "1b"];

/// The formats that are asked for by default.
pub const FORMATS: [&str; 8] = [
    "Q4_0", "Q4_1", "Q4_K_M", "Q5_K_M", "Q6_K", "IQ4_XS", "Q8_0", "F16",
];

/// A model in a format.
#[derive(Debug, Clone)]
pub struct ModelFile {
    /// Name of the model.
    pub model: String,
    /// Name of the format.
    pub format: String,
    /// The file that all engines read.
    pub path: PathBuf,
    /// Ondol's packed copy, where there is something to pack.
    pub packed: Option<PathBuf>,
}

/// The folder of the files, and the program that makes them.
pub struct Shelf {
    ondol: PathBuf,
    folder: PathBuf,
}

impl Shelf {
    /// Opens `target/bench-models/`.
    pub fn open(ondol: &Path) -> Result<Shelf> {
        let folder = builds::target().join("bench-models");
        fs::create_dir_all(&folder)?;
        Ok(Shelf {
            ondol: ondol.to_path_buf(),
            folder,
        })
    }

    /// The file of a model in a format and its packed copy, made if they are not there.
    pub fn file(&self, model: &str, format: &str) -> Result<ModelFile> {
        let (original, own_format) = self.original(model)?;
        let path = match format == own_format {
            true => original,
            false => self.quantized(&original, model, format)?,
        };
        let packed = self.packed(&path, model, format)?;
        Ok(ModelFile {
            model: model.to_owned(),
            format: format.to_owned(),
            path,
            packed,
        })
    }

    /// The file from which the other formats of a model are made, and its format.
    fn original(&self, model: &str) -> Result<(PathBuf, &'static str)> {
        match model {
            "smollm2" => Ok((self.pulled(model)?, "Q4_1")),
            "gemma3-270m" => Ok((self.pulled(model)?, "Q4_K_M")),
            "1b" => Ok((self.random()?, "F16")),
            _ => Err(format!("`{model}` is none of {MODELS:?}").into()),
        }
    }

    /// The catalog's file.
    fn pulled(&self, model: &str) -> Result<PathBuf> {
        builds::step(Command::new(&self.ondol).args(["pull", model]))?;
        let about = self.inspect(Path::new(model), 1, 1)?;
        let path = about["path"]
            .as_str()
            .ok_or("`ondol inspect` reports no path")?;
        Ok(path.into())
    }

    fn random(&self) -> Result<PathBuf> {
        let path = self.folder.join("1b-F16.gguf");
        if !path.exists() {
            let part = path.with_extension("part");
            let program = ["run", "-p", "ondol-tests", "--bin", "random-model"];
            let shape = ["--shape", "1b", "--type", "F16"];
            let mut cargo = builds::cargo();
            let made = cargo
                .args(program)
                .args(["--", "llama"])
                .arg(std::path::absolute(&part)?);
            builds::step(made.args(shape))?;
            fs::rename(part, &path)?;
        }
        Ok(path)
    }

    fn quantized(&self, original: &Path, model: &str, format: &str) -> Result<PathBuf> {
        let path = self.folder.join(format!("{model}-{format}.gguf"));
        if !path.exists() {
            let mut ondol = Command::new(&self.ondol);
            builds::step(ondol.arg("quantize").args([original, &path]).arg(format))?;
        }
        Ok(path)
    }

    /// The packed copy of a file; a copy that this version can't read is made again.
    fn packed(&self, path: &Path, model: &str, format: &str) -> Result<Option<PathBuf>> {
        // Plain floats gain nothing by packing.
        if format == "F16" {
            return Ok(None);
        }
        let packed = self.folder.join(format!("{model}-{format}.packed.gguf"));
        let readable = packed.exists() && self.facts(&packed, 1, 1).is_ok();
        if !readable {
            let mut ondol = Command::new(&self.ondol);
            builds::step(ondol.arg("pack").args([path, &packed]).arg("--force"))?;
        }
        Ok(Some(packed))
    }

    /// What Ondol says of a file.
    ///
    /// # Errors
    /// If `ondol inspect` fails or its output lacks a figure.
    pub fn facts(&self, path: &Path, context: usize, threads: usize) -> Result<Facts> {
        facts(&self.inspect(path, context, threads)?)
    }

    fn inspect(&self, path: &Path, context: usize, threads: usize) -> Result<Value> {
        let mut ondol = Command::new(&self.ondol);
        ondol.arg("inspect").arg(path).arg("--json");
        ondol.args(["--ctx", &context.to_string(), "-t", &threads.to_string()]);
        let done = crate::process::run(&mut ondol)?;
        Ok(serde_json::from_str(&done.stdout)?)
    }
}

/// The figures in what `ondol inspect --json` prints.
fn facts(about: &Value) -> Result<Facts> {
    let number = |value: &Value, what: &str| {
        value
            .as_u64()
            .ok_or_else(|| format!("`ondol inspect` reports no {what}"))
    };
    let tensors = about["tensors"]
        .as_array()
        .ok_or("`ondol inspect` lists no tensors")?;
    let named = |name: &str| tensors.iter().any(|tensor| tensor["name"] == name);
    // Decode reads one row per token of an embedding table that is not also the output head.
    let own_head = named("output.weight");
    let read = tensors
        .iter()
        .filter(|tensor| !(own_head && tensor["name"] == "token_embd.weight"));
    let weights = read.map(|tensor| number(&tensor["bytes"], "bytes of a tensor"));
    Ok(Facts {
        file_bytes: number(&about["bytes"], "size")?,
        weight_bytes: weights.sum::<std::result::Result<u64, String>>()?,
        kv_bytes: number(&about["memory"]["kv_cache"], "size of the cache")?,
        memory_bytes: number(&about["memory"]["total"], "memory")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn about(tensors: Value) -> Value {
        json!({
            "bytes": 1000,
            "tensors": tensors,
            "memory": { "kv_cache": 64, "total": 100 },
        })
    }

    #[test]
    fn a_tied_table_is_read_whole_and_another_is_not() {
        let table = json!({ "name": "token_embd.weight", "bytes": 400 });
        let layer = json!({ "name": "blk.0.ffn_up.weight", "bytes": 50 });
        let head = json!({ "name": "output.weight", "bytes": 300 });
        let tied = facts(&about(json!([table, layer]))).unwrap();
        assert_eq!((tied.weight_bytes, tied.touched_bytes()), (450, 482));
        let own = facts(&about(json!([table, layer, head]))).unwrap();
        assert_eq!(own.weight_bytes, 350);
    }

    #[test]
    fn a_file_that_cannot_run_has_no_facts() {
        let mut broken = about(json!([]));
        broken["memory"] = Value::Null;
        assert!(facts(&broken).is_err());
    }
}
