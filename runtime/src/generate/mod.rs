//! From logits to text: sampler chain, stop strings, and the loop.

mod clock;
mod event;
mod filter;
mod generation;
mod logits;
mod options;
mod rng;
mod sampler;
mod speculation;
mod steps;
mod stop;

pub use event::{Event, FinishReason, Stats, TextChunk, Token};
pub use filter::{Candidate, LogitFilter, candidates};
pub use generation::Generation;
#[cfg(feature = "std")]
pub use generation::GenerationRefused;
pub use logits::Logits;
pub use options::GenerateOptions;
pub use sampler::{Sampler, SamplerError, SamplerOptions};
pub use stop::StopMatcher;
