//! A session: one sequence of tokens, and the state that the layers keep of it.

use crate::cache::Cache;
#[cfg(feature = "std")]
use crate::cache::snapshot::{self, SnapshotError};
use crate::cpu::executor::Executor;
use crate::cpu::pass::{Input, Pass, Purpose, Segment};
use crate::kernels::vector::simd::SMALL;
use crate::memory::Logits;
use crate::screen::{self, ScreenStats, Screening};
use crate::{CancelToken, Engine, Error, Model, Options, Result};
use alloc::vec::Vec;
use ondol_models::heap;

/// Runs one sequence of tokens through a model.
///
/// All memory is taken when the session is made; prefill and decode allocate
/// nothing. While its [`crate::Governor`] is paused, prefill and generation wait.
pub struct Session {
    engine: Engine,
    /// Holds the state of `tokens`.
    cache: Cache,
    /// [`crate::plan::PlanOptions::session_rows`] rows.
    logits: Logits,
    screening: Option<Screening>,
    /// How many of the governor's calls to give memory back were answered.
    released: u32,
    tokens: Vec<u32>,
    /// Tokens decoded beside the last one, which may be accepted.
    drafts: Vec<u32>,
    /// How many of them were: the row of the last token's logits.
    accepted: usize,
}

impl Model {
    /// The only session of an engine of its own. Nothing is allocated after this.
    ///
    /// # Errors
    /// As for [`Model::engine`] and [`Engine::session`].
    pub fn session(&self, options: &Options) -> Result<Session> {
        self.engine(options)?.session()
    }
}

impl Engine {
    /// A session with an empty sequence.
    ///
    /// # Errors
    /// [`Error::DoesNotFit`] where the options' limit is less than the engine with all
    /// its sessions takes, [`Error::OutOfMemory`] where the system has less,
    /// [`Error::MemoryPressure`] while the governor says so.
    pub fn session(&self) -> Result<Session> {
        Session::new(self)
    }
}

impl Session {
    fn new(engine: &Engine) -> Result<Session> {
        engine.admit_session()?;
        Session::with(engine, Cache::new(&engine.0.plan.cache))
            .inspect_err(|_| engine.forget_session())
    }

    /// A session of `cache`, which was counted.
    fn with(engine: &Engine, cache: Result<Cache>) -> Result<Session> {
        let inner = &engine.0;
        Ok(Session {
            cache: cache?,
            logits: Logits::new(inner.sizes.session_rows, inner.plan.logits.width)?,
            screening: inner.screen.map(Screening::new),
            released: inner.governor.releases(),
            tokens: heap::with_capacity(inner.sizes.context)?,
            drafts: heap::with_capacity(inner.sizes.draft_rows)?,
            accepted: 0,
            engine: engine.clone(),
        })
    }

    /// The engine that runs its passes.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The model.
    pub fn model(&self) -> &Model {
        self.engine.model()
    }

    /// Tokens that the context holds at most.
    pub fn context(&self) -> usize {
        self.engine.context()
    }

    /// Gives back to the system all memory that the session and its engine can do
    /// without until a pass runs next: for one that stays idle while memory is short.
    /// Its tokens, their states, and the last logits stay.
    pub fn release_unused(&mut self) {
        self.discard_unused();
        self.engine.release_unused();
    }

    fn discard_unused(&self) {
        // Drafts may yet be accepted.
        let used = self.tokens.len() + self.drafts.len().saturating_sub(self.accepted);
        self.cache.discard_unused(&self.engine.0.plan.cache, used);
    }

    /// Waits until the governor is resumed, if it is paused. Prefill, score and a
    /// generation do it by themselves. Decode does not, for it is soon over: who
    /// calls it in a loop calls this between tokens.
    ///
    /// # Errors
    /// [`Error::Cancelled`] if the wait was ended so.
    pub fn wait_while_paused(&mut self, cancel: &CancelToken) -> Result<()> {
        let governor = self.engine.governor();
        loop {
            let releases = governor.releases();
            if self.released != releases {
                self.released = releases;
                self.discard_unused();
            }
            if !governor.is_paused() {
                return Ok(());
            }
            governor.wait_while_paused(cancel, releases)?;
        }
    }

    /// The tokens whose states are there; [`Session::VECTOR`] for each vector.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Stands for a vector among [`Session::tokens`].
    pub const VECTOR: u32 = u32::MAX;

