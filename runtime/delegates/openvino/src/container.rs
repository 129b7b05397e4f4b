//! Saved programs: a header that identifies the program, a checksum, and the bytes that
//! OpenVINO exported.
//!
//! All numbers are little-endian. `FORMAT` must be incremented when the layout changes.

use crate::failure::{Failure, Result};
use ondol::delegate::Code;

const MAGIC: [u8; 4] = *b"OVPN";
const FORMAT: u32 = 1;
/// Bytes of magic, format and checksum. The checksum covers everything after them.
const HEADER: usize = 16;

/// The contents of a saved program.
#[derive(Debug, PartialEq)]
pub struct Contents<'b> {
    /// The device, its compiler and their versions
    /// ([`crate::device::Device::identity`]).
    pub identity: String,
    /// Rows of the graph.
    pub rows: u32,
    /// Inputs in the order of the IR: id and number of columns.
    pub inputs: Vec<(u32, u32)>,
    /// Outputs in the order of the IR: id and number of columns.
    pub outputs: Vec<(u32, u32)>,
    /// The bytes that OpenVINO exported.
    pub exported: &'b [u8],
}

/// Serializes a program.
pub fn write(contents: &Contents) -> Vec<u8> {
    let mut body = Vec::with_capacity(HEADER + contents.exported.len() + 256);
    body.resize(HEADER, 0);
    put_bytes(&mut body, contents.identity.as_bytes());
    body.extend(contents.rows.to_le_bytes());
    for side in [&contents.inputs, &contents.outputs] {
        body.extend((side.len() as u32).to_le_bytes());
        for (id, cols) in side {
            body.extend(id.to_le_bytes());
            body.extend(cols.to_le_bytes());
        }
    }
    put_bytes(&mut body, contents.exported);
    let sum = checksum(&body[HEADER..]);
    body[..4].copy_from_slice(&MAGIC);
    body[4..8].copy_from_slice(&FORMAT.to_le_bytes());
    body[8..HEADER].copy_from_slice(&sum.to_le_bytes());
    body
}

fn put_bytes(to: &mut Vec<u8>, bytes: &[u8]) {
    to.extend((bytes.len() as u64).to_le_bytes());
    to.extend(bytes);
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
        return Err(corrupt("the program's checksum is another"));
    }
    let found = String::from_utf8_lossy(take_bytes(&mut rest)?).into_owned();
    if found != identity {
        return Err(incompatible(format!(
            "a program of {found}, not {identity}"
        )));
    }
    let contents = Contents {
        identity: found,
        rows: take_u32(&mut rest)?,
        inputs: take_side(&mut rest)?,
        outputs: take_side(&mut rest)?,
        exported: take_bytes(&mut rest)?,
    };
    match rest {
        [] => Ok(contents),
        _ => Err(corrupt("the program is longer than it says")),
    }
}

fn take_side(rest: &mut &[u8]) -> Result<Vec<(u32, u32)>> {
    let n = take_u32(rest)?;
    (0..n)
        .map(|_| Ok((take_u32(rest)?, take_u32(rest)?)))
        .collect()
}

fn take_bytes<'b>(rest: &mut &'b [u8]) -> Result<&'b [u8]> {
    let n = take_u64(rest)?;
    take(rest, usize::try_from(n).unwrap_or(usize::MAX))
}

fn take_u32(rest: &mut &[u8]) -> Result<u32> {
    let bytes = take(rest, 4)?.try_into();
    bytes.map(u32::from_le_bytes).map_err(|_| too_short())
}

fn take_u64(rest: &mut &[u8]) -> Result<u64> {
    let bytes = take(rest, 8)?.try_into();
    bytes.map(u64::from_le_bytes).map_err(|_| too_short())
}

fn take<'b>(rest: &mut &'b [u8], n: usize) -> Result<&'b [u8]> {
    let (taken, after) = rest.split_at_checked(n).ok_or_else(too_short)?;
    *rest = after;
    Ok(taken)
}

fn too_short() -> Failure {
    corrupt("the program is too short")
}

fn corrupt(message: &str) -> Failure {
    Failure::new(Code::Corrupt, message)
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

    fn contents() -> Contents<'static> {
        Contents {
            identity: "CPU of a test".to_owned(),
            rows: 64,
            inputs: vec![(0, 32), (1, 96)],
            outputs: vec![(7, 48)],
            exported: b"what a compiler made",
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
