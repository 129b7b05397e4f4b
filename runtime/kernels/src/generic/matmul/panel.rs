//! The arithmetic of one block: what it keeps of the weights (which is also what a panel
//! in scratch is made of), and how it multiplies that with activations.
//!
//! Low-bit codes are unsigned and multiply 8-bit activations; pairs of
//! products add up in 16 bits as long as they fit: `DEPTH` of them do, if
//! 2 * DEPTH * 128 * (largest code) < 2^15. An ISA whose products widen to
//! 32 bits at once has no use for the depth.
// `p` and `t` name panels and tokens of several arrays at once.
#![allow(clippy::needless_range_loop)]

use super::{Arithmetic, Block};
use crate::generic::acts::{ActBlock, I8Block, I8Plane, I16Block, I16Plane, Meta, SplitBlock};
use crate::generic::array::map;
use crate::generic::simd::Integers;

/// What the arithmetic keeps of a block of weights.
pub(crate) trait Panel<L: Integers>: Sized {
    /// 32 activations as they are multiplied with it.
    type Plane;
    /// Blocks of them, for a prompt's many tokens.
    type Prompt: ActBlock<Plane = Self::Plane>;
    /// The finer blocks, for few tokens.
    type Fine: ActBlock<Plane = Self::Plane>;
    /// Neighbouring blocks that share a scale.
    const GROUP: usize = 1;

    /// What is kept of this block.
    fn pack(l: L, block: &Block<L>) -> Self;
    /// The scale.
    fn scale(&self) -> L::V;
    /// Adds the minima, where there are any, times the activations' sums.
    #[inline(always)]
    fn add_min(&self, _l: L, _x: &Meta, acc: L::V) -> L::V {
        acc
    }
    /// The sums of `sub * q * x` of `P` panels' blocks with `T` tokens' blocks.
    fn sums<const P: usize, const T: usize>(
        l: L,
        w: [&Self; P],
        x: [&Self::Plane; T],
    ) -> [[L::V; T]; P];
    /// Weight `at` of the block, where [`ActBlock::LEAVES_OUT`].
    #[inline(always)]
    fn weight(&self, l: L, _at: usize) -> L::V {
        l.splat(0.0)
    }
}

/// Unsigned codes with one scale and minimum for 32 elements.
#[repr(C)]
pub(crate) struct OneScale<L: Integers, const DEPTH: usize> {
    q: [L::I; 8],
    scale: L::V,
    min: L::V,
}

/// Unsigned codes with one scale for 32 elements, integer scales and minima for 16.
#[repr(C)]
pub(crate) struct TwoScales<L: Arithmetic, const DEPTH: usize> {
    q: [L::I; 8],
    scale: L::V,
    sub: [L::Sub; 2],
    min: [L::V; 2],
}

/// Signed codes of 8 bits, with one scale that `GROUP` neighbours share.
#[repr(C)]
pub(crate) struct I8Panel<L: Integers, const GROUP: usize> {
    q: [L::I; 8],
    scale: L::V,
}

/// Signed codes of 8 bits, or of 14, as numbers of 16 bits with one scale.
#[repr(C)]
pub(crate) struct I16Panel<L: Arithmetic> {
    pub q: L::Wide,
    pub scale: L::V,
}

