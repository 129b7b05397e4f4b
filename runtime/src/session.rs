//! A session: one sequence of tokens, and the states of the layers for it.

use crate::cache::Cache;
#[cfg(feature = "std")]
use crate::cache::snapshot::{self, SnapshotError};
use crate::cpu::executor::Executor;
use crate::cpu::pass::{Input, Pass, Phase, SequenceRows};
use crate::memory::Logits;
use crate::screen::{self, ScreenStats, Screening};
use crate::{CancelToken, Engine, Error, Model, Result, SessionOptions};
use alloc::vec::Vec;
use ondol_kernels::SMALL;
use ondol_models::heap;

/// Runs one sequence of tokens through a model.
///
/// All memory is allocated when the session is made; prefill and decode allocate
/// nothing. While its [`crate::Governor`] is paused, prefill and generations wait.
///
/// ```
/// use ondol::{CancelToken, Model, SessionOptions};
///
/// let model = Model::hello()?;
/// let mut session = model.session(&SessionOptions::default())?;
/// let logits = session.prefill(&model.encode_prompt("온돌은"), &CancelToken::new())?;
/// let likeliest = (0..).zip(logits).max_by(|a, b| a.1.total_cmp(b.1));
/// let token = likeliest.map_or(0, |(token, _)| token);
/// session.decode(token)?;
/// # Ok::<(), ondol::Error>(())
/// ```
pub struct Session {
    engine: Engine,
    /// The states of `tokens`.
    cache: Cache,
    /// [`crate::plan::PlanOptions::session_rows`] rows.
    logits: Logits,
    screening: Option<Screening>,
    /// The number of the governor's requests to release memory that were served.
    released: u32,
    tokens: Vec<u32>,
    /// The drafts of the last decode pass, which may be accepted.
    drafts: Vec<u32>,
    /// How many of them were accepted; also the row of the last token's logits.
    accepted: usize,
}

impl Model {
    /// An engine with one session. Prefill and decode allocate nothing after this.
    ///
    /// # Errors
    /// As for [`Model::engine`] and [`Engine::session`].
    pub fn session(&self, options: &SessionOptions) -> Result<Session> {
        self.engine(options)?.session()
    }
}

impl Engine {
    /// A session with an empty sequence.
    ///
    /// # Errors
    /// [`Error::DoesNotFit`] if the engine with all its sessions would exceed the
    /// options' limit, [`Error::OutOfMemory`] if the system does not provide the
    /// memory, [`Error::MemoryPressure`] while the governor reports critical memory
    /// pressure.
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

    /// A session with this cache; the engine has counted it already.
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

    /// The context: the largest number of tokens.
    pub fn context(&self) -> usize {
        self.engine.context()
    }

    /// Releases to the system all memory that the session and its engine do not need
    /// until the next pass. For an idle session while memory is short. Its tokens,
    /// their states and the last logits stay.
    pub fn release_unused(&mut self) {
        self.discard_unused();
        self.engine.release_unused();
    }

    fn discard_unused(&self) {
        // Drafts can still be accepted.
        let used = self.tokens.len() + self.drafts.len().saturating_sub(self.accepted);
        self.cache.discard_unused(&self.engine.0.plan.cache, used);
    }

    /// Waits while the governor is paused. Prefill, score and generations do this
    /// themselves. Decode does not, because one call is short: a loop over
    /// [`Session::decode`] should call this between tokens.
    ///
    /// # Errors
    /// [`Error::Cancelled`] if `cancel` ended the wait.
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

    /// The tokens that were run, in order; [`Session::VECTOR`] for each vector.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Stands for a vector among [`Session::tokens`].
    pub const VECTOR: u32 = u32::MAX;

    /// Drops tokens until `len` are left, or fewer where the states do not allow
    /// exactly `len`. Returns how many are left. Full attention allows any length. A
    /// sliding window, a convolution or a recurrence allows only the current length and
    /// the end of the last prompt (a window also a few tokens before these).
    pub fn rewind(&mut self, len: usize) -> usize {
        let left = self.cache.rewind(&self.engine.0.plan.cache, len);
        self.tokens.truncate(left);
        self.drafts.clear();
        left
    }

