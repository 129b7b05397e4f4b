//! From logits to text: sampler chain, stop strings, and the loop.

mod generation;

pub use generation::{FinishReason, GenerateOptions, Generation, Piece, Stats};

// Replaced when the branch `text` lands.
pub use placeholder::*;
mod placeholder {
    #![allow(missing_docs)]
    use alloc::string::String;
    #[derive(Debug, thiserror::Error)]
    #[error("stub")]
    pub struct SamplerError;
    #[derive(Debug, Clone, Default)]
    pub struct SamplerOptions {
        pub temperature: f32,
        pub top_k: usize,
        pub top_p: f32,
        pub min_p: f32,
        pub repetition_penalty: f32,
        pub frequency_penalty: f32,
        pub presence_penalty: f32,
        pub penalty_window: usize,
        pub seed: u64,
    }
    pub struct Sampler;
    impl Sampler {
        pub fn new(_: &SamplerOptions, _: usize) -> Result<Sampler, SamplerError> {
            Ok(Sampler)
        }
        pub fn accept(&mut self, _: u32) {}
        pub fn sample(&mut self, logits: &[f32]) -> Result<u32, SamplerError> {
            Ok(logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |x| x.0 as u32))
        }
    }
    pub struct StopMatcher;
    impl StopMatcher {
        pub fn new(_: &[String]) -> Self {
            StopMatcher
        }
        pub fn push(&mut self, text: &str, out: &mut String) -> bool {
            out.push_str(text);
            false
        }
        pub fn finish(&mut self, _: &mut String) {}
    }
}
