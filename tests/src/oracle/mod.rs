//! The oracle: a forward pass in f64, written as loops from the definition of
//! each architecture, that shares no code with the runtime and its graphs.
//!
//! Files are read and dequantized by candle-core. It panics on what it can't
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

/// How keys and values are kept between tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cache {
    /// As they are.
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

    /// The logits after each token, in a session of at most `context` tokens
    /// (which only LongRoPE looks at).
    pub fn logits(&self, tokens: &[u32], context: usize, cache: Cache) -> Vec<Vec<f32>> {
        let logits = forward::forward(&self.file, tokens, context, cache);
        logits
            .into_iter()
            .map(|row| row.into_iter().map(|logit| logit as f32).collect())
            .collect()
    }
}