    /// Drops all tokens.
    pub fn clear(&mut self) {
        self.rewind(0);
    }

    /// A second session of the engine with the same tokens, states and last logits.
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

    /// Writes the tokens, their states and the last logits, for [`Session::restore`]
    /// later, also in another process. The size is that of the tokens' states. Accepted
    /// drafts are included, other drafts are not.
    ///
    /// # Errors
    /// [`Error::Snapshot`] with the error of the writer.
    #[cfg(feature = "std")]
    pub fn save(&self, out: impl std::io::Write) -> Result<()> {
        let layout = &self.engine.0.plan.cache;
        let identity = self.identity();
        let (tokens, logits) = (&self.tokens, self.last_logits());
        let written = self.cache.save(layout, &identity, tokens, logits, out);
        Ok(written.map_err(SnapshotError::Io)?)
    }

    /// Replaces the session's tokens and states by those that [`Session::save`] wrote.
    /// The engine may have another context, as long as the tokens fit. A packed copy of
    /// a model can restore what was saved with the original.
    ///
    /// # Errors
    /// [`Error::Snapshot`]; the session is then empty.
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

    /// Appends `tokens` and runs them. Returns the logits after the last token, one for
    /// each token of the vocabulary. Their end is the end of a prompt:
    /// [`Session::rewind`] can go back to it.
    ///
    /// # Errors
    /// [`Error::EmptyPrompt`], [`Error::BadToken`] and [`Error::ContextFull`] before
    /// anything is run; [`Error::Panicked`]; with a strict offload also
    /// `Error::Delegate`. After [`Error::Cancelled`] the session has the tokens of the
    /// passes that were completed.
    pub fn prefill(&mut self, tokens: &[u32], cancel: &CancelToken) -> Result<&[f32]> {
        self.check(tokens)?;
        let mut done = 0;
        while done < tokens.len() {
            done += self.prefill_chunk(&tokens[done..], cancel)?;
        }
        Ok(self.last_logits())
    }

    /// Runs the next chunk of a prompt that was checked; `rest` is what is left of it.
    /// Returns the number of tokens that were run.
    pub(crate) fn prefill_chunk(&mut self, rest: &[u32], cancel: &CancelToken) -> Result<usize> {
        let chunk = &rest[..rest.len().min(self.engine.0.sizes.chunk)];
        let is_last = chunk.len() == rest.len();
        self.prompt_pass(Input::Tokens(chunk), is_last, cancel)?;
        self.tokens.extend_from_slice(chunk);
        Ok(chunk.len())
    }

    /// As [`Session::prefill`], with vectors in the place of tokens: embeddings of an
    /// image or of sound. `vectors` is `[row][width]`, where `width` is that of the
    /// model's embeddings.
    ///
    /// # Errors
    /// [`Error::BadVectors`] if the length is not a multiple of the width;
    /// [`Error::EmptyPrompt`], [`Error::ContextFull`] and [`Error::Cancelled`] as for
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

