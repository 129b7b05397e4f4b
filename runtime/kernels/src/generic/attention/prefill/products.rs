//! The two products of attention, keys x queries and values x weights: one
//! small matrix kernel, over the numbers that [`Products`] names.

use core::ops::Range;

use super::{KEYS, Line, load_line, padded, store_line, value_stride};
use crate::generic::attention::{AttentionShape, Cell, KvCells};
use crate::generic::simd::{Lanes, SMALL, Simd};

/// Eight numbers of `P`, or floats of its ISA.
pub(crate) type V<P> = <<P as Products>::S as Lanes>::V;

/// The numbers in which the products are computed, each in the 32 bits of a
/// float: floats themselves, or pairs of 16-bit integers (on x86). All else is computed in
/// floats.
pub(crate) trait Products: Copy + Send + Sync {
    /// The floats.
    type S: Simd;

    /// The floats.
    fn simd(self) -> Self::S;

    /// [`Lanes::run`] with all that the products need.
    fn run<R>(self, f: impl FnOnce() -> R) -> R;

    /// Turns the queries of a strip, with lines of zeros to [`super::padded`], into
    /// numbers, in place. Returns the factors of their products.
    fn prepare_queries(self, q: &mut [Line]) -> [V<Self>; 2];

    /// Lines of prepared queries.
    fn query_lines(head_dim: usize) -> usize;

    /// Turns the keys and values of these positions into numbers.
    fn load_tile<'a, C: Cell>(
        self,
        shape: &AttentionShape,
        kv: KvCells<'_, C>,
        kv_head: usize,
        positions: Range<usize>,
        area: TileArea<'a>,
    ) -> Tile<'a>;

    /// Turns weights, a line for each key, into numbers, in place; they were
    /// multiplied with the scales of the values, and `largest` and `total` are
    /// each row's largest and sum. Returns how many lines there are then, and the
    /// factors of their products.
    fn prepare_weights(
        self,
        weights: &mut [Line],
        largest: [V<Self>; 2],
        total: [V<Self>; 2],
    ) -> (usize, [V<Self>; 2]);

    /// `sum + a b`, all three in numbers.
    fn add_products(self, a: V<Self>, b: V<Self>, sum: V<Self>) -> V<Self>;

    /// `c + factor sum`, where `sum` is in numbers and the others are floats.
    fn add_scaled(self, sum: V<Self>, factor: V<Self>, c: V<Self>) -> V<Self>;
}

/// Keys and values of neighbouring positions, as numbers.
pub struct Tile<'a> {
    pub positions: Range<usize>,
    pub k: Strided<'a>,
    pub v: Strided<'a>,
    /// The scale of each key's numbers.
    pub key_scales: &'a [f32],
    /// The scale of each value's numbers.
    pub value_scales: &'a [f32],
}

/// Where a tile is laid out.
pub struct TileArea<'a> {
    /// `[KEYS][padded(head_dim)]` floats, or what else a key needs.
    pub k: &'a mut [f32],
    /// `[KEYS][value_stride(head_dim)]` floats.
    pub v: &'a mut [f32],
    pub key_scales: &'a mut [f32],
    pub value_scales: &'a mut [f32],
}

impl<'a> TileArea<'a> {
    /// Floats of the area.
    pub fn floats(head_dim: usize) -> usize {
        KEYS * (padded(head_dim) + value_stride(head_dim) + 2)
    }

    /// Divides an area of [`TileArea::floats`] floats.
    #[inline(always)]
    pub fn new(area: &'a mut [f32], head_dim: usize) -> Self {
        let (k, rest) = area.split_at_mut(KEYS * padded(head_dim));
        let (v, scales) = rest.split_at_mut(KEYS * value_stride(head_dim));
        let (key_scales, value_scales) = scales.split_at_mut(KEYS);
        TileArea {
            k,
            v,
            key_scales,
            value_scales,
        }
    }

    /// The tile in this area. `key_stride` is the number of floats between neighbouring
    /// keys, `value_stride` that between values that are multiplied one after another.
    #[inline(always)]
    pub fn tile(self, positions: Range<usize>, key_stride: usize, value_stride: usize) -> Tile<'a> {
        Tile {
            positions,
            k: Strided {
                numbers: self.k,
                across: key_stride,
                along: 1,
            },
            v: Strided {
                numbers: self.v,
                across: 1,
                along: value_stride,
            },
            key_scales: self.key_scales,
            value_scales: self.value_scales,
        }
    }
}

/// A matrix inside a slice: number `(i, j)` is at `i * across + j * along`.
#[derive(Clone, Copy)]
pub struct Strided<'a> {
    pub numbers: &'a [f32],
    pub across: usize,
    pub along: usize,
}

/// Floats are their own numbers.
impl<S: Simd> Products for S {
    type S = S;

    #[inline(always)]
    fn simd(self) -> S {
        self
    }

