//! Many short byte strings in one buffer, with look-up of a string's number.
//!
//! A vocabulary of 262,144 tokens must be ready milliseconds after a cold start. So a table
//! has three allocations, is built without comparisons, and has a hash without a key.

use alloc::format;
use alloc::vec::Vec;

use crate::{Error, Result, heap};

/// Most strings a table holds: a slot of the index keeps 24 bits of number.
const MAX_STRINGS: usize = (1 << NUMBER_BITS) - 1;
const NUMBER_BITS: u32 = 24;
const NUMBER_MASK: u32 = (1 << NUMBER_BITS) - 1;

/// A free slot; no string has the number that it would hold.
const FREE: u32 = u32::MAX;

/// The most slots that are probed for a string. A vocabulary that needs more has too
/// many equal strings, or was made so that hashes collide; real ones need far fewer.
const MAX_PROBES: usize = 1024;

/// Numbered byte strings with look-up by content.
#[derive(Debug, Clone)]
pub(super) struct Strings {
    text: Vec<u8>,
    /// The end of each string in `text`; it begins where the one before ends.
    ends: Vec<u32>,
    /// Open addressing with linear probing. A slot is 8 bits of hash and 24 bits of number.
    index: Vec<u32>,
    longest: usize,
}

impl Strings {
    /// Copies the strings, in order. Empty ones keep their number but are never found.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] naming `what`, if there are too many strings, too many
    /// bytes, or too many equal strings; [`Error::OutOfMemory`].
    pub(super) fn new<'a>(
        strings: impl ExactSizeIterator<Item = &'a [u8]> + Clone,
        what: &str,
    ) -> Result<Strings> {
        Strings::unescaped(strings, what, |string, text| {
            text.extend_from_slice(string);
            Some(())
        })
    }

    /// As [`Strings::new`], of what `unescape` makes of each string. It appends at most as
    /// many bytes as the string has, and returns `None` for an invalid escape.
    ///
    /// # Errors
    /// Those of [`Strings::new`]; [`Error::Tokenizer`] for an invalid escape.
    pub(super) fn unescaped<'a>(
        strings: impl ExactSizeIterator<Item = &'a [u8]> + Clone,
        what: &str,
        unescape: impl Fn(&[u8], &mut Vec<u8>) -> Option<()>,
    ) -> Result<Strings> {
        let bytes: usize = strings.clone().map(<[u8]>::len).sum();
        if strings.len() > MAX_STRINGS || u32::try_from(bytes).is_err() {
            let reason = format!("too many {what}: {} with {bytes} bytes", strings.len());
            return Err(Error::Tokenizer { reason });
        }
        // A quarter of the slots stays free, so that searches are short.
        let slots = strings.len() / 3 * 4 + 4;
        let mut table = Strings {
            text: heap::with_capacity(bytes)?,
            ends: heap::with_capacity(strings.len())?,
            index: heap::filled(FREE, slots)?,
            longest: 0,
        };
        for (number, string) in (0..).zip(strings) {
            let start = table.text.len();
            unescape(string, &mut table.text).ok_or_else(|| Error::Tokenizer {
                reason: format!("invalid escape in the {what}, at number {number}"),
            })?;
            let string = &table.text[start..];
            let (length, hash) = (string.len(), hash(string));
            table.ends.push(table.text.len() as u32);
            table.longest = table.longest.max(length);
            if length > 0 && !table.insert(hash, number) {
                let reason = format!(
                    "too many {what} are equal or have colliding hashes, at number {number}"
                );
                return Err(Error::Tokenizer { reason });
            }
        }
        Ok(table)
    }

    fn insert(&mut self, hash: u64, number: u32) -> bool {
        let slot = self.probes(hash).find(|&slot| self.index[slot] == FREE);
        if let Some(slot) = slot {
            self.index[slot] = tag(hash) | number;
        }
        slot.is_some()
    }

    /// The slots in which a string of this hash may lie.
    fn probes(&self, hash: u64) -> impl Iterator<Item = usize> + use<> {
        let slots = self.index.len();
        // 32 bits of the hash, none of them in the tag, as a fraction of the slots.
        let home = ((u64::from((hash >> 24) as u32) * slots as u64) >> 32) as usize;
        let probes = home..home + MAX_PROBES.min(slots);
        probes.map(move |slot| if slot < slots { slot } else { slot - slots })
    }

    /// The number of this string; the lowest if there are several.
    pub(super) fn find(&self, string: &[u8]) -> Option<u32> {
        if string.len() > self.longest {
            return None;
        }
        let hash = hash(string);
        self.probes(hash)
            .map(|slot| self.index[slot])
            .take_while(|&entry| entry != FREE)
            .filter(|entry| entry & !NUMBER_MASK == tag(hash))
            .map(|entry| entry & NUMBER_MASK)
            .find(|&number| self.get(number) == Some(string))
    }

    /// The string with this number.
    pub(super) fn get(&self, number: u32) -> Option<&[u8]> {
        let number = number as usize;
        let end = *self.ends.get(number)? as usize;
        let start = match number.checked_sub(1) {
            Some(before) => *self.ends.get(before)? as usize,
            None => 0,
        };
        self.text.get(start..end)
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        heap::bytes(&self.text) + heap::bytes(&self.ends) + heap::bytes(&self.index)
    }

    /// How many strings there are.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The length of the longest string, in bytes.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }
}

