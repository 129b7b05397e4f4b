//! Native methods that only the tests of the Kotlin library call: those of
//! `dev.ondol.internal.NativeTesting`, a class of the tests.

use crate::answer::REASONS;
use crate::bytes;
use crate::call::{Result, Throw};
use crate::handle::Handle;
use crate::methods::TABLE;
use jni::objects::{JByteArray, JClass};
use jni::{Env, NativeMethod, jni_str, native_method, sys};
use ondol_app::{AnswerOptions, DelegateOptions, KvType, LoadOptions, Model};
use std::ffi::CStr;
use std::thread;

type ModelHandle = Handle<Model>;

macro_rules! method {
    ($name:ident ($($arguments:tt)*) $($result:tt)*) => {
        native_method! {
            error_policy = Throw,
            type_map = { unsafe ModelHandle => long },
            static fn $name($($arguments)*) $($result)*,
        }
    };
}

const TESTING: [NativeMethod<'static>; 5] = [
    method!(methods() -> jbyte[]),
    method!(defaults() -> jbyte[]),
    method!(names() -> jbyte[]),
    method!(panic(model: ModelHandle)),
    method!(log_from_a_thread()),
];

/// Registers the methods if the class exists: the sample app does not have it.
pub fn register(env: &mut Env) -> jni::errors::Result<()> {
    let Ok(class) = env.find_class(jni_str!("dev/ondol/internal/NativeTesting")) else {
        env.exception_clear();
        return Ok(());
    };
    // SAFETY: `native_method!` made the methods, and they are declared static both there
    // and in the class.
    unsafe { env.register_native_methods(class, &TESTING) }
}

/// The registered methods: name and signature.
fn methods<'l>(env: &mut Env<'l>, _: JClass<'l>) -> Result<JByteArray<'l>> {
    let table: Vec<String> = TABLE.iter().map(described).collect();
    bytes::texts_to_java(env, &table)
}

fn described(method: &NativeMethod) -> String {
    // SAFETY: `NativeMethod` is `repr(transparent)` over this struct, whose names are
    // literals of the table.
    let (name, signature) = unsafe {
        let raw = &*std::ptr::from_ref(method).cast::<sys::JNINativeMethod>();
        (CStr::from_ptr(raw.name), CStr::from_ptr(raw.signature))
    };
    format!("{}{}", name.to_string_lossy(), signature.to_string_lossy())
}

/// A list with one text for each option: its name and its default. The patterns name every
/// field, so that a new field does not compile until it is added here.
fn defaults<'l>(env: &mut Env<'l>, _: JClass<'l>) -> Result<JByteArray<'l>> {
    let mut texts = Vec::new();
    macro_rules! fields {
        ($options:ident { $($field:ident),* }, { $($without:ident),* } = $value:expr) => {{
            let $options { $($field,)* $($without: _,)* } = $value;
            $(texts.push(format!("{}.{}={:?}", stringify!($options), stringify!($field), $field));)*
        }};
    }
    fields!(
        AnswerOptions {
            temperature,
            top_k,
            top_p,
            min_p,
            repetition_penalty,
            frequency_penalty,
            presence_penalty,
            penalty_window,
            seed,
            max_tokens,
            stop
        },
        {} = AnswerOptions::default()
    );
    // The governor is one for all models. A delegate's options are below.
    fields!(LoadOptions {
        threads, context, kv_type, prefill_chunk, drafts, memory_limit, kernels, affinity,
        packed_folder, packed_limit
    }, { governor, delegate } = LoadOptions::default());
    fields!(
        DelegateOptions {
            rows,
            decode,
            strict,
            deadline_ms,
            cache
        },
        { path } = DelegateOptions::new("")
    );
    bytes::texts_to_java(env, &texts)
}

/// The names of the values of the enums that are passed as numbers, in numeric order.
fn names<'l>(env: &mut Env<'l>, _: JClass<'l>) -> Result<JByteArray<'l>> {
    let reasons = REASONS
        .iter()
        .map(|reason| format!("FinishReason.{reason:?}"));
    let types = KvType::ALL.iter().map(|kind| format!("KvType.{kind:?}"));
    let levels = ondol_app::log::Level::ALL;
    let levels = levels.iter().map(|level| format!("LogLevel.{level:?}"));
    let all: Vec<String> = reasons.chain(types).chain(levels).collect();
    bytes::texts_to_java(env, &all)
}

fn panic(_: &mut Env, _: JClass, model: ModelHandle) -> Result<()> {
    model.get().panic();
    Ok(())
}

/// Logs a line of each level from a thread that the JVM does not know.
fn log_from_a_thread(_: &mut Env, _: JClass) -> Result<()> {
    let lines = || {
        use ::log::Level::{Debug, Error, Info, Warn};
        for level in [Error, Warn, Info, Debug] {
            ::log::log!(target: "ondol", level, "한글 🙂");
        }
    };
    let _ = thread::spawn(lines).join();
    Ok(())
}
