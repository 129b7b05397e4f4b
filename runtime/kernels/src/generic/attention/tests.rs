use std::vec::Vec;

use half::f16;
use proptest::prelude::*;

use super::{
    Attention, AttentionShape, Cell, DecodePiece, KvCells, KvSlot, PrefillPiece, Queries,
    SharedSlice, TILE_KEYS,
};
use crate::vector::{Q8Block, Scalar, VectorOps};
use crate::{Isa, Kernels};

/// Attention at these ISAs, as far as this machine has them.
fn at(isas: &[Isa]) -> Vec<&'static dyn Attention> {
    let kernels = isas.iter().flat_map(|&isa| Kernels::with_isa(isa));
    kernels.map(|kernels| kernels.backend.attention).collect()
}

/// Every ISA whose products are of rounded pairs: those of x86.
fn pairs() -> Vec<&'static dyn Attention> {
    at(&[Isa::Avx2, Isa::AvxVnni, Isa::Avx512])
}

/// Every ISA whose products are of floats.
fn exact_isas() -> Vec<&'static dyn Attention> {
    at(&[Isa::Scalar, Isa::Exact])
}

/// Every ISA.
fn isas() -> Vec<&'static dyn Attention> {
    exact_isas().into_iter().chain(pairs()).collect()
}

/// The types of cells.
#[derive(Clone, Copy, Debug)]
enum CellType {
    F16,
    Q8_0,
}

impl CellType {
    const ALL: [CellType; 2] = [CellType::F16, CellType::Q8_0];

    /// Numbers of a cell.
    fn len(self) -> usize {
        match self {
            CellType::F16 => f16::LEN,
            CellType::Q8_0 => Q8Block::LEN,
        }
    }
}

/// Keys or values of a layer as the cache keeps them.
enum Cells {
    F16(Vec<f16>),
    Q8_0(Vec<Q8Block>),
}

impl Cells {
    fn new(cell_type: CellType, numbers: &[f32]) -> Self {
        match cell_type {
            CellType::F16 => Cells::F16(numbers.iter().map(|&x| f16::from_f32(x)).collect()),
            CellType::Q8_0 => {
                let mut blocks = std::vec![Q8Block::default(); numbers.len() / Q8Block::LEN];
                Scalar.f32_to_q8_0(numbers, &mut blocks);
                Cells::Q8_0(blocks)
            }
        }
    }

    /// Number `i`, as its format says.
    fn number(&self, i: usize) -> f64 {
        match self {
            Cells::F16(halves) => halves[i].to_f64(),
            Cells::Q8_0(blocks) => {
                let block = &blocks[i / 32];
                block.scale.to_f64() * f64::from(block.q[i % 32])
            }
        }
    }
}

impl Cells {
    /// Rows of `len` numbers, each the row of `self` that `from` says, or NaN.
    fn rearranged(&self, rows: usize, len: usize, from: impl Fn(usize) -> Option<usize>) -> Cells {
        fn rows_of<C: Cell>(
            cells: &[C],
            rows: usize,
            len: usize,
            unknown: C,
            from: impl Fn(usize) -> Option<usize>,
        ) -> Vec<C> {
            let len = len / C::LEN;
            let row = |row| match from(row) {
                Some(from) => cells[from * len..(from + 1) * len].to_vec(),
                None => std::vec![unknown; len],
            };
            (0..rows).flat_map(row).collect()
        }
        match self {
            Cells::F16(cells) => Cells::F16(rows_of(cells, rows, len, f16::NAN, from)),
            Cells::Q8_0(blocks) => {
                let unknown = Q8Block {
                    scale: f16::NAN,
                    q: [0; 32],
                };
                Cells::Q8_0(rows_of(blocks, rows, len, unknown, from))
            }
        }
    }
}

/// A layer's cache and some tokens' queries. Room in the cache beyond the last
/// token is NaN, and so is what kernels must overwrite: reading it shows.
struct Case {
    shape: AttentionShape,
    start: usize,
    tokens: usize,
    capacity: usize,
    q: Vec<f32>,
    k: Cells,
    v: Cells,
    sinks: Option<Vec<f32>>,
}

