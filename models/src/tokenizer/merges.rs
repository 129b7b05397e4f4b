//! The list of merges of a model: which neighbours are joined, and in which order.

use alloc::format;
use alloc::vec::Vec;

use super::strings::Strings;
use crate::gguf::Gguf;
use crate::{Error, Result};

const MERGES: &str = "tokenizer.ggml.merges";

/// Pairs spelled "left right"; the number of a pair is its rank.
#[derive(Debug, Clone)]
pub(super) struct Merges(Strings);

impl Merges {
    /// Reads `tokenizer.ggml.merges`.
    pub(super) fn from_gguf(gguf: &Gguf) -> Result<Merges> {
        let list = gguf.array(MERGES)?;
        if let Some(at) = list.texts().position(|pair| separator(pair).is_none()) {
            let reason = format!("element {at} is not two parts with a space between");
            return Err(Error::BadValue {
                key: MERGES.into(),
                reason,
            });
        }
        if list.texts().len() != list.len() {
            let reason = format!("{list:?} is not a list of strings");
            return Err(Error::BadValue {
                key: MERGES.into(),
                reason,
            });
        }
        Ok(Merges(Strings::new(list.texts(), "merges")?))
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        self.0.heap_bytes()
    }

    /// The rank of the merge of `pair[..at]` and `pair[at..]`. `name` is scratch, which is
    /// overwritten.
    pub(super) fn rank(&self, pair: &[u8], at: usize, name: &mut Vec<u8>) -> Option<u32> {
        if pair.len() >= self.0.longest() {
            return None;
        }
        let (left, right) = pair.split_at(at);
        name.clear();
        name.extend_from_slice(left);
        name.push(b' ');
        name.extend_from_slice(right);
        self.0.find(name)
    }
}

/// The place of the space in a merge; the left part has at least one byte.
fn separator(pair: &[u8]) -> Option<usize> {
    let at = pair.iter().skip(1).position(|&byte| byte == b' ')? + 1;
    (at + 1 < pair.len()).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merges_have_two_parts() {
        assert_eq!(separator(b"a b"), Some(1));
        assert_eq!(separator(b"  b"), Some(1));
        for bad in [&b""[..], b"a", b"ab", b" b", b"a ", b" "] {
            assert_eq!(separator(bad), None, "{bad:?}");
        }
    }
}
