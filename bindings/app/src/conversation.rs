//! A conversation: its messages, and the session whose cache they are in.

use crate::answer::Answer;
use crate::error::{AppError, Result};
use crate::model::Model;
use crate::options::{AnswerOptions, ConversationOptions};
use crate::saved;
use ondol::{CancelToken, Generation, Message, Session};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatMessage {
    /// Who speaks: "system", "user" or "assistant".
    pub role: String,
    /// The text.
    pub content: String,
    /// The tokens of an answer as the model generated them. The next prompt repeats
    /// them, so that they are found in the cache; empty for other messages.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) ids: Vec<u32>,
}

impl ChatMessage {
    /// A message of `role` with the text `content`.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> ChatMessage {
        ChatMessage {
            role: role.into(),
            content: content.into(),
            ids: Vec::new(),
        }
    }

    pub(crate) fn to_runtime(&self) -> Message {
        Message::new(self.role.as_str(), self.content.as_str()).with_ids(self.ids.as_slice())
    }
}

/// A conversation with a model. It may be used from any thread. It generates one answer
/// at a time; other conversations of the model are independent of it.
///
/// Its history is always defined:
/// - An answer that ended, or was cancelled or dropped after some of its text had been
///   taken, stays with the text that was taken, after the user's message.
/// - An answer that failed, or was cancelled or dropped before any text, leaves no
///   trace: neither it nor the user's message is in the history.
pub struct Conversation(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    model: Model,
    state: Mutex<State>,
}

struct State {
    messages: Vec<ChatMessage>,
    place: Place,
}

/// Where the session is.
enum Place {
    /// In the conversation.
    Idle(Box<Session>),
    /// In an answer or a `prewarm`, which this token cancels.
    Answering(CancelToken),
    /// A panic destroyed the session.
    Broken,
    /// The conversation was closed. An answer that still has the session drops it.
    Closed,
}

impl Conversation {
    pub(crate) fn new(
        model: Model,
        session: Session,
        options: &ConversationOptions,
    ) -> Result<Conversation> {
        let system = options.system.iter();
        let system = system.map(|text| ChatMessage::new("system", text.as_str()));
        let messages: Vec<ChatMessage> = system.chain(options.messages.iter().cloned()).collect();
        Ok(Conversation::with(model, session, messages))
    }

    fn with(model: Model, session: Session, messages: Vec<ChatMessage>) -> Conversation {
        let place = Place::Idle(Box::new(session));
        let state = Mutex::new(State { messages, place });
        Conversation(Arc::new(Shared { model, state }))
    }

    /// Asks the model to answer a user's message. Nothing is computed before the first
    /// [`Answer::next`].
    ///
    /// # Errors
    /// [`ondol::ErrorCode::Busy`] while another answer is generated,
    /// [`ondol::ErrorCode::Closed`], [`ondol::ErrorCode::ContextFull`],
    /// [`ondol::ErrorCode::Template`], [`ondol::ErrorCode::Sampler`] for options out of
    /// range, [`ondol::ErrorCode::Panicked`] if an earlier answer panicked. The
    /// conversation does not change.
    pub fn send(&self, text: &str, options: &AnswerOptions) -> Result<Answer> {
        let cancel = CancelToken::new();
        let mut state = self.0.lock();
        let session = state.take(&cancel)?;
        state.messages.push(ChatMessage::new("user", text));
        match self.0.begin(&state.messages, session, options, &cancel) {
            Ok(generation) => {
                drop(state);
                Ok(Answer::new(self.0.clone(), generation, cancel))
            }
            Err((session, error)) => {
                state.messages.pop();
                state.place = Place::Idle(session);
                Err(error)
            }
        }
    }

    /// Computes the messages so far, so that the next answer computes only what the
    /// user adds: for a long system message or a history that was given as messages. If
    /// there are no messages, it computes one token, which reads the weights once.
    ///
    /// # Errors
    /// Those of [`Conversation::send`]; [`ondol::ErrorCode::Cancelled`].
    pub fn prewarm(&self, cancel: &CancelToken) -> Result<()> {
        let mut state = self.0.lock();
        let mut session = state.take(cancel)?;
        let messages = state.runtime_messages();
        drop(state);
        let outcome = prewarm(&self.0.model, &mut session, &messages, cancel);
        self.0.put_back(session, |_| ());
        outcome
    }

    /// Cancels the answer that is being generated, if there is one. The answer ends with
    /// [`ondol::FinishReason::Cancelled`], within the time of one layer in prefill or of
    /// one token in decode.
    pub fn cancel(&self) {
        if let Place::Answering(cancel) = &self.0.lock().place {
            cancel.cancel();
        }
    }

    /// Whether an answer is being generated.
    pub fn is_answering(&self) -> bool {
        matches!(self.0.lock().place, Place::Answering(_))
    }

    /// The messages, the system message among them.
    ///
    /// # Errors
    /// [`ondol::ErrorCode::Closed`].
    pub fn history(&self) -> Result<Vec<ChatMessage>> {
        let state = self.0.lock();
        match state.place {
            Place::Closed => Err(AppError::closed("conversation")),
            _ => Ok(state.messages.clone()),
        }
    }

    /// Keeps the first `messages` messages and forgets the rest. The next prompt does not
    /// compute the kept messages again.
    ///
    /// # Errors
    /// [`ondol::ErrorCode::Busy`], [`ondol::ErrorCode::Closed`].
    pub fn truncate(&self, messages: usize) -> Result<()> {
        let mut state = self.0.lock();
        state.session()?;
        state.messages.truncate(messages);
        Ok(())
    }

    /// Tokens that the next answer's prompt would have, without the user's message.
    ///
    /// # Errors
    /// [`ondol::ErrorCode::Closed`], [`ondol::ErrorCode::Template`].
    pub fn count_tokens(&self) -> Result<usize> {
        self.0.model.count_chat_tokens(&self.history()?)
    }

