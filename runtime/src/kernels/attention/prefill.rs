//! Attention of many tokens.
//!
//! A piece is one key head and a tile of tokens, with all query heads of the
//! group: `tokens x group` *rows*. Rows lie across the lanes, sixteen to a
//! panel: queries as `[head_dim][16]`, scores as `[key][16]`, results as
//! `[head_dim][16]`. So maximum, exponentials, sums and rescaling are plain
//! operations on lanes, nothing is ever transposed but the queries once and
//! the results once, and both products (keys x queries, values x weights) are
//! the same small matrix kernel.

use core::array::from_fn;
use core::ops::Range;

use super::softmax::{NO_MAX, Softcap, inverse_sum};
use super::{AttentionShape, Cell, KvCells, KvSlot, KvType, Queries, SharedSlice};
use crate::kernels::vector::simd::{LANES, SMALL};
use crate::kernels::vector::{Simd, math};

/// Rows of a panel: two vectors.
const PANEL: usize = 2 * LANES;

/// Keys converted and swept at a time. Tiles start at multiples of this, so
/// that a token's result does not depend on where its chunk of the prompt began.
const KEYS: usize = 64;

/// Most rows of a piece; more would push the tiles of keys out of the cache.
const MAX_ROWS: usize = 128;

/// One line of a panel: a number for each row.
type Line = [f32; PANEL];

/// Tokens of a tile: sixteen, so that panels are full whatever the group is.
pub fn tile_tokens(shape: &AttentionShape) -> usize {
    (MAX_ROWS / shape.group()).clamp(1, PANEL)
}

/// Panels of a full tile.
fn max_panels(shape: &AttentionShape) -> usize {
    (tile_tokens(shape) * shape.group()).div_ceil(PANEL)
}

/// Floats between the values of neighbouring keys. Sixteen more than needed:
/// a power of two would lay a column of them onto few sets of the cache.
fn value_stride(shape: &AttentionShape) -> usize {
    shape.head_dim + PANEL
}

pub fn scratch_len(shape: &AttentionShape) -> usize {
    let lines = max_panels(shape) * (2 * shape.head_dim + 2) + KEYS;
    lines * PANEL + KEYS * (shape.head_dim + value_stride(shape))
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

    /// The rows of panel `panel`.
    #[inline(always)]
    fn of_panel(&self, panel: usize) -> Range<usize> {
        panel * PANEL..self.count.min((panel + 1) * PANEL)
    }

    /// The rows of panel `panel`, up to eight at a time, with their first lane.
    #[inline(always)]
    fn eights(&self, panel: usize) -> impl Iterator<Item = (usize, Range<usize>)> + use<> {
        let all = self.of_panel(panel);
        let lanes = (0..all.len()).step_by(LANES);
        lanes.map(move |lane| {
            let first = all.start + lane;
            (lane, first..all.end.min(first + LANES))
        })
    }
}

/// Sixteen rows on their way: the queries and the running softmax.
struct Panel<'a> {
    /// Scaled queries, `[head_dim]`.
    q: &'a [Line],
    /// Weighted sums of values, `[head_dim]`.
    sums: &'a mut [Line],
    max: &'a mut Line,
    /// Sums of weights.
    weight: &'a mut Line,
}

/// A tile of keys and values in `f32`.
struct Tile<'a> {
    first_key: usize,
    keys: usize,
    /// `[key][head_dim]`.
    k: &'a [f32],
    /// `[key][value_stride]`.
    v: &'a [f32],
}

