//! The arithmetic of one block: what it keeps of the weights (which is also
//! what a panel in scratch is made of), and how that meets activations.
//!
//! Low-bit levels are unsigned and multiply 8-bit activations; pairs of
//! products add up in 16 bits as long as they fit: `DEPTH` of them do, if
//! 2 * DEPTH * 128 * (largest level) < 2^15. An ISA whose products widen to
//! 32 bits at once has no use for the depth.
// `p` and `t` name panels and tokens of several arrays at once.
#![allow(clippy::needless_range_loop)]

use super::{Arithmetic, Block, Lanes};
use crate::kernels::acts::{ActBlock, BLOCK, I8Block, Meta, Outlier, SplitBlock};
use crate::kernels::array::map;
use core::mem::size_of;

/// Levels with one scale and minimum for 32 elements.
#[repr(C)]
pub(super) struct Whole<L: Lanes, const DEPTH: usize> {
    q: [L::I; 8],
    scale: L::V,
    min: L::V,
}

/// Levels with one scale for 32 elements, integer scales and minima for 16.
#[repr(C)]
pub(super) struct Halves<L: Arithmetic, const DEPTH: usize> {
    q: [L::I; 8],
    scale: L::V,
    sub: [L::Sub; 2],
    min: [L::V; 2],
}

/// Bytes of the largest of these types and `W`.
pub(super) const fn max_bytes<L: Arithmetic, W>() -> usize {
    const {
        assert!(size_of::<Whole<L, 8>>() <= size_of::<Halves<L, 8>>());
    }
    let (halves, other) = (size_of::<Halves<L, 8>>(), size_of::<W>());
    if halves > other { halves } else { other }
}

/// 32 activations of 8 bits: a block's, or one of its planes.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct Plane<'a> {
    pub q: &'a [i8; BLOCK],
    /// As in [`I8Block`].
    #[cfg_attr(
        not(target_arch = "x86_64"),
        expect(dead_code, reason = "signed bytes multiply as they are")
    )]
    pub offset: i32,
}

impl<'a> Plane<'a> {
    #[inline(always)]
    fn of(x: &'a I8Block) -> Self {
        let (q, offset) = (&x.q, x.offset);
        Plane { q, offset }
    }

    #[inline(always)]
    fn high(x: &'a SplitBlock) -> Self {
        let (q, offset) = (&x.high, x.offsets[0]);
        Plane { q, offset }
    }

    #[inline(always)]
    fn low(x: &'a SplitBlock) -> Self {
        let (q, offset) = (&x.low, x.offsets[1]);
        Plane { q, offset }
    }
}

/// What a block of weights is made into, by itself.
pub(in crate::kernels) trait Pack<L: Lanes>: Panel<L> {
    fn pack(l: L, block: &Block<L>) -> Self;
}

/// What the arithmetic keeps of a block of weights.
pub(in crate::kernels) trait Panel<L: Lanes> {
    /// Neighbouring blocks that share a scale.
    const GROUP: usize = 1;
    fn scale(&self) -> L::V;
    /// Adds the minima, where there are any, times the activations' sums.
    #[inline(always)]
    fn add_min(&self, _l: L, _x: &Meta, acc: L::V) -> L::V {
        acc
    }
}

/// Weights that can multiply activations in blocks of type `A`.
pub(in crate::kernels) trait Product<L: Lanes, A: ActBlock>: Panel<L> {
    /// The sums of `sub * q * x` of `P` panels' blocks with `T` tokens' blocks.
    fn dots<const P: usize, const T: usize>(l: L, w: [&Self; P], x: [&A; T]) -> [[L::V; T]; P];

    /// The products of `P` panels with what a token's blocks leave out.
    #[inline(always)]
    fn sum_outliers<'a, const P: usize>(
        l: L,
        _panels: [&[Self]; P],
        _x: impl Iterator<Item = &'a Outlier>,
    ) -> [L::V; P]
    where
        Self: Sized,
    {
        [l.splat(0.0); P]
    }
}

/// Weights that meet activations of 8 bits, and one by one what those leave out.
pub(super) trait Bytewise<L: Lanes>: Panel<L> + Sized {
    /// [`Product::dots`].
    fn byte_dots<const P: usize, const T: usize>(
        l: L,
        w: [&Self; P],
        x: [Plane; T],
    ) -> [[L::V; T]; P];

    /// Element `at` of the 32 of each row.
    fn element(&self, l: L, at: usize) -> L::V;
}

impl<L: Lanes, W: Bytewise<L>> Product<L, I8Block> for W {
    #[inline(always)]
    fn dots<const P: usize, const T: usize>(l: L, w: [&W; P], x: [&I8Block; T]) -> [[L::V; T]; P] {
        W::byte_dots(l, w, map(x, Plane::of))
    }

    #[inline(always)]
    fn sum_outliers<'a, const P: usize>(
        l: L,
        panels: [&[W]; P],
        x: impl Iterator<Item = &'a Outlier>,
    ) -> [L::V; P] {
        let mut sums = [l.splat(0.0); P];
        for outlier in x {
            let (at, value) = (outlier.at as usize, l.splat(outlier.value));
            for (sum, panel) in sums.iter_mut().zip(panels) {
                let weight = panel[at / BLOCK].element(l, at % BLOCK);
                *sum = l.mul_add(weight, value, *sum);
            }
        }
        sums
    }
}