impl Case {
    fn new(
        cell_type: CellType,
        shape: AttentionShape,
        start: usize,
        tokens: usize,
        size: f32,
        seed: u32,
    ) -> Self {
        let mut state = seed;
        let mut random = move || {
            // A linear congruential generator: the numbers need no quality.
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        let capacity = start + tokens + 5;
        let mut cache = |size: f32| {
            let numbers: Vec<f32> = (0..shape.kv_heads * capacity * shape.head_dim)
                .map(|i| {
                    let number = random() * size;
                    let position = i / shape.head_dim % capacity;
                    if position < start + tokens {
                        number
                    } else {
                        f32::NAN
                    }
                })
                .collect();
            Cells::new(cell_type, &numbers)
        };
        let (k, v) = (cache(size), cache(1.0));
        let q = (0..tokens * shape.row()).map(|_| random() * size).collect();
        Self {
            shape,
            start,
            tokens,
            capacity,
            q,
            k,
            v,
            sinks: None,
        }
    }

    /// The same with sinks of about this size: for each head another one.
    fn with_sinks(self, size: f32) -> Self {
        let sink = |head| size * ((head * 7 % 5) as f32 - 2.0);
        Self {
            sinks: Some((0..self.shape.heads).map(sink).collect()),
            ..self
        }
    }

    /// The same keys and values in a ring that is as small as can be: what is not in
    /// its last positions is gone. The capacity must be that of the cache's layout.
    fn in_ring(self) -> Self {
        let Some(window) = self.shape.window else {
            return self;
        };
        let capacity = (window + self.tokens + TILE_KEYS - 1).next_multiple_of(TILE_KEYS);
        let end = self.start + self.tokens;
        let held = |cells: &Cells| {
            let place = |i: usize| {
                let (head, place) = (i / capacity, i % capacity);
                // The last position of this place.
                let position = (end.saturating_sub(place + 1) / capacity) * capacity + place;
                (position < end).then_some(head * self.capacity + position)
            };
            cells.rearranged(self.shape.kv_heads * capacity, self.shape.head_dim, place)
        };
        let (k, v) = (held(&self.k), held(&self.v));
        Self {
            capacity,
            k,
            v,
            ..self
        }
    }

    fn kv(&self) -> KvSlot<'_> {
        let capacity = self.capacity;
        match (&self.k, &self.v) {
            (Cells::F16(k), Cells::F16(v)) => KvSlot::F16(KvCells { k, v, capacity }),
            (Cells::Q8_0(k), Cells::Q8_0(v)) => KvSlot::Q8_0(KvCells { k, v, capacity }),
            _ => unreachable!("keys and values are of one type"),
        }
    }

    /// Attention as its formula says, in `f64`.
    fn truth(&self) -> Vec<f64> {
        let shape = &self.shape;
        let mut out = std::vec![0.0; self.q.len()];
        for token in 0..self.tokens {
            let position = self.start + token;
            for head in 0..shape.heads {
                let kv_head = head * shape.kv_heads / shape.heads;
                let at = token * shape.row() + head * shape.head_dim;
                let q = &self.q[at..at + shape.head_dim];
                let first = shape
                    .window
                    .map_or(0, |window| (position + 1).saturating_sub(window));
                let of_cache = |cache: &Cells, key: usize| -> Vec<f64> {
                    let start = (kv_head * self.capacity + key) * shape.head_dim;
                    let numbers = start..start + shape.head_dim;
                    numbers.map(|i| cache.number(i)).collect()
                };
                let scores: Vec<f64> = (first..=position)
                    .map(|key| {
                        let k = of_cache(&self.k, key);
                        let dot: f64 = q.iter().zip(k).map(|(&q, k)| f64::from(q) * k).sum();
                        let score = dot * f64::from(shape.scale);
                        shape.softcap.map_or(score, |cap| {
                            f64::from(cap) * (score / f64::from(cap)).tanh()
                        })
                    })
                    .collect();
                let sink = self.sinks.as_ref().map(|sinks| f64::from(sinks[head]));
                let all = || scores.iter().copied().chain(sink);
                let max = all().fold(f64::MIN, f64::max);
                let sum: f64 = all().map(|score| (score - max).exp()).sum();
                for (key, score) in (first..).zip(&scores) {
                    let weight = (score - max).exp() / sum;
                    for (out, v) in out[at..].iter_mut().zip(of_cache(&self.v, key)) {
                        *out += weight * v;
                    }
                }
            }
        }
        out
    }

