//! Products of 16-bit integers: where a CPU multiplies pairs of them, an instruction
//! computes two products in each lane.
//!
//! The products are as exact as the half floats of the cache. Keys and queries are scaled
//! by their norms: by the inequality of Cauchy and Schwarz, no sum of products then
//! leaves 32 bits. So a scale is the norm / 46000 (seldom more). At a head_dim of 256,
//! this rounding adds as much to the error of a score as rounding the key to half floats
//! did, and half of that at 64.
//!
//! The values of a key are scaled by the largest of them, and each row's weights of a
//! tile so that their sums with the values stay within 32 bits. Keys that a row does not
//! see weigh 0, so that they change nothing for it.

use core::ops::Range;

use super::ymm::Avx2;
use crate::generic::attention::prefill::products::{Products, Tile, TileArea};
use crate::generic::attention::prefill::{KEYS, Line, load_line, padded, store_line, value_stride};
use crate::generic::attention::{AttentionShape, Cell, KvCells};
use crate::generic::matmul::Arithmetic;
use crate::generic::simd::{Integers, LANES, Lanes, Simd, ops};
use crate::generic::vector::rows::sqrt;
use core::arch::x86_64::*;

type V = __m256;

/// The largest integer of 16 bits.
const MAX: f32 = 32_767.0;

/// The largest norm of scaled keys and queries: its square, and what rounding
/// adds, is below 2^31, for heads of up to 400,000.
const NORM: f32 = 46_000.0;

/// The largest magnitude of scaled values.
const VALUE: f32 = 16_383.0;

/// The largest sum of a tile's weights: times [`VALUE`], with half a unit more for each
/// key, it is below 2^31.
const TOTAL: f32 = 131_000.0;

/// Lines that are paired at a time: line `i` with line `i + 8`.
const PAIRED: usize = 2 * LANES;

/// Replaces a largest magnitude of zero: its inverse times the numbers above is finite.
const TINY: f32 = 1e-30;

/// An ISA that multiplies pairs, on 256 bits, and computes all else by its floats.
pub(super) trait PairProducts: Arithmetic<Floats = Avx2> + Into<Avx2> {
    /// `sum + a[0] b[0] + a[1] b[1]` in each lane, in 32 bits.
    fn add_pairs(self, a: __m256i, b: __m256i, sum: __m256i) -> __m256i;
}

impl Avx2 {
    ops! {
        // Rounded to 16-bit integers; no meaning for what is beyond them.
        fn pairs(first: V, second: V) -> V: "`vcvtps2dq`, `vpslld`, `vpblendw`" = {
            let low = _mm256_cvtps_epi32(first);
            let high = _mm256_slli_epi32::<16>(_mm256_cvtps_epi32(second));
            _mm256_castsi256_ps(_mm256_blend_epi16::<0b1010_1010>(low, high))
        };
        fn bits(v: V) -> __m256i: "No instruction." = _mm256_castps_si256(v);
    }
}

/// Products by pairs of integers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pairs<L>(pub L);

impl<L: PairProducts> Products for Pairs<L> {
    type S = Avx2;

    #[inline(always)]
    fn simd(self) -> Avx2 {
        self.0.into()
    }

    #[inline(always)]
    fn run<R>(self, f: impl FnOnce() -> R) -> R {
        self.0.run(f)
    }

    #[inline(always)]
    fn prepare_queries(self, q: &mut [Line]) -> [V; 2] {
        let s = self.simd();
        let (inverses, scales) = norm_scales(s, q);
        for chunk in 0..q.len() / PAIRED {
            for i in 0..LANES {
                let first = load_line(s, &q[chunk * PAIRED + i]);
                let second = load_line(s, &q[chunk * PAIRED + LANES + i]);
                let pairs = line_of_pairs(s, first, second, inverses);
                store_line(s, pairs, &mut q[chunk * LANES + i]);
            }
        }
        scales
    }

    #[inline(always)]
    fn query_lines(head_dim: usize) -> usize {
        padded(head_dim) / 2
    }

