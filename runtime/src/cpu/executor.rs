//! Runs the steps of a plan over the arena.
//!
//! Each step is one fork-join. Within a step, threads write disjoint rows or
//! disjoint columns; between steps the pool's join orders all writes before the
//! next step's reads. That, and the planner's placement, is what every SAFETY
//! line here leans on.

use super::arena::Arena;
use super::columns;
use super::pass::Pass;
use super::pool::Pool;
use crate::kernels::attention::{DecodePiece, KvSlot, PrefillPiece, Queries, SharedSlice};
use crate::kernels::vector::simd::SMALL;
use crate::kernels::{ActKind, Acts, FINE_TOKENS, Kernels, Matrix, OutRows, Store};
use crate::plan::{Angles, AttentionStep, MatMul, Piece, Plan, Region, RowOp, Step};
use crate::weights::Weights;
use crate::{Error, Governor, Result};
use core::ops::Range;
use ondol_models::graph::{Activation, Weight};
use ondol_models::quant::packed;

/// Parts that a piece of a matmul is cut into where many tokens share it: then
/// even a part is more work than a whole piece is for one token, and parts are
/// shared out more evenly.
const PREFILL_CUTS: usize = 4;

/// Runs passes over an engine's memory.
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

/// What every thread reads; borrowed from an engine for one pass.
pub(crate) struct Shared<'s> {
    pub plan: &'s Plan,
    pub kernels: &'s Kernels,
    pub weights: &'s Weights,
    pub arena: &'s Arena,
}

impl Executor<'_> {
    /// Runs the layers for the rows of `pass`, up to the last state.
    pub fn body(&mut self, pass: Pass) -> Result<()> {
        let steps = &self.shared.plan.body;
        let mut next = 0;
        while let Some(step) = steps.get(next) {
            self.heed_governor(pass)?;
            if step.ends_layer() && pass.is_cancelled() {
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
        Ok(())
    }

    /// Without delegates the CPU runs all steps.
    #[cfg(not(feature = "delegate"))]
    fn run_elsewhere(&mut self, _step: usize, _pass: Pass) -> Result<Option<usize>> {
        Ok(None)
    }

    /// Between two steps: does what the host asked for. Waits while paused where the
    /// pass can be cancelled.
    fn heed_governor(&mut self, pass: Pass) -> Result<()> {
        #[cfg(not(feature = "std"))]
        self.governor.call_between_steps();
        if SMALL {
            return Ok(());
        }
        loop {
            let releases = self.governor.releases();
            if *self.released != releases {
                *self.released = releases;
                pass.discard_unused(&self.shared.plan.cache);
            }
            match pass.cancel() {
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

    /// Computes logits for the given rows of `body`, the pass that just ran.
    pub fn head(&mut self, body: Pass, rows: Range<usize>) -> Result<()> {
        let pass = body.of(&rows);
        self.head_inputs(rows);
        let plan = self.shared.plan;
        plan.head.iter().try_for_each(|step| self.step(step, pass))
    }

    /// A row of the logits that the head computed.
    pub fn logits(&self, row: usize) -> &[f32] {
        // SAFETY: no step runs while the executor is borrowed for the result.
        unsafe { self.shared.arena.row(self.shared.plan.logits, row) }
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

    pub fn step(&mut self, step: &Step, pass: Pass) -> Result<()> {
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
            // Small builds have no architecture with such states.
            Step::Columns(_) if SMALL => Ok(()),
            Step::Columns(step) => {
                let pieces = columns::pieces(step.out.width);
                self.fork(pieces, |shared, piece, _| shared.columns(step, pass, piece))
            }
            Step::Attention(step) => {
                let pieces = |row| step.shape.decode_pieces(pass.position(row));
                self.fork((0..pass.rows).map(pieces).sum(), |shared, piece, worker| {
                    let (mut row, mut piece) = (0, piece);
                    while piece >= pieces(row) {
                        piece -= pieces(row);
                        row += 1;
                    }
                    shared.decode_attention(step, pass, row, piece, worker);
                })?;
                self.fork(pass.rows, |shared, row, _| {
                    shared.combine_attention(step, pass, row);
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
                        fill_angles(rope, pass.position(row), angles);
                        table = rest;
                    }
                }
                RowOp::Embed { table, scale, out } => {
                    let out: &mut [f32] = arena.row_mut(out, row);
                    if let Some(token) = pass.token(row) {
                        self.embed(&table, token, scale, out);
                    }
                    #[cfg(feature = "std")]
                    if let Some(vector) = pass.vector(row) {
                        out.copy_from_slice(vector);
                    }
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
                    let (sequence, position) = pass.place(row);
                    if let Some(kv) = self.plan.cache.slots[store.slot].kv() {
                        kv.store(sequence.memory(), vector, position, k, v);
                    }
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

    /// The keys and values of an attention step, of a row's sequence.
    ///
    /// # Safety
    /// Nobody may write them meanwhile.
    unsafe fn kv<'p>(
        &self,
        step: &AttentionStep,
        pass: Pass<'p>,
        row: usize,
    ) -> Option<KvSlot<'p>> {
        let kv = self.plan.cache.slots[step.slot].kv()?;
        // SAFETY: passed on to the caller.
        Some(unsafe { kv.view(pass.place(row).0.memory()) })
    }

    /// Many tokens of one sequence are cut by tiles of tokens.
    fn prefill_attention(&self, step: &AttentionStep, pass: Pass, piece: usize, worker: usize) {
        // SAFETY: cache and queries were written in an earlier step; pieces
        // write their own parts of the output; scratch is this worker's own.
        unsafe {
            let Some(kv) = self.kv(step, pass, 0) else {
                return;
            };
            let q = self.arena.floats(step.q.rows(0, pass.rows));
            let queries = Queries {
                q,
                tokens: pass.rows,
                start: pass.position(0),
            };
            let out =
                SharedSlice::from_raw(self.arena.pointer(step.out), pass.rows * step.out.width);
            let scratch = self.arena.floats_mut(self.plan.layout.scratch[worker]);
            let attention = self.kernels.attention();
            let piece = PrefillPiece {
                piece,
                queries,
                kv,
                out,
                scratch,
            };
            attention.prefill(&step.shape, piece);
        }
    }

    /// A token of its own is cut by chunks of keys, whose partial results are joined afterwards.
    fn decode_attention(
        &self,
        step: &AttentionStep,
        pass: Pass,
        row: usize,
        piece: usize,
        worker: usize,
    ) {
        let partials = self.partials(row);
        // SAFETY: as for prefill, with the row's partials in the place of the output.
        unsafe {
            let Some(kv) = self.kv(step, pass, row) else {
                return;
            };
            let q = self.arena.row(step.q, row);
            let partials =
                SharedSlice::from_raw(self.arena.pointer_at(partials), partials.bytes / 4);
            let scratch = self.arena.floats_mut(self.plan.layout.scratch[worker]);
            let position = pass.position(row);
            let attention = self.kernels.attention();
            let piece = DecodePiece {
                piece,
                q,
                position,
                kv,
                partials,
                scratch,
            };
            attention.decode(&step.shape, piece);
        }
    }

    /// Joins the partial results of a pass's row.
    fn combine_attention(&self, step: &AttentionStep, pass: Pass, row: usize) {
        // SAFETY: the partials were written in an earlier step, and this thread
        // alone works on `row`.
        let (partials, out) = unsafe {
            (
                self.arena.floats(self.partials(row)),
                self.arena.row_mut(step.out, row),
            )
        };
        let attention = self.kernels.attention();
        attention.combine(&step.shape, pass.position(row), partials, out);
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
