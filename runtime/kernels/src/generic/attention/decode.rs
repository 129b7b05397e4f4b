//! Attention of one token.
//!
//! A piece is one key head and a run of keys, with all query heads of the
//! group. Keys and values are read from the cache once, as they lie there, and
//! converted in registers. Each piece leaves the maximum, the sum of weights
//! and the weighted sum of values of its run; [`combine`] joins them in a
//! fixed order.

use core::ops::Range;

use super::softmax::{NO_MAX, Softcap, inverse_sum, sink_max};
use super::{AttentionShape, Cell, DecodePiece, KvCells};
use crate::generic::simd::{LANES, SMALL, Simd};
use crate::generic::vector::{math, rows};

/// Keys whose scores are held at a time.
const KEYS: usize = 64;

/// Most runs of a key head: enough for every core of a phone, and a bound of
/// the memory for partial results that does not depend on the context.
const MAX_RUNS: usize = 16;

/// Multiply-adds that make a run worth taking, for keys or values alone.
const RUN_WORK: usize = 1 << 15;

/// Before the weighted values, a partial result has its maximum and its sum of
/// weights.
const HEADER: usize = 2;

/// How one token's visible keys are cut into runs.
pub struct Runs {
    visible: Range<usize>,
    /// Keys of a run; the last may have fewer.
    len: usize,
    /// How many runs there are.
    pub count: usize,
}

impl Runs {
    /// The runs for a token at `position`: by the shape and the position
    /// alone, so that results do not depend on who computes them.
    pub fn of(shape: &AttentionShape, position: usize) -> Self {
        let visible = shape.visible(position);
        let fair = visible.len().div_ceil(MAX_RUNS).next_multiple_of(KEYS);
        let len = fair.max(min_run(shape));
        Self {
            count: visible.len().div_ceil(len),
            len,
            visible,
        }
    }

    fn keys(&self, run: usize) -> Range<usize> {
        let start = self.visible.start + run * self.len;
        start..self.visible.end.min(start + self.len)
    }
}

/// Keys of the smallest run that is worth a piece.
fn min_run(shape: &AttentionShape) -> usize {
    let keys = RUN_WORK / shape.row().max(1) * shape.kv_heads;
    keys.next_multiple_of(KEYS).clamp(KEYS, 4 * KEYS)
}

pub fn max_runs(shape: &AttentionShape, capacity: usize) -> usize {
    capacity.div_ceil(min_run(shape)).min(MAX_RUNS)
}

pub fn partial_len(shape: &AttentionShape) -> usize {
    HEADER + shape.head_dim
}

pub fn scratch_len(shape: &AttentionShape) -> usize {
    shape.group() * (shape.head_dim + KEYS)
}

/// Computes one piece, from the cells of its cache; see [`super::Attention::decode`].
///
/// # Safety
/// Nobody else uses the piece's part of the partial results.
#[inline(always)]
pub unsafe fn attend<S: Simd, C: Cell>(
    s: S,
    shape: &AttentionShape,
    kv: KvCells<'_, C>,
    piece: DecodePiece<'_>,
) {
    let DecodePiece {
        piece,
        q,
        position,
        partials,
        scratch,
        ..
    } = piece;
    let (group, head_dim) = (shape.group(), shape.head_dim);
    let runs = Runs::of(shape, position);
    let kv_head = piece / runs.count;
    let keys = runs.keys(piece % runs.count);

    let (scaled, scores) = scratch.split_at_mut(group * head_dim);
    let (scores, _) = scores.as_chunks_mut::<KEYS>();
    let scores = &mut scores[..group];
    scaled.copy_from_slice(&q[kv_head * group * head_dim..][..group * head_dim]);
    rows::scale(s, scaled, shape.scale);

    let len = group * partial_len(shape);
    // SAFETY: the caller keeps the contract; pieces' parts are disjoint.
    let partials = unsafe { partials.part(piece * len..(piece + 1) * len) };
    for partial in partials.chunks_exact_mut(partial_len(shape)) {
        partial.fill(0.0);
        partial[0] = NO_MAX;
    }

    for first in keys.clone().step_by(KEYS) {
        let count = KEYS.min(keys.end - first);
        let positions = first..first + count;
        let (k, v) = kv.before_wrap(shape, kv_head, positions.clone());
        let before = k.len() * C::LEN / head_dim;
        score(s, head_dim, scaled, k, scores, 0);
        // In a ring, the places of these keys may wrap.
        let wrapped = (!SMALL && before < count)
            .then(|| kv.before_wrap(shape, kv_head, first + before..positions.end));
        if let Some((k, _)) = wrapped {
            score(s, head_dim, scaled, k, scores, before);
        }
        for (scores, partial) in scores
            .iter_mut()
            .zip(partials.chunks_exact_mut(partial_len(shape)))
        {
            softmax_update(s, shape, count, scores, partial);
        }
        add_values(s, head_dim, scores, v, partials);
        if let Some((_, v)) = wrapped {
            for weights in scores.iter_mut() {
                weights.copy_within(before..count, 0);
            }
            add_values(s, head_dim, scores, v, partials);
        }
    }
}

