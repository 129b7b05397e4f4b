//! Runs the output head through its screen: scores every row on the 4-bit copy, then
//! scores exactly those that may be among the likeliest. See `docs/screened-head.md`.

use super::Screening;
use super::select::{Selected, bound, missed, nth_largest, rows_of, select};
use crate::Result;
use crate::cpu::executor::{Executor, Shared};
use crate::cpu::pass::Pass;
use crate::memory::{Buffer, Region};
use crate::plan::{Piece, ROWS_PER_MAXIMUM, RowOp, ScreenPlan};
use ondol_models::graph::RowFn;

/// Seeds for each wanted token: rows that are scored exactly first. Their exact scores
/// give the score that other rows must reach.
const SEEDS: usize = 4;
/// There is at most one seed for this many maxima of bounds, but at least one for each
/// wanted token.
const MAXIMA_PER_SEED: usize = 8;

/// Groups of rows in one piece of exact scoring.
const GROUPS_PER_PIECE: usize = 8;

/// If a score is beyond this many times the cap, capped scores differ only by single
/// rounding steps, and their order no longer tells the order of the scores.
const FLAT: f32 = 4.0;

/// Runs the head for a pass of one row, through the screen if possible.
pub(crate) fn head(
    executor: &mut Executor,
    pass: Pass,
    k: usize,
    screening: &mut Screening,
) -> Result<()> {
    match executor.screened_head(pass, k, screening.options.margin)? {
        None => {
            screening.stats.whole += 1;
            executor.head(pass, 0..1)
        }
        Some(selected) if screening.count(selected.rows) => {
            screening.stats.audits += 1;
            screening.stats.missed += executor.audit(pass, selected, k)?;
            Ok(())
        }
        Some(_) => Ok(()),
    }
}

