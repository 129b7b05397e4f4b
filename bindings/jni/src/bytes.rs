//! Conversion of texts and numbers between the JVM and Rust.
//!
//! A list of texts is one array of bytes: each text is preceded by its length in bytes, as
//! four big-endian bytes. `Packed.kt` uses the same format.

use crate::call::Result;
use jni::Env;
use jni::objects::JByteArray;
use jni::sys::{jint, jlong};
use ondol_app::AppError;
use std::path::PathBuf;

/// Stands for `null` where an `int` is expected. `Native.kt` has the same value.
pub const NO_INT: jint = jint::MIN;
/// Stands for `null` where a `long` is expected. `Native.kt` has the same value.
pub const NO_LONG: jlong = jlong::MIN;

/// A text; `null` is an error.
pub fn text(env: &Env, array: &JByteArray) -> Result<String> {
    let text = String::from_utf8(env.convert_byte_array(array)?);
    Ok(text.map_err(|_| AppError::argument("a text is not UTF-8"))?)
}

/// A text or `null`.
pub fn optional_text(env: &Env, array: &JByteArray) -> Result<Option<String>> {
    match array.is_null() {
        true => Ok(None),
        false => text(env, array).map(Some),
    }
}

/// A path or `null`.
pub fn optional_path(env: &Env, array: &JByteArray) -> Result<Option<PathBuf>> {
    Ok(optional_text(env, array)?.map(PathBuf::from))
}

/// A list of texts.
pub fn texts(env: &Env, array: &JByteArray) -> Result<Vec<String>> {
    let bytes = env.convert_byte_array(array)?;
    let texts =
        unpack(&bytes).ok_or_else(|| AppError::argument("a packed list has wrong lengths"))?;
    Ok(texts)
}

fn unpack(mut bytes: &[u8]) -> Option<Vec<String>> {
    let mut texts = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let (text, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        texts.push(String::from_utf8(text.to_vec()).ok()?);
        bytes = rest;
    }
    bytes.is_empty().then_some(texts)
}

/// Bytes for the JVM.
pub fn to_java<'local>(
    env: &mut Env<'local>,
    bytes: &[u8],
) -> jni::errors::Result<JByteArray<'local>> {
    env.byte_array_from_slice(bytes)
}

/// A list of texts for the JVM.
pub fn texts_to_java<'local, T: AsRef<str>>(
    env: &mut Env<'local>,
    texts: &[T],
) -> Result<JByteArray<'local>> {
    Ok(to_java(env, &pack(texts))?)
}

fn pack<T: AsRef<str>>(texts: &[T]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for text in texts.iter().map(AsRef::as_ref) {
        bytes.extend((text.len() as u32).to_be_bytes());
        bytes.extend(text.as_bytes());
    }
    bytes
}

/// A count that is not negative.
pub fn count(name: &str, value: jint) -> Result<usize> {
    let count = usize::try_from(value);
    Ok(count
        .map_err(|_| AppError::argument(format!("{name} is {value}; it must not be negative")))?)
}

/// A count or `null`.
pub fn optional_count(name: &str, value: jint) -> Result<Option<usize>> {
    match value {
        NO_INT => Ok(None),
        value => count(name, value).map(Some),
    }
}

/// 0, 1 or `null`.
pub fn optional_flag(name: &str, value: jint) -> Result<Option<bool>> {
    Ok(optional_count(name, value)?.map(|flag| flag != 0))
}

/// A number of bytes or milliseconds that is not negative.
pub fn amount(name: &str, value: jlong) -> Result<u64> {
    let amount = u64::try_from(value);
    Ok(amount
        .map_err(|_| AppError::argument(format!("{name} is {value}; it must not be negative")))?)
}

/// A number of bytes or `null`.
pub fn optional_amount(name: &str, value: jlong) -> Result<Option<u64>> {
    match value {
        NO_LONG => Ok(None),
        value => amount(name, value).map(Some),
    }
}

/// A number for the JVM, at most the largest `long`.
pub fn java_long(value: u64) -> jlong {
    jlong::try_from(value).unwrap_or(jlong::MAX)
}

/// A number for the JVM, at most the largest `int`.
pub fn java_int(value: usize) -> jint {
    jint::try_from(value).unwrap_or(jint::MAX)
}
