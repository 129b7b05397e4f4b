//! Runs the steps of a plan over the arena.
//!
//! Each step is one fork-join. Within a step, threads write disjoint rows or
//! disjoint columns; between steps the pool's join orders all writes before the
//! next step's reads. That, and the planner's placement, is what every SAFETY
//! line here leans on.

use super::columns;
use super::pass::Pass;
use super::pool::Pool;
use crate::kernels::vector::simd::SMALL;
use crate::kernels::{FINE_TOKENS, Kernels};
use crate::memory::Arena;
use crate::plan::{Plan, Step};
use crate::weights::Weights;
use crate::{Error, Governor, Result};
use core::ops::Range;

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
            self.apply_host_state(pass)?;
            if step.ends_layer() && pass.is_cancelled() {
                return Err(Error::Cancelled);
            }
            next = match self.offload_step(next, pass)? {
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
    fn offload_step(&mut self, _step: usize, _pass: Pass) -> Result<Option<usize>> {
        Ok(None)
    }

    /// Between two steps: does what the host asked for. Waits while paused where the
    /// pass can be cancelled.
    fn apply_host_state(&mut self, pass: Pass) -> Result<()> {
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
    pub(crate) fn head_inputs(&mut self, rows: Range<usize>) {
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
    pub(crate) fn fork(
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