    /// All tokens by [`Attention::prefill`].
    fn prefill(&self, isa: &dyn Attention) -> Vec<f32> {
        let mut out = std::vec![f32::NAN; self.q.len()];
        let mut scratch = std::vec![f32::NAN; self.shape.scratch_len()];
        let queries = Queries {
            q: &self.q,
            tokens: self.tokens,
            start: self.start,
        };
        let out_of_all = SharedSlice::new(&mut out);
        for piece in 0..self.shape.prefill_pieces(self.tokens) {
            let piece = PrefillPiece {
                piece,
                queries,
                kv: self.kv(),
                sinks: self.sinks.as_deref(),
                out: out_of_all,
                scratch: &mut scratch,
            };
            // SAFETY: one thread, one piece after the other.
            unsafe { isa.prefill(&self.shape, piece) };
        }
        out
    }

    /// Each token by [`Attention::decode`], its pieces in the given order.
    fn decode(&self, isa: &dyn Attention, backwards: bool) -> Vec<f32> {
        let shape = &self.shape;
        let mut out = std::vec![f32::NAN; self.q.len()];
        let mut scratch = std::vec![f32::NAN; shape.scratch_len()];
        let mut partials = std::vec![f32::NAN; shape.partials_len(self.capacity)];
        let rows = self.q.chunks(shape.row()).zip(out.chunks_mut(shape.row()));
        for (token, (q, out)) in rows.enumerate() {
            let position = self.start + token;
            let pieces = shape.decode_pieces(position);
            for piece in 0..pieces {
                let piece = if backwards { pieces - 1 - piece } else { piece };
                let piece = DecodePiece {
                    piece,
                    q,
                    position,
                    kv: self.kv(),
                    partials: SharedSlice::new(&mut partials),
                    scratch: &mut scratch,
                };
                // SAFETY: one thread, one piece after the other.
                unsafe { isa.decode(shape, piece) };
            }
            let sinks = self.sinks.as_deref();
            isa.combine(shape, position, &partials, sinks, out);
        }
        out
    }
}

fn assert_close(got: &[f32], truth: &[f64], tolerance: f64) {
    for (i, (&got, &truth)) in got.iter().zip(truth).enumerate() {
        let error = (f64::from(got) - truth).abs();
        assert!(error <= tolerance, "at {i}: {got} instead of {truth}");
    }
}

fn shape(kv_heads: usize, group: usize, head_dim: usize) -> AttentionShape {
    AttentionShape {
        heads: kv_heads * group,
        kv_heads,
        head_dim,
        scale: 1.0 / (head_dim as f32).sqrt(),
        softcap: None,
        window: None,
    }
}

