//! Attention of many tokens.
//!
//! A piece is one key head and a tile of tokens, with all query heads of the
//! group: `tokens x group` *rows*. Rows lie across the lanes, sixteen to a
//! strip: queries as `[head_dim][16]`, scores as `[key][16]`, results as
//! `[head_dim][16]`. So maximum, exponentials, sums and rescaling are plain
//! operations on lanes, nothing is ever transposed but the queries once and
//! the results once, and both products (keys x queries, values x weights) are
//! the same small matrix kernel ([`products`]).

pub(crate) mod products;
mod transpose;

use core::ops::Range;

use super::softmax::{NO_MAX, Softcap, sink_max};
use super::{AttentionShape, KvSlot, PrefillPiece, Queries};
use crate::generic::simd::{LANES, Lanes, SMALL, Simd};
use crate::generic::vector::{Q8Block, math};
use products::{Products, Tile, TileArea, V, multiply_add};
use transpose::{gather_queries, scatter_results};

/// Rows of a strip: two vectors.
const STRIP: usize = 2 * LANES;

/// Keys converted and swept at a time. Tiles start at multiples of this, so
/// that a token's result does not depend on where its chunk of the prompt began.
pub const KEYS: usize = 64;

/// Most rows of a piece: they share the work of turning a tile of keys into
/// numbers, and all lie in the second-level cache. Small builds are short of memory.
const MAX_ROWS: usize = if SMALL { 32 } else { 256 };

/// One line of a strip: a number for each row.
pub(crate) type Line = [f32; STRIP];

/// Tokens of a tile: a multiple of sixteen if that is not too many, so that
/// strips are full whatever the group is.
pub fn tile_tokens(shape: &AttentionShape) -> usize {
    let most = (MAX_ROWS / shape.group()).max(1);
    if most < STRIP {
        most
    } else {
        most - most % STRIP
    }
}

/// Strips of a full tile.
fn max_strips(shape: &AttentionShape) -> usize {
    (tile_tokens(shape) * shape.group()).div_ceil(STRIP)
}

/// Lines of a strip's queries: whole pairs of vectors.
pub(crate) fn padded(head_dim: usize) -> usize {
    head_dim.next_multiple_of(2 * LANES)
}

/// Floats between the values of neighbouring keys. Sixteen more than needed:
/// a power of two would lay a column of them onto few sets of the cache.
pub(crate) fn value_stride(head_dim: usize) -> usize {
    padded(head_dim) + STRIP
}

pub fn scratch_len(shape: &AttentionShape) -> usize {
    let lines = max_strips(shape) * (padded(shape.head_dim) + shape.head_dim + 3) + KEYS;
    lines * STRIP + TileArea::floats(shape.head_dim)
}

/// The rows of a piece: which tokens, which query heads, and what they see.
struct Rows<'a> {
    shape: &'a AttentionShape,
    queries: Queries<'a>,
    kv_head: usize,
    first_token: usize,
    count: usize,
}

impl<'a> Rows<'a> {
    fn of_piece(shape: &'a AttentionShape, piece: usize, queries: Queries<'a>) -> Self {
        let tile = tile_tokens(shape);
        // The last tiles see most keys: they go first, so that no thread is
        // left with a long one at the end.
        let tiles = queries.tokens.div_ceil(tile);
        let first_token = (tiles - 1 - piece / shape.kv_heads) * tile;
        let tokens = tile.min(queries.tokens - first_token);
        Self {
            shape,
            queries,
            kv_head: piece % shape.kv_heads,
            first_token,
            count: tokens * shape.group(),
        }
    }

    /// Where row `row` lies in the queries and in the output.
    #[inline(always)]
    fn place(&self, row: usize) -> Range<usize> {
        let group = self.shape.group();
        let head = self.kv_head * group + row % group;
        let token = self.first_token + row / group;
        let start = (token * self.shape.heads + head) * self.shape.head_dim;
        start..start + self.shape.head_dim
    }

    /// The keys that row `row` sees.
    #[inline(always)]
    fn visible(&self, row: usize) -> Range<usize> {
        let token = self.first_token + row / self.shape.group();
        self.shape.visible(self.queries.start + token)
    }

    /// The rows of strip `strip`.
    #[inline(always)]
    fn of_strip(&self, strip: usize) -> Range<usize> {
        strip * STRIP..self.count.min((strip + 1) * STRIP)
    }