    /// A second conversation with the same history, which continues independently. The
    /// session's cache is copied.
    ///
    /// # Errors
    /// [`ondol::ErrorCode::Busy`], [`ondol::ErrorCode::Closed`], [`ondol::ErrorCode::DoesNotFit`],
    /// [`ondol::ErrorCode::MemoryPressure`].
    pub fn fork(&self) -> Result<Conversation> {
        let mut state = self.0.lock();
        let session = state.session()?.fork()?;
        Ok(Conversation::with(
            self.0.model.clone(),
            session,
            state.messages.clone(),
        ))
    }

    /// Writes the conversation and its session's cache to a file, so that
    /// [`Conversation::restore`] does not compute it again. Afterwards the file is either
    /// complete or not there.
    ///
    /// # Errors
    /// [`ondol::ErrorCode::Busy`], [`ondol::ErrorCode::Closed`], [`ondol::ErrorCode::Io`]
    /// or [`ondol::ErrorCode::Snapshot`] if the system refuses the file or a write.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let mut state = self.0.lock();
        let messages = state.messages.clone();
        saved::write(path.as_ref(), &messages, state.session()?)
    }

    /// A conversation from a file that [`Conversation::save`] wrote with the same model
    /// and type of KV cache.
    ///
    /// # Errors
    /// [`ondol::ErrorCode::Snapshot`] if the file is not a saved conversation, is damaged,
    /// or belongs to another model; [`ondol::ErrorCode::Io`]; those of
    /// [`Model::conversation`].
    pub fn restore(model: &Model, path: impl AsRef<Path>) -> Result<Conversation> {
        let mut session = model.session()?;
        let messages = saved::read(path.as_ref(), &mut session)?;
        Ok(Conversation::with(model.clone(), session, messages))
    }

    /// Releases memory that the idle conversation does not need to the system; does
    /// nothing while an answer is generated.
    pub fn release_unused(&self) {
        if let Place::Idle(session) = &mut self.0.lock().place {
            session.release_unused();
        }
    }

    /// Ends the conversation and frees its memory at once. An answer that is being
    /// generated is cancelled, and the memory is freed when the answer has ended. Further
    /// calls fail with [`ondol::ErrorCode::Closed`].
    pub fn close(&self) {
        let mut state = self.0.lock();
        let place = std::mem::replace(&mut state.place, Place::Closed);
        state.messages = Vec::new();
        drop(state);
        if let Place::Answering(cancel) = place {
            cancel.cancel();
        }
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.0.model
    }
}

impl State {
    /// The session, if the conversation is idle.
    fn session(&mut self) -> Result<&mut Session> {
        match &mut self.place {
            Place::Idle(session) => Ok(session),
            Place::Answering(_) => Err(AppError::busy()),
            Place::Broken => Err(AppError::panicked()),
            Place::Closed => Err(AppError::closed("conversation")),
        }
    }

    /// Takes the session out for an answer or a `prewarm` that `cancel` ends.
    fn take(&mut self, cancel: &CancelToken) -> Result<Box<Session>> {
        self.session()?;
        let answering = Place::Answering(cancel.clone());
        match std::mem::replace(&mut self.place, answering) {
            Place::Idle(session) => Ok(session),
            _ => unreachable!("the session was here"),
        }
    }

    fn runtime_messages(&self) -> Vec<Message> {
        self.messages.iter().map(ChatMessage::to_runtime).collect()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins the generation of the answer to these messages; an error returns the
    /// session.
    fn begin(
        &self,
        messages: &[ChatMessage],
        session: Box<Session>,
        options: &AnswerOptions,
        cancel: &CancelToken,
    ) -> Result<Generation, (Box<Session>, AppError)> {
        let messages: Vec<Message> = messages.iter().map(ChatMessage::to_runtime).collect();
        let prompt = match self.model.runtime().encode_chat(&messages) {
            Ok(prompt) => prompt,
            Err(error) => return Err((session, error.into())),
        };
        session
            .into_generation(&prompt, &options.generate(), cancel)
            .map_err(|refused| (refused.session, refused.error.into()))
    }

    /// Takes the session back after an answer; `change` updates the messages. If the
    /// conversation was closed in the meantime, the session is dropped.
    pub(crate) fn put_back(
        &self,
        session: Box<Session>,
        change: impl FnOnce(&mut Vec<ChatMessage>),
    ) {
        let mut state = self.lock();
        if matches!(state.place, Place::Answering(_)) {
            change(&mut state.messages);
            state.place = Place::Idle(session);
        }
    }

    /// Marks the conversation as broken: the answer panicked, and the session is in no
    /// defined state.
    pub(crate) fn broke(&self) {
        let mut state = self.lock();
        if matches!(state.place, Place::Answering(_)) {
            state.place = Place::Broken;
        }
    }
}

fn prewarm(
    model: &Model,
    session: &mut Session,
    messages: &[Message],
    cancel: &CancelToken,
) -> Result<()> {
    let prompt = match messages.is_empty() {
        true => vec![model.first_token()],
        false => model.runtime().encode_chat(messages)?,
    };
    let same = session.tokens().iter().zip(&prompt);
    let same = same.take_while(|(had, wanted)| had == wanted).count();
    // If all tokens are in the cache, the last one is run again: a prefill needs a token.
    let kept = session.rewind(same.min(prompt.len() - 1));
    session.prefill(&prompt[kept..], cancel)?;
    Ok(())
}

impl std::fmt::Debug for Conversation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.0.lock();
        f.debug_struct("Conversation")
            .field("messages", &state.messages)
            .finish_non_exhaustive()
    }
}