impl Executor<'_> {
    /// Computes logits for the first row of `body`, the pass that just ran: exact ones
    /// for the `k` likeliest tokens and some others, and negative infinity for the
    /// rest.
    ///
    /// Returns `None`, and computes no logits, if the whole output head must run: there
    /// is no screen, `k` is too large, too many rows may be among the likeliest, too
    /// few have a score that is a number, or a cap makes the scores too equal.
    pub fn screened_head(&mut self, body: Pass, k: usize, margin: f32) -> Result<Option<Selected>> {
        let Shared { plan, arena, .. } = self.shared;
        let Some(screen) = &plan.screen else {
            return Ok(None);
        };
        let pass = body.of(&(0..1));
        self.head_inputs(0..1);
        for step in &plan.head[..screen.step] {
            self.step(step, pass)?;
        }
        self.score_copy(screen, pass, margin)?;
        // SAFETY: the regions belong to the screen. From here on steps only read the
        // bounds and the maxima, and do not use the other two.
        let (bounds, maxima, sorted, list) = unsafe {
            (
                arena.row(screen.bounds, 0),
                arena.floats(screen.maxima),
                arena.floats_mut(screen.sorted),
                arena.words_mut(screen.groups),
            )
        };
        if k > maxima.len() {
            return Ok(None);
        }

        let highest = &mut sorted[..maxima.len()];
        highest.copy_from_slice(maxima);
        let count = (SEEDS * k).min(maxima.len() / MAXIMA_PER_SEED).max(k);
        let seed = nth_largest(highest, count);
        let Some(seeds) = select(bounds, maxima, seed, list) else {
            return Ok(None);
        };
        if seeds.rows < k {
            return Ok(None);
        }
        self.score_groups(screen, &list[..seeds.groups])?;
        // At least `k` rows have this score, so no row below it is among the `k`
        // likeliest.
        let reached = self.kth(screen, &list[..seeds.groups], k);
        if screen.cap.is_some_and(|cap| reached.abs() > FLAT * cap) {
            return Ok(None);
        }
        // Includes the seeds, so that the list has all groups that were scored.
        let Some(selected) = select(bounds, maxima, reached.min(seed), list) else {
            return Ok(None);
        };
        let list = &list[..selected.groups];
        self.score_groups(screen, list)?;
        if let Some(cap) = screen.cap {
            for &group in list {
                let region = self.shared.logits_of(group);
                // SAFETY: no step runs.
                let logits = unsafe { arena.floats_mut(region) };
                let vector = self.shared.kernels.vector();
                vector.apply(RowFn::Softcap { cap }, logits, None, None);
            }
        }
        Ok(Some(selected))
    }

    /// Runs the whole output head after [`Executor::screened_head`] selected rows.
    /// Returns how many of the `k` likeliest rows it had not scored.
    pub fn audit(&mut self, body: Pass, selected: Selected, k: usize) -> Result<usize> {
        let Shared { plan, arena, .. } = self.shared;
        let Some(screen) = &plan.screen else {
            return Ok(0);
        };
        // SAFETY: the list belongs to the screen, and no step uses it.
        let list = unsafe { &arena.words_mut(screen.groups)[..selected.groups] };
        let kth = self.kth(screen, list, k);
        self.head(body, 0..1)?;
        // SAFETY: no step runs.
        let logits = unsafe { arena.row(plan.logits, 0) };
        Ok(missed(logits, list, kth).min(k))
    }

    /// Computes the bounds of all rows and their maxima, and sets all logits to
    /// negative infinity.
    fn score_copy(&mut self, screen: &ScreenPlan, pass: Pass, margin: f32) -> Result<()> {
        let Shared { plan, arena, .. } = self.shared;
        // SAFETY: no step runs.
        let input = unsafe { arena.row(screen.input, 0) };
        let squares = input.iter().map(|&x| f64::from(x) * f64::from(x));
        let deviation = libm::sqrt(squares.sum::<f64>() / input.len() as f64) as f32;
        let matmul = &plan.matmuls[screen.copy];
        self.prepare(pass, screen.input, screen.copy);
        self.fork(matmul.pieces.len(), |shared, piece, worker| {
            let piece = &matmul.pieces[piece];
            shared.matmul_piece(matmul, piece, 1, worker);
            shared.bound_piece(screen, piece, margin * deviation);
        })?;
        self.prepare(pass, screen.input, screen.head);
        Ok(())
    }

    /// Computes the logits, before any cap, of listed groups that have none yet.
    fn score_groups(&mut self, screen: &ScreenPlan, list: &[u32]) -> Result<()> {
        let matmul = &self.shared.plan.matmuls[screen.head];
        let pieces = list.len().div_ceil(GROUPS_PER_PIECE);
        self.fork(pieces, |shared, piece, worker| {
            for &group in list.chunks(GROUPS_PER_PIECE).nth(piece).unwrap_or_default() {
                let rows = rows_of(group, shared.plan.logits.width);
                // SAFETY: each group is in one piece.
                let logits = unsafe { shared.arena.floats(shared.logits_of(group)) };
                if logits.iter().all(|&logit| logit == f32::NEG_INFINITY) {
                    shared.matmul_piece(matmul, &Piece { part: 0, rows }, 1, worker);
                }
            }
        })
    }

    /// The k-th largest logit of the groups in the list.
    fn kth(&self, screen: &ScreenPlan, list: &[u32], k: usize) -> f32 {
        let arena = self.shared.arena;
        // SAFETY: no step runs, and nothing else uses this region here.
        let sorted = unsafe { arena.floats_mut(screen.sorted) };
        let mut count = 0;
        for &group in list {
            // SAFETY: no step runs.
            let logits = unsafe { arena.floats(self.shared.logits_of(group)) };
            sorted[count..count + logits.len()].copy_from_slice(logits);
            count += logits.len();
        }
        nth_largest(&mut sorted[..count], k)
    }

    /// Prepares the row's activations for a matmul.
    fn prepare(&self, pass: Pass, input: Buffer, matmul: usize) {
        let op = RowOp::Prepare { input, matmul };
        self.shared.row_op(&op, pass, 0);
    }
}

impl Shared<'_> {
    /// Replaces the scores of a piece's rows on the screen by their bounds.
    fn bound_piece(&self, screen: &ScreenPlan, piece: &Piece, reach: f32) {
        let rows = &piece.rows;
        let columns = |buffer: Buffer| Region {
            offset: buffer.offset + rows.start * 4,
            bytes: rows.len() * 4,
        };
        let indices = rows.start / ROWS_PER_MAXIMUM..rows.end.div_ceil(ROWS_PER_MAXIMUM);
        let maxima = Region {
            offset: screen.maxima.offset + indices.start * 4,
            bytes: indices.len() * 4,
        };
        let errors = &self.weights.rows(&screen.error)[rows.start * 4..rows.end * 4];
        // SAFETY: pieces are disjoint rows, and no two have rows of one maximum.
        unsafe {
            let scores = self.arena.floats_mut(columns(screen.bounds));
            bound(scores, errors, reach);
            let maxima = self.arena.floats_mut(maxima);
            for (bounds, largest) in scores.chunks(ROWS_PER_MAXIMUM).zip(maxima) {
                *largest = self.kernels.vector().max(bounds);
            }
            let logits = self.arena.floats_mut(columns(self.plan.logits));
            logits.fill(f32::NEG_INFINITY);
        }
    }

    /// The region of the logits of a group's rows.
    fn logits_of(&self, group: u32) -> Region {
        let rows = rows_of(group, self.plan.logits.width);
        Region {
            offset: self.plan.logits.offset + rows.start * 4,
            bytes: rows.len() * 4,
        }
    }
}
