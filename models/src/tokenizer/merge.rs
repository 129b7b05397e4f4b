//! Greedy merging of neighbours, which byte-level BPE and SentencePiece share.
//!
//! A word starts as its characters. The pair of neighbours with the best rank is joined
//! repeatedly, until no pair may be joined. A heap of candidates and a linked list of
//! parts make this O(n log n) for any text.

use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use core::cmp::Reverse;

/// No neighbour.
const NONE: u32 = u32::MAX;

/// Text is merged in pieces of at most this many bytes, so that offsets fit in 32 bits.
const MAX_BYTES: usize = 1 << 30;

/// Merges words, reusing its memory from one to the next.
#[derive(Debug, Default)]
pub(super) struct Merger {
    parts: Vec<Part>,
    queue: BinaryHeap<Reverse<Candidate>>,
}

/// A run of bytes of the word; an empty one was joined to its left neighbour.
#[derive(Debug, Clone, Copy)]
struct Part {
    start: u32,
    len: u32,
    before: u32,
    after: u32,
}

/// A pair that may be joined. The derived order is that of merging: the lower
/// rank first, and among equals the pair further left.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    rank: u32,
    left: u32,
    /// Bytes of both parts when the pair was queued. If their length differs now, one of
    /// them was joined since, and this candidate is dropped.
    len: u32,
}

impl Merger {
    /// Splits a word into its final parts and hands each to `emit`.
    ///
    /// `rank(pair, at)` is the rank of the merge of `pair[..at]` and `pair[at..]`, `None` if
    /// they may not be joined; lower ranks are joined first.
    pub(super) fn merge(
        &mut self,
        word: &str,
        mut rank: impl FnMut(&[u8], usize) -> Option<u32>,
        mut emit: impl FnMut(&str),
    ) {
        let mut rest = word;
        while !rest.is_empty() {
            let (piece, tail) = rest.split_at(rest.floor_char_boundary(MAX_BYTES));
            self.split_characters(piece);
            self.join(piece.as_bytes(), &mut rank);
            for part in self.parts.iter().filter(|part| part.len > 0) {
                emit(&piece[part.start as usize..(part.start + part.len) as usize]);
            }
            rest = tail;
        }
    }

    fn split_characters(&mut self, word: &str) {
        self.parts.clear();
        for (at, (start, c)) in (0_u32..).zip(word.char_indices()) {
            self.parts.push(Part {
                start: start as u32,
                len: c.len_utf8() as u32,
                before: at.checked_sub(1).unwrap_or(NONE),
                after: at + 1,
            });
        }
        if let Some(last) = self.parts.last_mut() {
            last.after = NONE;
        }
    }

    fn join(&mut self, word: &[u8], rank: &mut impl FnMut(&[u8], usize) -> Option<u32>) {
        self.queue.clear();
        for left in 0..self.parts.len() as u32 {
            self.consider(word, left, rank);
        }
        while let Some(Reverse(best)) = self.queue.pop() {
            let left = self.parts[best.left as usize];
            if left.len == 0 || left.after == NONE {
                continue;
            }
            let right = self.parts[left.after as usize];
            if left.len + right.len != best.len {
                continue;
            }
            self.parts[left.after as usize].len = 0;
            self.parts[best.left as usize].len = best.len;
            self.parts[best.left as usize].after = right.after;
            if right.after != NONE {
                self.parts[right.after as usize].before = best.left;
            }
            if left.before != NONE {
                self.consider(word, left.before, rank);
            }
            self.consider(word, best.left, rank);
        }
    }

    /// Queues the pair of a part and the one after it, if it may be joined.
    fn consider(
        &mut self,
        word: &[u8],
        at: u32,
        rank: &mut impl FnMut(&[u8], usize) -> Option<u32>,
    ) {
        let left = self.parts[at as usize];
        if left.after == NONE {
            return;
        }
        let len = left.len + self.parts[left.after as usize].len;
        let pair = &word[left.start as usize..(left.start + len) as usize];
        if let Some(rank) = rank(pair, left.len as usize) {
            self.queue.push(Reverse(Candidate {
                rank,
                left: at,
                len,
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    /// Merges by a list of pairs such as "a b", the first one first.
    fn merge(word: &str, pairs: &[&str]) -> Vec<String> {
        let mut parts = Vec::new();
        Merger::default().merge(
            word,
            |pair, at| {
                let (left, right) = pair.split_at(at);
                let key = [left, b" ", right].concat();
                pairs
                    .iter()
                    .position(|p| p.as_bytes() == key)
                    .map(|rank| rank as u32)
            },
            |part| parts.push(part.into()),
        );
        parts
    }

    #[test]
    fn lower_ranks_go_first() {
        assert_eq!(merge("abc", &["b c", "a b"]), ["a", "bc"]);
        assert_eq!(merge("abc", &["a b", "b c"]), ["ab", "c"]);
        assert_eq!(merge("abc", &["b c", "a b", "a bc"]), ["abc"]);
    }

    #[test]
    fn among_equal_ranks_the_left_goes_first() {
        assert_eq!(merge("aaaaa", &["a a"]), ["aa", "aa", "a"]);
        assert_eq!(merge("aaaaa", &["a a", "aa aa"]), ["aaaa", "a"]);
    }

    #[test]
    fn parts_are_whole_characters() {
        assert_eq!(merge("가a나", &[]), ["가", "a", "나"]);
        assert_eq!(merge("가a나", &["가 a", "가a 나"]), ["가a나"]);
        assert_eq!(merge("", &["a a"]), Vec::<String>::new());
    }

    #[test]
    fn a_megabyte_of_one_character_is_no_trouble() {
        let mut parts = 0;
        let word = "a".repeat(1 << 20);
        Merger::default().merge(
            &word,
            |pair, at| (at * 2 == pair.len() && at <= 1024).then_some(at as u32),
            |part| {
                assert_eq!(part.len(), 2048);
                parts += 1;
            },
        );
        assert_eq!(parts, 512);
    }
}
