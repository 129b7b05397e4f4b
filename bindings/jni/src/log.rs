//! The app's logger, which any thread of the library may call.

use crate::bytes;
use crate::call::Result;
use jni::objects::{Global, JClass, JObject, JValue};
use jni::sys::jint;
use jni::{Env, JavaVM, jni_sig, jni_str};
use ondol_app::log::Level;

/// Sets the logger; `null` removes it.
pub fn set_logger(env: &mut Env, _: JClass, level: jint, sink: JObject) -> Result<()> {
    if sink.is_null() {
        ondol_app::log::clear();
        return Ok(());
    }
    let levels = Level::ALL;
    let level = levels[bytes::count("level", level)?.min(levels.len() - 1)];
    let sink = env.new_global_ref(sink)?;
    let vm = env.get_java_vm()?;
    ondol_app::log::set(level, move |level, line| write(&vm, &sink, level, line));
    Ok(())
}

/// Calls `LogSink.log`. A thread that is not attached to the JVM is attached for this call
/// only. The line is lost if an exception is already pending on this thread. An exception
/// of the logger is cleared, because it must not end the call that logs.
fn write(vm: &JavaVM, sink: &Global<JObject<'static>>, level: Level, line: &str) {
    let _ = vm.attach_current_thread_for_scope(|env| {
        let line = bytes::to_java(env, line.as_bytes())?;
        let arguments = [JValue::Int(level as jint), JValue::Object(&line)];
        let signature = jni_sig!((level: jint, line: jbyte[]));
        let told = env.call_method(sink, jni_str!("log"), signature, &arguments);
        if told.is_err() {
            env.exception_clear();
        }
        Ok::<(), jni::errors::Error>(())
    });
}