impl<L: Lanes, W: Bytewise<L>> Product<L, SplitBlock> for W {
    #[inline(always)]
    fn dots<const P: usize, const T: usize>(
        l: L,
        w: [&W; P],
        x: [&SplitBlock; T],
    ) -> [[L::V; T]; P] {
        let high = W::byte_dots(l, w, map(x, Plane::high));
        let mut dots = W::byte_dots(l, w, map(x, Plane::low));
        for p in 0..P {
            for t in 0..T {
                dots[p][t] = l.mul_add(high[p][t], l.splat(256.0), dots[p][t]);
            }
        }
        dots
    }
}

/// `acc` plus the products of a group of blocks of `P` panels with `T` tokens' blocks:
/// `block(i)` has those of block `i` of the group.
#[inline(always)]
pub(super) fn accumulate<'a, L, W, A, const P: usize, const T: usize>(
    l: L,
    acc: &mut [[L::V; T]; P],
    block: impl Fn(usize) -> ([&'a W; P], [&'a A; T]),
) where
    L: Arithmetic,
    W: Product<L, A> + 'a,
    A: ActBlock + 'a,
{
    if W::GROUP > 1 {
        return accumulate_group(l, acc, block);
    }
    let (w, x) = block(0);
    let dots = W::dots(l, w, x);
    for t in 0..T {
        let scale = l.splat(x[t].meta().scale);
        for p in 0..P {
            let scale = l.mul(w[p].scale(), scale);
            let sum = l.mul_add(dots[p][t], scale, acc[p][t]);
            acc[p][t] = w[p].add_min(l, x[t].meta(), sum);
        }
    }
}

/// The same of blocks that share a scale and have no minimum: it multiplies their sum.
#[inline(always)]
fn accumulate_group<'a, L, W, A, const P: usize, const T: usize>(
    l: L,
    acc: &mut [[L::V; T]; P],
    block: impl Fn(usize) -> ([&'a W; P], [&'a A; T]),
) where
    L: Arithmetic,
    W: Product<L, A> + 'a,
    A: ActBlock + 'a,
{
    let mut sums = [[l.splat(0.0); T]; P];
    for i in 0..W::GROUP {
        let (w, x) = block(i);
        let dots = W::dots(l, w, x);
        for t in 0..T {
            let scale = l.splat(x[t].meta().scale);
            for p in 0..P {
                sums[p][t] = l.mul_add(dots[p][t], scale, sums[p][t]);
            }
        }
    }
    let (w, _) = block(0);
    for t in 0..T {
        for p in 0..P {
            acc[p][t] = l.mul_add(sums[p][t], w[p].scale(), acc[p][t]);
        }
    }
}

impl<L: Arithmetic, const DEPTH: usize> Pack<L> for Whole<L, DEPTH> {
    #[inline(always)]
    fn pack(l: L, block: &Block<L>) -> Self {
        Whole {
            q: l.arranged(block.q),
            scale: block.scale,
            min: block.min[0],
        }
    }
}

impl<L: Arithmetic, const DEPTH: usize> Panel<L> for Whole<L, DEPTH> {
    #[inline(always)]
    fn scale(&self) -> L::V {
        self.scale
    }

    #[inline(always)]
    fn add_min(&self, l: L, x: &Meta, acc: L::V) -> L::V {
        l.mul_add(self.min, l.splat(x.sum), acc)
    }
}

impl<L: Arithmetic, const DEPTH: usize> Pack<L> for Halves<L, DEPTH> {
    #[inline(always)]
    fn pack(l: L, block: &Block<L>) -> Self {
        Halves {
            q: l.arranged(block.q),
            scale: block.scale,
            sub: map(
                block.sub,
                #[inline(always)]
                |sub| l.arranged_sub(sub),
            ),
            min: block.min,
        }
    }
}

impl<L: Arithmetic, const DEPTH: usize> Panel<L> for Halves<L, DEPTH> {
    #[inline(always)]
    fn scale(&self) -> L::V {
        self.scale
    }

    #[inline(always)]
    fn add_min(&self, l: L, x: &Meta, acc: L::V) -> L::V {
        let [a, b] = x.half_sums;
        let acc = l.mul_add(self.min[0], l.splat(a), acc);
        l.mul_add(self.min[1], l.splat(b), acc)
    }
}

impl<L: Arithmetic, const DEPTH: usize> Bytewise<L> for Whole<L, DEPTH> {
    #[inline(always)]
    fn byte_dots<const P: usize, const T: usize>(
        l: L,
        w: [&Self; P],
        x: [Plane; T],
    ) -> [[L::V; T]; P] {
        l.sums::<DEPTH, P, T>(map(w, |w| &w.q), map(x, |x| x.q))
    }

    #[inline(always)]
    fn element(&self, l: L, at: usize) -> L::V {
        l.mul_add(l.level(&self.q, at), self.scale, self.min)
    }
}

impl<L: Arithmetic, const DEPTH: usize> Bytewise<L> for Halves<L, DEPTH> {
    #[inline(always)]
    fn byte_dots<const P: usize, const T: usize>(
        l: L,
        w: [&Self; P],
        x: [Plane; T],
    ) -> [[L::V; T]; P] {
        let (q, sub) = (map(w, |w| &w.q), map(w, |w| &w.sub));
        l.half_sums::<DEPTH, P, T>(q, sub, map(x, |x| x.q))
    }

    #[inline(always)]
    fn element(&self, l: L, at: usize) -> L::V {
        let half = at / 16;
        let level = l.mul(l.level(&self.q, at), l.sub_floats(self.sub[half]));
        l.mul_add(level, self.scale, self.min[half])
    }
}
