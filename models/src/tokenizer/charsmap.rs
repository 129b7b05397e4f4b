//! The table of replacements with which SentencePiece normalizes text: Unicode's form KC and
//! more, compiled by its trainer (`normalizer_spec.precompiled_charsmap` of a `.model` file).
//!
//! | bytes | content |
//! | --- | --- |
//! | 4 | n, the bytes of the trie |
//! | n | the trie: a double array of units of 32 bits |
//! | the rest | the replacements in UTF-8, each ended by a zero byte |
//!
//! | bits of a unit | content |
//! | --- | --- |
//! | 0 to 7 | the byte that leads to it |
//! | 8 | a key ends here, so that it has a value |
//! | 9 | the offset counts 256 units |
//! | 10 to 30 | the offset |
//! | 31 | set in values: the other bits are where the replacement begins |
//!
//! From unit `i`, byte `b` leads to unit `i ^ offset ^ b`; the value is unit `i ^ offset`.
//! All numbers are little-endian. Sources: `src/normalizer.cc` and
//! `third_party/darts_clone/darts.h` of SentencePiece 0.2.1.

use alloc::string::String;
use alloc::vec::Vec;

use super::vocab::bad;
use crate::gguf::Gguf;
use crate::{Error, Result, heap};

pub(super) const CHARSMAP: &str = "tokenizer.ggml.precompiled_charsmap";

/// The longest key that is looked up and the longest replacement, in bytes, so that a table
/// can make normalization neither slow nor its result large. The longest that SentencePiece's
/// own tables have is a replacement of 33 bytes, of U+FDFA.
const LONGEST: usize = 64;

/// Keys and their replacements.
#[derive(Debug, Clone)]
pub(super) struct Charsmap {
    units: Vec<Unit>,
    replacements: String,
}

/// A unit of the double array.
#[derive(Debug, Clone, Copy)]
struct Unit(u32);

impl Charsmap {
    /// Reads `tokenizer.ggml.precompiled_charsmap`; `None` where it is missing or empty.
    ///
    /// # Errors
    /// [`Error::BadValue`] for what is not such a table; [`Error::OutOfMemory`].
    pub(super) fn from_gguf(gguf: &Gguf) -> Result<Option<Charsmap>> {
        let array = gguf.opt_array(CHARSMAP)?.filter(|map| !map.is_empty());
        let bytes = array.map(|map| map.as_bytes().ok_or_else(|| fault("not a list of bytes")));
        bytes.transpose()?.map(Charsmap::new).transpose()
    }

    fn new(bytes: &[u8]) -> Result<Charsmap> {
        let truncated = || fault("the table is truncated");
        let (size, rest) = bytes.split_first_chunk().ok_or_else(truncated)?;
        let size = usize::try_from(u32::from_le_bytes(*size)).map_err(|_| truncated())?;
        let (trie, replacements) = rest.split_at_checked(size).ok_or_else(truncated)?;
        let (trie, []) = trie.as_chunks() else {
            return Err(fault("the trie ends within a unit"));
        };
        let mut units = heap::with_capacity(trie.len())?;
        units.extend(trie.iter().map(|&unit| Unit(u32::from_le_bytes(unit))));
        Ok(Charsmap {
            units,
            replacements: checked_replacements(replacements)?,
        })
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        heap::bytes(&self.units) + self.replacements.capacity()
    }

    /// The replacement of the longest key that the text begins with, and the length of the
    /// key. A trie that leads out of the table has no keys there.
    pub(super) fn longest(&self, text: &str) -> Option<(&str, usize)> {
        let mut found = None;
        let mut at = self.unit(0)?.offset();
        for (length, &byte) in (1..=LONGEST).zip(text.as_bytes()) {
            at ^= u32::from(byte);
            // Keys have no zero bytes: darts.h ends them there.
            let Some(unit) = self.unit(at).filter(|unit| byte > 0 && unit.is_after(byte)) else {
                break;
            };
            at ^= unit.offset();
            if unit.has_value() && text.is_char_boundary(length) {
                found = self.replacement(at).map(|text| (text, length)).or(found);
            }
        }
        found
    }

