//! The objects that Swift, Python and Kotlin on a desktop use through UniFFI.
//!
//! The generated code is private. The API of apps is written by hand over it: `ios/` for
//! Swift, `bindings/python` for Python. An option that is `None` has the runtime's default,
//! so that no default is stated twice.

mod answer;
mod conversation;
mod error;
mod governor;
mod log;
mod model;
mod options;

pub use answer::{AnswerEnd, AnswerListener, AnswerTask, ListenerError, Stats};
pub use conversation::{ChatMessage, Conversation};
pub use error::OndolError;
pub use governor::{Governor, MemoryPressure, ThermalState};
pub use log::{LogLevel, LogListener, set_log};
pub use model::{CancelToken, LoadListener, Memory, Model, ModelInfo};
pub use options::{
    AnswerOptions, ConversationOptions, DelegateOptions, KvType, LoadOptions, Source,
};

uniffi::setup_scaffolding!("ondol_ffi");

/// The library's version.
#[uniffi::export]
pub fn version() -> String {
    ondol_app::VERSION.to_owned()
}
