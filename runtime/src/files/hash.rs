//! SHA-256, in hexadecimal.

use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::io::{self, Write};
use std::string::String;

/// Hashes the bytes that are written to it.
#[derive(Debug, Clone, Default)]
pub struct Hasher(Sha256);

impl Hasher {
    /// A hash of no bytes yet.
    pub fn new() -> Hasher {
        Hasher::default()
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// SHA-256 of all bytes, 64 hexadecimal digits.
    pub fn finish(self) -> String {
        hex(&self.0.finalize())
    }
}

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A writer that hashes its bytes and passes them to another writer.
#[derive(Debug)]
pub struct HashingWriter<W> {
    out: W,
    hasher: Hasher,
}

impl<W: Write> HashingWriter<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> HashingWriter<W> {
        let hasher = Hasher::new();
        HashingWriter { out, hasher }
    }

    /// The SHA-256 of the bytes that `out` accepted.
    pub fn finish(self) -> String {
        self.hasher.finish()
    }
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string can't fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_the_standard() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let mut hasher = Hasher::new();
        hasher.update(b"a");
        hasher.update(b"bc");
        assert_eq!(hasher.finish(), abc);
    }

    #[test]
    fn only_what_was_taken_is_hashed() {
        let mut small = [0; 3];
        let mut out = HashingWriter::new(&mut small[..]);
        assert!(out.write_all(b"abcdef").is_err());
        let mut abc = Hasher::new();
        abc.update(b"abc");
        assert_eq!(out.finish(), abc.finish());
    }
}
