//! Parses metadata and the tensor directory. Every check of the format is here.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Display;

use super::cursor::Cursor;
use super::index::NameIndex;
use super::lookalike;
use super::tensor::{MAX_RANK, Shape, TensorInfo};
use super::value::{Array, Text, Value, ValueKind};
use super::{ALIGNMENT_KEY, Gguf, MAX_NAME_BYTES, checked_alignment};
use crate::quant::packed::{self, BadNumber};
use crate::quant::{DType, Layout};
use crate::{Error, Result, heap};

/// The first bytes of every file.
pub(super) const MAGIC: &[u8; 4] = b"GGUF";

/// How deeply arrays may be nested; an array of numbers has depth 1.
const MAX_ARRAY_DEPTH: usize = 4;

/// Reads one file.
pub(super) fn file(bytes: &[u8]) -> Result<Gguf<'_>> {
    let mut gguf = Gguf::EMPTY;
    let data_start = header(bytes, &mut gguf)? as u64;
    for tensor in &mut gguf.tensors {
        place(tensor, bytes, data_start, gguf.alignment as u64)?;
    }
    refuse_overlaps(&gguf.tensors)?;
    gguf.tensor_index = tensor_index(&gguf.tensors)?;
    Ok(gguf)
}

/// The bytes before the data of the first tensor.
pub(super) fn header_len(bytes: &[u8]) -> Result<usize> {
    let mut gguf = Gguf::EMPTY;
    header(bytes, &mut gguf)
}

/// Reads metadata and the directory of tensors, whose offsets are still relative and
/// which have no data. Returns where the data begins.
fn header<'a>(bytes: &'a [u8], gguf: &mut Gguf<'a>) -> Result<usize> {
    if !bytes.starts_with(MAGIC) {
        return Err(Error::NotGguf {
            found: lookalike::describe(bytes),
        });
    }
    let mut cursor = Cursor::new(bytes);
    cursor.take(MAGIC.len() as u64, &"the magic")?;
    gguf.version = version(&mut cursor)?;
    let tensor_count = cursor.u64(&"the number of tensors")?;
    let entry_count = cursor.u64(&"the number of metadata keys")?;

    gguf.metadata = metadata(&mut cursor, entry_count)?;
    gguf.metadata_index = NameIndex::new(&gguf.metadata, "metadata key", |(key, _)| key)?;
    if let Some(alignment) = gguf.opt_u32(ALIGNMENT_KEY)? {
        gguf.alignment = checked_alignment(alignment)?;
    }
    gguf.tensors = directory(&mut cursor, tensor_count)?;
    Ok(cursor.position().next_multiple_of(gguf.alignment))
}

/// The look-up of tensors by name.
///
/// # Errors
/// [`Error::Malformed`] where a name occurs twice.
pub(super) fn tensor_index(tensors: &[TensorInfo<'_>]) -> Result<NameIndex> {
    NameIndex::new(tensors, "tensor", |tensor| tensor.name)
}

pub(super) fn malformed(reason: String) -> Error {
    Error::Malformed { reason }
}

fn version(cursor: &mut Cursor<'_>) -> Result<u32> {
    let version = cursor.u32(&"the version")?;
    let found = match version {
        2 | 3 => return Ok(version),
        1 => "1, whose lengths have 32 bits".into(),
        // A big-endian 3 reads as 0x0300_0000.
        v if v & 0xffff == 0 && v != 0 => format!("{}, big-endian", v.swap_bytes()),
        v => format!("{v}"),
    };
    Err(Error::UnsupportedVersion { found })
}

fn metadata<'a>(cursor: &mut Cursor<'a>, count: u64) -> Result<Vec<(&'a str, Value<'a>)>> {
    // The list grows as entries are read, because the file's count may be far too large.
    let mut entries = Vec::new();
    for i in 0..count {
        let key = name(cursor, &format_args!("metadata key {i} of {count}"))?;
        let what = format_args!("metadata key `{key}`");
        let kind = kind(cursor, &what)?;
        heap::push(&mut entries, (key, value(cursor, kind, &what)?))?;
    }
    Ok(entries)
}

