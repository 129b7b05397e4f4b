//! Conversations.

use crate::answer::{AnswerListener, AnswerTask};
use crate::error::OndolError;
use crate::model::CancelToken;
use crate::options::{AnswerOptions, ConversationOptions};
use ondol_app as app;
use std::sync::Arc;

/// A message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct ChatMessage {
    /// Who speaks: "system", "user" or "assistant".
    pub role: String,
    /// The text.
    pub content: String,
}

impl From<ChatMessage> for app::ChatMessage {
    fn from(message: ChatMessage) -> app::ChatMessage {
        app::ChatMessage::new(message.role, message.content)
    }
}

impl From<app::ChatMessage> for ChatMessage {
    fn from(message: app::ChatMessage) -> ChatMessage {
        ChatMessage {
            role: message.role,
            content: message.content,
        }
    }
}

impl From<ConversationOptions> for app::ConversationOptions {
    fn from(options: ConversationOptions) -> app::ConversationOptions {
        app::ConversationOptions {
            system: options.system,
            messages: options.messages.into_iter().map(Into::into).collect(),
        }
    }
}

/// A conversation with a model. It may be used from any thread; it generates one answer at
/// a time. An answer that failed, or was cancelled before any text, leaves no trace in the
/// history; one that was cancelled later stays with the text that the listener received.
#[derive(uniffi::Object)]
pub struct Conversation(pub(crate) app::Conversation);

#[uniffi::export]
impl Conversation {
    /// Asks the model to answer. The answer is generated on a thread of its own, which
    /// calls the listener; dropping the task, or `cancel`, ends the answer.
    ///
    /// # Errors
    /// `Busy` while another answer is generated, `Closed`, `ContextFull`, `Template`,
    /// `Sampler` for options out of range, `Panicked` if an earlier answer panicked.
    pub fn send(
        &self,
        text: String,
        options: AnswerOptions,
        listener: Arc<dyn AnswerListener>,
    ) -> Result<AnswerTask, OndolError> {
        let answer = self.0.send(&text, &options.to_app())?;
        AnswerTask::start(answer, listener)
    }

    /// Computes the messages so far, so that the next answer computes only what the user
    /// adds. Blocks the calling thread while it computes.
    ///
    /// # Errors
    /// Those of `send`; `Cancelled`.
    #[uniffi::method(default(cancel = None))]
    pub fn prewarm(&self, cancel: Option<Arc<CancelToken>>) -> Result<(), OndolError> {
        let cancel = cancel.map(|cancel| cancel.0.clone()).unwrap_or_default();
        Ok(self.0.prewarm(&cancel)?)
    }

    /// Cancels the answer that is being generated, if there is one.
    pub fn cancel(&self) {
        self.0.cancel();
    }

    /// Whether an answer is being generated.
    pub fn is_answering(&self) -> bool {
        self.0.is_answering()
    }

    /// The messages, the system message included.
    ///
    /// # Errors
    /// `Closed`.
    pub fn history(&self) -> Result<Vec<ChatMessage>, OndolError> {
        Ok(self.0.history()?.into_iter().map(Into::into).collect())
    }

    /// Keeps the first `messages` messages and forgets the rest.
    ///
    /// # Errors
    /// `Busy`, `Closed`.
    pub fn truncate(&self, messages: u32) -> Result<(), OndolError> {
        Ok(self.0.truncate(messages as usize)?)
    }

    /// The number of tokens of the next answer's prompt, without the user's next message.
    ///
    /// # Errors
    /// `Closed`, `Template`.
    pub fn count_tokens(&self) -> Result<u64, OndolError> {
        Ok(self.0.count_tokens()? as u64)
    }

    /// A second conversation with the same history, which continues independently.
    ///
    /// # Errors
    /// `Busy`, `Closed`, `DoesNotFit`, `MemoryPressure`.
    pub fn fork(&self) -> Result<Conversation, OndolError> {
        Ok(Conversation(self.0.fork()?))
    }

    /// Writes the conversation and its KV cache to a file.
    ///
    /// # Errors
    /// `Busy`, `Closed`; `Io` or `Snapshot` if the system refuses the file or a write.
    pub fn save(&self, path: String) -> Result<(), OndolError> {
        Ok(self.0.save(path)?)
    }

    /// Releases memory that the idle conversation does not need to the system.
    pub fn release_unused(&self) {
        self.0.release_unused();
    }

    /// Ends the conversation and frees its memory; an answer that is being generated is
    /// cancelled. Further calls fail with `Closed`.
    pub fn close(&self) {
        self.0.close();
    }
}
