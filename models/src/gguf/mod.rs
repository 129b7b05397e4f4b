//! The GGUF container: a zero-copy reader over bytes, and a writer.
//!
//! A file is a header, metadata (keys with typed values), a directory of
//! tensors, and the tensors' data, each aligned. The format is described at
//! <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>; versions 2 and
//! 3, little-endian, are read.
//!
//! [`Gguf::parse`] checks the whole header before it returns, so later operations
//! (look-ups, iterating arrays, reading tensor data) can't fail on a bad file.
//! Vocabulary and weights are not copied.
//!
//! | file | job |
//! | --- | --- |
//! | `read` | bytes to metadata and directory, with every check |
//! | `cursor` | bounded reads whose errors name what was cut off |
//! | `lookalike` | recognizes files that are not GGUF |
//! | `value`, `tensor` | one metadata value, one tensor |
//! | `index` | look-up by name |
//! | `shards` | models split over several files |
//! | `encode`, `writer` | values to bytes, and metadata and tensors to a file |

mod cursor;
mod encode;
mod index;
mod lookalike;
mod read;
mod shards;
mod tensor;
#[cfg(test)]
mod tests;
mod value;
mod writer;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::{Error, Result};
use index::NameIndex;

pub use encode::{Encode, MetaValue};
pub use shards::{shard_name, shard_names};
pub use tensor::TensorInfo;
pub use value::{Array, Text, Texts, Value, ValueKind, Values};
#[cfg(feature = "std")]
pub use writer::Stream;
pub use writer::Writer;

/// Longest key and longest tensor name, in bytes: the specification's limit for keys.
const MAX_NAME_BYTES: u64 = 65_535;

/// The key that sets the alignment of tensor data.
const ALIGNMENT_KEY: &str = "general.alignment";

/// The default alignment of tensor data, in bytes.
const DEFAULT_ALIGNMENT: usize = 32;

/// The largest accepted alignment, in bytes: half of a huge page of 2 MiB.
const MAX_ALIGNMENT: usize = 1 << 20;

/// A parsed GGUF file, or a set of shards, that borrows the file's bytes.
#[derive(Debug, Clone)]
pub struct Gguf<'a> {
    version: u32,
    alignment: usize,
    metadata: Vec<(&'a str, Value<'a>)>,
    metadata_index: NameIndex,
    tensors: Vec<TensorInfo<'a>>,
    tensor_index: NameIndex,
}