    #[inline(always)]
    fn run<R>(self, f: impl FnOnce() -> R) -> R {
        Lanes::run(self, f)
    }

    #[inline(always)]
    fn prepare_queries(self, _: &mut [Line]) -> [S::V; 2] {
        [self.splat(1.0); 2]
    }

    #[inline(always)]
    fn query_lines(head_dim: usize) -> usize {
        head_dim
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
        let (head_dim, stride) = (shape.head_dim, value_stride(shape.head_dim));
        // Tiles do not wrap, because a ring consists of whole tiles.
        let (k, v) = kv.before_wrap(shape, kv_head, positions.clone());
        C::to_f32(self, k, &mut area.k[..positions.len() * head_dim]);
        let values = v.chunks_exact(head_dim / C::LEN);
        for (from, to) in values.zip(area.v.chunks_exact_mut(stride)) {
            C::to_f32(self, from, &mut to[..head_dim]);
        }
        area.key_scales.fill(1.0);
        area.value_scales.fill(1.0);
        area.tile(positions, head_dim, stride)
    }

    #[inline(always)]
    fn prepare_weights(
        self,
        weights: &mut [Line],
        largest: [S::V; 2],
        _: [S::V; 2],
    ) -> (usize, [S::V; 2]) {
        (weights.len(), largest)
    }

    #[inline(always)]
    fn add_products(self, a: S::V, b: S::V, sum: S::V) -> S::V {
        self.mul_add(a, b, sum)
    }

    #[inline(always)]
    fn add_scaled(self, sum: S::V, _: S::V, c: S::V) -> S::V {
        self.add(sum, c)
    }
}

/// `c[i][..] += factors[..] scale(i) (sum over j of a(i, j) b[j][..])`, for as
/// many `i` as `c` has lines and as many `j` as `b` has.
#[inline(always)]
pub(super) fn multiply_add<P: Products>(
    p: P,
    a: Strided<'_>,
    b: &[Line],
    factors: [V<P>; 2],
    scale: impl Fn(usize) -> f32,
    c: &mut [Line],
) {
    let product = Product {
        p,
        a,
        b,
        factors,
        scale,
    };
    if SMALL {
        product.add_blocks::<1>(0, c);
        return;
    }
    // Six lines of two vectors: twelve sums, two of b, one of a make fifteen
    // registers of sixteen, and enough sums to hide the latency.
    let (first, c) = product.add_blocks::<6>(0, c);
    let (first, c) = product.add_blocks::<4>(first, c);
    let (first, c) = product.add_blocks::<2>(first, c);
    product.add_blocks::<1>(first, c);
}

/// What [`multiply_add`] multiplies.
struct Product<'a, P: Products, F> {
    p: P,
    a: Strided<'a>,
    b: &'a [Line],
    factors: [V<P>; 2],
    scale: F,
}

impl<P: Products, F: Fn(usize) -> f32> Product<'_, P, F> {
    /// Adds to as many whole blocks of `N` lines as `c` has, beginning with line `first`
    /// of `a`. Returns the line after them, and the rest of `c`.
    #[inline(always)]
    fn add_blocks<'c, const N: usize>(
        &self,
        first: usize,
        c: &'c mut [Line],
    ) -> (usize, &'c mut [Line]) {
        let (blocks, rest) = c.as_chunks_mut::<N>();
        let mut line = first;
        for block in blocks {
            self.add_block(line, block);
            line += N;
        }
        (line, rest)
    }

    /// Adds the products of lines `first..first + N` of `a`.
    #[inline(always)]
    fn add_block<const N: usize>(&self, first: usize, c: &mut [Line; N]) {
        let Product { p, a, b, .. } = *self;
        let s = p.simd();
        if b.is_empty() {
            return;
        }
        let last = (first + N - 1) * a.across + (b.len() - 1) * a.along;
        assert!(last < a.numbers.len(), "a matrix beyond its slice");
        let mut sums = [[s.splat(0.0); 2]; N];
        for (j, line) in b.iter().enumerate() {
            let [b0, b1] = load_line(s, line);
            for (i, sum) in sums.iter_mut().enumerate() {
                // SAFETY: with i < N and j < b.len() the index is at most `last`.
                let a = unsafe {
                    a.numbers
                        .get_unchecked((first + i) * a.across + j * a.along)
                };
                let a = s.splat(*a);
                sum[0] = p.add_products(a, b0, sum[0]);
                sum[1] = p.add_products(a, b1, sum[1]);
            }
        }
        for (i, (sum, line)) in sums.into_iter().zip(c).enumerate() {
            let scale = s.splat((self.scale)(first + i));
            let [c0, c1] = load_line(s, line);
            let c0 = p.add_scaled(sum[0], s.mul(self.factors[0], scale), c0);
            let c1 = p.add_scaled(sum[1], s.mul(self.factors[1], scale), c1);
            store_line(s, [c0, c1], line);
        }
    }
}
