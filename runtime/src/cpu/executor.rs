//! Runs the steps of a plan over the arena.
//!
//! Each step is one fork-join. Within a step, threads write disjoint rows or
//! disjoint columns; between steps the pool's join orders all writes before the
//! next step's reads. That, and the planner's placement, is what every SAFETY
//! line here leans on.

use super::arena::Arena;
use super::pool::Pool;
use crate::kernels::attention::{Cell, KvCells, KvSlot, KvType, Queries, SharedSlice};
use crate::kernels::{ActKind, Acts, FINE_TOKENS, Kernels, Matrix, OutRows, Store};
use crate::plan::{Angles, AttentionStep, MatMul, Piece, Plan, Region, RowOp, Step, StoreKv};
use crate::weights::Weights;
use crate::{CancelToken, Error, Governor, Result};
use core::ops::Range;
use ondol_models::graph::{Activation, Weight};
use ondol_models::quant::packed;

/// Parts that a piece of a matmul is cut into where many tokens share it: then
/// even a part is more work than a whole piece is for one token, and parts are
/// shared out more evenly.
const PREFILL_CUTS: usize = 4;

/// Runs passes over one session's memory.
pub(crate) struct Executor<'s> {
    pub shared: Shared<'s>,
    pub pool: &'s mut Pool,
    pub governor: &'s Governor,
    /// How many of the governor's calls to give memory back were answered.
    pub released: &'s mut u32,
    /// Runs parts of the body elsewhere.
    #[cfg(feature = "delegate")]
    pub offload: Option<&'s mut crate::delegate::Runner>,
}

/// What every thread reads; borrowed from a session for one pass.
pub(crate) struct Shared<'s> {
    pub plan: &'s Plan,
    pub kernels: &'s Kernels,
    pub weights: &'s Weights,
    pub arena: &'s Arena,
    /// Tokens that a cache slot holds.
    pub context: usize,
}

/// What a pass over the layers is for.
#[derive(Clone, Copy)]
pub(crate) enum Purpose<'c> {
    /// Many tokens, as fast as can be.
    Prefill(&'c CancelToken),
    /// A few tokens, each bit for bit as if it came alone.
    Decode,
}

/// The tokens of a pass and their place in the sequence.
#[derive(Clone, Copy)]
pub(crate) struct Pass<'t> {
    tokens: &'t [u32],
    start: usize,
    pub(super) rows: usize,
    pub(super) purpose: Purpose<'t>,
    /// Whether attention takes the tokens together: cut and summed in another
    /// order than that of one token. The head follows the body in this, so that
    /// logits do not depend on how many are wanted.
    in_tiles: bool,
}

impl Pass<'_> {
    /// Who can stop the pass on its way. Decode is short, and is not stopped.
    pub(super) fn cancel(&self) -> Option<&CancelToken> {
        match self.purpose {
            Purpose::Prefill(cancel) => Some(cancel),
            Purpose::Decode => None,
        }
    }

    fn is_cancelled(&self) -> bool {
        self.cancel().is_some_and(CancelToken::is_cancelled)
    }

    /// A pass over some of the rows alone, which lie in the first rows then.
    pub(super) fn of(&self, rows: &Range<usize>) -> Self {
        Pass {
            tokens: &self.tokens[rows.clone()],
            start: self.start + rows.start,
            rows: rows.len(),
            ..*self
        }
    }
}

