//! Bounded little-endian reads; their errors name what was cut off.

use alloc::string::ToString;
use core::fmt::Display;

use crate::{Error, Result};

/// A place in a byte slice. Reads move it on; a read past the end is
/// [`Error::Truncated`] and names what was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Cursor { bytes, at: 0 }
    }

    /// Bytes from the start.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// The bytes between an earlier position and this one.
    pub(super) fn since(&self, start: usize) -> &'a [u8] {
        self.bytes.get(start..self.at).unwrap_or_default()
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// The next `len` bytes.
    pub(super) fn take(&mut self, len: u64, what: &dyn Display) -> Result<&'a [u8]> {
        let taken = usize::try_from(len)
            .ok()
            .and_then(|len| self.rest().get(..len));
        let taken = taken.ok_or_else(|| self.truncated(len, what))?;
        self.at += taken.len();
        Ok(taken)
    }

    /// The next `N` bytes, for `from_le_bytes`.
    pub(super) fn chunk<const N: usize>(&mut self, what: &dyn Display) -> Result<[u8; N]> {
        let chunk = *self
            .rest()
            .first_chunk()
            .ok_or_else(|| self.truncated(N as u64, what))?;
        self.at += N;
        Ok(chunk)
    }

    pub(super) fn u32(&mut self, what: &dyn Display) -> Result<u32> {
        self.chunk(what).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, what: &dyn Display) -> Result<u64> {
        self.chunk(what).map(u64::from_le_bytes)
    }

    /// A string: its length in bytes as u64, then the bytes.
    pub(super) fn text(&mut self, what: &dyn Display) -> Result<&'a [u8]> {
        let len = self.u64(what)?;
        self.take(len, what)
    }

    /// Moves past `count` strings. Vocabularies have hundreds of thousands, so
    /// this loop does nothing but follow the lengths.
    pub(super) fn skip_texts(&mut self, count: u64, what: &dyn Display) -> Result<()> {
        let mut rest = self.rest();
        for _ in 0..count {
            match split_text(rest) {
                Some((_, after)) => rest = after,
                None => {
                    self.at = self.bytes.len() - rest.len();
                    return self.text(what).map(|_| ());
                }
            }
        }
        self.at = self.bytes.len() - rest.len();
        Ok(())
    }

    fn truncated(&self, len: u64, what: &dyn Display) -> Error {
        Error::Truncated {
            what: what.to_string(),
            needed: (self.at as u64).saturating_add(len),
            have: self.bytes.len() as u64,
        }
    }
}

/// The string that `bytes` begin with, and what follows it; `None` where it is cut off.
pub(super) fn split_text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::try_from(u64::from_le_bytes(*len)).ok()?)
}
