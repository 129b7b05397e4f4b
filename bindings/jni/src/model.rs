//! Models.

use crate::bytes;
use crate::call::{Failure, Result};
use crate::handle::Handle;
use crate::options::source;
use jni::objects::{JByteArray, JClass, JIntArray, JLongArray, JObject, JValue};
use jni::sys::{jint, jlong};
use jni::{Env, jni_sig, jni_str};
use ondol_app::{CancelToken, ChatMessage, LoadOptions, Memory, Model, Progress, VERSION};

pub fn version<'l>(env: &mut Env<'l>, _: JClass<'l>) -> Result<JByteArray<'l>> {
    Ok(bytes::to_java(env, VERSION.as_bytes())?)
}

pub fn cancel_new(_: &mut Env, _: JClass) -> Result<Handle<CancelToken>> {
    Ok(Handle::new(CancelToken::new()))
}

pub fn cancel(_: &mut Env, _: JClass, token: Handle<CancelToken>) -> Result<()> {
    token.get().cancel();
    Ok(())
}

pub fn cancel_free(_: &mut Env, _: JClass, token: Handle<CancelToken>) -> Result<()> {
    token.free();
    Ok(())
}

/// Loads a model from the source of [`source`].
#[allow(clippy::too_many_arguments)] // A source has four, a load three more.
pub fn load<'l>(
    env: &mut Env<'l>,
    _: JClass<'l>,
    path: JByteArray<'l>,
    descriptor: jint,
    offset: jlong,
    length: jlong,
    options: Handle<LoadOptions>,
    cancel: Handle<CancelToken>,
    progress: JObject<'l>,
) -> Result<Handle<Model>> {
    let source = source(env, &path, descriptor, offset, length)?;
    let cancel = cancel.get();
    let mut thrown = Ok(());
    let mut report = |at: Progress| {
        if thrown.is_ok() {
            thrown = call_progress(env, &progress, at);
        }
        if thrown.is_err() {
            cancel.cancel();
        }
    };
    let model = Model::load_with(source, options.get(), cancel, &mut report);
    // Fails with the callback's exception, rather than with the cancel that it caused.
    thrown?;
    Ok(Handle::new(model?))
}

/// Calls `ProgressSink.progress`.
fn call_progress(env: &mut Env, sink: &JObject, at: Progress) -> Result<(), Failure> {
    if sink.is_null() {
        return Ok(());
    }
    env.call_method(
        sink,
        jni_str!("progress"),
        jni_sig!((stage: jint, done: jlong, total: jlong)),
        &[
            JValue::Int(at.stage as jint),
            JValue::Long(bytes::java_long(at.done)),
            JValue::Long(bytes::java_long(at.total)),
        ],
    )?;
    Ok(())
}

pub fn memory_before_load<'l>(
    env: &mut Env<'l>,
    _: JClass<'l>,
    path: JByteArray<'l>,
    descriptor: jint,
    offset: jlong,
    length: jlong,
    options: Handle<LoadOptions>,
) -> Result<JLongArray<'l>> {
    let source = source(env, &path, descriptor, offset, length)?;
    memory_to_java(env, &Model::memory_before_load(source, options.get())?)
}

pub fn model_free(_: &mut Env, _: JClass, model: Handle<Model>) -> Result<()> {
    model.free();
    Ok(())
}

pub fn model_memory<'l>(
    env: &mut Env<'l>,
    _: JClass<'l>,
    model: Handle<Model>,
    context: jint,
) -> Result<JLongArray<'l>> {
    let context = bytes::optional_count("context", context)?;
    memory_to_java(env, &model.get().memory(context)?)
}

/// The fields in the order in which `Memory.of` in `Model.kt` reads them, in bytes.
fn memory_to_java<'l>(env: &mut Env<'l>, memory: &Memory) -> Result<JLongArray<'l>> {
    let fields = [
        memory.weights_mapped,
        memory.kv_cache,
        memory.activations,
        memory.logits,
        memory.screen,
        memory.scratch,
        memory.vectors,
        memory.steps,
        memory.delegate,
        memory.model,
        memory.total,
        memory.further_session,
    ]
    .map(bytes::java_long);
    let array = JLongArray::new(env, fields.len())?;
    array.set_region(env, 0, &fields)?;
    Ok(array)
}

/// The fields as a packed list of texts, in the order in which `ModelInfo.of` in
/// `Model.kt` reads them.
pub fn model_info<'l>(
    env: &mut Env<'l>,
    _: JClass<'l>,
    model: Handle<Model>,
) -> Result<JByteArray<'l>> {
    let info = model.get().info();
    let mut texts = vec![
        info.name,
        info.architecture,
        info.trained_context.to_string(),
        info.context.to_string(),
        info.vocabulary.to_string(),
        info.file_bytes.to_string(),
        info.has_chat_template.to_string(),
        info.packed_copy.unwrap_or_default(),
        info.no_packed_copy.unwrap_or_default(),
    ];
    texts.extend(info.warnings);
    bytes::texts_to_java(env, &texts)
}

pub fn count_tokens(
    env: &mut Env,
    _: JClass,
    model: Handle<Model>,
    text: JByteArray,
) -> Result<jint> {
    let text = bytes::text(env, &text)?;
    Ok(bytes::java_int(model.get().count_tokens(&text)))
}

pub fn count_chat_tokens(
    env: &mut Env,
    _: JClass,
    model: Handle<Model>,
    messages: JByteArray,
) -> Result<jint> {
    let messages = chat_messages(env, &messages)?;
    Ok(bytes::java_int(model.get().count_chat_tokens(&messages)?))
}

/// The messages of a packed list of texts: role and content of each message in turn.
pub fn chat_messages(env: &Env, list: &JByteArray) -> Result<Vec<ChatMessage>> {
    let texts = bytes::texts(env, list)?;
    let pairs = texts.chunks_exact(2);
    Ok(pairs
        .map(|pair| ChatMessage::new(pair[0].as_str(), pair[1].as_str()))
        .collect())
}

pub fn encode<'l>(
    env: &mut Env<'l>,
    _: JClass<'l>,
    model: Handle<Model>,
    text: JByteArray<'l>,
) -> Result<JIntArray<'l>> {
    let text = bytes::text(env, &text)?;
    let ids: Vec<jint> = model
        .get()
        .encode(&text)
        .into_iter()
        .map(u32::cast_signed)
        .collect();
    let array = JIntArray::new(env, ids.len())?;
    array.set_region(env, 0, &ids)?;
    Ok(array)
}

pub fn decode<'l>(
    env: &mut Env<'l>,
    _: JClass<'l>,
    model: Handle<Model>,
    ids: JIntArray<'l>,
) -> Result<JByteArray<'l>> {
    let mut numbers = vec![0; ids.len(env)?];
    ids.get_region(env, 0, &mut numbers)?;
    let numbers: Vec<u32> = numbers.into_iter().map(jint::cast_unsigned).collect();
    let text = model.get().decode(&numbers);
    Ok(bytes::to_java(env, text.as_bytes())?)
}

pub fn model_prewarm(
    _: &mut Env,
    _: JClass,
    model: Handle<Model>,
    cancel: Handle<CancelToken>,
) -> Result<()> {
    Ok(model.get().prewarm(cancel.get())?)
}

pub fn model_release_unused(_: &mut Env, _: JClass, model: Handle<Model>) -> Result<()> {
    model.get().release_unused();
    Ok(())
}
