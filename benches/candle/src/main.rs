//! `ondol-bench-candle MODEL.gguf prefill|decode TOKENS REPEAT`: prints
//! `{"tokens_per_s": [...]}`, the speed of each run. Every run begins with an empty context;
//! one more run before them warms up. `RAYON_NUM_THREADS` sets the number of threads.

use candle_core::quantized::gguf_file::Content;
use candle_core::{Device, Result, Tensor};
use candle_transformers::models::{quantized_gemma3, quantized_llama};
use serde_json::json;
use std::fs::File;
use std::io::BufReader;
use std::time::Instant;

type Error = Box<dyn std::error::Error>;

const USAGE: &str = "usage: ondol-bench-candle MODEL.gguf prefill|decode TOKENS REPEAT";

fn main() -> std::result::Result<(), Error> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [path, test, tokens, repeat] = args.as_slice() else {
        return Err(USAGE.into());
    };
    let (tokens, repeat): (usize, usize) = (tokens.parse()?, repeat.parse()?);
    let mut model = Model::open(path)?;
    let mut speeds = Vec::new();
    for round in 0..=repeat {
        let start = Instant::now();
        match test.as_str() {
            "prefill" => model.prefill(tokens)?,
            "decode" => model.decode(tokens)?,
            _ => return Err(USAGE.into()),
        }
        // Round 0 warms up.
        if round > 0 {
            speeds.push(tokens as f64 / start.elapsed().as_secs_f64());
        }
    }
    println!("{}", json!({ "tokens_per_s": speeds }));
    Ok(())
}

enum Weights {
    Llama(quantized_llama::ModelWeights),
    Gemma3(quantized_gemma3::ModelWeights),
}

struct Model {
    weights: Weights,
    vocabulary: usize,
}

impl Model {
    fn open(path: &str) -> std::result::Result<Model, Error> {
        let mut file = BufReader::new(File::open(path)?);
        let content = Content::read(&mut file)?;
        let architecture = match content.metadata.get("general.architecture") {
            Some(name) => name.to_string()?.clone(),
            None => return Err("the file names no architecture".into()),
        };
        let table = content.tensor_infos.get("token_embd.weight");
        let vocabulary = table.ok_or("the file has no embedding table")?.shape.dims()[0];
        let weights = match architecture.as_str() {
            "llama" => Weights::Llama(quantized_llama::ModelWeights::from_gguf(
                content,
                &mut file,
                &Device::Cpu,
            )?),
            "gemma3" => Weights::Gemma3(quantized_gemma3::ModelWeights::from_gguf(
                content,
                &mut file,
                &Device::Cpu,
            )?),
            other => return Err(format!("no candle model for `{other}`").into()),
        };
        Ok(Model {
            weights,
            vocabulary,
        })
    }

    /// The logits after these tokens, the first of which is at `position`; position 0 empties the
    /// cache.
    fn forward(&mut self, tokens: &[u32], position: usize) -> Result<Vec<f32>> {
        let tokens = Tensor::new(tokens, &Device::Cpu)?.unsqueeze(0)?;
        let logits = match &mut self.weights {
            Weights::Llama(model) => model.forward(&tokens, position)?,
            Weights::Gemma3(model) => model.forward(&tokens, position)?,
        };
        logits.flatten_all()?.to_vec1()
    }

    fn prefill(&mut self, count: usize) -> Result<()> {
        let tokens: Vec<u32> = (0..count).map(|i| self.token(i)).collect();
        self.forward(&tokens, 0).map(drop)
    }

    fn decode(&mut self, count: usize) -> Result<()> {
        (0..count).try_for_each(|i| self.forward(&[self.token(i)], i).map(drop))
    }

    /// An id for the i-th token, scattered over the vocabulary.
    fn token(&self, i: usize) -> u32 {
        let hash = (i as u32 + 1).wrapping_mul(2_654_435_761);
        ((u64::from(hash) * self.vocabulary as u64) >> 32) as u32
    }
}
