//! From logits to text: sampler chain, stop strings, and the loop.

mod clock;
mod filter;
mod generation;
mod rng;
mod sampler;
mod speculation;
mod stop;

pub use filter::{Candidate, LogitFilter, candidates};
#[cfg(feature = "std")]
pub use generation::GenerationRefused;
pub use generation::{Event, FinishReason, GenerateOptions, Generation, Stats, TextChunk, Token};
pub use sampler::{Sampler, SamplerError, SamplerOptions};
pub use stop::StopMatcher;
