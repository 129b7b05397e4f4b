//! The objects that an app uses: a [`Model`], its [`Conversation`]s, and in each
//! conversation one [`Answer`] at a time.
//!
//! The bindings (`bindings/jni`, `bindings/uniffi`) are thin layers over this crate, so
//! that Kotlin, Java, Swift and Python behave in the same way. Every value may be used
//! from any thread; errors are plain data ([`AppError`]); [`Answer::next`] catches panics
//! and returns them as errors, where the build unwinds.
//!
//! ```
//! use ondol_app::{AnswerEvent, AnswerOptions, ConversationOptions, LoadOptions, Model, Source};
//!
//! let model = Model::load(Source::Hello, &LoadOptions::default())?;
//! let conversation = model.conversation(&ConversationOptions::default())?;
//! let mut answer = conversation.send("안녕하세요", &AnswerOptions::default())?;
//! while let Some(event) = answer.next()? {
//!     if let AnswerEvent::Text { text, .. } = event {
//!         print!("{text}");
//!     }
//! }
//! assert_eq!(conversation.history()?.len(), 2);
//! # Ok::<(), ondol_app::AppError>(())
//! ```

#![deny(unsafe_code)]

mod answer;
mod conversation;
mod error;
pub mod log;
mod model;
mod options;
mod saved;
#[cfg(test)]
mod tests;

pub use answer::{Answer, AnswerEvent, AnswerStats};
pub use conversation::{ChatMessage, Conversation};
pub use error::{AppError, Result};
pub use model::{Model, ModelInfo};
pub use ondol::{
    Affinity, CancelToken, ErrorCode, FinishReason, Governor, KvType, Memory, MemoryPressure,
    ThermalState,
};
pub use options::{
    AnswerOptions, ConversationOptions, DelegateOptions, LoadOptions, Progress, Source, Stage,
};

/// The library's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