/// A key or a tensor name: UTF-8, of 1 to [`MAX_NAME_BYTES`] bytes.
fn name<'a>(cursor: &mut Cursor<'a>, what: &dyn Display) -> Result<&'a str> {
    let len = cursor.u64(what)?;
    refuse_bad_name(len, what)?;
    let bytes = cursor.take(len, what)?;
    core::str::from_utf8(bytes)
        .map_err(|_| malformed(format!("{what} has a name that is not UTF-8")))
}

/// Checks the length of a name in bytes.
pub(super) fn refuse_bad_name(len: u64, what: &dyn Display) -> Result<()> {
    if (1..=MAX_NAME_BYTES).contains(&len) {
        return Ok(());
    }
    Err(malformed(format!(
        "{what} has a name of {len} bytes, expected 1 to {MAX_NAME_BYTES}"
    )))
}

fn kind(cursor: &mut Cursor<'_>, what: &dyn Display) -> Result<ValueKind> {
    let number = cursor.u32(what)?;
    ValueKind::from_gguf(number)
        .ok_or_else(|| malformed(format!("{what} has the unknown value type {number}")))
}

/// A value of this kind.
pub(super) fn value<'a>(
    cursor: &mut Cursor<'a>,
    kind: ValueKind,
    what: &dyn Display,
) -> Result<Value<'a>> {
    Ok(match kind {
        ValueKind::U8 => Value::U8(u8::from_le_bytes(cursor.chunk(what)?)),
        ValueKind::I8 => Value::I8(i8::from_le_bytes(cursor.chunk(what)?)),
        ValueKind::U16 => Value::U16(u16::from_le_bytes(cursor.chunk(what)?)),
        ValueKind::I16 => Value::I16(i16::from_le_bytes(cursor.chunk(what)?)),
        ValueKind::U32 => Value::U32(u32::from_le_bytes(cursor.chunk(what)?)),
        ValueKind::I32 => Value::I32(i32::from_le_bytes(cursor.chunk(what)?)),
        ValueKind::U64 => Value::U64(u64::from_le_bytes(cursor.chunk(what)?)),
        ValueKind::I64 => Value::I64(i64::from_le_bytes(cursor.chunk(what)?)),
        ValueKind::F32 => Value::F32(f32::from_le_bytes(cursor.chunk(what)?)),
        ValueKind::F64 => Value::F64(f64::from_le_bytes(cursor.chunk(what)?)),
        ValueKind::Bool => Value::Bool(checked_bools(cursor.take(1, what)?, what)? == [1]),
        ValueKind::String => Value::String(Text(cursor.text(what)?)),
        ValueKind::Array => Value::Array(array(cursor, 1, what)?),
    })
}

fn array<'a>(cursor: &mut Cursor<'a>, depth: usize, what: &dyn Display) -> Result<Array<'a>> {
    if depth > MAX_ARRAY_DEPTH {
        return Err(malformed(format!(
            "{what} nests arrays more than {MAX_ARRAY_DEPTH} deep"
        )));
    }
    let kind = kind(cursor, what)?;
    let count = cursor.u64(what)?;
    let start = cursor.position();
    match kind.fixed_bytes() {
        Some(size) => {
            let elements = cursor.take(count.saturating_mul(size), what)?;
            if kind == ValueKind::Bool {
                checked_bools(elements, what)?;
            }
        }
        None if kind == ValueKind::String => cursor.skip_texts(count, what)?,
        None => {
            for _ in 0..count {
                array(cursor, depth + 1, what)?;
            }
        }
    }
    // Every element took at least a byte of `bytes`, so the count fits in a `usize`.
    let len = usize::try_from(count).unwrap_or(usize::MAX);
    Ok(Array {
        kind,
        len,
        bytes: cursor.since(start),
    })
}