    /// The rows of strip `strip`, up to eight at a time, with their first lane.
    #[inline(always)]
    fn eights(&self, strip: usize) -> impl Iterator<Item = (usize, Range<usize>)> + use<> {
        let all = self.of_strip(strip);
        let lanes = (0..all.len()).step_by(LANES);
        lanes.map(move |lane| {
            let first = all.start + lane;
            (lane, first..all.end.min(first + LANES))
        })
    }
}

/// The state of sixteen rows: the queries and the running softmax.
struct Strip<'a, P: Products> {
    /// Scaled queries, [`Products::query_lines`], and their factors.
    q: &'a [Line],
    factors: [V<P>; 2],
    /// Weighted sums of values, `[head_dim]`.
    sums: &'a mut [Line],
    max: &'a mut Line,
    /// Sums of weights.
    weight: &'a mut Line,
}

/// Computes one piece; see [`super::Attention::prefill`].
///
/// # Safety
/// Nobody else uses the piece's part of `out`.
#[inline(always)]
pub unsafe fn attend<P: Products>(p: P, shape: &AttentionShape, piece: PrefillPiece<'_>) {
    let PrefillPiece {
        piece,
        queries,
        kv,
        sinks,
        out,
        scratch,
    } = piece;
    let s = p.simd();
    let rows = Rows::of_piece(shape, piece, queries);
    let strips = rows.count.div_ceil(STRIP);
    let head_dim = shape.head_dim;

    let (area, lines) = scratch.split_at_mut(TileArea::floats(head_dim));
    let (lines, _) = lines.as_chunks_mut::<STRIP>();
    let (q, lines) = lines.split_at_mut(strips * padded(head_dim));
    let (sums, lines) = lines.split_at_mut(strips * head_dim);
    let (factors, lines) = lines.split_at_mut(strips);
    let (max, lines) = lines.split_at_mut(strips);
    let (weight, scores) = lines.split_at_mut(strips);

    let strips_of_q = q.chunks_exact_mut(padded(head_dim));
    for (i, (q, factors)) in strips_of_q.zip(&mut *factors).enumerate() {
        gather_queries(s, &rows, i, q);
        store_line(s, p.prepare_queries(q), factors);
    }
    sums.fill([0.0; STRIP]);
    max.fill([NO_MAX; STRIP]);
    weight.fill([0.0; STRIP]);
    if let Some(sinks) = sinks.filter(|_| !SMALL) {
        let group = shape.group();
        for row in 0..rows.count {
            let head = rows.kv_head * group + row % group;
            max[row / STRIP][row % STRIP] = sink_max(sinks[head]);
            weight[row / STRIP][row % STRIP] = 1.0;
        }
    }

    let seen = rows.visible(0).start..rows.visible(rows.count - 1).end;
    let mut first_key = seen.start - seen.start % KEYS;
    while first_key < seen.end {
        let positions = first_key..seen.end.min(first_key + KEYS);
        let head = rows.kv_head;
        let area = TileArea::new(area, head_dim);
        let tile = match kv {
            KvSlot::F16(kv) => p.load_tile(shape, kv, head, positions, area),
            KvSlot::Q8_0(kv) if Q8Block::IN_BUILD => p.load_tile(shape, kv, head, positions, area),
            KvSlot::F32(kv) if !SMALL => p.load_tile(shape, kv, head, positions, area),
            KvSlot::Q8_0(_) | KvSlot::F32(_) => return,
        };
        for i in 0..strips {
            let mut strip = Strip {
                q: &q[i * padded(head_dim)..][..P::query_lines(head_dim)],
                factors: load_line(s, &factors[i]),
                sums: &mut sums[i * head_dim..][..head_dim],
                max: &mut max[i],
                weight: &mut weight[i],
            };
            let scores = &mut scores[..tile.positions.len()];
            score(p, shape, &strip, &tile, scores);
            mask(&rows, i, &tile, scores);
            let (lines, factors) = softmax_update(p, &mut strip, &tile, scores);
            multiply_add(p, tile.v, &scores[..lines], factors, |_| 1.0, strip.sums);
        }
        first_key += KEYS;
    }

    // SAFETY: the caller keeps the contract of this function.
    unsafe { scatter_results(s, &rows, sums, weight, out) };
}

