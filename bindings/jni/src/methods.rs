//! The table of native methods.

use crate::answer::*;
use crate::call::Throw;
use crate::conversation::*;
use crate::governor::*;
use crate::handle::Handle;
use crate::log::set_logger;
use crate::model::*;
use crate::options::{options_free, options_new};
use jni::{NativeMethod, native_method};
use ondol_app::{CancelToken, Conversation, LoadOptions, Model};

type OptionsHandle = Handle<LoadOptions>;
type CancelHandle = Handle<CancelToken>;
type ModelHandle = Handle<Model>;
type ConversationHandle = Handle<Conversation>;
type AnswerHandle = Handle<Running>;

/// One method: a Rust function, whose name in the JVM is in camel case.
macro_rules! method {
    ($name:ident ($($arguments:tt)*) $($result:tt)*) => {
        native_method! {
            error_policy = Throw,
            type_map = {
                unsafe OptionsHandle => long,
                unsafe CancelHandle => long,
                unsafe ModelHandle => long,
                unsafe ConversationHandle => long,
                unsafe AnswerHandle => long,
            },
            static fn $name($($arguments)*) $($result)*,
        }
    };
}

/// Every native method of `dev.ondol.internal.Native`.
pub const TABLE: [NativeMethod<'static>; 43] = [
    method!(version() -> jbyte[]),
    method!(set_logger(level: jint, sink: dev.ondol.internal.LogSink)),
    method!(set_thermal(state: jint)),
    method!(thermal() -> jint),
    method!(thermal_from_android(status: jint) -> jint),
    method!(set_memory_pressure(state: jint)),
    method!(memory_pressure() -> jint),
    method!(set_paused(paused: jboolean)),
    method!(is_paused() -> jboolean),
    method!(cancel_new() -> CancelHandle),
    method!(cancel(token: CancelHandle)),
    method!(cancel_free(token: CancelHandle)),
    method!(options_new(
        threads: jint, context: jint, kv_type: jint, prefill_chunk: jint, drafts: jint,
        memory_limit: jlong, kernels: jbyte[], big_cores: jboolean, packed_folder: jbyte[],
        packed_limit: jlong, delegate: jbyte[], delegate_rows: jint,
        delegate_decode: jint, delegate_strict: jboolean, delegate_deadline_ms: jlong,
        delegate_cache: jbyte[]
    ) -> OptionsHandle),
    method!(options_free(options: OptionsHandle)),
    method!(load(
        path: jbyte[], descriptor: jint, offset: jlong, length: jlong,
        options: OptionsHandle, cancel: CancelHandle,
        progress: dev.ondol.internal.ProgressSink
    ) -> ModelHandle),
    method!(memory_before_load(
        path: jbyte[], descriptor: jint, offset: jlong, length: jlong,
        options: OptionsHandle
    ) -> jlong[]),
    method!(model_free(model: ModelHandle)),
    method!(model_memory(model: ModelHandle, context: jint) -> jlong[]),
    method!(model_info(model: ModelHandle) -> jbyte[]),
    method!(model_prewarm(model: ModelHandle, cancel: CancelHandle)),
    method!(model_release_unused(model: ModelHandle)),
    method!(count_tokens(model: ModelHandle, text: jbyte[]) -> jint),
    method!(count_chat_tokens(model: ModelHandle, messages: jbyte[]) -> jint),
    method!(encode(model: ModelHandle, text: jbyte[]) -> jint[]),
    method!(decode(model: ModelHandle, ids: jint[]) -> jbyte[]),
    method!(conversation_new(
        model: ModelHandle, system: jbyte[], messages: jbyte[]
    ) -> ConversationHandle),
    method!(conversation_restore(model: ModelHandle, path: jbyte[]) -> ConversationHandle),
    method!(conversation_fork(conversation: ConversationHandle) -> ConversationHandle),
    method!(conversation_save(conversation: ConversationHandle, path: jbyte[])),
    method!(conversation_prewarm(conversation: ConversationHandle, cancel: CancelHandle)),
    method!(conversation_cancel(conversation: ConversationHandle)),
    method!(conversation_is_answering(conversation: ConversationHandle) -> jboolean),
    method!(conversation_history(conversation: ConversationHandle) -> jbyte[]),
    method!(conversation_truncate(conversation: ConversationHandle, messages: jint)),
    method!(conversation_count_tokens(conversation: ConversationHandle) -> jint),
    method!(conversation_release_unused(conversation: ConversationHandle)),
    method!(conversation_close(conversation: ConversationHandle)),
    method!(conversation_free(conversation: ConversationHandle)),
    method!(send(
        conversation: ConversationHandle, text: jbyte[], temperature: jfloat, top_k: jint,
        top_p: jfloat, min_p: jfloat, repetition_penalty: jfloat,
        frequency_penalty: jfloat, presence_penalty: jfloat, penalty_window: jint,
        has_seed: jboolean, seed: jlong, max_tokens: jint, stop: jbyte[]
    ) -> AnswerHandle),
    method!(answer_next(answer: AnswerHandle, buffer: java.nio.ByteBuffer) -> jlong),
    method!(answer_end(answer: AnswerHandle, stats: jdouble[]) -> jint),
    method!(answer_cancel(answer: AnswerHandle)),
    method!(answer_free(answer: AnswerHandle)),
];