    fn unit(&self, at: u32) -> Option<Unit> {
        self.units.get(at as usize).copied()
    }

    /// The replacement whose place the unit at `at` holds.
    fn replacement(&self, at: u32) -> Option<&str> {
        let start = self.unit(at)?.value() as usize;
        self.replacements.get(start..)?.split('\0').next()
    }
}

impl Unit {
    /// Whether the unit is a node to which this byte leads.
    fn is_after(self, byte: u8) -> bool {
        self.0 & (1 << 31 | 0xff) == u32::from(byte)
    }

    fn has_value(self) -> bool {
        self.0 >> 8 & 1 == 1
    }

    fn offset(self) -> u32 {
        let unit = if self.0 >> 9 & 1 == 1 { 8 } else { 0 };
        self.0 >> 10 << unit
    }

    fn value(self) -> u32 {
        self.0 & !(1 << 31)
    }
}

/// The replacements, if they are text and short enough.
fn checked_replacements(bytes: &[u8]) -> Result<String> {
    if bytes
        .split(|&byte| byte == 0)
        .any(|text| text.len() > LONGEST)
    {
        return Err(fault("a replacement is too long"));
    }
    let mut copy = heap::with_capacity(bytes.len())?;
    copy.extend_from_slice(bytes);
    String::from_utf8(copy).map_err(|_| fault("the replacements are not UTF-8"))
}