/// Computes one piece; see [`super::Attention::prefill`].
///
/// # Safety
/// Nobody else uses the piece's part of `out`.
#[inline(always)]
pub unsafe fn attend<S: Simd>(
    s: S,
    shape: &AttentionShape,
    piece: usize,
    queries: Queries<'_>,
    kv: KvSlot<'_>,
    out: SharedSlice<'_, f32>,
    scratch: &mut [f32],
) {
    let rows = Rows::of_piece(shape, piece, queries);
    let panels = rows.count.div_ceil(PANEL);
    let head_dim = shape.head_dim;

    let (lines, floats) = scratch.split_at_mut((panels * (2 * head_dim + 2) + KEYS) * PANEL);
    let (lines, _) = lines.as_chunks_mut::<PANEL>();
    let (q, lines) = lines.split_at_mut(panels * head_dim);
    let (sums, lines) = lines.split_at_mut(panels * head_dim);
    let (max, lines) = lines.split_at_mut(panels);
    let (weight, scores) = lines.split_at_mut(panels);
    let (k, v) = floats.split_at_mut(KEYS * head_dim);

    gather_queries(s, &rows, q);
    sums.fill([0.0; PANEL]);
    max.fill([NO_MAX; PANEL]);
    weight.fill([0.0; PANEL]);

    let seen = rows.visible(0).start..rows.visible(rows.count - 1).end;
    let mut first_key = seen.start - seen.start % KEYS;
    while first_key < seen.end {
        let keys = KEYS.min(seen.end - first_key);
        match kv {
            KvSlot::F16(kv) => load_tile(s, shape, kv, rows.kv_head, first_key, keys, k, v),
            KvSlot::Q8_0(kv) if KvType::Q8_0.in_build() => {
                load_tile(s, shape, kv, rows.kv_head, first_key, keys, k, v);
            }
            KvSlot::Q8_0(_) => {}
        }
        let tile = Tile {
            first_key,
            keys,
            k,
            v,
        };
        for p in 0..panels {
            let span = p * head_dim..(p + 1) * head_dim;
            let mut panel = Panel {
                q: &q[span.clone()],
                sums: &mut sums[span],
                max: &mut max[p],
                weight: &mut weight[p],
            };
            let scores = &mut scores[..keys];
            score(s, shape, &panel, &tile, scores);
            mask(&rows, p, &tile, scores);
            weigh(s, &mut panel, scores);
            add_values(s, shape, &mut panel, &tile, scores);
        }
        first_key += KEYS;
    }

    // SAFETY: the caller keeps the contract of this function.
    unsafe { scatter_results(s, &rows, sums, weight, out) };
}

/// Lays the rows' queries, scaled, across the lanes of panels; lanes without a
/// row are zeros.
#[inline(always)]
fn gather_queries<S: Simd>(s: S, rows: &Rows<'_>, q: &mut [Line]) {
    for (p, panel) in q.chunks_exact_mut(rows.shape.head_dim).enumerate() {
        panel.fill([0.0; PANEL]);
        for (lane, eight) in rows.eights(p) {
            gather_eight(s, rows, eight, lane, panel);
        }
    }
}

/// [`gather_queries`] for up to eight rows, in the lanes from `lane` on.
#[inline(always)]
fn gather_eight<S: Simd>(
    s: S,
    rows: &Rows<'_>,
    eight: Range<usize>,
    lane: usize,
    panel: &mut [Line],
) {
    let scale = s.splat(rows.shape.scale);
    let whole = match eight.len() {
        LANES => panel.len() / LANES * LANES,
        _ => 0,
    };
    for d in (0..whole).step_by(LANES) {
        let mut square = [scale; LANES];
        for (row, v) in eight.clone().zip(&mut square) {
            let from = rows.place(row).start + d;
            *v = s.mul(s.load(lanes(&rows.queries.q[from..])), scale);
        }
        for (v, line) in transposed(s, square).into_iter().zip(&mut panel[d..]) {
            s.store(v, lanes_mut(&mut line[lane..]));
        }
    }
    for (lane, row) in (lane..).zip(eight) {
        let from = &rows.queries.q[rows.place(row)];
        for (line, &x) in panel[whole..].iter_mut().zip(&from[whole..]) {
            line[lane] = x * rows.shape.scale;
        }
    }
}

/// Divides the weighted sums by the sums of weights and writes them out.
///
/// # Safety
/// Nobody else uses the rows' part of `out`.
#[inline(always)]
unsafe fn scatter_results<S: Simd>(
    s: S,
    rows: &Rows<'_>,
    sums: &[Line],
    weight: &[Line],
    out: SharedSlice<'_, f32>,
) {
    let panels = sums.chunks_exact(rows.shape.head_dim).zip(weight);
    for (p, (panel, weight)) in panels.enumerate() {
        for (lane, eight) in rows.eights(p) {
            // SAFETY: passed on to the caller.
            unsafe { scatter_eight(s, rows, eight, lane, panel, weight, out) };
        }
    }
}

/// [`scatter_results`] for up to eight rows, in the lanes from `lane` on.
///
/// # Safety
/// Nobody else uses the rows' part of `out`.
#[inline(always)]
unsafe fn scatter_eight<S: Simd>(
    s: S,
    rows: &Rows<'_>,
    eight: Range<usize>,
    lane: usize,
    panel: &[Line],
    weight: &Line,
    out: SharedSlice<'_, f32>,
) {
    let whole = panel.len() / LANES * LANES;
    let inverses: [f32; LANES] = from_fn(|i| inverse_sum(weight[lane + i]));
    let factor = s.load(&inverses);
    for d in (0..whole).step_by(LANES) {
        let mut square = [factor; LANES];
        for (v, line) in square.iter_mut().zip(&panel[d..]) {
            *v = s.mul(s.load(lanes(&line[lane..])), factor);
        }
        for (v, row) in transposed(s, square).into_iter().zip(eight.clone()) {
            let at = rows.place(row).start + d;
            // SAFETY: a row's place belongs to this piece alone, and rows have
            // different places.
            s.store(v, lanes_mut(unsafe { out.part(at..at + LANES) }));
        }
    }
    for (i, row) in eight.enumerate() {
        let place = rows.place(row);
        // SAFETY: as above.
        let to = unsafe { out.part(place.start + whole..place.end) };
        for (x, line) in to.iter_mut().zip(&panel[whole..]) {
            *x = line[lane + i] * inverses[i];
        }
    }
}