    /// Goes back to the first `len` tokens, or as close below as can be: says how many
    /// are left. Keys and values of all positions are there, but those of a sliding
    /// window, and the states of convolutions and recurrences, only at the end and at
    /// the end of the last prompt.
    pub fn rewind(&mut self, len: usize) -> usize {
        let left = self.cache.rewind(&self.engine.0.plan.cache, len);
        self.tokens.truncate(left);
        self.drafts.clear();
        left
    }

    /// Forgets all tokens.
    pub fn clear(&mut self) {
        self.rewind(0);
    }

    /// Another session of the engine that goes on from where this one is.
    ///
    /// # Errors
    /// Those of [`Engine::session`].
    #[cfg(feature = "std")]
    pub fn fork(&self) -> Result<Session> {
        self.engine.admit_session()?;
        let cache = self.cache.fork(&self.engine.0.plan.cache);
        let fork = Session::with(&self.engine, cache);
        let mut fork = fork.inspect_err(|_| self.engine.forget_session())?;
        fork.tokens.extend_from_slice(&self.tokens);
        fork.logits.row_mut(0).copy_from_slice(self.last_logits());
        Ok(fork)
    }

    /// Writes the tokens and their states, so that [`Session::restore`] can go on
    /// later, in another process: as many bytes as the cache holds of them. Of an accepted
    /// guess nothing is lost, and what was guessed beyond it is left out.
    ///
    /// # Errors
    /// [`Error::Snapshot`] with what the writer said.
    #[cfg(feature = "std")]
    pub fn save(&self, out: impl std::io::Write) -> Result<()> {
        let layout = &self.engine.0.plan.cache;
        let identity = self.identity();
        let (tokens, logits) = (&self.tokens, self.last_logits());
        let written = self.cache.save(layout, &identity, tokens, logits, out);
        Ok(written.map_err(SnapshotError::Io)?)
    }

    /// Takes up what [`Session::save`] wrote, in the place of what the session has. The
    /// engine may have another context, as long as the tokens fit. A packed copy of a
    /// model takes up what was saved with the original.
    ///
    /// # Errors
    /// [`Error::Snapshot`]; the session is empty then.
    #[cfg(feature = "std")]
    pub fn restore(&mut self, from: impl std::io::Read) -> Result<()> {
        self.tokens.clear();
        self.drafts.clear();
        self.accepted = 0;
        let identity = self.identity();
        let layout = &self.engine.0.plan.cache;
        let logits = self.logits.row_mut(0);
        let tokens = self.cache.restore(layout, &identity, logits, from)?;
        self.tokens.extend_from_slice(&tokens);
        Ok(())
    }

    #[cfg(feature = "std")]
    fn identity(&self) -> snapshot::Identity {
        let model = &self.model().0;
        snapshot::identity(&model.graph, &model.weights, self.engine.0.sizes.kv_type)
    }

    /// Runs `tokens` after those that are there; the logits are those after the last.
    /// They end a prompt: [`Session::rewind`] can go back to them.
    ///
    /// # Errors
    /// [`Error::EmptyPrompt`], [`Error::BadToken`] and [`Error::ContextFull`]
    /// before anything is run. After [`Error::Cancelled`] the session has the
    /// chunks that were finished.
    pub fn prefill(&mut self, tokens: &[u32], cancel: &CancelToken) -> Result<&[f32]> {
        self.check(tokens)?;
        let mut done = 0;
        while done < tokens.len() {
            done += self.prefill_chunk(&tokens[done..], cancel)?;
        }
        Ok(self.last_logits())
    }

    /// Runs the first chunk of what is left of a prompt, which was checked; says how
    /// many tokens that were.
    pub(crate) fn prefill_chunk(&mut self, rest: &[u32], cancel: &CancelToken) -> Result<usize> {
        let chunk = &rest[..rest.len().min(self.engine.0.sizes.chunk)];
        let is_last = chunk.len() == rest.len();
        self.prompt_pass(Input::Tokens(chunk), is_last, cancel)?;
        self.tokens.extend_from_slice(chunk);
        Ok(chunk.len())
    }

