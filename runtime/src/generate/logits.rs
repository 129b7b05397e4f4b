//! The logits of the tokens that can come next.

use alloc::vec::Vec;
use core::cmp::Ordering;
use ondol_kernels::SMALL;

/// Logits that are compared at once. After a screened output head most runs have only
/// logits of negative infinity, and are skipped.
const RUN: usize = 64;

/// A token that can come next.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub token: u32,
    pub logit: f32,
}

/// The tokens that can come next with their logits, by ascending id.
///
/// A [`LogitFilter`](crate::LogitFilter) removes tokens from it or changes their logits.
#[derive(Debug, Clone)]
pub struct Logits {
    entries: Vec<Entry>,
}

impl Logits {
    /// No tokens, with room for `vocabulary` of them.
    pub(super) fn with_room(vocabulary: usize) -> Logits {
        Logits {
            entries: Vec::with_capacity(vocabulary),
        }
    }

    /// All tokens of the vocabulary whose logits are numbers above negative infinity.
    pub(super) fn fill(&mut self, logits: &[f32]) {
        self.entries.clear();
        for (run, first) in logits.chunks(RUN).zip((0..).step_by(RUN)) {
            if largest(run) > f32::NEG_INFINITY {
                let entries = (first..).zip(run);
                let entries = entries.map(|(token, &logit)| Entry { token, logit });
                self.entries.extend(entries.filter(is_possible));
            }
        }
    }

    /// Removes tokens whose logits filters made NaN or negative infinity.
    pub(super) fn keep_possible(&mut self) {
        self.entries.retain(is_possible);
    }

    /// The tokens and their logits, by ascending token.
    pub fn iter(&self) -> impl Iterator<Item = (u32, f32)> {
        self.entries.iter().map(|entry| (entry.token, entry.logit))
    }

    /// The number of tokens.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no token is left.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The logit of a token; `None` if the token can't come next. NaN and negative
    /// infinity forbid the token.
    pub fn get_mut(&mut self, token: u32) -> Option<&mut f32> {
        let at = self
            .entries
            .binary_search_by_key(&token, |e| e.token)
            .ok()?;
        Some(&mut self.entries[at].logit)
    }

    /// Keeps the tokens for which `keep` is true of the token and its logit, and forbids
    /// the others.
    pub fn retain(&mut self, mut keep: impl FnMut(u32, f32) -> bool) {
        self.entries.retain(|entry| keep(entry.token, entry.logit));
    }

    /// The largest logit; negative infinity if no token is left.
    pub(super) fn best(&self) -> f32 {
        let entries = self.entries.iter();
        entries.fold(f32::NEG_INFINITY, |best, e| best.max(e.logit))
    }

    /// The token with the largest logit; of equal ones the lowest.
    pub(super) fn likeliest(&self) -> Option<u32> {
        let best = self.entries.iter().min_by(|a, b| likelier(a, b));
        best.map(|entry| entry.token)
    }

    /// Keeps the `count` likeliest.
    pub(super) fn keep_likeliest(&mut self, count: usize) {
        if count < self.entries.len() {
            likeliest_first(&mut self.entries, count);
            self.entries.truncate(count);
            self.sort_by_token();
        }
    }

    /// Keeps the likeliest until their sum of `weight` reaches `needed`.
    ///
    /// Sorts only as many of the likeliest as are kept, doubling the number until it is
    /// enough: a sharp distribution keeps only a few of hundreds of thousands of
    /// tokens.
    pub(super) fn keep_until(&mut self, needed: f64, weight: impl Fn(f32) -> f64) {
        let (mut sorted, mut reached) = (0, 0.0);
        'all: while sorted < self.entries.len() {
            let rest = &mut self.entries[sorted..];
            let step = (sorted.max(32)).min(rest.len());
            if step < rest.len() {
                likeliest_first(rest, step);
            }
            rest[..step].sort_unstable_by(likelier);
            for (index, entry) in rest[..step].iter().enumerate() {
                reached += weight(entry.logit);
                if reached >= needed {
                    self.entries.truncate(sorted + index + 1);
                    break 'all;
                }
            }
            sorted += step;
        }
        self.sort_by_token();
    }

    /// Sums and draws must not depend on the order in which tokens were selected.
    fn sort_by_token(&mut self) {
        self.entries.sort_unstable_by_key(|entry| entry.token);
    }
}