/// Rows to columns: element `j` of vector `i` becomes element `i` of vector `j`.
/// Each round moves one bit of the row's number to the column's, and one back.
#[inline(always)]
fn transposed<S: Simd>(s: S, mut v: [S::V; LANES]) -> [S::V; LANES] {
    for _ in 0..LANES.ilog2() {
        let pairs: [_; LANES / 2] = from_fn(|i| s.zip(v[i], v[i + LANES / 2]));
        v = from_fn(|i| {
            if i % 2 == 0 {
                pairs[i / 2].0
            } else {
                pairs[i / 2].1
            }
        });
    }
    v
}

/// The first eight of a slice.
#[inline(always)]
fn lanes(x: &[f32]) -> &[f32; LANES] {
    &x.as_chunks().0[0]
}

/// The first eight of a slice.
#[inline(always)]
fn lanes_mut(x: &mut [f32]) -> &mut [f32; LANES] {
    &mut x.as_chunks_mut().0[0]
}

/// Converts a tile of keys and values to `f32`.
#[allow(clippy::too_many_arguments)]
#[inline(always)]
fn load_tile<S: Simd, C: Cell>(
    s: S,
    shape: &AttentionShape,
    kv: KvCells<'_, C>,
    kv_head: usize,
    first_key: usize,
    keys: usize,
    k: &mut [f32],
    v: &mut [f32],
) {
    let head_dim = shape.head_dim;
    let start = shape.slot_range(kv_head, first_key, kv.capacity).start;
    let cells = start / C::LEN..(start + keys * head_dim) / C::LEN;
    C::to_f32(s, &kv.k[cells.clone()], &mut k[..keys * head_dim]);
    let values = kv.v[cells].chunks_exact(head_dim / C::LEN);
    for (from, to) in values.zip(v.chunks_exact_mut(value_stride(shape))) {
        C::to_f32(s, from, &mut to[..head_dim]);
    }
}

/// Scores before the mask: `scores[key][row] = k[key] . q[row]`.
#[inline(always)]
fn score<S: Simd>(
    s: S,
    shape: &AttentionShape,
    panel: &Panel<'_>,
    tile: &Tile<'_>,
    scores: &mut [Line],
) {
    scores.fill([0.0; PANEL]);
    let k = Strided {
        numbers: tile.k,
        across: shape.head_dim,
        along: 1,
    };
    multiply_add(s, k, panel.q, scores);
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
fn mask(rows: &Rows<'_>, panel: usize, tile: &Tile<'_>, scores: &mut [Line]) {
    let tile_keys = tile.first_key..tile.first_key + tile.keys;
    for (lane, row) in rows.of_panel(panel).enumerate() {
        let seen = rows.visible(row);
        let before = tile_keys.start..seen.start.min(tile_keys.end);
        let after = seen.end.max(tile_keys.start)..tile_keys.end;
        for key in before.chain(after) {
            scores[key - tile.first_key][lane] = f32::NEG_INFINITY;
        }
    }
}

/// Turns scores into weights, with the running maximum and sum brought up to
/// date, and the sums of values rescaled.
#[inline(always)]
fn weigh<S: Simd>(s: S, panel: &mut Panel<'_>, scores: &mut [Line]) {
    let highest = s.splat(f32::MAX);
    let (max, _) = panel.max.as_chunks_mut::<LANES>();
    let (weight, _) = panel.weight.as_chunks_mut::<LANES>();
    let mut factors = [1.0; PANEL];
    let (factor, _) = factors.as_chunks_mut::<LANES>();

    for half in 0..2 {
        let old = s.load(&max[half]);
        let mut new = old;
        for line in scores.iter_mut() {
            let score = &mut line.as_chunks_mut::<LANES>().0[half];
            // In this order a NaN stays one.
            let held = s.min(highest, s.load(score));
            s.store(held, score);
            new = s.max(held, new);
        }
        let rescale = math::exp_falling(s, s.sub(old, new));
        let mut sum = s.mul(s.load(&weight[half]), rescale);
        for line in scores.iter_mut() {
            let score = &mut line.as_chunks_mut::<LANES>().0[half];
            let weight = math::exp_falling(s, s.sub(s.load(score), new));
            s.store(weight, score);
            sum = s.add(sum, weight);
        }
        s.store(new, &mut max[half]);
        s.store(sum, &mut weight[half]);
        s.store(rescale, &mut factor[half]);
    }

    // Most tiles after the first few raise no maximum.
    if factors != [1.0; PANEL] {
        let factors = load_line(s, &factors);
        for line in panel.sums.iter_mut() {
            let [a, b] = load_line(s, line);
            store_line(s, [s.mul(a, factors[0]), s.mul(b, factors[1])], line);
        }
    }
}

/// `sums[d][row] += v[key][d] weight[key][row]`, over all keys of the tile.
#[inline(always)]
fn add_values<S: Simd>(
    s: S,
    shape: &AttentionShape,
    panel: &mut Panel<'_>,
    tile: &Tile<'_>,
    weights: &[Line],
) {
    let v = Strided {
        numbers: tile.v,
        across: 1,
        along: value_stride(shape),
    };
    multiply_add(s, v, weights, panel.sums);
}

/// A matrix inside a slice: number `(i, j)` is at `i * across + j * along`.
#[derive(Clone, Copy)]
struct Strided<'a> {
    numbers: &'a [f32],
    across: usize,
    along: usize,
}