/// The top 8 bits of a hash, where an index slot keeps them.
fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32 & !NUMBER_MASK
}

/// A multiply-and-rotate hash over words of 8 bytes, after FxHash, with a final mix.
/// What is left past the last whole word is read as words that overlap.
fn hash(string: &[u8]) -> u64 {
    let mut hash = string.len() as u64;
    let (words, tail) = string.as_chunks::<8>();
    for word in words {
        hash = mix(hash, u64::from_le_bytes(*word));
    }
    if let (false, Some(last)) = (tail.is_empty(), string.last_chunk::<8>()) {
        hash = mix(hash, u64::from_le_bytes(*last));
    } else if let (Some(&low), Some(&high)) = (tail.first_chunk::<4>(), tail.last_chunk::<4>()) {
        let (low, high) = (u32::from_le_bytes(low), u32::from_le_bytes(high));
        hash = mix(hash, u64::from(low) | u64::from(high) << 32);
    } else if let (Some(&first), Some(&last)) = (tail.first(), tail.last()) {
        let middle = tail[tail.len() / 2];
        hash = mix(
            hash,
            u64::from_le_bytes([first, middle, last, 0, 0, 0, 0, 0]),
        );
    }
    mix(hash ^ hash >> 32, 0)
}

fn mix(hash: u64, word: u64) -> u64 {
    (hash.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn table(strings: &[&str]) -> Result<Strings> {
        Strings::new(strings.iter().map(|s| s.as_bytes()), "words")
    }

    #[test]
    fn finds_what_it_holds_and_nothing_else() {
        let words: Vec<_> = (0..5000)
            .map(|i| format!("{}가{i}", "x".repeat(i % 19)))
            .collect();
        let table = Strings::new(words.iter().map(|w| w.as_bytes()), "words").unwrap();
        for (number, word) in (0..).zip(&words) {
            assert_eq!(table.find(word.as_bytes()), Some(number));
            assert_eq!(table.get(number), Some(word.as_bytes()));
            assert_eq!(table.find(format!("{word}y").as_bytes()), None);
        }
        assert_eq!(table.get(5000), None);
        assert_eq!(table.get(u32::MAX), None);
    }

    #[test]
    fn every_byte_of_a_string_counts() {
        for length in 1..40 {
            let zeros = vec![0; length];
            for at in 0..length {
                let mut other = zeros.clone();
                other[at] = 1;
                assert_ne!(hash(&zeros), hash(&other), "byte {at} of {length}");
            }
        }
    }

    #[test]
    fn the_first_of_equal_strings_is_found_and_empty_ones_never() {
        let table = table(&["", "a", "b", "a"]).unwrap();
        assert_eq!(table.find(b"a"), Some(1));
        assert_eq!(table.find(b""), None);
        assert_eq!(table.get(3), Some(&b"a"[..]));
        assert_eq!(table.len(), 4);
    }

    #[test]
    fn an_empty_table_finds_nothing() {
        let table = table(&[]).unwrap();
        assert_eq!(table.find(b"a"), None);
        assert_eq!(table.get(0), None);
    }

    #[test]
    fn a_vocabulary_of_one_word_repeated_is_refused_quickly() {
        let same = vec!["same"; 100_000];
        assert!(matches!(table(&same), Err(Error::Tokenizer { .. })));
    }
}