/// `scores[head][first + key] = q[head] . k[key]`.
#[inline(always)]
fn score<S: Simd, C: Cell>(
    s: S,
    head_dim: usize,
    q: &[f32],
    k: &[C],
    scores: &mut [[f32; KEYS]],
    first: usize,
) {
    let mut head = 0;
    while head < scores.len() {
        let q = &q[head * head_dim..];
        let scores = &mut scores[head..];
        head += match heads_at_once(scores.len()) {
            1 => score_heads::<S, C, 1>(s, head_dim, q, k, scores, first),
            2 => score_heads::<S, C, 2>(s, head_dim, q, k, scores, first),
            _ => score_heads::<S, C, 3>(s, head_dim, q, k, scores, first),
        };
    }
}

/// How many of the remaining heads share one pass over keys or values: up to
/// three, which with four keys (or four vectors of a value) make twelve sums.
fn heads_at_once(remaining: usize) -> usize {
    match remaining {
        _ if SMALL => 1,
        1 => 1,
        2 | 4 => 2,
        _ => 3,
    }
}

/// [`score`] for the first `H` heads; returns `H`.
#[inline(always)]
fn score_heads<S: Simd, C: Cell, const H: usize>(
    s: S,
    head_dim: usize,
    q: &[f32],
    k: &[C],
    scores: &mut [[f32; KEYS]],
    first: usize,
) -> usize {
    let cells = head_dim / C::LEN;
    let mut key = first;
    // KEYS is a multiple of four, so that whole blocks have room.
    for keys in k.chunks_exact(4 * cells) {
        let dots = dot_products::<S, C, H, 4>(s, head_dim, q, keys);
        for (scores, dots) in scores.iter_mut().zip(dots) {
            scores[key..key + 4].copy_from_slice(&dots);
        }
        key += 4;
    }
    for keys in k[(key - first) * cells..].chunks_exact(cells) {
        let dots = dot_products::<S, C, H, 1>(s, head_dim, q, keys);
        for (scores, dots) in scores.iter_mut().zip(dots) {
            scores[key] = dots[0];
        }
        key += 1;
    }
    H
}

/// The dot products of the first `H` queries and the first `K <= 4` keys; the
/// others of four are 0.
#[inline(always)]
fn dot_products<S: Simd, C: Cell, const H: usize, const K: usize>(
    s: S,
    head_dim: usize,
    q: &[f32],
    k: &[C],
) -> [[f32; 4]; H] {
    let cells = head_dim / C::LEN;
    assert!(H * head_dim <= q.len() && K * cells <= k.len() && K <= 4);
    let whole = head_dim - head_dim % LANES;
    let mut sums = [[s.splat(0.0); 4]; H];
    for strip in 0..whole / C::STRIP {
        for d in 0..C::STRIP / LANES {
            let d = strip * C::STRIP + d * LANES;
            // Twelve sums, three queries and one key at a time: sixteen registers.
            let mut queries = [s.splat(0.0); H];
            for (h, query) in queries.iter_mut().enumerate() {
                // SAFETY: d + LANES <= head_dim and h < H, and q has H heads.
                *query = s.load(unsafe { eight(q, h * head_dim + d) });
            }
            for j in 0..K {
                // SAFETY: as above, for j < K and the keys.
                let key = unsafe { C::eight(s, k.get_unchecked(j * cells..), d) };
                for (sums, query) in sums.iter_mut().zip(queries) {
                    sums[j] = s.mul_add(query, key, sums[j]);
                }
            }
        }
    }
    let mut dots = [[0.0; 4]; H];
    for (h, (dots, sums)) in dots.iter_mut().zip(sums).enumerate() {
        *dots = s.sum4(sums);
        for (j, dot) in dots.iter_mut().enumerate().take(K) {
            for d in whole..head_dim {
                *dot += q[h * head_dim + d] * C::one(&k[j * cells..], d);
            }
        }
    }
    dots
}

