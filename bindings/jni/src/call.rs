//! Turns the failure of a native method into an exception.

use crate::bytes;
use jni::errors::{Error as JniError, ErrorPolicy};
use jni::objects::{JClass, JThrowable, JValue};
use jni::{Env, jni_sig, jni_str};
use ondol_app::{AppError, ErrorCode};
use std::any::Any;

/// Why a native method fails.
#[derive(Debug)]
pub enum Failure {
    /// The library's error.
    App(AppError),
    /// A call of a JVM function failed. [`JniError::JavaException`] means that an
    /// exception is already pending.
    Jni(JniError),
}

/// The result of a native method.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

impl From<AppError> for Failure {
    fn from(error: AppError) -> Failure {
        Failure::App(error)
    }
}

impl From<JniError> for Failure {
    fn from(error: JniError) -> Failure {
        Failure::Jni(error)
    }
}

/// Throws an `OndolException` for an error or a panic.
pub struct Throw;

impl<T: Default> ErrorPolicy<T, Failure> for Throw {
    type Captures<'unowned_env_local: 'native_method, 'native_method> = ();

    fn on_error<'unowned_env_local: 'native_method, 'native_method>(
        env: &mut Env<'unowned_env_local>,
        (): &mut (),
        failure: Failure,
    ) -> jni::errors::Result<T> {
        match failure {
            Failure::App(error) => throw(env, &error)?,
            // The exception of a callback stays pending, for the method's caller.
            Failure::Jni(_) if env.exception_check() => (),
            Failure::Jni(error) => throw(env, &of_jni(&error))?,
        }
        Ok(T::default())
    }

    fn on_panic<'unowned_env_local: 'native_method, 'native_method>(
        env: &mut Env<'unowned_env_local>,
        (): &mut (),
        payload: Box<dyn Any + Send + 'static>,
    ) -> jni::errors::Result<T> {
        // Dropping a payload may panic again.
        std::mem::forget(payload);
        if !env.exception_check() {
            throw(env, &AppError::panicked())?;
        }
        Ok(T::default())
    }
}

fn of_jni(error: &JniError) -> AppError {
    AppError::new(
        ErrorCode::Other,
        format!("a call of the JVM failed: {error}"),
    )
}

/// Throws the exception that `Errors.create` of the Kotlin library makes.
fn throw(env: &mut Env, error: &AppError) -> jni::errors::Result<()> {
    // The class is looked up for each error, so that Rust keeps no reference to it.
    let class: JClass = env.find_class(jni_str!("dev/ondol/internal/Errors"))?;
    let message = bytes::to_java(env, error.message.as_bytes())?;
    let exception = env.call_static_method(
        class,
        jni_str!("create"),
        jni_sig!((code: jint, message: jbyte[], needed: jlong, allowed: jlong) -> dev.ondol.OndolException),
        &[
            JValue::Int(error.code as i32),
            JValue::Object(&message),
            JValue::Long(bytes::java_long(error.needed)),
            JValue::Long(bytes::java_long(error.allowed)),
        ],
    )?;
    let exception = env.cast_local::<JThrowable>(exception.l()?)?;
    match env.throw(exception) {
        // A successful throw returns this error.
        Err(JniError::JavaException) => Ok(()),
        other => other,
    }
}
