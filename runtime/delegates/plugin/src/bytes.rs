//! Writes and reads the numbers of saved programs, little-endian. The functions that read take
//! the bytes from the front of `rest`; CORRUPT if there are too few.

use crate::failure::{Failure, Result};
use ondol::delegate::Code;

/// Writes a number that has 32 bits, such as a number of rows or columns.
pub fn put_number(to: &mut Vec<u8>, number: usize) {
    to.extend((number as u32).to_le_bytes());
}

/// Writes the number of the bytes, and the bytes.
pub fn put_bytes(to: &mut Vec<u8>, bytes: &[u8]) {
    to.extend((bytes.len() as u64).to_le_bytes());
    to.extend(bytes);
}

/// Reads what [`put_bytes`] wrote.
pub fn take_bytes<'b>(rest: &mut &'b [u8]) -> Result<&'b [u8]> {
    let n = take_u64(rest)?;
    take(rest, usize::try_from(n).unwrap_or(usize::MAX))
}

pub fn take_u32(rest: &mut &[u8]) -> Result<u32> {
    let bytes = take(rest, 4)?.try_into();
    bytes.map(u32::from_le_bytes).map_err(|_| too_short())
}

pub fn take_u64(rest: &mut &[u8]) -> Result<u64> {
    let bytes = take(rest, 8)?.try_into();
    bytes.map(u64::from_le_bytes).map_err(|_| too_short())
}

/// Reads `n` bytes.
pub fn take<'b>(rest: &mut &'b [u8], n: usize) -> Result<&'b [u8]> {
    let (taken, after) = rest.split_at_checked(n).ok_or_else(too_short)?;
    *rest = after;
    Ok(taken)
}

fn too_short() -> Failure {
    corrupt("the program is too short")
}

/// A failure because of damaged bytes.
pub fn corrupt(message: impl Into<String>) -> Failure {
    Failure::new(Code::Corrupt, message)
}