impl Executor<'_> {
    /// Runs the layers for `tokens`, whose first has the position `start`, up to
    /// the last layer's keys and values.
    pub fn body<'t>(
        &mut self,
        tokens: &'t [u32],
        start: usize,
        purpose: Purpose<'t>,
    ) -> Result<Pass<'t>> {
        let pass = Pass {
            tokens,
            start,
            rows: tokens.len(),
            purpose,
            in_tiles: tokens.len() > 1 && matches!(purpose, Purpose::Prefill(_)),
        };
        let steps = &self.shared.plan.body;
        let mut next = 0;
        while let Some(step) = steps.get(next) {
            self.heed_governor(start + tokens.len(), pass.cancel())?;
            if matches!(step, Step::Attention(_)) && pass.is_cancelled() {
                return Err(Error::Cancelled);
            }
            next = match self.run_elsewhere(next, pass)? {
                Some(after) => after,
                None => {
                    self.step(step, pass)?;
                    next + 1
                }
            };
        }
        Ok(pass)
    }

    /// Without delegates the CPU runs all steps.
    #[cfg(not(feature = "delegate"))]
    fn run_elsewhere(&mut self, _step: usize, _pass: Pass) -> Result<Option<usize>> {
        Ok(None)
    }

    /// Between two steps: does what the host asked for. `used` positions of the
    /// cache are in use. Waits while paused where `cancel` can end the wait.
    pub fn heed_governor(&mut self, used: usize, cancel: Option<&CancelToken>) -> Result<()> {
        loop {
            let releases = self.governor.releases();
            if *self.released != releases {
                *self.released = releases;
                self.shared.discard_cache(used);
            }
            match cancel {
                Some(cancel) if self.governor.is_paused() => {
                    self.governor.wait_while_paused(cancel, releases)?;
                }
                _ => break,
            }
        }
        let workers = self.governor.workers(self.pool.threads());
        // A worker without a core of its own holds up all others at each join.
        let crowded = usize::from(self.pool.is_crowded());
        self.pool.set_workers(workers - crowded.min(workers - 1));
        Ok(())
    }

    /// Gives back all that a session can do without between passes: the cache
    /// from `used` positions on, and what is written anew in each pass. Logits stay.
    pub fn discard_unused(&mut self, used: usize) {
        self.shared.discard_cache(used);
        let layout = &self.shared.plan.layout;
        let passing = [layout.values, layout.acts, layout.partials];
        for &region in passing.iter().chain(&layout.scratch) {
            // SAFETY: no step runs, and each pass writes these before it reads them.
            unsafe { self.shared.arena.discard(region) };
        }
    }

    /// Computes logits for the given rows of `body`, the pass that just ran.
    pub fn head(&mut self, body: Pass, rows: Range<usize>) -> Result<()> {
        let pass = body.of(&rows);
        self.head_inputs(rows);
        let plan = self.shared.plan;
        plan.head.iter().try_for_each(|step| self.step(step, pass))
    }

    /// Copies the given rows of the body's values to where the head starts.
    pub(super) fn head_inputs(&mut self, rows: Range<usize>) {
        let Shared { plan, arena, .. } = self.shared;
        for &(from, to) in &plan.head_inputs {
            for (row, source) in rows.clone().enumerate() {
                // SAFETY: the two buffers lie in different regions, and no step runs.
                unsafe {
                    arena
                        .row_mut(to, row)
                        .copy_from_slice(arena.row(from, source))
                };
            }
        }
    }

    pub(super) fn step(&mut self, step: &Step, pass: Pass) -> Result<()> {
        match step {
            Step::Rows(ops) => self.fork(pass.rows, |shared, row, _| {
                ops.iter().for_each(|op| shared.row_op(op, pass, row));
            }),
            Step::MatMul(index) => {
                let matmul = &self.shared.plan.matmuls[*index];
                let cuts = if pass.rows > FINE_TOKENS {
                    PREFILL_CUTS
                } else {
                    1
                };
                self.fork(cuts * matmul.pieces.len(), |shared, cut, worker| {
                    let piece = matmul.pieces[cut / cuts].cut(cut % cuts, cuts);
                    shared.matmul_piece(matmul, &piece, pass.rows, worker);
                })
            }
            Step::Attention(step) if pass.in_tiles => self.fork(
                step.shape.prefill_pieces(pass.rows),
                |shared, piece, worker| {
                    shared.prefill_attention(step, pass, piece, worker);
                },
            ),
            Step::Attention(step) => {
                let pieces = |row| step.shape.decode_pieces(pass.start + row);
                self.fork((0..pass.rows).map(pieces).sum(), |shared, piece, worker| {
                    let (mut row, mut piece) = (0, piece);
                    while piece >= pieces(row) {
                        piece -= pieces(row);
                        row += 1;
                    }
                    shared.decode_attention(step, pass.start, row, piece, worker);
                })?;
                self.fork(pass.rows, |shared, row, _| {
                    shared.combine_attention(step, pass.start, row);
                })
            }
        }
    }

    /// Shares out `pieces` over the pool; `work` gets the piece's and the worker's number.
    pub(super) fn fork(
        &mut self,
        pieces: usize,
        work: impl Fn(&Shared, usize, usize) + Sync,
    ) -> Result<()> {
        let shared = &self.shared;
        self.pool
            .run(pieces, &|piece, worker| work(shared, piece, worker))
            .map_err(|_| Error::Panicked)
    }
}