impl<'a> Gguf<'a> {
    /// The value to which the reader adds metadata and tensors.
    const EMPTY: Gguf<'a> = Gguf {
        version: 0,
        alignment: DEFAULT_ALIGNMENT,
        metadata: Vec::new(),
        metadata_index: NameIndex::EMPTY,
        tensors: Vec::new(),
        tensor_index: NameIndex::EMPTY,
    };

    /// Reads the header of one file and checks all of it.
    ///
    /// A file without tensors (only a vocabulary) is accepted, and so is a single shard
    /// of a split model; [`Gguf::parse_shards`] also checks that the set is complete.
    ///
    /// # Errors
    /// [`Error::NotGguf`], [`Error::UnsupportedVersion`], [`Error::Truncated`],
    /// [`Error::UnsupportedDType`], [`Error::UnsupportedPacking`], [`Error::BadShape`],
    /// [`Error::BadValue`] for the alignment, [`Error::OutOfMemory`], and
    /// [`Error::Malformed`] for everything else.
    pub fn parse(bytes: &'a [u8]) -> Result<Gguf<'a>> {
        read::file(bytes)
    }

    /// The bytes before the data of the first tensor: metadata and directory. `bytes` may
    /// be the beginning of a file.
    ///
    /// # Errors
    /// [`Error::Truncated`] if `bytes` end before the directory does; otherwise those of
    /// [`Gguf::parse`] for what is in the header.
    pub fn header_len(bytes: &[u8]) -> Result<usize> {
        read::header_len(bytes)
    }

    /// Reads a model that is split over several files, given in order; a model
    /// in one file is a set of one.
    ///
    /// The metadata is that of the first shard; tensors are those of all, in
    /// order, and [`TensorInfo::shard`] says where each one lies.
    ///
    /// # Errors
    /// Those of [`Gguf::parse`] for each shard; [`Error::Parts`] where shards are
    /// missing, out of order, or of another model; [`Error::MissingKey`] where one
    /// lacks `split.no`; [`Error::BadValue`] where a later shard has metadata that
    /// the first one lacks or contradicts; and [`Error::Malformed`] where two shards have a
    /// tensor of the same name. An error of one of several shards is wrapped in
    /// [`Error::Shard`].
    pub fn parse_shards(shards: &[&'a [u8]]) -> Result<Gguf<'a>> {
        shards::parse(shards)
    }

    /// The version of the container: 2 or 3.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The alignment of tensor data, in bytes; of the first shard where there are several.
    pub fn alignment(&self) -> usize {
        self.alignment
    }

    /// All metadata, in the order of the file.
    pub fn metadata(&self) -> &[(&'a str, Value<'a>)] {
        &self.metadata
    }

    /// All tensors, in the order of the file.
    pub fn tensors(&self) -> &[TensorInfo<'a>] {
        &self.tensors
    }

    /// The tensor of this name.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo<'a>> {
        let at = self
            .tensor_index
            .find(name, |i| self.tensors.get(i).map_or("", |t| t.name))?;
        self.tensors.get(at)
    }

    /// The value of this key.
    pub fn get(&self, key: &str) -> Option<&Value<'a>> {
        let at = self
            .metadata_index
            .find(key, |i| self.metadata.get(i).map_or("", |(k, _)| k))?;
        self.metadata.get(at).map(|(_, value)| value)
    }

    /// A required string.
    ///
    /// # Errors
    /// [`Error::MissingKey`]; [`Error::BadValue`] if it is no string, or not UTF-8.
    pub fn str(&self, key: &str) -> Result<&'a str> {
        self.opt_str(key)?.ok_or_else(|| missing(key))
    }

    /// A required unsigned integer, stored in any integer type.
    ///
    /// # Errors
    /// [`Error::MissingKey`]; [`Error::BadValue`] if it is no integer, or does not fit.
    pub fn u32(&self, key: &str) -> Result<u32> {
        self.opt_u32(key)?.ok_or_else(|| missing(key))
    }

    /// A required unsigned integer, stored in any integer type.
    ///
    /// # Errors
    /// [`Error::MissingKey`]; [`Error::BadValue`] if it is no integer, or negative.
    pub fn u64(&self, key: &str) -> Result<u64> {
        self.opt_u64(key)?.ok_or_else(|| missing(key))
    }

    /// A required float, stored as f32 or f64.
    ///
    /// # Errors
    /// [`Error::MissingKey`]; [`Error::BadValue`] if it is no float, or past f32's range.
    pub fn f32(&self, key: &str) -> Result<f32> {
        self.opt_f32(key)?.ok_or_else(|| missing(key))
    }

    /// A required boolean.
    ///
    /// # Errors
    /// [`Error::MissingKey`]; [`Error::BadValue`] if it is no boolean.
    pub fn bool(&self, key: &str) -> Result<bool> {
        self.opt_bool(key)?.ok_or_else(|| missing(key))
    }

    /// A required array.
    ///
    /// # Errors
    /// [`Error::MissingKey`]; [`Error::BadValue`] if it is no array.
    pub fn array(&self, key: &str) -> Result<Array<'a>> {
        self.opt_array(key)?.ok_or_else(|| missing(key))
    }

    /// As [`Gguf::str`], but the key may be absent.
    ///
    /// # Errors
    /// [`Error::BadValue`] if it is no string, or not UTF-8.
    pub fn opt_str(&self, key: &str) -> Result<Option<&'a str>> {
        self.convert(key, "a UTF-8 string", |v| v.as_text()?.as_str())
    }

    /// As [`Gguf::u32`], but the key may be absent.
    ///
    /// # Errors
    /// [`Error::BadValue`] if it is no integer, or does not fit.
    pub fn opt_u32(&self, key: &str) -> Result<Option<u32>> {
        self.convert(key, "an integer of 0..2^32", |v| {
            v.as_u64()?.try_into().ok()
        })
    }

    /// As [`Gguf::u64`], but the key may be absent.
    ///
    /// # Errors
    /// [`Error::BadValue`] if it is no integer, or negative.
    pub fn opt_u64(&self, key: &str) -> Result<Option<u64>> {
        self.convert(key, "an integer of 0..2^64", |v| v.as_u64())
    }

    /// As [`Gguf::f32`], but the key may be absent.
    ///
    /// # Errors
    /// [`Error::BadValue`] if it is no float, or past f32's range.
    pub fn opt_f32(&self, key: &str) -> Result<Option<f32>> {
        self.convert(key, "a float in f32's range", |v| v.as_f32())
    }

    /// As [`Gguf::bool`], but the key may be absent.
    ///
    /// # Errors
    /// [`Error::BadValue`] if it is no boolean.
    pub fn opt_bool(&self, key: &str) -> Result<Option<bool>> {
        self.convert(key, "a boolean", |v| v.as_bool())
    }

    /// As [`Gguf::array`], but the key may be absent.
    ///
    /// # Errors
    /// [`Error::BadValue`] if it is no array.
    pub fn opt_array(&self, key: &str) -> Result<Option<Array<'a>>> {
        self.convert(key, "an array", |v| v.as_array())
    }

    fn convert<T>(
        &self,
        key: &str,
        wanted: &str,
        convert: impl Fn(&Value<'a>) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        match convert(value) {
            Some(converted) => Ok(Some(converted)),
            None => Err(bad_value(
                key,
                format!("expected {wanted}, found {}", described(value)),
            )),
        }
    }
}

fn missing(key: &str) -> Error {
    Error::MissingKey { key: key.into() }
}

fn bad_value(key: &str, reason: String) -> Error {
    Error::BadValue {
        key: key.into(),
        reason,
    }
}

/// The type of a value, and the value where it is short.
fn described(value: &Value<'_>) -> String {
    match value {
        Value::String(_) | Value::Array(_) => format!("{}", value.kind()),
        scalar => format!("{} {scalar}", scalar.kind()),
    }
}

/// Checks the value of [`ALIGNMENT_KEY`].
fn checked_alignment(alignment: u32) -> Result<usize> {
    match usize::try_from(alignment) {
        Ok(n) if n.is_power_of_two() && (8..=MAX_ALIGNMENT).contains(&n) => Ok(n),
        _ => Err(bad_value(
            ALIGNMENT_KEY,
            format!("{alignment} is not a power of two of 8 to {MAX_ALIGNMENT}"),
        )),
    }
}
