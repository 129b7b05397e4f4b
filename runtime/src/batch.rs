//! Decode passes over several sessions.

use crate::cpu::pass::{Input, Pass, Phase, SequenceRows};
use crate::memory::Logits;
use crate::{Engine, Error, Generation, Result, Session};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::array::from_fn;
use core::borrow::BorrowMut;
use ondol_kernels::FINE_TOKENS;

/// Decodes one token of each of several sessions in one pass, which reads the weights
/// once for all of them.
///
/// The logits of each session are those of [`Session::decode`], bit for bit. Each pass
/// may have other sessions.
///
/// ```
/// use ondol::{CancelToken, Model, SessionOptions};
///
/// let options = SessionOptions {
///     batch: 2,
///     ..SessionOptions::default()
/// };
/// let engine = Model::hello()?.engine(&options)?;
/// let (mut one, mut other) = (engine.session()?, engine.session()?);
/// one.prefill(&[1, 2, 3], &CancelToken::new())?;
/// other.prefill(&[4, 5], &CancelToken::new())?;
///
/// let mut batch = engine.batch(2)?;
/// batch.decode(&mut [(&mut one, 7), (&mut other, 8)])?;
/// let after_seven = batch.logits(0);
/// assert_eq!(after_seven.len(), 1024);
/// # Ok::<(), ondol::Error>(())
/// ```
pub struct Batch {
    engine: Engine,
    /// The largest number of rows in a pass.
    rows: usize,
    logits: Logits,
    released: u32,
}

impl Engine {
    /// Makes a batch for passes that decode up to `rows` sessions together: at least one,
    /// and at most [`SessionOptions::batch`](crate::SessionOptions::batch).
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]: the batch has a row of logits for each session.
    pub fn batch(&self, rows: usize) -> Result<Batch> {
        Batch::new(self, rows.clamp(1, self.0.sizes.decode_rows))
    }
}

impl Batch {
    fn new(engine: &Engine, rows: usize) -> Result<Batch> {
        Ok(Batch {
            logits: Logits::new(rows, engine.0.plan.logits.width)?,
            rows,
            released: engine.governor().releases(),
            engine: engine.clone(),
        })
    }

    /// The largest number of sessions in a pass.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Appends one token to each session and runs them. [`Batch::logits`] then has the
    /// logits after each, in the order of `sessions`; [`Session::last_logits`] of these
    /// sessions is not updated.
    ///
    /// # Errors
    /// Before anything is run: [`Error::EmptyPrompt`] without sessions,
    /// [`Error::BatchFull`] for more than [`Batch::rows`] sessions,
    /// [`Error::OtherEngine`], and those of [`Session::decode`].
    pub fn decode(&mut self, sessions: &mut [(&mut Session, u32)]) -> Result<()> {
        self.check(sessions)?;
        for (session, _) in sessions.iter_mut() {
            session.begin(1);
        }
        // No allocation: unused elements of the arrays repeat the last session.
        let last = sessions.len() - 1;
        let tokens: [[u32; 1]; FINE_TOKENS] = from_fn(|i| [sessions[i.min(last)].1]);
        let sequences: [SequenceRows; FINE_TOKENS] = from_fn(|i| SequenceRows {
            cache: sessions[i.min(last)].0.cache(),
            input: Input::Tokens(&tokens[i]),
        });
        let rows = sessions.len();
        let pass = Pass::new(&sequences[..rows], Phase::Decode);
        let Batch {
            engine,
            logits,
            released,
            ..
        } = self;
        engine.run(logits.block(), released, None, |executor| {
            executor.body(pass)?;
            executor.head(pass, 0..rows)
        })?;
        for (session, token) in sessions {
            session.ran(&[*token]);
        }
        Ok(())
    }

    /// Runs, in one pass, the next token of every generation that has one to decode;
    /// the next [`Generation::step`] of each returns the result. Generations that are
    /// not at that point, for example in their prompt, are skipped, and so are those
    /// beyond [`Batch::rows`].
    ///
    /// # Errors
    /// As for [`Batch::decode`].
    pub fn advance<S: BorrowMut<Session>>(
        &mut self,
        generations: &mut [&mut Generation<S>],
    ) -> Result<()> {
        let (mut rows, mut waiting) = (Vec::new(), Vec::new());
        for (i, generation) in generations.iter_mut().enumerate() {
            if let Some(row) = generation.waiting().filter(|_| rows.len() < self.rows) {
                rows.push(row);
                waiting.push(i);
            }
        }
        if rows.is_empty() {
            return Ok(());
        }
        self.decode(&mut rows)?;
        for (row, i) in waiting.into_iter().enumerate() {
            generations[i].advance(self.logits(row));
        }
        Ok(())
    }

    /// The logits after the token of session `row` of the last pass, one for each token
    /// of the vocabulary. `row` is below the number of sessions of that pass.
    pub fn logits(&self, row: usize) -> &[f32] {
        self.logits.row(row.min(self.rows - 1))
    }

    fn check(&self, sessions: &[(&mut Session, u32)]) -> Result<()> {
        if sessions.is_empty() {
            return Err(Error::EmptyPrompt);
        }
        if sessions.len() > self.rows {
            return Err(Error::BatchFull {
                sessions: sessions.len(),
                rows: self.rows,
            });
        }
        for (session, token) in sessions {
            if !Arc::ptr_eq(&session.engine().0, &self.engine.0) {
                return Err(Error::OtherEngine);
            }
            session.check(&[*token])?;
        }
        Ok(())
    }
}