/// Eight neighbours from `at` on, unchecked: in the loops over heads and keys
/// the checks would cost as much as the arithmetic.
///
/// # Safety
/// `at + 8 <= x.len()`.
#[inline(always)]
unsafe fn eight(x: &[f32], at: usize) -> &[f32; LANES] {
    debug_assert!(at + LANES <= x.len());
    // SAFETY: the eight elements are inside the slice by the caller's word.
    unsafe { &*x.as_ptr().add(at).cast() }
}

/// Turns one head's first `count` scores into weights (and the others into 0),
/// with the partial result's maximum, sum and values brought up to date.
#[inline(always)]
fn softmax_update<S: Simd>(
    s: S,
    shape: &AttentionShape,
    count: usize,
    scores: &mut [f32; KEYS],
    partial: &mut [f32],
) {
    let (header, sums) = partial.split_at_mut(HEADER);
    if let Some(cap) = shape.softcap {
        let cap = Softcap::new(cap);
        for score in scores.as_chunks_mut::<LANES>().0 {
            let capped = cap.apply(s, s.load(score));
            s.store(capped, score);
        }
    }
    scores[count..].fill(f32::NEG_INFINITY);

    let (vectors, _) = scores.as_chunks_mut::<LANES>();
    let highest = s.splat(f32::MAX);
    let mut max = s.splat(header[0]);
    for score in vectors.iter_mut() {
        // In this order `min` keeps a NaN of the score.
        let held = s.min(highest, s.load(score));
        s.store(held, score);
        max = s.max(held, max);
    }
    let max = s.max_lane(max);

    let shift = s.splat(max);
    let mut sum = s.splat(0.0);
    for score in vectors {
        let weight = math::exp_falling(s, s.sub(s.load(score), shift));
        s.store(weight, score);
        sum = s.add(sum, weight);
    }
    if max > header[0] {
        let rescale = exp(s, header[0] - max);
        header[0] = max;
        header[1] *= rescale;
        rows::scale(s, sums, rescale);
    }
    header[1] += s.sum(sum);
}

/// `e^x` of one number not above 0, with the bits that the lanes give.
#[inline(always)]
fn exp<S: Simd>(s: S, x: f32) -> f32 {
    let mut lanes = [0.0; LANES];
    s.store(math::exp_falling(s, s.splat(x)), &mut lanes);
    lanes[0]
}

/// `sums[head][d] += weights[head][key] v[key][d]`, where the sums are what
/// follows the header of a partial result.
#[inline(always)]
fn add_values<S: Simd, C: Cell>(
    s: S,
    head_dim: usize,
    weights: &[[f32; KEYS]],
    v: &[C],
    partials: &mut [f32],
) {
    let len = HEADER + head_dim;
    let mut head = 0;
    while head < weights.len() {
        let weights = &weights[head..];
        let partials = &mut partials[head * len..];
        head += match heads_at_once(weights.len()) {
            1 => add_values_heads::<S, C, 1>(s, head_dim, weights, v, partials),
            2 => add_values_heads::<S, C, 2>(s, head_dim, weights, v, partials),
            _ => add_values_heads::<S, C, 3>(s, head_dim, weights, v, partials),
        };
    }
}