    #[inline(always)]
    fn load_tile<'a, C: Cell>(
        self,
        shape: &AttentionShape,
        kv: KvCells<'_, C>,
        kv_head: usize,
        positions: Range<usize>,
        area: TileArea<'a>,
    ) -> Tile<'a> {
        let s = self.simd();
        let head_dim = shape.head_dim;
        let (across, along) = (padded(head_dim) / 2, value_stride(head_dim));
        // A pair takes one number's place, so half of the keys' part is free.
        let (k, rest) = area.k.split_at_mut(KEYS * across);
        let (first, second) = rest[..2 * padded(head_dim)].split_at_mut(padded(head_dim));
        first.fill(0.0);
        second.fill(0.0);

        let (keys, values) = kv.before_wrap(shape, kv_head, positions.clone());
        let cells = |key| {
            let cells = head_dim / C::LEN;
            key * cells..(key + 1) * cells
        };
        let tile = k.chunks_exact_mut(across).zip(&mut *area.key_scales);
        for (key, (to, scale)) in (0..positions.len()).zip(tile) {
            C::to_f32(s, &keys[cells(key)], &mut first[..head_dim]);
            *scale = key_pairs(s, first, to);
        }
        let pairs = area.v.chunks_exact_mut(along);
        let pairs = pairs.zip(area.value_scales.as_chunks_mut().0);
        for (key, (to, scales)) in (0..positions.len()).step_by(2).zip(pairs) {
            C::to_f32(s, &values[cells(key)], &mut first[..head_dim]);
            match key + 1 < positions.len() {
                true => C::to_f32(s, &values[cells(key + 1)], &mut second[..head_dim]),
                false => second.fill(0.0),
            }
            *scales = value_pairs(s, first, second, to);
        }
        area.tile(positions, across, along)
    }

    #[inline(always)]
    fn prepare_weights(
        self,
        weights: &mut [Line],
        largest: [V; 2],
        total: [V; 2],
    ) -> (usize, [V; 2]) {
        let s = self.simd();
        let (tiny, one) = (s.splat(TINY), s.splat(1.0));
        let (mut multipliers, mut factors) = (largest, largest);
        for half in 0..2 {
            // If a weight is NaN, `total` is NaN, and in this order `max` and `min` keep
            // it.
            let by_largest = s.div(s.splat(MAX), s.max(tiny, largest[half]));
            let by_total = s.div(s.splat(TOTAL), s.max(tiny, total[half]));
            multipliers[half] = s.min(by_largest, by_total);
            factors[half] = s.div(one, multipliers[half]);
        }
        let lines = weights.len().div_ceil(2);
        for i in 0..lines {
            let first = load_line(s, &weights[2 * i]);
            let second = match weights.get(2 * i + 1) {
                Some(line) => load_line(s, line),
                None => [s.splat(0.0); 2],
            };
            let pairs = line_of_pairs(s, first, second, multipliers);
            store_line(s, pairs, &mut weights[i]);
        }
        (lines, factors)
    }

    #[inline(always)]
    fn add_products(self, a: V, b: V, sum: V) -> V {
        let s = self.simd();
        s.float_bits(self.0.add_pairs(s.bits(a), s.bits(b), s.bits(sum)))
    }

    #[inline(always)]
    fn add_scaled(self, sum: V, factor: V, c: V) -> V {
        let s = self.simd();
        s.mul_add(s.to_floats(s.bits(sum)), factor, c)
    }
}

/// Pairs of the numbers of two lines, each times `by`.
#[inline(always)]
fn line_of_pairs(s: Avx2, first: [V; 2], second: [V; 2], by: [V; 2]) -> [V; 2] {
    [
        s.pairs(s.mul(first[0], by[0]), s.mul(second[0], by[0])),
        s.pairs(s.mul(first[1], by[1]), s.mul(second[1], by[1])),
    ]
}