/// The matrix kernel: `c[i][..] += sum over j of a(i, j) b[j][..]`, for as many
/// `i` as `c` has lines and as many `j` as `b` has.
#[inline(always)]
fn multiply_add<S: Simd>(s: S, a: Strided<'_>, b: &[Line], c: &mut [Line]) {
    // Six lines of two vectors: twelve sums, two of b, one of a make fifteen
    // registers of sixteen, and enough sums to hide the latency.
    if SMALL {
        multiply_add_blocks::<S, 1>(s, a, 0, b, c);
        return;
    }
    let (first, c) = multiply_add_blocks::<S, 6>(s, a, 0, b, c);
    let (first, c) = multiply_add_blocks::<S, 4>(s, a, first, b, c);
    let (first, c) = multiply_add_blocks::<S, 2>(s, a, first, b, c);
    multiply_add_blocks::<S, 1>(s, a, first, b, c);
}

/// [`multiply_add`] for as many whole blocks of `N` lines as `c` has, the first
/// of which is line `first` of `a`; returns the line after them, and the rest.
#[inline(always)]
fn multiply_add_blocks<'c, S: Simd, const N: usize>(
    s: S,
    a: Strided<'_>,
    first: usize,
    b: &[Line],
    c: &'c mut [Line],
) -> (usize, &'c mut [Line]) {
    let (blocks, rest) = c.as_chunks_mut::<N>();
    let mut line = first;
    for block in blocks {
        multiply_add_block(s, a, line, b, block);
        line += N;
    }
    (line, rest)
}

/// [`multiply_add`] for lines `first..first + N` of `a`.
#[inline(always)]
fn multiply_add_block<S: Simd, const N: usize>(
    s: S,
    a: Strided<'_>,
    first: usize,
    b: &[Line],
    c: &mut [Line; N],
) {
    if b.is_empty() {
        return;
    }
    let last = (first + N - 1) * a.across + (b.len() - 1) * a.along;
    assert!(last < a.numbers.len(), "a matrix beyond its slice");
    let mut sums = [[s.splat(0.0); 2]; N];
    for (sum, line) in sums.iter_mut().zip(c.iter()) {
        *sum = load_line(s, line);
    }
    for (j, line) in b.iter().enumerate() {
        let [b0, b1] = load_line(s, line);
        for (i, sum) in sums.iter_mut().enumerate() {
            // SAFETY: with i < N and j < b.len() the index is at most `last`.
            let a = unsafe {
                a.numbers
                    .get_unchecked((first + i) * a.across + j * a.along)
            };
            let a = s.splat(*a);
            sum[0] = s.mul_add(a, b0, sum[0]);
            sum[1] = s.mul_add(a, b1, sum[1]);
        }
    }
    for (sum, line) in sums.into_iter().zip(c) {
        store_line(s, sum, line);
    }
}

#[inline(always)]
fn load_line<S: Simd>(s: S, line: &Line) -> [S::V; 2] {
    let (halves, _) = line.as_chunks::<LANES>();
    [s.load(&halves[0]), s.load(&halves[1])]
}

#[inline(always)]
fn store_line<S: Simd>(s: S, v: [S::V; 2], line: &mut Line) {
    let (halves, _) = line.as_chunks_mut::<LANES>();
    s.store(v[0], &mut halves[0]);
    s.store(v[1], &mut halves[1]);
}