fn is_possible(entry: &Entry) -> bool {
    entry.logit > f32::NEG_INFINITY
}

/// Moves the `count` likeliest to the front; there are at least as many.
fn likeliest_first(entries: &mut [Entry], count: usize) {
    if SMALL {
        split_until(entries, count);
    } else {
        entries.select_nth_unstable_by(count - 1, likelier);
    }
}

/// Does the same with little code, for firmware: quickselect, which partitions by the
/// middle element until a partition ends at `count`.
fn split_until(mut entries: &mut [Entry], mut count: usize) {
    while count > 0 && count < entries.len() {
        let last = entries.len() - 1;
        entries.swap(last / 2, last);
        let middle = entries[last];
        let mut likelier_ones = 0;
        for at in 0..last {
            if likelier(&entries[at], &middle).is_lt() {
                entries.swap(at, likelier_ones);
                likelier_ones += 1;
            }
        }
        entries.swap(likelier_ones, last);
        if count <= likelier_ones {
            entries = &mut entries[..likelier_ones];
        } else {
            entries = &mut entries[likelier_ones + 1..];
            count -= likelier_ones + 1;
        }
    }
}

/// Descending by logit; equal logits by ascending id, so that every platform agrees.
fn likelier(a: &Entry, b: &Entry) -> Ordering {
    b.logit.total_cmp(&a.logit).then(a.token.cmp(&b.token))
}

/// The largest logit of a run, ignoring NaN. Written in lanes, so that the compiler
/// uses vectors.
fn largest(run: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let (chunks, rest) = run.as_chunks::<8>();
    let mut lanes = [f32::NEG_INFINITY; 8];
    for chunk in chunks {
        for (lane, &logit) in lanes.iter_mut().zip(chunk) {
            *lane = larger(*lane, logit);
        }
    }
    lanes
        .iter()
        .chain(rest)
        .copied()
        .fold(f32::NEG_INFINITY, larger)
}

/// The index of the largest logit, the lowest if several are equal. It needs no
/// [`Logits`].
pub(super) fn likeliest(logits: &[f32]) -> Option<u32> {
    let (mut first, mut best) = (0, f32::NEG_INFINITY);
    for (index, run) in logits.chunks(RUN).enumerate() {
        let largest = largest(run);
        if largest > best {
            (first, best) = (index * RUN, largest);
        }
    }
    let at = logits[first..].iter().position(|&logit| logit == best)?;
    (best > f32::NEG_INFINITY).then_some((first + at) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_likeliest_is_the_first_of_the_largest(
            logits in prop::collection::vec(prop::sample::select(
                &[f32::NAN, f32::NEG_INFINITY, -2.0, 0.0, 1.0, 3.0, 3.5][..],
            ), 0..200),
        ) {
            let mut naive = (None, f32::NEG_INFINITY);
            for (token, &logit) in (0..).zip(&logits) {
                if logit > naive.1 {
                    naive = (Some(token), logit);
                }
            }
            prop_assert_eq!(likeliest(&logits), naive.0);
            prop_assert_eq!(largest(&logits).to_bits(), naive.1.to_bits());
        }

        #[test]
        fn the_likeliest_are_split_off(
            logits in prop::collection::vec(-20i16..20, 1..300), count in any::<prop::sample::Index>(),
        ) {
            let all = (0..).zip(&logits).map(|(token, &x)| Entry { token, logit: x.into() });
            let (mut split, mut sorted): (Vec<_>, Vec<_>) = (all.clone().collect(), all.collect());
            let count = count.index(logits.len()) + 1;
            split_until(&mut split, count);
            split[..count].sort_by(likelier);
            sorted.sort_by(likelier);
            let tokens = |all: &[Entry]| all[..count].iter().map(|e| e.token).collect::<Vec<_>>();
            prop_assert_eq!(tokens(&split), tokens(&sorted));
        }
    }
}