    /// As [`Session::prefill`], with vectors in the place of tokens: what an embedding
    /// would give, `[row][width]`, of an image or of sound.
    ///
    /// # Errors
    /// [`Error::BadVectors`] where the numbers are not whole rows, and those of
    /// [`Session::prefill`].
    #[cfg(feature = "std")]
    pub fn prefill_vectors(&mut self, vectors: &[f32], cancel: &CancelToken) -> Result<&[f32]> {
        let width = self.model().graph().embedding_width();
        if !vectors.len().is_multiple_of(width.max(1)) {
            let floats = vectors.len();
            return Err(Error::BadVectors { floats, width });
        }
        let rows = vectors.len() / width.max(1);
        self.check_room(rows)?;
        let chunk = self.engine.0.sizes.chunk * width;
        for chunk in vectors.chunks(chunk) {
            let input = Input::Vectors { rows: chunk, width };
            let done = self.tokens.len() + input.rows();
            let is_last = core::ptr::eq(chunk.as_ptr_range().end, vectors.as_ptr_range().end);
            self.prompt_pass(input, is_last, cancel)?;
            self.tokens.resize(done, Session::VECTOR);
        }
        Ok(self.last_logits())
    }

    /// One pass of a prompt; with logits and a checkpoint if it is the last.
    fn prompt_pass(&mut self, input: Input, is_last: bool, cancel: &CancelToken) -> Result<()> {
        let rows = input.rows();
        self.pass(input, Purpose::Prefill(cancel), |executor, pass| {
            executor.body(pass)?;
            match is_last {
                true => executor.head(pass, rows - 1..rows),
                false => Ok(()),
            }
        })?;
        self.cache.advance(rows);
        if is_last {
            self.cache.set_checkpoint(&self.engine.0.plan.cache);
        }
        Ok(())
    }

    /// Runs a pass of this session alone. The state is as before until the caller says
    /// how many of its rows count.
    pub(crate) fn pass<R>(
        &mut self,
        input: Input,
        purpose: Purpose,
        work: impl FnOnce(&mut Executor, Pass) -> Result<R>,
    ) -> Result<R> {
        self.begin(input.rows());
        let segments = [Segment {
            cache: &self.cache,
            input,
        }];
        let pass = Pass::new(&segments, purpose);
        let (logits, released) = (self.logits.block(), &mut self.released);
        self.engine
            .run(logits, released, pass.cancel(), |executor| {
                work(executor, pass)
            })
    }

    /// A pass with so many rows of this session is about to run.
    pub(crate) fn begin(&mut self, rows: usize) {
        self.drafts.clear();
        self.accepted = 0;
        self.cache.begin(&self.engine.0.plan.cache, rows);
    }

    #[cfg(feature = "std")]
    pub(crate) fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Runs one token; the logits are those after it.
    ///
    /// # Errors
    /// [`Error::BadToken`], [`Error::ContextFull`].
    pub fn decode(&mut self, token: u32) -> Result<&[f32]> {
        self.decode_with_drafts(&[token])
    }

    /// Of this workspace alone: generations guess by themselves.
    ///
    /// Runs the first of `tokens`, and in the same pass those that may come
    /// after it; what is beyond [`crate::Options::drafts`] is left out. The
    /// logits are those after the first. [`Session::accept`] goes on, and any
    /// other call leaves the drafts behind.
    ///
    /// # Errors
    /// As for [`Session::decode`]; all of `tokens` must fit in the context.
    #[doc(hidden)]
    pub fn decode_with_drafts(&mut self, tokens: &[u32]) -> Result<&[f32]> {
        self.check(tokens)?;
        let rows = tokens.len().min(self.engine.0.sizes.draft_rows);
        let tokens = &tokens[..rows];
        self.pass(Input::Tokens(tokens), Purpose::Decode, |executor, pass| {
            executor.body(pass)?;
            executor.head(pass, 0..rows)
        })?;
        self.ran(tokens);
        Ok(self.last_logits())
    }

    /// Takes note of a token that was decoded, and of those beside it.
    pub(crate) fn ran(&mut self, tokens: &[u32]) {
        self.cache.advance(1);
        self.tokens.push(tokens[0]);
        self.drafts.clear();
        self.drafts.extend_from_slice(&tokens[1..]);
        self.accepted = 0;
    }

    /// Of this workspace alone, as [`Session::decode_with_drafts`].
    ///
    /// Takes `token` as if it were decoded, if it is the next of the drafts: its
    /// logits are those of [`Session::decode`], bit for bit.
    #[doc(hidden)]
    pub fn accept(&mut self, token: u32) -> Option<&[f32]> {
        if self.drafts.get(self.accepted) != Some(&token) {
            return None;
        }
        self.tokens.push(token);
        self.cache.accept();
        self.accepted += 1;
        Some(self.last_logits())
    }