/// [`add_values`] for the first `H` heads; returns `H`.
#[inline(always)]
fn add_values_heads<S: Simd, C: Cell, const H: usize>(
    s: S,
    head_dim: usize,
    weights: &[[f32; KEYS]],
    v: &[C],
    partials: &mut [f32],
) -> usize {
    let wide = head_dim / (4 * LANES);
    for strip in 0..wide {
        let d = strip * 4 * LANES;
        add_columns::<S, C, H, 4>(s, head_dim, d, weights, v, partials);
    }
    let mut d = wide * 4 * LANES;
    while d + LANES <= head_dim {
        add_columns::<S, C, H, 1>(s, head_dim, d, weights, v, partials);
        d += LANES;
    }
    for (partial, weights) in partials
        .chunks_exact_mut(HEADER + head_dim)
        .zip(&weights[..H])
    {
        for (v, weight) in v.chunks_exact(head_dim / C::LEN).zip(weights) {
            for (sum, d) in partial[HEADER + d..].iter_mut().zip(d..) {
                *sum += C::one(v, d) * weight;
            }
        }
    }
    H
}

/// [`add_values_heads`] for `W` vectors of columns from `d` on.
#[inline(always)]
fn add_columns<S: Simd, C: Cell, const H: usize, const W: usize>(
    s: S,
    head_dim: usize,
    d: usize,
    weights: &[[f32; KEYS]],
    v: &[C],
    partials: &mut [f32],
) {
    let len = HEADER + head_dim;
    let columns = |h: usize| h * len + HEADER + d..h * len + HEADER + d + W * LANES;
    let mut sums = [[s.splat(0.0); W]; H];
    for (h, sums) in sums.iter_mut().enumerate() {
        for (sum, x) in sums.iter_mut().zip(partials[columns(h)].as_chunks().0) {
            *sum = s.load(x);
        }
    }
    assert!(d + W * LANES <= head_dim);
    for (key, v) in v.chunks_exact(head_dim / C::LEN).enumerate().take(KEYS) {
        let mut of_heads = [s.splat(0.0); H];
        for (weight, weights) in of_heads.iter_mut().zip(weights) {
            *weight = s.splat(weights[key]);
        }
        for w in 0..W {
            // SAFETY: v has head_dim values, and d + W * LANES is not beyond.
            let value = unsafe { C::eight(s, v, d + w * LANES) };
            for (sums, weight) in sums.iter_mut().zip(of_heads) {
                sums[w] = s.mul_add(weight, value, sums[w]);
            }
        }
    }
    for (h, sums) in sums.iter().enumerate() {
        let columns = partials[columns(h)].as_chunks_mut().0;
        for (sum, x) in sums.iter().zip(columns) {
            s.store(*sum, x);
        }
    }
}

/// Joins the partial results; see [`super::Attention::combine`].
#[inline(always)]
pub fn combine<S: Simd>(
    s: S,
    shape: &AttentionShape,
    position: usize,
    partials: &[f32],
    sinks: Option<&[f32]>,
    out: &mut [f32],
) {
    let sinks = if SMALL { None } else { sinks };
    let len = partial_len(shape);
    let group = shape.group();
    let runs = Runs::of(shape, position).count;
    let heads = out.chunks_exact_mut(shape.head_dim);
    for (head, out) in heads.enumerate().take(shape.heads) {
        // Pieces lie as [kv_head][run][head of the group].
        let first = head / group * runs * group + head % group;
        let of_run = |run: usize| {
            let start = (first + run * group) * len;
            partials[start..start + len].split_at(HEADER)
        };

        let sink = sinks.map(|sinks| sink_max(sinks[head]));
        let maxima = (0..runs).map(|r| of_run(r).0[0]);
        let max = maxima.fold(sink.unwrap_or(NO_MAX), f32::max);
        let mut sum = sink.map_or(0.0, |sink| exp(s, sink - max));
        out.fill(0.0);
        for (header, values) in (0..runs).map(of_run) {
            let weight = exp(s, header[0] - max);
            sum += header[1] * weight;
            rows::add_scaled(s, out, values, weight);
        }
        rows::scale(s, out, inverse_sum(sum));
    }
}
