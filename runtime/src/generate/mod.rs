//! From logits to text: sampler chain, stop strings, and the loop.

mod generation;
mod rng;
mod sampler;
mod speculation;
mod stop;

pub use generation::{FinishReason, GenerateOptions, Generation, Piece, Stats};
pub use sampler::{Sampler, SamplerError, SamplerOptions};
pub use stop::StopMatcher;