    /// Tokens that can be decoded beside one, at most.
    pub(crate) fn max_drafts(&self) -> usize {
        self.engine.0.sizes.draft_rows - 1
    }

    /// Runs one token; the logits are those after it, of the `k` likeliest tokens
    /// and any others: the rest may be negative infinity. Cheaper than
    /// [`Session::decode`] where the model has a screen ([`crate::ScreenOptions`]), and
    /// the same where it has none. The logits that are there are the same bits.
    ///
    /// # Errors
    /// As for [`Session::decode`].
    pub fn decode_top(&mut self, token: u32, k: usize) -> Result<&[f32]> {
        self.check(&[token])?;
        let mut screening = self.screening.filter(Screening::is_on);
        self.pass(
            Input::Tokens(&[token]),
            Purpose::Decode,
            |executor, pass| {
                executor.body(pass)?;
                match &mut screening {
                    Some(screening) if !SMALL => screen::head(executor, pass, k, screening),
                    _ => executor.head(pass, 0..1),
                }
            },
        )?;
        self.screening = screening.or(self.screening);
        self.ran(&[token]);
        Ok(self.last_logits())
    }

    /// What the screen of the head did so far; `None` where there is none, or it
    /// is not to be used.
    pub fn screen_stats(&self) -> Option<ScreenStats> {
        self.screening.map(|screening| screening.stats)
    }

    /// Runs `tokens`, and shows `each` the logits after every one of them with its index.
    /// The engine waits for `each`, which must not use it.
    ///
    /// # Errors
    /// As for [`Session::prefill`].
    pub fn score(
        &mut self,
        tokens: &[u32],
        cancel: &CancelToken,
        mut each: impl FnMut(usize, &[f32]),
    ) -> Result<()> {
        self.check(tokens)?;
        let logit_rows = self.engine.0.sizes.session_rows;
        let mut scored = 0;
        for chunk in tokens.chunks(self.engine.0.sizes.chunk) {
            let input = Input::Tokens(chunk);
            self.pass(input, Purpose::Prefill(cancel), |executor, pass| {
                executor.body(pass)?;
                for first in (0..chunk.len()).step_by(logit_rows) {
                    let rows = first..(first + logit_rows).min(chunk.len());
                    executor.head(pass, rows.clone())?;
                    for row in 0..rows.len() {
                        each(scored + first + row, executor.logits(row));
                    }
                }
                Ok(())
            })?;
            scored += chunk.len();
            self.cache.advance(chunk.len());
            self.tokens.extend_from_slice(chunk);
        }
        Ok(())
    }

    /// The logits of the last prefill, decode or acceptance; after
    /// [`Session::decode_top`], and so after a generation, only those that it
    /// computed.
    pub fn last_logits(&self) -> &[f32] {
        self.logits.row(self.accepted)
    }

    /// Whether these tokens can be run.
    ///
    /// # Errors
    /// As for [`Session::prefill`].
    pub(crate) fn check(&self, tokens: &[u32]) -> Result<()> {
        self.check_tokens(tokens)?;
        self.check_room(tokens.len())
    }

    fn check_tokens(&self, tokens: &[u32]) -> Result<()> {
        if tokens.is_empty() {
            return Err(Error::EmptyPrompt);
        }
        let vocabulary = self.model().0.graph.vocabulary;
        match tokens.iter().find(|&&t| t as usize >= vocabulary) {
            Some(&token) => Err(Error::BadToken { token, vocabulary }),
            None => Ok(()),
        }
    }

    /// Whether these tokens can be run as a whole prompt, in the place of what is there.
    ///
    /// # Errors
    /// As for [`Session::prefill`].
    pub(crate) fn check_prompt(&self, prompt: &[u32]) -> Result<()> {
        self.check_tokens(prompt)?;
        self.fits(prompt.len())
    }

    fn check_room(&self, rows: usize) -> Result<()> {
        if rows == 0 {
            return Err(Error::EmptyPrompt);
        }
        self.fits(self.tokens.len() + rows)
    }

    fn fits(&self, needed: usize) -> Result<()> {
        let context = self.context();
        if needed > context {
            return Err(Error::ContextFull { needed, context });
        }
        Ok(())
    }
}

impl core::fmt::Debug for Session {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let tokens = self.tokens.len();
        f.debug_struct("Session").field("tokens", &tokens).finish()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.engine.forget_session();
    }
}