impl Shared<'_> {
    /// Gives back the pages of the cache from `used` positions on. No step may run.
    fn discard_cache(&self, used: usize) {
        for step in self.plan.body.iter().chain(&self.plan.head) {
            let Step::Attention(step) = step else {
                continue;
            };
            let (keys, values) = self.plan.layout.slots[step.slot];
            for head in 0..step.shape.kv_heads {
                let first = step.shape.slot_range(head, used, self.context).start;
                let end = step.shape.slot_range(head + 1, 0, self.context).start;
                for slot in [keys, values] {
                    let unused = self.cached(slot, first..end);
                    // SAFETY: no step runs, and a position is written before it is read.
                    unsafe { self.arena.discard(unused) };
                }
            }
        }
    }

    pub(super) fn row_op(&self, op: &RowOp, pass: Pass, row: usize) {
        let (arena, vector) = (self.arena, self.kernels.vector());
        // SAFETY: this thread alone works on `row`, and the planner keeps apart
        // the buffers that one operation reads and writes.
        unsafe {
            match *op {
                RowOp::RopeTable { out } => {
                    let mut table = arena.row_mut(out, row);
                    for rope in &self.plan.ropes {
                        let (angles, rest) = table.split_at_mut(2 * rope.inverse_frequencies.len());
                        fill_angles(rope, pass.start + row, angles);
                        table = rest;
                    }
                }
                RowOp::Embed { table, scale, out } => {
                    self.embed(&table, pass.tokens[row], scale, arena.row_mut(out, row));
                }
                RowOp::RmsNorm {
                    input,
                    weight,
                    eps,
                    out,
                } => {
                    let weight = weight.map(|v| arena.floats(v.region));
                    vector.rms_norm(arena.row(input, row), weight, eps, arena.row_mut(out, row));
                }
                RowOp::RmsNormHeads {
                    x,
                    weight,
                    head_dim,
                    eps,
                } => {
                    let weight = weight.map(|v| arena.floats(v.region));
                    vector.rms_norm_heads(arena.row_mut(x, row), head_dim, weight, eps);
                }
                RowOp::Rope {
                    x,
                    head_dim,
                    style,
                    table,
                    table_at,
                    dims,
                } => {
                    let angles = &arena.row(table, row)[table_at..table_at + dims];
                    let (cos, sin) = angles.split_at(dims / 2);
                    vector.rope(arena.row_mut(x, row), head_dim, cos, sin, style);
                }
                RowOp::Copy { input, out } => arena
                    .row_mut(out, row)
                    .copy_from_slice(arena.row(input, row)),
                RowOp::Add { x, y } => vector.add_assign(arena.row_mut(x, row), arena.row(y, row)),
                RowOp::Scale { x, factor } => vector.scale(arena.row_mut(x, row), factor),
                RowOp::Glu {
                    gate,
                    up,
                    activation,
                } => {
                    let (gate, up) = (arena.row_mut(gate, row), arena.row(up, row));
                    match activation {
                        Activation::Silu => vector.silu_mul(gate, up),
                        Activation::GeluTanh => vector.gelu_tanh_mul(gate, up),
                    }
                }
                RowOp::Softcap { x, cap } => vector.softcap(arena.row_mut(x, row), cap),
                RowOp::StoreKv(ref store) => {
                    let (k, v) = (arena.row(store.k, row), arena.row(store.v, row));
                    self.store_kv(store, k, v, pass.start + row);
                }
                RowOp::Prepare { input, matmul } => {
                    let matmul = &self.plan.matmuls[matmul];
                    for (kind, region) in self.acts(matmul, input.width, pass.rows) {
                        let bytes = kind.bytes(input.width);
                        let region = Region {
                            offset: region.offset + row * bytes,
                            bytes,
                        };
                        self.kernels
                            .prepare(kind, arena.row(input, row), arena.bytes_mut(region));
                    }
                }
            }
        }
    }

    /// One row of the embedding table. The token was checked against the vocabulary.
    fn embed(&self, table: &Weight, token: u32, scale: f32, out: &mut [f32]) {
        let rows = self.weights.rows(table);
        // Lengths agree: the builder checked the table's shape.
        if packed::dequantize_row(table.dtype, table.layout, rows, token as usize, out).is_err() {
            out.fill(f32::NAN);
        }
        if scale != 1.0 {
            self.kernels.vector().scale(out, scale);
        }
    }

    /// Puts one token's keys and values at their position of every head.
    ///
    /// # Safety
    /// No other thread may write this position of the slot, or read it.
    unsafe fn store_kv(&self, store: &StoreKv, k: &[f32], v: &[f32], position: usize) {
        let (keys, values) = self.plan.layout.slots[store.slot];
        for (region, row) in [(keys, k), (values, v)] {
            for (head, x) in row.chunks_exact(store.shape.head_dim).enumerate() {
                let place = store.shape.slot_range(head, position, self.context);
                let place = self.cached(region, place);
                let vector = self.kernels.vector();
                // SAFETY: passed on to the caller; the place lies in the slot.
                unsafe {
                    match self.plan.kv_type {
                        KvType::F16 => vector.f32_to_f16(x, self.arena.cells_mut(place)),
                        KvType::Q8_0 => vector.f32_to_q8_0(x, self.arena.cells_mut(place)),
                    }
                }
            }
        }
    }

    /// Where some numbers of the keys or the values of a slot lie.
    fn cached(&self, slot: Region, numbers: Range<usize>) -> Region {
        let bytes = |numbers| self.plan.kv_type.bytes(numbers);
        Region {
            offset: slot.offset + bytes(numbers.start),
            bytes: bytes(numbers.len()),
        }
    }

    /// The forms of the input that a matmul step needs for `rows` rows, each with its place.
    fn acts<'m>(
        &'m self,
        matmul: &'m MatMul,
        cols: usize,
        rows: usize,
    ) -> impl Iterator<Item = (ActKind, Region)> + 'm {
        let mut offset = self.plan.layout.acts.offset;
        matmul.act_kinds(rows, self.kernels).map(move |kind| {
            let region = Region {
                offset,
                bytes: kind.bytes(cols) * rows,
            };
            offset += region.bytes;
            (kind, region)
        })
    }

    /// Some rows of one weight, times all tokens.
    pub(super) fn matmul_piece(
        &self,
        matmul: &MatMul,
        piece: &Piece,
        tokens: usize,
        worker: usize,
    ) {
        if piece.rows.is_empty() {
            return;
        }
        let part = &matmul.parts[piece.part];
        let (dtype, cols) = (part.weight.dtype, part.weight.cols);
        let kind = self.kernels.act_kind(dtype, tokens);
        let matrix = Matrix::new(
            dtype,
            part.weight.layout,
            part.weight.rows,
            cols,
            self.weights.rows(&part.weight),
        );
        let acts = self.acts(matmul, cols, tokens).find(|(k, _)| *k == kind);
        // The builder checked the weight's shape, and the step before prepared this kind.
        let (Some(matrix), Some((_, acts))) = (matrix, acts) else {
            return;
        };
        let store = if part.accumulate {
            Store::Add
        } else {
            Store::Set
        };
        // SAFETY: activations are only read in this step; pieces are disjoint
        // columns of the outputs; scratch is this worker's own.
        unsafe {
            let acts = Acts::new(kind, tokens, cols, self.arena.bytes(acts));
            let out = OutRows::new(self.arena.pointer(part.out), part.out.width, store);
            let scratch = self.arena.bytes_mut(self.plan.layout.scratch[worker]);
            self.kernels
                .matmul(&matrix, piece.rows.clone(), &acts, &out, scratch);
            let Some(bias) = part.bias else { return };
            let bias = &self.arena.floats(bias.region)[piece.rows.clone()];
            for token in 0..tokens {
                let row = part.out.rows(token, 1).offset;
                let columns = Region {
                    offset: row + piece.rows.start * 4,
                    bytes: piece.rows.len() * 4,
                };
                self.kernels
                    .vector()
                    .add_assign(self.arena.floats_mut(columns), bias);
            }
        }
    }

    /// The cache slot of an attention step.
    ///
    /// # Safety
    /// Nobody may write the slot meanwhile.
    unsafe fn kv(&self, step: &AttentionStep) -> KvSlot<'_> {
        // SAFETY: passed on to the caller.
        unsafe {
            match self.plan.kv_type {
                KvType::F16 => KvSlot::F16(self.kv_cells(step)),
                KvType::Q8_0 => KvSlot::Q8_0(self.kv_cells(step)),
            }
        }
    }

    /// [`Shared::kv`], in cells of the cache's type.
    ///
    /// # Safety
    /// As for [`Shared::kv`].
    unsafe fn kv_cells<C: Cell>(&self, step: &AttentionStep) -> KvCells<'_, C> {
        let (keys, values) = self.plan.layout.slots[step.slot];
        // SAFETY: passed on to the caller.
        unsafe {
            KvCells {
                k: self.arena.cells(keys),
                v: self.arena.cells(values),
                capacity: self.context,
            }
        }
    }

    /// Many tokens are cut by tiles of tokens.
    fn prefill_attention(&self, step: &AttentionStep, pass: Pass, piece: usize, worker: usize) {
        // SAFETY: cache and queries were written in an earlier step; pieces
        // write their own parts of the output; scratch is this worker's own.
        unsafe {
            let q = self.arena.floats(step.q.rows(0, pass.rows));
            let queries = Queries {
                q,
                tokens: pass.rows,
                start: pass.start,
            };
            let out =
                SharedSlice::from_raw(self.arena.pointer(step.out), pass.rows * step.out.width);
            let scratch = self.arena.floats_mut(self.plan.layout.scratch[worker]);
            self.kernels.attention().prefill(
                &step.shape,
                piece,
                queries,
                self.kv(step),
                out,
                scratch,
            );
        }
    }

    /// A token of its own is cut by chunks of keys, whose partial results are joined afterwards.
    fn decode_attention(
        &self,
        step: &AttentionStep,
        start: usize,
        row: usize,
        piece: usize,
        worker: usize,
    ) {
        let partials = self.partials(row);
        // SAFETY: as for prefill, with the row's partials in the place of the output.
        unsafe {
            let q = self.arena.row(step.q, row);
            let partials =
                SharedSlice::from_raw(self.arena.pointer_at(partials), partials.bytes / 4);
            let scratch = self.arena.floats_mut(self.plan.layout.scratch[worker]);
            self.kernels.attention().decode(
                &step.shape,
                piece,
                q,
                start + row,
                self.kv(step),
                partials,
                scratch,
            );
        }
    }

    /// Joins the partial results of a pass's row.
    fn combine_attention(&self, step: &AttentionStep, start: usize, row: usize) {
        // SAFETY: the partials were written in an earlier step, and this thread
        // alone works on `row`.
        let (partials, out) = unsafe {
            (
                self.arena.floats(self.partials(row)),
                self.arena.row_mut(step.out, row),
            )
        };
        self.kernels
            .attention()
            .combine(&step.shape, start + row, partials, out);
    }

    /// Where a row's partial results of attention lie.
    fn partials(&self, row: usize) -> Region {
        let all = self.plan.layout.partials;
        let bytes = all.bytes / self.plan.decode_rows;
        Region {
            offset: all.offset + row * bytes,
            bytes,
        }
    }
}

/// Cosines, then sines of a position's angles. In f64: an f32 product is off by
/// a thousandth of a turn at a position of ten thousand.
fn fill_angles(rope: &Angles, position: usize, out: &mut [f32]) {
    let (cos, sin) = out.split_at_mut(rope.inverse_frequencies.len());
    for ((cos, sin), &frequency) in cos.iter_mut().zip(sin).zip(&rope.inverse_frequencies) {
        let (s, c) = libm::sincos(position as f64 * f64::from(frequency));
        *cos = c as f32 * rope.magnitude;
        *sin = s as f32 * rope.magnitude;
    }
}
