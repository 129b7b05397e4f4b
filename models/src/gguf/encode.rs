//! From Rust values to the bytes of metadata.

use alloc::string::String;
use alloc::vec::Vec;

use super::cursor::Cursor;
use super::read;
use super::value::{Text, Value, ValueKind};

/// A type that metadata can hold: numbers, booleans, strings, and slices and
/// vectors of these (or of vectors).
pub trait Encode {
    /// The type in the file.
    const KIND: ValueKind;

    /// Appends the value as the file has it, without its type.
    fn encode(&self, out: &mut Vec<u8>);
}

macro_rules! encode_numbers {
    ($($number:ty: $kind:ident),*) => {$(
        impl Encode for $number {
            const KIND: ValueKind = ValueKind::$kind;

            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
        }
    )*};
}

encode_numbers!(u8: U8, i8: I8, u16: U16, i16: I16, u32: U32, i32: I32);
encode_numbers!(u64: U64, i64: I64, f32: F32, f64: F64);

impl Encode for bool {
    const KIND: ValueKind = ValueKind::Bool;

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
}

impl Encode for Text<'_> {
    const KIND: ValueKind = ValueKind::String;

    fn encode(&self, out: &mut Vec<u8>) {
        (self.0.len() as u64).encode(out);
        out.extend_from_slice(self.0);
    }
}

impl Encode for &str {
    const KIND: ValueKind = ValueKind::String;

    fn encode(&self, out: &mut Vec<u8>) {
        Text(self.as_bytes()).encode(out);
    }
}

impl Encode for String {
    const KIND: ValueKind = ValueKind::String;

    fn encode(&self, out: &mut Vec<u8>) {
        self.as_str().encode(out);
    }
}

impl<T: Encode> Encode for &[T] {
    const KIND: ValueKind = ValueKind::Array;

    fn encode(&self, out: &mut Vec<u8>) {
        (T::KIND as u32).encode(out);
        (self.len() as u64).encode(out);
        self.iter().for_each(|element| element.encode(out));
    }
}

impl<T: Encode> Encode for Vec<T> {
    const KIND: ValueKind = ValueKind::Array;

    fn encode(&self, out: &mut Vec<u8>) {
        self.as_slice().encode(out);
    }
}

/// A metadata value that owns its bytes, made from any [`Encode`] type or from
/// a [`Value`] of another file.
#[derive(Debug, Clone, PartialEq)]
pub struct MetaValue {
    kind: ValueKind,
    /// The value as the file has it, without its type.
    bytes: Vec<u8>,
}

impl MetaValue {
    /// The value as the reader would give it; `None` where arrays are nested
    /// deeper than the reader accepts.
    pub fn value(&self) -> Option<Value<'_>> {
        read::value(&mut Cursor::new(&self.bytes), self.kind, &"").ok()
    }

    /// Appends the type and the value.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        (self.kind as u32).encode(out);
        out.extend_from_slice(&self.bytes);
    }
}

impl<T: Encode> From<T> for MetaValue {
    fn from(value: T) -> MetaValue {
        let mut bytes = Vec::new();
        value.encode(&mut bytes);
        MetaValue {
            kind: T::KIND,
            bytes,
        }
    }
}

impl From<Value<'_>> for MetaValue {
    fn from(value: Value<'_>) -> MetaValue {
        match value {
            Value::U8(v) => v.into(),
            Value::I8(v) => v.into(),
            Value::U16(v) => v.into(),
            Value::I16(v) => v.into(),
            Value::U32(v) => v.into(),
            Value::I32(v) => v.into(),
            Value::U64(v) => v.into(),
            Value::I64(v) => v.into(),
            Value::F32(v) => v.into(),
            Value::F64(v) => v.into(),
            Value::Bool(v) => v.into(),
            Value::String(v) => v.into(),
            Value::Array(array) => {
                let mut bytes = Vec::new();
                (array.kind as u32).encode(&mut bytes);
                (array.len as u64).encode(&mut bytes);
                bytes.extend_from_slice(array.bytes);
                MetaValue {
                    kind: ValueKind::Array,
                    bytes,
                }
            }
        }
    }
}