/// Bytes of the largest of these types that the ISA has.
pub(super) const fn max_bytes<L: Arithmetic>() -> usize {
    let (low_bit, signed) = (size_of::<TwoScales<L, 8>>(), size_of::<L::Signed>());
    let wide = match L::ROUNDS_HALVES {
        true => size_of::<I16Panel<L>>(),
        false => 0,
    };
    const { assert!(size_of::<OneScale<L, 8>>() <= size_of::<TwoScales<L, 8>>()) }
    let most = if low_bit > signed { low_bit } else { signed };
    if most > wide { most } else { wide }
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
    W: Panel<L> + 'a,
    A: ActBlock<Plane = W::Plane> + 'a,
{
    if W::GROUP > 1 {
        return accumulate_group(l, acc, block);
    }
    let (w, x) = block(0);
    let plane = |which| {
        map(
            x,
            #[inline(always)]
            |x| x.plane(which),
        )
    };
    let mut dots = W::sums(l, w, plane(0));
    if A::PLANES == 2 {
        let high = dots;
        dots = W::sums(l, w, plane(1));
        for p in 0..P {
            for t in 0..T {
                dots[p][t] = l.mul_add(high[p][t], l.splat(256.0), dots[p][t]);
            }
        }
    }
    for t in 0..T {
        let scale = l.splat(x[t].meta().scale);
        for p in 0..P {
            let scale = l.mul(w[p].scale(), scale);
            let sum = l.mul_add(dots[p][t], scale, acc[p][t]);
            acc[p][t] = w[p].add_min(l, x[t].meta(), sum);
        }
    }
}

/// As [`accumulate`], for blocks that share a scale, and have no minimum and activations
/// of one plane: the scale multiplies their sum.
#[inline(always)]
fn accumulate_group<'a, L, W, A, const P: usize, const T: usize>(
    l: L,
    acc: &mut [[L::V; T]; P],
    block: impl Fn(usize) -> ([&'a W; P], [&'a A; T]),
) where
    L: Arithmetic,
    W: Panel<L> + 'a,
    A: ActBlock<Plane = W::Plane> + 'a,
{
    let mut sums = [[l.splat(0.0); T]; P];
    for i in 0..W::GROUP {
        let (w, x) = block(i);
        let dots = W::sums(
            l,
            w,
            map(
                x,
                #[inline(always)]
                |x| x.plane(0),
            ),
        );
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

impl<L: Arithmetic, const DEPTH: usize> Panel<L> for OneScale<L, DEPTH> {
    type Plane = I8Plane;
    type Prompt = I8Block;
    type Fine = SplitBlock;

    #[inline(always)]
    fn pack(l: L, block: &Block<L>) -> Self {
        OneScale {
            q: l.arranged(block.q),
            scale: block.scale,
            min: block.min[0],
        }
    }

    #[inline(always)]
    fn scale(&self) -> L::V {
        self.scale
    }

    #[inline(always)]
    fn add_min(&self, l: L, x: &Meta, acc: L::V) -> L::V {
        l.mul_add(self.min, l.splat(x.sum), acc)
    }

    #[inline(always)]
    fn sums<const P: usize, const T: usize>(
        l: L,
        w: [&Self; P],
        x: [&I8Plane; T],
    ) -> [[L::V; T]; P] {
        let zeros = [[l.splat_i32(0); T]; P];
        l.sums::<DEPTH, P, T>(zeros, map(w, |w| &w.q), map(x, |x| &x.q), 0..8)
    }

    #[inline(always)]
    fn weight(&self, l: L, at: usize) -> L::V {
        l.mul_add(l.to_floats(l.code(&self.q, at)), self.scale, self.min)
    }
}

impl<L: Arithmetic, const DEPTH: usize> Panel<L> for TwoScales<L, DEPTH> {
    type Plane = I8Plane;
    type Prompt = I8Block;
    type Fine = SplitBlock;

    #[inline(always)]
    fn pack(l: L, block: &Block<L>) -> Self {
        TwoScales {
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

    #[inline(always)]
    fn sums<const P: usize, const T: usize>(
        l: L,
        w: [&Self; P],
        x: [&I8Plane; T],
    ) -> [[L::V; T]; P] {
        let (q, sub) = (map(w, |w| &w.q), map(w, |w| &w.sub));
        l.half_sums::<DEPTH, P, T>(q, sub, map(x, |x| &x.q))
    }

    #[inline(always)]
    fn weight(&self, l: L, at: usize) -> L::V {
        let (half, code) = (at / 16, l.to_floats(l.code(&self.q, at)));
        let code = l.mul(code, l.sub_floats(self.sub[half]));
        l.mul_add(code, self.scale, self.min[half])
    }
}

impl<L: Arithmetic, const GROUP: usize> Panel<L> for I8Panel<L, GROUP> {
    type Plane = I8Plane;
    type Prompt = I8Block;
    type Fine = SplitBlock;
    const GROUP: usize = GROUP;

    #[inline(always)]
    fn pack(l: L, block: &Block<L>) -> Self {
        let mut q = block.q;
        if L::BIAS != 0 {
            for q in &mut q {
                *q = l.add_i8(*q, l.splat_i8(L::BIAS));
            }
        }
        let (q, scale) = (l.arranged(q), block.scale);
        I8Panel { q, scale }
    }

    #[inline(always)]
    fn scale(&self) -> L::V {
        self.scale
    }

    #[inline(always)]
    fn sums<const P: usize, const T: usize>(
        l: L,
        w: [&Self; P],
        x: [&I8Plane; T],
    ) -> [[L::V; T]; P] {
        let mut total = [[l.splat_i32(0); T]; P];
        if L::BIAS != 0 {
            for t in 0..T {
                let offset = l.splat_i32(x[t].offset);
                for p in 0..P {
                    total[p][t] = offset;
                }
            }
        }
        l.sums::<0, P, T>(total, map(w, |w| &w.q), map(x, |x| &x.q), 0..8)
    }

    #[inline(always)]
    fn weight(&self, l: L, at: usize) -> L::V {
        let code = l.code(&self.q, at);
        let code = match L::BIAS {
            0 => code,
            bias => {
                let biased = l.and(code, l.splat_i32(0xff));
                l.add_i32(biased, l.splat_i32(i32::from(bias)))
            }
        };
        l.mul(l.to_floats(code), self.scale)
    }
}

impl<L: Arithmetic> Panel<L> for I16Panel<L> {
    type Plane = I16Plane;
    type Prompt = I16Block;
    type Fine = I16Block;

    #[inline(always)]
    fn pack(l: L, block: &Block<L>) -> Self {
        I16Panel {
            q: l.widened(block.q),
            scale: block.scale,
        }
    }

    #[inline(always)]
    fn scale(&self) -> L::V {
        self.scale
    }

    #[inline(always)]
    fn sums<const P: usize, const T: usize>(
        l: L,
        w: [&Self; P],
        x: [&I16Plane; T],
    ) -> [[L::V; T]; P] {
        l.wide_sums(map(w, |w| &w.q), x)
    }
}