/// The shapes of models, and odd ones, with a cache that fits them.
fn shapes() -> impl Strategy<Value = (CellType, AttentionShape)> {
    let cell_type = prop::sample::select(&CellType::ALL[..]);
    let head_dim = prop_oneof![
        3 => prop::sample::select(std::vec![64_usize, 80, 96, 128, 256]),
        3 => (1_usize..12).prop_map(|eights| 8 * eights),
        1 => 1_usize..70,
    ];
    let window = prop_oneof![Just(None), (1_usize..700).prop_map(Some)];
    let softcap = prop_oneof![Just(None), (1.0_f32..60.0).prop_map(Some)];
    (cell_type, 1_usize..4, 1_usize..9, head_dim, softcap, window).prop_map(
        |(cell_type, kv_heads, group, head_dim, softcap, window)| {
            let head_dim = head_dim.next_multiple_of(cell_type.len());
            let shape = AttentionShape {
                softcap,
                window,
                ..shape(kv_heads, group, head_dim)
            };
            (cell_type, shape)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn prefill_is_attention(
        (cell_type, shape) in shapes(),
        start in prop_oneof![Just(0_usize), 0_usize..560],
        tokens in 1_usize..41,
        size in prop_oneof![Just(1.0_f32), Just(4.0)],
        seed: u32,
    ) {
        let case = Case::new(cell_type, shape, start, tokens, size, seed);
        let truth = case.truth();
        for isa in exact_isas() {
            assert_close(&case.prefill(isa), &truth, 1e-5 * f64::from(size * size));
        }
        // A unit of a value is 6e-5, of a weight 3e-5, and scores are off by
        // 1e-5 of the product of two norms, which is up to 85 here.
        #[cfg(target_arch = "x86_64")]
        {
            let results: Vec<_> = pairs().iter().map(|isa| case.prefill(*isa)).collect();
            for result in &results {
                assert_close(result, &truth, 2e-4 * f64::from(size * size));
                prop_assert_eq!(result, &results[0], "integers differ between levels");
            }
        }
    }

    #[test]
    fn decode_is_attention(
        (cell_type, shape) in shapes(),
        start in 0_usize..600,
        size in prop_oneof![Just(1.0_f32), Just(4.0)],
        seed: u32,
    ) {
        let case = Case::new(cell_type, shape, start, 3, size, seed);
        let truth = case.truth();
        for isa in isas() {
            let got = case.decode(isa, false);
            assert_close(&got, &truth, 1e-5 * f64::from(size * size));
            prop_assert_eq!(got, case.decode(isa, true), "the order of pieces shows");
        }
    }
}

/// Sinks that take nearly nothing, about half, and nearly all.
#[test]
fn sinks_take_their_share() {
    for (size, window) in [(0.5, None), (4.0, Some(9)), (40.0, None)] {
        let shape = AttentionShape {
            window,
            ..shape(2, 3, 32)
        };
        for cell_type in CellType::ALL {
            let case = Case::new(cell_type, shape, 130, 20, 1.0, 5).with_sinks(size);
            let truth = case.truth();
            for isa in isas() {
                assert_close(&case.decode(isa, false), &truth, 1e-5);
            }
            for isa in exact_isas() {
                assert_close(&case.prefill(isa), &truth, 1e-5);
            }
            for isa in pairs() {
                assert_close(&case.prefill(isa), &truth, 2e-4);
            }
        }
    }
}

/// A sink that is no number a softmax can have makes no other result than its limit.
#[test]
fn infinite_sinks_make_no_nan() {
    let plain = Case::new(CellType::F16, shape(1, 2, 32), 130, 20, 1.0, 5);
    let without = plain.truth();
    for (sink, is_all) in [(f32::NEG_INFINITY, false), (f32::INFINITY, true)] {
        let case = Case {
            sinks: Some(std::vec![sink; 2]),
            ..Case::new(CellType::F16, shape(1, 2, 32), 130, 20, 1.0, 5)
        };
        let truth = match is_all {
            true => std::vec![0.0; without.len()],
            false => without.clone(),
        };
        for isa in exact_isas() {
            assert_close(&case.prefill(isa), &truth, 1e-5);
            assert_close(&case.decode(isa, false), &truth, 1e-5);
        }
    }
}

/// A long context, where runs of keys are longer than the smallest.
#[test]
fn decode_of_a_long_context() {
    for window in [None, Some(5000)] {
        let shape = AttentionShape {
            window,
            ..shape(1, 3, 16)
        };
        let case = Case::new(CellType::F16, shape, 9000, 1, 2.0, 7);
        let truth = case.truth();
        for isa in isas() {
            assert_close(&case.decode(isa, false), &truth, 2e-5);
        }
    }
}

/// Cutting a prompt into chunks changes no bit of any token's result.
#[test]
fn prefill_does_not_depend_on_chunks() {
    let cases = [
        (CellType::F16, 24, None),
        (CellType::F16, 24, Some(30)),
        (CellType::Q8_0, 32, Some(30)),
    ];
    for (cell_type, head_dim, window) in cases {
        let shape = AttentionShape {
            window,
            ..shape(2, 3, head_dim)
        };
        let whole = Case::new(cell_type, shape, 100, 40, 2.0, 3);
        for isa in isas() {
            let expected = whole.prefill(isa);
            for cut in [1, 7, 16, 33] {
                let part = |from: usize, to: usize| {
                    let queries = Queries {
                        q: &whole.q[from * shape.row()..to * shape.row()],
                        tokens: to - from,
                        start: whole.start + from,
                    };
                    let mut out = std::vec![f32::NAN; queries.q.len()];
                    let mut scratch = std::vec![f32::NAN; shape.scratch_len()];
                    let out_of_all = SharedSlice::new(&mut out);
                    for piece in 0..shape.prefill_pieces(queries.tokens) {
                        let piece = PrefillPiece {
                            piece,
                            queries,
                            kv: whole.kv(),
                            sinks: None,
                            out: out_of_all,
                            scratch: &mut scratch,
                        };
                        // SAFETY: one thread, one piece after the other.
                        unsafe { isa.prefill(&shape, piece) };
                    }
                    out
                };
                let got = [part(0, cut), part(cut, 40)].concat();
                assert_eq!(got, expected, "cut at {cut}");
            }
        }
    }
}

/// Huge scores of both signs, and some beyond what `f32` holds: the result is
/// still a weighted mean of values.
#[test]
fn huge_scores_make_no_nan() {
    for (scale, one_sign) in [(1e10, false), (1e30, false), (3e38, true)] {
        let shape = AttentionShape {
            scale,
            ..shape(1, 2, 32)
        };
        let mut case = Case::new(CellType::F16, shape, 130, 20, 6e4, 11);
        for q in &mut case.q {
            *q = q.signum() * 1e-3;
        }
        if one_sign {
            // All products of a key alike: its score is infinite, not NaN.
            case.q.fill(1.0);
            let of_key = |key| if key % 3 == 0 { 9.0 } else { -9.0 };
            let keys = 0..shape.kv_heads * case.capacity;
            let numbers = keys.flat_map(|key| [of_key(key); 32]);
            case.k = Cells::new(CellType::F16, &numbers.collect::<Vec<_>>());
        }
        for isa in isas() {
            for out in [case.prefill(isa), case.decode(isa, false)] {
                let sane = out.iter().all(|x| x.abs() <= 1.001);
                assert!(sane, "scale {scale}");
            }
        }
    }
}

/// Keys along the queries or against them, of many elements or of one, and one
/// value for all that count: the largest sums and numbers that there can be.
#[test]
fn the_largest_sums_do_not_wrap() {
    for (elements, start) in [(64, 0), (64, 63), (1, 0), (1, 63)] {
        let mut case = Case::new(CellType::F16, shape(1, 1, 64), start, 16, 1.0, 1);
        let direction: [f32; 64] = std::array::from_fn(|i| if i < elements { 1.0 } else { 0.0 });
        let sign = |key: usize| if key % 3 == 2 { -1.0 } else { 1.0 };
        let keys: Vec<f32> = (0..case.capacity)
            .flat_map(|key| direction.map(|x| x * sign(key)))
            .collect();
        let values: Vec<f32> = (0..case.capacity).flat_map(|key| [sign(key); 64]).collect();
        case.k = Cells::new(CellType::F16, &keys);
        case.v = Cells::new(CellType::F16, &values);
        case.q = std::vec![direction.map(|x| x * 400.0); case.tokens].concat();
        for isa in isas() {
            for out in [case.prefill(isa), case.decode(isa, false)] {
                assert_close(&out, &std::vec![1.0; out.len()], 1e-3);
            }
        }
    }
}

/// A window that hides whole tiles from some tokens of a tile, and shows one
/// key alone to each.
#[test]
fn windows_at_the_edges_of_tiles() {
    for (cell_type, head_dim) in [(CellType::F16, 8), (CellType::Q8_0, 32)] {
        for window in [1, 2, 63, 64, 65, 128] {
            for start in [0, 62, 63, 64, 127, 200] {
                let shape = AttentionShape {
                    window: Some(window),
                    ..shape(1, 1, head_dim)
                };
                let case = Case::new(cell_type, shape, start, 20, 2.0, 5);
                let truth = case.truth();
                for isa in isas() {
                    assert_close(&case.prefill(isa), &truth, 1e-4);
                    assert_close(&case.decode(isa, false), &truth, 2e-5);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Where the keys of a window lie does not matter: not one bit differs.
    #[test]
    fn a_ring_gives_the_same_bits(
        (cell_type, shape) in shapes(),
        start in 0_usize..700,
        tokens in 1_usize..40,
        window in 1_usize..200,
        seed in any::<u32>(),
    ) {
        let shape = AttentionShape { window: Some(window), ..shape };
        let case = || Case::new(cell_type, shape, start, tokens, 1.0, seed);
        let (full, ring) = (case(), case().in_ring());
        for isa in isas() {
            let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(&full.prefill(isa)), bits(&ring.prefill(isa)));
            let last = |case: &Case| bits(&case.decode(isa, false)[(tokens - 1) * shape.row()..]);
            prop_assert_eq!(last(&full), last(&ring));
        }
    }
}

/// The planner reserves enough memory and not more than is used: the formulas give the
/// sizes that the memory rule of docs/design.md adds up.
#[test]
fn memory_is_known_in_advance() {
    let shape = shape(3, 3, 64);
    let most = (0..8192)
        .map(|position| shape.decode_pieces(position))
        .max();
    assert_eq!(
        most.unwrap() * shape.group() * (2 + 64),
        shape.partials_len(8192)
    );
    assert!(shape.scratch_len() * 4 < 200_000);
}
