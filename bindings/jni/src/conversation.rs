//! Conversations.

use crate::bytes;
use crate::call::Result;
use crate::handle::Handle;
use crate::model::chat_messages;
use jni::Env;
use jni::objects::{JByteArray, JClass};
use jni::sys::{jboolean, jint};
use ondol_app::{CancelToken, Conversation, ConversationOptions, Model};

pub fn conversation_new(
    env: &mut Env,
    _: JClass,
    model: Handle<Model>,
    system: JByteArray,
    messages: JByteArray,
) -> Result<Handle<Conversation>> {
    let options = ConversationOptions {
        system: bytes::optional_text(env, &system)?,
        messages: chat_messages(env, &messages)?,
    };
    Ok(Handle::new(model.get().conversation(&options)?))
}

pub fn conversation_restore(
    env: &mut Env,
    _: JClass,
    model: Handle<Model>,
    path: JByteArray,
) -> Result<Handle<Conversation>> {
    let path = bytes::text(env, &path)?;
    Ok(Handle::new(Conversation::restore(model.get(), path)?))
}

pub fn conversation_fork(
    _: &mut Env,
    _: JClass,
    conversation: Handle<Conversation>,
) -> Result<Handle<Conversation>> {
    Ok(Handle::new(conversation.get().fork()?))
}

pub fn conversation_save(
    env: &mut Env,
    _: JClass,
    conversation: Handle<Conversation>,
    path: JByteArray,
) -> Result<()> {
    let path = bytes::text(env, &path)?;
    Ok(conversation.get().save(path)?)
}

pub fn conversation_prewarm(
    _: &mut Env,
    _: JClass,
    conversation: Handle<Conversation>,
    cancel: Handle<CancelToken>,
) -> Result<()> {
    Ok(conversation.get().prewarm(cancel.get())?)
}

pub fn conversation_cancel(
    _: &mut Env,
    _: JClass,
    conversation: Handle<Conversation>,
) -> Result<()> {
    conversation.get().cancel();
    Ok(())
}

pub fn conversation_is_answering(
    _: &mut Env,
    _: JClass,
    conversation: Handle<Conversation>,
) -> Result<jboolean> {
    Ok(conversation.get().is_answering())
}

/// The messages as a packed list of texts: role and content of each message in turn.
pub fn conversation_history<'l>(
    env: &mut Env<'l>,
    _: JClass<'l>,
    conversation: Handle<Conversation>,
) -> Result<JByteArray<'l>> {
    let history = conversation.get().history()?;
    let texts: Vec<&str> = history
        .iter()
        .flat_map(|message| [message.role.as_str(), message.content.as_str()])
        .collect();
    bytes::texts_to_java(env, &texts)
}

pub fn conversation_truncate(
    _: &mut Env,
    _: JClass,
    conversation: Handle<Conversation>,
    messages: jint,
) -> Result<()> {
    let messages = bytes::count("messages", messages)?;
    Ok(conversation.get().truncate(messages)?)
}

pub fn conversation_count_tokens(
    _: &mut Env,
    _: JClass,
    conversation: Handle<Conversation>,
) -> Result<jint> {
    Ok(bytes::java_int(conversation.get().count_tokens()?))
}

pub fn conversation_release_unused(
    _: &mut Env,
    _: JClass,
    conversation: Handle<Conversation>,
) -> Result<()> {
    conversation.get().release_unused();
    Ok(())
}

/// Ends the conversation; [`conversation_free`] frees the handle.
pub fn conversation_close(
    _: &mut Env,
    _: JClass,
    conversation: Handle<Conversation>,
) -> Result<()> {
    conversation.get().close();
    Ok(())
}

pub fn conversation_free(_: &mut Env, _: JClass, conversation: Handle<Conversation>) -> Result<()> {
    conversation.free();
    Ok(())
}