/// Scores before the mask: `scores[key][row] = k[key] . q[row]`.
#[inline(always)]
fn score<P: Products>(
    p: P,
    shape: &AttentionShape,
    strip: &Strip<'_, P>,
    tile: &Tile<'_>,
    scores: &mut [Line],
) {
    let s = p.simd();
    scores.fill([0.0; STRIP]);
    multiply_add(
        p,
        tile.k,
        strip.q,
        strip.factors,
        #[inline(always)]
        |key| tile.key_scales[key],
        scores,
    );
    if let Some(cap) = shape.softcap {
        let cap = Softcap::new(cap);
        for score in scores.as_flattened_mut().as_chunks_mut::<LANES>().0 {
            let capped = cap.apply(s, s.load(score));
            s.store(capped, score);
        }
    }
}

/// Makes the scores of unseen keys minus infinity.
#[inline(always)]
fn mask(rows: &Rows<'_>, strip: usize, tile: &Tile<'_>, scores: &mut [Line]) {
    let tile_keys = tile.positions.clone();
    for (lane, row) in rows.of_strip(strip).enumerate() {
        let seen = rows.visible(row);
        let before = tile_keys.start..seen.start.min(tile_keys.end);
        let after = seen.end.max(tile_keys.start)..tile_keys.end;
        for key in before.chain(after) {
            scores[key - tile_keys.start][lane] = f32::NEG_INFINITY;
        }
    }
}

/// Turns scores into weights as [`Products::prepare_weights`] leaves them, with
/// the running maximum and sum brought up to date, and the sums of values
/// rescaled.
#[inline(always)]
fn softmax_update<P: Products>(
    p: P,
    strip: &mut Strip<'_, P>,
    tile: &Tile<'_>,
    scores: &mut [Line],
) -> (usize, [V<P>; 2]) {
    let s = p.simd();
    let highest = s.splat(f32::MAX);
    let (max, _) = strip.max.as_chunks_mut::<LANES>();
    let (weight, _) = strip.weight.as_chunks_mut::<LANES>();
    let mut rescales = [1.0; STRIP];
    let (rescaled, _) = rescales.as_chunks_mut::<LANES>();
    let mut largest = [s.splat(0.0); 2];
    let mut total = largest;

    for half in 0..2 {
        let old = s.load(&max[half]);
        let mut new = old;
        for line in scores.iter_mut() {
            let score = &mut line.as_chunks_mut::<LANES>().0[half];
            // In this order `min` keeps a NaN of the score.
            let held = s.min(highest, s.load(score));
            s.store(held, score);
            new = s.max(held, new);
        }
        let rescale = math::exp_falling(s, s.sub(old, new));
        let mut sum = s.mul(s.load(&weight[half]), rescale);
        for (line, scale) in scores.iter_mut().zip(tile.value_scales) {
            let score = &mut line.as_chunks_mut::<LANES>().0[half];
            let weight = math::exp_falling(s, s.sub(s.load(score), new));
            let scaled = s.mul(weight, s.splat(*scale));
            s.store(scaled, score);
            sum = s.add(sum, weight);
            largest[half] = s.max(scaled, largest[half]);
            total[half] = s.add(total[half], scaled);
        }
        s.store(new, &mut max[half]);
        s.store(sum, &mut weight[half]);
        s.store(rescale, &mut rescaled[half]);
    }

    // Most tiles after the first few raise no maximum.
    if rescales != [1.0; STRIP] {
        let rescales = load_line(s, &rescales);
        for line in strip.sums.iter_mut() {
            let [a, b] = load_line(s, line);
            store_line(s, [s.mul(a, rescales[0]), s.mul(b, rescales[1])], line);
        }
    }
    p.prepare_weights(scores, largest, total)
}

#[inline(always)]
pub(crate) fn load_line<S: Simd>(s: S, line: &Line) -> [S::V; 2] {
    let (halves, _) = line.as_chunks::<LANES>();
    [s.load(&halves[0]), s.load(&halves[1])]
}

#[inline(always)]
pub(crate) fn store_line<S: Simd>(s: S, v: [S::V; 2], line: &mut Line) {
    let (halves, _) = line.as_chunks_mut::<LANES>();
    s.store(v[0], &mut halves[0]);
    s.store(v[1], &mut halves[1]);
}
