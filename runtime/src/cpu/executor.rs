//! Runs the steps of a plan over the arena.
//!
//! Each step is one fork-join, or two: an attention in decode also joins its partial
//! results. Within a fork-join, threads write disjoint rows or disjoint columns. The
//! pool's join orders all writes before the reads of the next one. The SAFETY comments
//! of this folder rely on that and on the places that the planner assigned.

use super::pass::Pass;
use super::pool::Pool;
use super::{conv, linear_attention};
use crate::memory::Arena;
use crate::plan::{Plan, Step};
use crate::weights::Weights;
use crate::{Error, Governor, Result};
use core::ops::Range;
use ondol_kernels::{FINE_TOKENS, Kernels, SMALL};

/// The number of cuts into which each piece of a matmul is divided in a pass with more
/// than [`FINE_TOKENS`] rows. A cut is then still more work than a whole piece is for one
/// row, and threads share cuts more evenly.
const PREFILL_CUTS: usize = 4;

/// Runs passes over an engine's memory.
pub(crate) struct Executor<'s> {
    pub shared: Shared<'s>,
    pub pool: &'s mut Pool,
    pub governor: &'s Governor,
    /// How many of the governor's requests to release memory were carried out.
    pub released: &'s mut u32,
    /// Runs spans of the body on a device.
    #[cfg(feature = "delegate")]
    pub offload: Option<&'s mut crate::delegate::Runner>,
}

/// What all threads read. Borrowed from an engine for one pass.
pub(crate) struct Shared<'s> {
    pub plan: &'s Plan,
    pub kernels: &'s Kernels,
    pub weights: &'s Weights,
    pub arena: &'s Arena,
}

impl Executor<'_> {
    /// Runs the body for all rows of `pass`.
    ///
    /// # Errors
    /// [`Error::Cancelled`], [`Error::Panicked`], and errors of a strict offload.
    pub fn body(&mut self, pass: Pass) -> Result<()> {
        self.shared.weights.next_pass();
        let steps = &self.shared.plan.body;
        let mut next = 0;
        while let Some(step) = steps.get(next) {
            self.apply_host_state(pass)?;
            if step.reads_other_rows() && pass.is_cancelled() {
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

    /// Applies the governor's state between two steps: releases memory if asked to,
    /// waits while the session is paused (if the pass can be cancelled), and sets the
    /// number of workers.
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
        // A worker that shares its core delays all others at each join.
        let crowded = usize::from(self.pool.is_crowded());
        self.pool.set_workers(workers - crowded.min(workers - 1));
        Ok(())
    }

    /// Runs the head for `rows` of `body`, the pass that just ran.
    pub fn head(&mut self, body: Pass, rows: Range<usize>) -> Result<()> {
        let pass = body.of(&rows);
        self.head_inputs(rows);
        let plan = self.shared.plan;
        plan.head.iter().try_for_each(|step| self.step(step, pass))
    }

    /// A row of the logits that the head computed: `vocabulary` floats.
    pub fn logits(&self, row: usize) -> &[f32] {
        // SAFETY: no step runs while the executor is borrowed for the result.
        unsafe { self.shared.arena.row(self.shared.plan.logits, row) }
    }

    /// Copies the given rows of the body's values to the buffers that the head reads.
    pub(crate) fn head_inputs(&mut self, rows: Range<usize>) {
        let Shared { plan, arena, .. } = self.shared;
        for &(from, to) in &plan.head_inputs {
            for (row, source) in rows.clone().enumerate() {
                // SAFETY: the two buffers lie in different regions of the arena, and no
                // step runs.
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
            // SMALL builds have no architecture with experts.
            Step::Experts(_) if SMALL => Ok(()),
            Step::Experts(step) => {
                let pieces = self.shared.experts_pieces(step, pass.rows);
                self.fork(pieces, |shared, piece, worker| {
                    shared.experts_piece(step, pass.rows, piece, worker);
                })
            }
            Step::Attention(step) if pass.in_tiles => self.fork(
                step.shape.prefill_pieces(pass.rows),
                |shared, piece, worker| {
                    shared.prefill_attention(step, pass, piece, worker);
                },
            ),
            // SMALL builds have no architecture with such states.
            Step::Conv(_) | Step::LinearAttention(_) if SMALL => Ok(()),
            Step::Conv(step) => self.fork(conv::pieces(step), |shared, piece, _| {
                shared.conv(step, pass, piece);
            }),
            Step::LinearAttention(step) => {
                self.fork(linear_attention::pieces(step), |shared, piece, _| {
                    shared.linear_attention(step, pass, piece);
                })
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

    /// Calls `work` for each of `pieces` pieces on the pool, with the number of the
    /// piece and that of the worker.
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