fn checked_bools<'a>(bytes: &'a [u8], what: &dyn Display) -> Result<&'a [u8]> {
    match bytes.iter().find(|byte| **byte > 1) {
        Some(byte) => Err(malformed(format!(
            "{what} has a boolean of {byte}, expected 0 or 1"
        ))),
        None => Ok(bytes),
    }
}

fn directory<'a>(cursor: &mut Cursor<'a>, count: u64) -> Result<Vec<TensorInfo<'a>>> {
    // The list grows as entries are read, because the file's count may be far too large.
    let mut tensors = Vec::new();
    for i in 0..count {
        let tensor = directory_entry(cursor, &format_args!("tensor {i} of {count}"))?;
        heap::push(&mut tensors, tensor)?;
    }
    Ok(tensors)
}

/// One tensor without its data. Its offset is still relative to the data section.
fn directory_entry<'a>(cursor: &mut Cursor<'a>, what: &dyn Display) -> Result<TensorInfo<'a>> {
    let name = name(cursor, what)?;
    let rank = cursor.u32(&format_args!("the rank of tensor `{name}`"))?;
    let mut dims = [0; MAX_RANK];
    let dims = usize::try_from(rank)
        .ok()
        .and_then(|rank| dims.get_mut(..rank))
        .ok_or_else(|| {
            let reason = format!("it has {rank} dimensions, expected 1 to {MAX_RANK}");
            Error::BadShape {
                name: name.into(),
                reason,
            }
        })?;
    for dim in dims.iter_mut() {
        *dim = cursor.u64(&format_args!("the dimensions of tensor `{name}`"))?;
    }
    let number = cursor.u32(&format_args!("the type of tensor `{name}`"))?;
    let offset = cursor.u64(&format_args!("the offset of tensor `{name}`"))?;
    let (dtype, layout) = storage(name, number)?;
    let shape = Shape::new(name, dims)?;
    Ok(TensorInfo {
        name,
        dtype,
        layout,
        shard: 0,
        offset,
        data: &[],
        shape,
    })
}

/// The format and the layout that a type number stands for.
fn storage(tensor: &str, number: u32) -> Result<(DType, Layout)> {
    Layout::from_gguf(number).map_err(|bad| match bad {
        BadNumber::Type(dtype) => Error::UnsupportedDType {
            tensor: tensor.into(),
            dtype,
        },
        BadNumber::Version(found) => Error::UnsupportedPacking {
            found,
            supported: packed::VERSION,
        },
    })
}

/// Makes the offset absolute and finds the data.
fn place<'a>(
    tensor: &mut TensorInfo<'a>,
    bytes: &'a [u8],
    data_start: u64,
    alignment: u64,
) -> Result<()> {
    let TensorInfo { name, offset, .. } = *tensor;
    if !offset.is_multiple_of(alignment) {
        let reason = format!("tensor `{name}` has the offset {offset}, not aligned to {alignment}");
        return Err(malformed(reason));
    }
    let len = tensor.shape.byte_len(name, tensor.dtype)? as u64;
    let start = data_start.saturating_add(offset);
    let end = start.saturating_add(len);
    let range = usize::try_from(start).ok().zip(usize::try_from(end).ok());
    let data = range.and_then(|(start, end)| bytes.get(start..end));
    tensor.data = data.ok_or_else(|| Error::Truncated {
        what: format!("tensor `{name}`"),
        needed: end,
        have: bytes.len() as u64,
    })?;
    tensor.offset = start;
    Ok(())
}

fn refuse_overlaps(tensors: &[TensorInfo<'_>]) -> Result<()> {
    let mut by_offset: Vec<&TensorInfo<'_>> = heap::with_capacity(tensors.len())?;
    by_offset.extend(tensors);
    by_offset.sort_unstable_by_key(|tensor| tensor.offset);
    for (before, after) in by_offset.iter().zip(by_offset.iter().skip(1)) {
        if before.offset + before.data.len() as u64 > after.offset {
            let reason = format!("the data of `{}` and `{}` overlap", before.name, after.name);
            return Err(malformed(reason));
        }
    }
    Ok(())
}
