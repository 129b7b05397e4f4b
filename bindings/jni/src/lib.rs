//! The binding for the JVM, Android's included: the native methods of
//! `dev.ondol.internal.Native`, which the Kotlin in `android/` calls.
//!
//! - Every method is in one table ([`methods::TABLE`]), which is registered when the
//!   library is loaded, and whose signatures the compiler checks. A test of the Kotlin
//!   library compares the table with the class.
//! - Texts and paths are passed as arrays of UTF-8 bytes, lists of texts as one packed
//!   array ([`bytes`]). The text of an answer is written into a direct `ByteBuffer`.
//!   `NewStringUTF` is never called: it expects modified UTF-8.
//! - A handle is a boxed value that the JVM owns ([`handle`]).
//! - An error or panic becomes an exception ([`call`]).
//! - No method keeps a reference to an object of the JVM, except for the logger
//!   ([`log`]).

mod answer;
mod bytes;
mod call;
mod conversation;
mod governor;
mod handle;
mod log;
mod methods;
mod model;
mod options;
#[cfg(feature = "testing")]
mod testing;

use jni::sys::{JNI_ERR, JNI_VERSION_1_6, jint};
use jni::{Env, JavaVM, jni_str};
use std::ffi::c_void;

/// Registers the native methods. The JVM calls this function in `System.loadLibrary`, which
/// throws `UnsatisfiedLinkError` if this function fails.
///
/// # Safety
/// `vm` is the JVM that loads the library.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn JNI_OnLoad(vm: *mut jni::sys::JavaVM, _: *mut c_void) -> jint {
    // SAFETY: passed on to the caller.
    let vm = unsafe { JavaVM::from_raw(vm) };
    match vm.attach_current_thread(register) {
        Ok(()) => JNI_VERSION_1_6,
        Err(_) => JNI_ERR,
    }
}

fn register(env: &mut Env) -> jni::errors::Result<()> {
    let class = env.find_class(jni_str!("dev/ondol/internal/Native"))?;
    // SAFETY: `native_method!` made the methods, and they are declared static both there
    // and in the class.
    unsafe { env.register_native_methods(class, &methods::TABLE)? };
    #[cfg(feature = "testing")]
    testing::register(env)?;
    Ok(())
}