    /// Runs one pass of a prompt; the last one computes logits and sets the checkpoint.
    fn prompt_pass(&mut self, input: Input, is_last: bool, cancel: &CancelToken) -> Result<()> {
        let rows = input.rows();
        self.pass(input, Phase::Prefill(cancel), |executor, pass| {
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

    /// Runs a pass of this session alone. The caller then advances the cache by the
    /// rows that it keeps.
    pub(crate) fn pass<R>(
        &mut self,
        input: Input,
        phase: Phase,
        work: impl FnOnce(&mut Executor, Pass) -> Result<R>,
    ) -> Result<R> {
        self.begin(input.rows());
        let sequences = [SequenceRows {
            cache: &self.cache,
            input,
        }];
        let pass = Pass::new(&sequences, phase);
        let (logits, released) = (self.logits.block(), &mut self.released);
        self.engine
            .run(logits, released, pass.cancel(), |executor| {
                work(executor, pass)
            })
    }

    /// Prepares the session for a pass with `rows` of its rows.
    pub(crate) fn begin(&mut self, rows: usize) {
        self.drafts.clear();
        self.accepted = 0;
        self.cache.begin(&self.engine.0.plan.cache, rows);
    }

    #[cfg(feature = "std")]
    pub(crate) fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Appends one token and runs it. Returns the logits after it, one for each token
    /// of the vocabulary.
    ///
    /// # Errors
    /// [`Error::BadToken`], [`Error::ContextFull`], [`Error::Panicked`]; with a strict
    /// offload also `Error::Delegate`.
    pub fn decode(&mut self, token: u32) -> Result<&[f32]> {
        self.decode_with_drafts(&[token])
    }

    /// Runs the first of `tokens`, and in the same pass the others as drafts; those
    /// beyond [`crate::SessionOptions::drafts`] are not run. Returns the logits after the
    /// first. [`Session::accept`] accepts drafts; any other call drops them.
    ///
    /// # Errors
    /// As for [`Session::decode`]; all of `tokens` must fit in the context.
    pub(crate) fn decode_with_drafts(&mut self, tokens: &[u32]) -> Result<&[f32]> {
        self.check(tokens)?;
        let rows = tokens.len().min(self.engine.0.sizes.draft_rows);
        let tokens = &tokens[..rows];
        self.pass(Input::Tokens(tokens), Phase::Decode, |executor, pass| {
            executor.body(pass)?;
            executor.head(pass, 0..rows)
        })?;
        self.ran(tokens);
        Ok(self.last_logits())
    }

    /// Records a token that was decoded, and its drafts.
    pub(crate) fn ran(&mut self, tokens: &[u32]) {
        self.cache.advance(1);
        self.tokens.push(tokens[0]);
        self.drafts.clear();
        self.drafts.extend_from_slice(&tokens[1..]);
        self.accepted = 0;
    }

    /// Appends `token` if it is the next draft, and returns the logits after it: those
    /// of [`Session::decode`], bit for bit. `None` if it is not the next draft.
    pub(crate) fn accept(&mut self, token: u32) -> Option<&[f32]> {
        if self.drafts.get(self.accepted) != Some(&token) {
            return None;
        }
        self.tokens.push(token);
        self.cache.accept();
        self.accepted += 1;
        Some(self.last_logits())
    }

    /// The largest number of drafts in a pass.
    pub(crate) fn max_drafts(&self) -> usize {
        self.engine.0.sizes.draft_rows - 1
    }

    /// As [`Session::decode`], but only the logits of the `k` likeliest tokens are sure
    /// to be computed: others may be negative infinity. Faster than [`Session::decode`]
    /// if the model has a screen ([`crate::ScreenOptions`]), the same if it has none.
    /// Computed logits are equal bit for bit.
    ///
    /// # Errors
    /// As for [`Session::decode`].
    pub fn decode_top(&mut self, token: u32, k: usize) -> Result<&[f32]> {
        self.check(&[token])?;
        let mut screening = self.screening.filter(Screening::is_on);
        self.pass(Input::Tokens(&[token]), Phase::Decode, |executor, pass| {
            executor.body(pass)?;
            match &mut screening {
                Some(screening) if !SMALL => screen::head(executor, pass, k, screening),
                _ => executor.head(pass, 0..1),
            }
        })?;
        self.screening = screening.or(self.screening);
        self.ran(&[token]);
        Ok(self.last_logits())
    }

    /// Counts of the screen's work so far; `None` if the model has no screen or the
    /// options switch it off.
    pub fn screen_stats(&self) -> Option<ScreenStats> {
        self.screening.map(|screening| screening.stats)
    }

    /// Appends `tokens`, runs them, and calls `each` with the index of every one (from
    /// 0) and the logits after it. `each` must not use the engine: the pass waits for
    /// it.
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
            self.pass(input, Phase::Prefill(cancel), |executor, pass| {
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

    /// The logits after the last token, one for each token of the vocabulary. After
    /// [`Session::decode_top`], and so after a generation, those that were not computed
    /// are negative infinity.
    pub fn last_logits(&self) -> &[f32] {
        self.logits.row(self.accepted)
    }

    /// Checks that these tokens can be appended.
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

    /// Checks that these tokens can be a prompt that replaces the session's tokens.
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
