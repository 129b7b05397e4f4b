//! Saved programs: a header that identifies the program, a checksum, and the plug-in's own
//! bytes.
//!
//! All numbers are little-endian. `FORMAT` must be incremented when the layout changes.

use crate::bytes::{corrupt, put_bytes, put_number, take, take_bytes, take_u32, take_u64};
use crate::failure::{Failure, Result};
use crate::graph::{Interface, Value};
use ondol::delegate::Code;

const MAGIC: [u8; 4] = *b"ONPP";
const FORMAT: u32 = 1;
/// Bytes of magic, format and checksum. The checksum covers everything after them.
const HEADER: usize = 16;

/// The contents of a saved program.
#[derive(Debug, PartialEq)]
pub struct Contents<'b> {
    /// Everything on which the program depends ([`crate::device::Opened::identity`]).
    pub identity: String,
    /// The values that jobs bind.
    pub interface: Interface,
    /// The bytes of [`crate::Program::save`].
    pub program: &'b [u8],
}

/// Serializes a program.
pub fn write(contents: &Contents) -> Vec<u8> {
    let mut body = Vec::with_capacity(HEADER + contents.program.len() + 256);
    body.resize(HEADER, 0);
    put_bytes(&mut body, contents.identity.as_bytes());
    let interface = &contents.interface;
    put_number(&mut body, interface.rows);
    for side in [&interface.inputs, &interface.outputs] {
        put_number(&mut body, side.len());
        for value in side {
            body.extend(value.id.to_le_bytes());
            put_number(&mut body, value.cols);
        }
    }
    put_bytes(&mut body, contents.program);
    let sum = checksum(&body[HEADER..]);
    body[..4].copy_from_slice(&MAGIC);
    body[4..8].copy_from_slice(&FORMAT.to_le_bytes());
    body[8..HEADER].copy_from_slice(&sum.to_le_bytes());
    body
}

/// Parses a program of the device that `identity` names.
///
/// # Errors
/// CORRUPT for damaged bytes, INCOMPATIBLE for another device, compiler or format.
pub fn read<'b>(blob: &'b [u8], identity: &str) -> Result<Contents<'b>> {
    let mut rest = blob;
    if take(&mut rest, MAGIC.len())? != MAGIC {
        return Err(corrupt("no program of this plug-in"));
    }
    let format = take_u32(&mut rest)?;
    if format != FORMAT {
        return Err(incompatible(format!(
            "a program of format {format}, not {FORMAT}"
        )));
    }
    let sum = take_u64(&mut rest)?;
    if sum != checksum(rest) {
        return Err(corrupt("the program's checksum is wrong"));
    }
    let found = String::from_utf8_lossy(take_bytes(&mut rest)?).into_owned();
    if found != identity {
        return Err(incompatible(format!(
            "a program of {found}, not {identity}"
        )));
    }
    let contents = Contents {
        identity: found,
        interface: Interface {
            rows: take_u32(&mut rest)? as usize,
            inputs: take_side(&mut rest)?,
            outputs: take_side(&mut rest)?,
        },
        program: take_bytes(&mut rest)?,
    };
    match rest {
        [] => Ok(contents),
        _ => Err(corrupt("the program is longer than it says")),
    }
}

fn take_side(rest: &mut &[u8]) -> Result<Vec<Value>> {
    let n = take_u32(rest)?;
    (0..n)
        .map(|_| {
            let (id, cols) = (take_u32(rest)?, take_u32(rest)? as usize);
            Ok(Value { id, cols })
        })
        .collect()
}

fn incompatible(message: String) -> Failure {
    Failure::new(Code::Incompatible, message)
}

/// 64-bit FNV-1a over words of eight bytes. Each step is invertible, so a change of one
/// word always changes the checksum.
fn checksum(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325 ^ bytes.len() as u64;
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x0100_0000_01b3);
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(id: u32, cols: usize) -> Value {
        Value { id, cols }
    }

    fn contents() -> Contents<'static> {
        Contents {
            identity: "CPU of a test".to_owned(),
            interface: Interface {
                rows: 64,
                inputs: vec![value(0, 32), value(1, 96)],
                outputs: vec![value(7, 48)],
            },
            program: b"what a compiler made",
        }
    }

    #[test]
    fn a_program_comes_back() {
        let blob = write(&contents());
        assert_eq!(read(&blob, "CPU of a test").unwrap(), contents());
    }

    #[test]
    fn another_device_is_incompatible() {
        let blob = write(&contents());
        assert_eq!(read(&blob, "NPU").unwrap_err().code, Code::Incompatible);
    }

    #[test]
    fn no_damage_goes_unseen() {
        let blob = write(&contents());
        for bit in 0..blob.len() * 8 {
            let mut flipped = blob.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&flipped, "CPU of a test").is_err(), "bit {bit}");
        }
        for len in 0..blob.len() {
            let failure = read(&blob[..len], "CPU of a test").unwrap_err();
            assert_eq!(failure.code, Code::Corrupt, "{len} bytes");
        }
        let longer = [&blob[..], &[0]].concat();
        assert!(read(&longer, "CPU of a test").is_err());
    }
}