/// The scale of numbers with this norm and largest magnitude: NaN where the norm is.
#[inline(always)]
fn scale_of(norm: f32, largest: f32) -> f32 {
    let (by_norm, by_largest) = (norm / NORM, largest / MAX);
    if by_norm < by_largest {
        by_largest
    } else {
        by_norm
    }
}

/// The factors that turn each row of a strip into integers, and those that turn it back.
#[inline(always)]
fn norm_scales(s: Avx2, q: &[Line]) -> ([V; 2], [V; 2]) {
    let mut largest = [s.splat(TINY); 2];
    for line in q {
        let line = load_line(s, line);
        largest[0] = s.max(s.abs(line[0]), largest[0]);
        largest[1] = s.max(s.abs(line[1]), largest[1]);
    }
    // The rows are scaled before they are squared: the squares of huge queries are
    // infinite.
    let one = s.splat(1.0);
    let inverses = [s.div(one, largest[0]), s.div(one, largest[1])];
    let mut squares = [s.splat(0.0); 2];
    for line in q {
        let line = load_line(s, line);
        let (a, b) = (s.mul(line[0], inverses[0]), s.mul(line[1], inverses[1]));
        squares[0] = s.mul_add(a, a, squares[0]);
        squares[1] = s.mul_add(b, b, squares[1]);
    }
    let mut scales = Line::default();
    store_line(s, squares, &mut scales);
    for scale in &mut scales {
        *scale = scale_of(sqrt(*scale), 1.0);
    }
    let scales = load_line(s, &scales);
    (
        [s.div(inverses[0], scales[0]), s.div(inverses[1], scales[1])],
        [s.mul(largest[0], scales[0]), s.mul(largest[1], scales[1])],
    )
}

/// A key, padded with zeros, as pairs of elements eight apart. Returns their scale.
#[inline(always)]
fn key_pairs(s: Avx2, key: &[f32], to: &mut [f32]) -> f32 {
    let (chunks, _) = key.as_chunks::<LANES>();
    let (mut largest, mut squares) = (s.splat(TINY), s.splat(0.0));
    for chunk in chunks {
        let v = s.load(chunk);
        largest = s.max(s.abs(v), largest);
        squares = s.mul_add(v, v, squares);
    }
    let scale = scale_of(sqrt(s.sum(squares)), s.max_lane(largest));
    let inverse = s.splat(1.0 / scale);
    let pairs = to.as_chunks_mut::<LANES>().0;
    for (two, to) in chunks.as_chunks::<2>().0.iter().zip(pairs) {
        let first = s.mul(s.load(&two[0]), inverse);
        let second = s.mul(s.load(&two[1]), inverse);
        s.store(s.pairs(first, second), to);
    }
    scale
}

/// The values of two keys, padded with zeros, as pairs. Returns the scale of each.
#[inline(always)]
fn value_pairs(s: Avx2, first: &[f32], second: &[f32], to: &mut [f32]) -> [f32; 2] {
    let (a, b) = (value_scale(s, first), value_scale(s, second));
    let (inverse_a, inverse_b) = (s.splat(1.0 / a), s.splat(1.0 / b));
    let (firsts, seconds) = (first.as_chunks::<LANES>().0, second.as_chunks::<LANES>().0);
    let pairs = to.as_chunks_mut::<LANES>().0;
    for ((first, second), to) in firsts.iter().zip(seconds).zip(pairs) {
        let first = s.mul(s.load(first), inverse_a);
        let second = s.mul(s.load(second), inverse_b);
        s.store(s.pairs(first, second), to);
    }
    [a, b]
}

/// The scale of these values: NaN if any is not finite.
#[inline(always)]
fn value_scale(s: Avx2, values: &[f32]) -> f32 {
    let zero = s.splat(0.0);
    let (mut largest, mut zeros) = (s.splat(TINY), zero);
    for chunk in values.as_chunks::<LANES>().0 {
        let v = s.load(chunk);
        largest = s.max(s.abs(v), largest);
        zeros = s.mul_add(v, zero, zeros);
    }
    s.max_lane(largest) / VALUE + s.sum(zeros)
}
