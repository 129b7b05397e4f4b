//! The oracle: a forward pass in f64, written as loops from the definition of each
//! architecture. It shares no code with the runtime and its graphs.
//!
//! candle-core reads and dequantizes the files. The oracle panics on a file that it can't
//! read: it is for files that tests make.

mod dense;
mod experts;
mod file;
mod forward;
mod gemma;
mod hybrid;
mod math;
mod model;
mod mxfp4;
mod recurrent;

use file::File;

/// How keys and values are stored between tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cache {
    /// In f64, not rounded.
    Full,
    /// Rounded to f16.
    F16,
}

/// A model in memory, all weights dequantized.
pub struct Oracle {
    file: File,
}

impl Oracle {
    /// Reads a whole GGUF file.
    pub fn read(gguf: &[u8]) -> Oracle {
        Oracle {
            file: File::read(gguf),
        }
    }

    /// The logits after each token, one row of `vocabulary` logits for each, in a session
    /// with a context of `context` tokens (only LongRoPE depends on the context).
    pub fn logits(&self, tokens: &[u32], context: usize, cache: Cache) -> Vec<Vec<f32>> {
        let logits = forward::forward(&self.file, tokens, context, cache);
        logits
            .into_iter()
            .map(|row| row.into_iter().map(|logit| logit as f32).collect())
            .collect()
    }
}
