//! Passes over several sessions at once.

use crate::cpu::pass::{Input, Pass, Purpose, Segment};
use crate::kernels::FINE_TOKENS;
use crate::memory::Logits;
use crate::{Engine, Error, Generation, Result, Session};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::array::from_fn;
use core::borrow::BorrowMut;

/// Decodes a token of each of several sessions in one pass, which reads the weights
/// once for all of them.
///
/// The logits of each are bit for bit those of [`Session::decode`]. Sessions may join
/// and leave between passes.
pub struct Batch {
    engine: Engine,
    /// Rows that a pass may have.
    rows: usize,
    logits: Logits,
    released: u32,
}

impl Engine {
    /// Room for passes that decode up to `rows` sessions together, at most
    /// [`Options::batch`](crate::Options::batch).
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]: the batch has a row of logits for each.
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

    /// Sessions that a pass may have.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Runs one token of each session. [`Batch::logits`] has those after each;
    /// [`Session::last_logits`] of the sessions has nothing to say until they run alone
    /// again.
    ///
    /// # Errors
    /// Before anything is run: [`Error::EmptyPrompt`] for no sessions,
    /// [`Error::BatchFull`] for more than there is room for, [`Error::OtherEngine`], and
    /// those of [`Session::decode`].
    pub fn decode(&mut self, sessions: &mut [(&mut Session, u32)]) -> Result<()> {
        self.check(sessions)?;
        for (session, _) in sessions.iter_mut() {
            session.begin(1);
        }
        // No allocation: what a pass has no rows for repeats the last.
        let last = sessions.len() - 1;
        let tokens: [[u32; 1]; FINE_TOKENS] = from_fn(|i| [sessions[i.min(last)].1]);
        let segments: [Segment; FINE_TOKENS] = from_fn(|i| Segment {
            cache: sessions[i.min(last)].0.cache(),
            input: Input::Tokens(&tokens[i]),
        });
        let rows = sessions.len();
        let pass = Pass::new(&segments[..rows], Purpose::Decode);
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

    /// Runs the tokens of all generations that wait for one in one pass; what
    /// [`Generation::step`] of each returns next comes from it. Those that have
    /// something else to do, such as their prompt, are left to their own step, and so
    /// are those that there is no room for.
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

    /// The logits of one row of the last pass.
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