fn fault(reason: &str) -> Error {
    bad(CHARSMAP, reason.into())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use proptest::prelude::*;
    use std::vec;

    /// Units in a block of the tries that [`compile`] makes.
    const BLOCK: u32 = 256;

    /// A table with these replacements. The children of each node have a block of their own,
    /// so that none collide.
    pub(in super::super) fn compile(rules: &[(&str, &str)]) -> Vec<u8> {
        let rules: BTreeMap<&str, &str> = rules.iter().copied().collect();
        let mut units = vec![0; BLOCK as usize];
        let mut replacements = Vec::new();
        let root: Vec<(&[u8], &str)> = rules.iter().map(|(k, v)| (k.as_bytes(), *v)).collect();
        put_children(&mut units, &mut replacements, 0, &root);
        let size = units.len() as u32 * 4;
        let trie = units.into_iter().flat_map(u32::to_le_bytes);
        size.to_le_bytes()
            .into_iter()
            .chain(trie)
            .chain(replacements)
            .collect()
    }

    /// Writes what follows on the node `at`: the rest of each key, with its replacement.
    fn put_children(units: &mut Vec<u32>, texts: &mut Vec<u8>, at: u32, rest: &[(&[u8], &str)]) {
        let block = units.len() as u32;
        units.resize((block + BLOCK) as usize, 0);
        units[at as usize] |= (at ^ block) << 10;
        for group in rest.chunk_by(|a, b| a.0.first() == b.0.first()) {
            match group[0].0.first() {
                None => {
                    units[at as usize] |= 1 << 8;
                    units[block as usize] = texts.len() as u32 | 1 << 31;
                    texts.extend(group[0].1.bytes().chain([0]));
                }
                Some(&byte) => {
                    let child = block ^ u32::from(byte);
                    units[child as usize] = byte.into();
                    let tails: Vec<_> = group.iter().map(|(key, v)| (&key[1..], *v)).collect();
                    put_children(units, texts, child, &tails);
                }
            }
        }
    }

    /// The oracle: all keys are tried.
    fn longest<'r>(rules: &[(&str, &'r str)], text: &str) -> Option<(&'r str, usize)> {
        let begins = rules.iter().filter(|(key, _)| text.starts_with(key));
        let (key, value) = begins.max_by_key(|(key, _)| key.len())?;
        Some((value, key.len()))
    }

    fn any_text() -> impl Strategy<Value = String> {
        let part = prop::sample::select(vec!["a", "b", "Ａ", "가", "각", "ㄱ", "\u{1}", " ", "é"]);
        prop::collection::vec(part, 1..5).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn the_longest_key_is_found(
            rules in prop::collection::btree_map(any_text(), any_text(), 1..12),
            texts in prop::collection::vec(any_text(), 1..20),
        ) {
            let rules: Vec<_> = rules.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            let table = Charsmap::new(&compile(&rules)).unwrap();
            for text in &texts {
                prop_assert_eq!(table.longest(text), longest(&rules, text), "{:?}", text);
            }
        }

        /// Damaged tables are refused, or find something; they do not panic.
        #[test]
        fn any_table_does_no_harm(
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..20),
            cut in any::<prop::sample::Index>(),
            text in any_text(),
        ) {
            let mut bytes = compile(&[("a", "b"), ("가a", "각"), ("Ａ", "A"), ("é", "")]);
            for (at, byte) in damage {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes.truncate(cut.index(bytes.len() + 1));
            if let Ok(table) = Charsmap::new(&bytes) {
                let found = table.longest(&text);
                prop_assert!(found.is_none_or(|(_, length)| text.is_char_boundary(length)));
            }
        }
    }

    #[test]
    fn faults_are_named() {
        let table = |trie: &[u8], texts: &[u8]| {
            let size = (trie.len() as u32).to_le_bytes();
            Charsmap::new(&[&size, trie, texts].concat())
        };
        assert!(table(&[0; 8], b"a\0").is_ok());
        let long = [b'a'; LONGEST + 1];
        let cases = [
            (Charsmap::new(&[1, 0, 0]), "truncated"),
            (Charsmap::new(&[8, 0, 0, 0, 1, 2, 3, 4]), "truncated"),
            (Charsmap::new(&[255; 64]), "truncated"),
            (table(&[0; 7], b"a\0"), "within a unit"),
            (table(&[0; 8], &[0xff, 0]), "not UTF-8"),
            (table(&[0; 8], &long), "too long"),
        ];
        for (result, expected) in cases {
            let error = std::format!("{}", result.unwrap_err());
            assert!(
                error.contains(CHARSMAP) && error.contains(expected),
                "{error}"
            );
        }
    }

    /// In this trie each byte leads back to the same unit.
    #[test]
    fn a_trie_with_a_cycle_ends() {
        let mut units = [0_u32; 256];
        // `a` leads from the root to unit `a`, and from there, by offset `a`, to itself.
        units[usize::from(b'a')] = u32::from(b'a') | 1 << 8 | u32::from(b'a') << 10;
        let trie: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        let bytes = [&1024_u32.to_le_bytes(), &trie[..], b"b\0"].concat();
        let table = Charsmap::new(&bytes).unwrap();
        assert!(table.longest(&"a".repeat(1 << 20)).is_some());
    }

    #[test]
    fn a_trie_that_leads_out_of_the_table_has_no_keys() {
        let outside = (u32::MAX >> 10) << 10 | 1 << 8;
        for unit in [outside, outside & !(1 << 9), outside & !(1 << 31)] {
            let bytes = [&4_u32.to_le_bytes()[..], &unit.to_le_bytes(), b"b\0"].concat();
            assert_eq!(Charsmap::new(&bytes).unwrap().longest("a"), None);
        }
        // The unit of `a` has its value in unit 0, which is past the replacements.
        let mut bytes = compile(&[("a", "b")]);
        let value = 4 + 4 * 2 * BLOCK as usize;
        assert_eq!(Charsmap::new(&bytes).unwrap().longest("a"), Some(("b", 1)));
        bytes[value] = 200;
        assert_eq!(Charsmap::new(&bytes).unwrap().longest("a"), None);
        assert_eq!(
            Charsmap::new(&4_u32.to_le_bytes()).unwrap_err(),
            fault("the table is truncated")
        );
    }
}
