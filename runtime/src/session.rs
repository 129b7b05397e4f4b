//! A session: one conversation's KV cache, and the memory its steps run in.

use crate::cpu::arena::Arena;
use crate::cpu::executor::{Executor, Pass, Purpose, Shared};
use crate::cpu::pool::Pool;
use crate::generate::{GenerateOptions, Generation};
use crate::kernels::Kernels;
use crate::kernels::vector::simd::SMALL;
use crate::plan::{Plan, PlanOptions};
use crate::screen::{ScreenStats, Screening};
use crate::{CancelToken, Error, Governor, Model, Options, Result};
use alloc::vec::Vec;
use ondol_models::{heap, quant};

/// Runs one sequence of tokens through a model.
///
/// All memory is taken when the session is made; prefill and decode allocate
/// nothing. While its [`Governor`] is paused, prefill and generation wait.
pub struct Session {
    model: Model,
    kernels: Kernels,
    pool: Pool,
    plan: Plan,
    arena: Arena,
    sizes: PlanOptions,
    screening: Option<Screening>,
    governor: Governor,
    /// How many of its calls to give memory back were answered.
    released: u32,
    #[cfg(feature = "delegate")]
    offload: Option<crate::delegate::Runner>,
    /// Tokens whose keys and values the cache holds.
    tokens: Vec<u32>,
    /// Tokens decoded beside the last one, which may be accepted.
    drafts: Vec<u32>,
    /// How many of them were: the row of the last token's logits.
    accepted: usize,
}

impl Session {
    pub(crate) fn new(
        model: Model,
        kernels: Kernels,
        plan: Plan,
        sizes: PlanOptions,
        options: &Options,
    ) -> Result<Session> {
        options.governor.admit(&model)?;
        let screen = options.screen.filter(|_| model.has_screen());
        let arena = Arena::new(plan.layout.total)?;
        load_vectors(&model, &plan, &arena)?;
        #[cfg(feature = "delegate")]
        let offload = match &options.offload {
            Some(offload) => Some(crate::delegate::Runner::new(offload, sizes.chunk)?),
            None => None,
        };
        let pool = Pool::new(sizes.threads, options.affinity);
        let tokens = heap::with_capacity(sizes.context)?;
        let drafts = Vec::with_capacity(sizes.decode_rows);
        Ok(Session {
            model,
            kernels,
            pool,
            plan,
            arena,
            sizes,
            screening: screen.map(Screening::new),
            released: options.governor.releases(),
            governor: options.governor.clone(),
            #[cfg(feature = "delegate")]
            offload,
            tokens,
            drafts,
            accepted: 0,
        })
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Tokens that the context holds at most.
    pub fn context(&self) -> usize {
        self.sizes.context
    }

    /// Threads that run the steps, the caller's included.
    pub fn threads(&self) -> usize {
        self.pool.threads()
    }

    /// Threads that are kept on big cores, by [`Options::affinity`].
    pub fn pinned_threads(&self) -> usize {
        self.pool.pinned()
    }

    /// What tells this session how the device is doing: the one of its options.
    pub fn governor(&self) -> &Governor {
        &self.governor
    }

    /// Gives back to the system all memory that the session can do without until
    /// it runs next: for one that stays idle while memory is short. Its tokens,
    /// their keys and values, and the last logits stay.
    pub fn release_unused(&mut self) {
        let used = self.used();
        self.executor().discard_unused(used);
    }

    /// Waits until the governor is resumed, if it is paused. Prefill, score and a
    /// generation do it by themselves. Decode does not, for it is soon over: who
    /// calls it in a loop calls this between tokens.
    ///
    /// # Errors
    /// [`Error::Cancelled`] if the wait was ended so.
    pub fn wait_while_paused(&mut self, cancel: &CancelToken) -> Result<()> {
        let used = self.used();
        self.executor().heed_governor(used, Some(cancel))
    }

    /// Positions of the cache that must be kept: drafts may yet be accepted.
    fn used(&self) -> usize {
        self.tokens.len() + self.drafts.len().saturating_sub(self.accepted)
    }

    /// The kernel level in use.
    pub fn level(&self) -> crate::Level {
        self.kernels.level()
    }

    /// The tokens in the cache.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Forgets all but the first `len` tokens.
    pub fn truncate(&mut self, len: usize) {
        self.tokens.truncate(len);
        self.drafts.clear();
    }

    /// Forgets all tokens.
    pub fn clear(&mut self) {
        self.truncate(0);
    }

    /// Runs `tokens` after those in the cache; the logits are those after the last.
    ///
    /// # Errors
    /// [`Error::EmptyPrompt`], [`Error::BadToken`] and [`Error::ContextFull`]
    /// before anything is run. After [`Error::Cancelled`] the cache holds the
    /// chunks that were finished.
    pub fn prefill(&mut self, tokens: &[u32], cancel: &CancelToken) -> Result<&[f32]> {
        self.check(tokens)?;
        self.drafts.clear();
        let chunks = tokens.chunks(self.sizes.chunk);
        let last = chunks.len() - 1;
        for (index, chunk) in chunks.enumerate() {
            let start = self.tokens.len();
            let mut executor = self.executor();
            let body = executor.body(chunk, start, Purpose::Prefill(cancel))?;
            if index == last {
                executor.head(body, chunk.len() - 1..chunk.len())?;
            }
            self.tokens.extend_from_slice(chunk);
        }
        self.accepted = 0;
        Ok(self.last_logits())
    }

    /// Runs one token; the logits are those after it.
    ///
    /// # Errors
    /// [`Error::BadToken`], [`Error::ContextFull`].
    pub fn decode(&mut self, token: u32) -> Result<&[f32]> {
        self.decode_with_drafts(&[token])
    }

    /// Runs the first of `tokens`, and in the same pass those that may come
    /// after it; what is beyond [`crate::Options::drafts`] is left out. The
    /// logits are those after the first. [`Session::accept`] goes on, and any
    /// other call leaves the drafts behind.
    ///
    /// # Errors
    /// As for [`Session::decode`]; all of `tokens` must fit in the context.
    pub fn decode_with_drafts(&mut self, tokens: &[u32]) -> Result<&[f32]> {
        self.check(tokens)?;
        let tokens = &tokens[..tokens.len().min(self.sizes.decode_rows)];
        let start = self.tokens.len();
        let mut executor = self.executor();
        let body = executor.body(tokens, start, Purpose::Decode)?;
        executor.head(body, 0..tokens.len())?;
        self.ran(tokens);
        Ok(self.last_logits())
    }

    /// Takes note of a token that was decoded, and of those beside it.
    fn ran(&mut self, tokens: &[u32]) {
        self.tokens.push(tokens[0]);
        self.drafts.clear();
        self.drafts.extend_from_slice(&tokens[1..]);
        self.accepted = 0;
    }

    /// Takes `token` as if it were decoded, if it is the next of the drafts: its
    /// logits are those of [`Session::decode`], bit for bit.
    pub fn accept(&mut self, token: u32) -> Option<&[f32]> {
        if self.drafts.get(self.accepted) != Some(&token) {
            return None;
        }
        self.tokens.push(token);
        self.accepted += 1;
        Some(self.last_logits())
    }

    /// Tokens that can be decoded beside one, at most.
    pub(crate) fn max_drafts(&self) -> usize {
        self.sizes.decode_rows - 1
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
        let start = self.tokens.len();
        let tokens = [token];
        let body = self.executor().body(&tokens, start, Purpose::Decode)?;
        match self.screening.filter(Screening::is_on) {
            Some(screening) if !SMALL => self.screened_head(body, k, screening)?,
            _ => self.executor().head(body, 0..1)?,
        }
        self.ran(&[token]);
        Ok(self.last_logits())
    }

    fn screened_head(&mut self, body: Pass, k: usize, mut screening: Screening) -> Result<()> {
        let margin = screening.options.margin;
        let mut executor = self.executor();
        match executor.screened_head(body, k, margin)? {
            None => {
                screening.stats.whole += 1;
                executor.head(body, 0..1)?;
            }
            Some(selected) if screening.count(selected.rows) => {
                screening.stats.audits += 1;
                screening.stats.missed += executor.audit(body, selected, k)?;
            }
            Some(_) => {}
        }
        self.screening = Some(screening);
        Ok(())
    }

    /// What the screen of the head did so far; `None` where there is none, or it
    /// is not to be used.
    pub fn screen_stats(&self) -> Option<ScreenStats> {
        self.screening.map(|screening| screening.stats)
    }

    /// Runs `tokens`, and shows `each` the logits after every one of them with its index.
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
        self.drafts.clear();
        let mut scored = 0;
        for chunk in tokens.chunks(self.sizes.chunk) {
            let start = self.tokens.len();
            let purpose = Purpose::Prefill(cancel);
            let body = self.executor().body(chunk, start, purpose)?;
            for first in (0..chunk.len()).step_by(self.sizes.logit_rows) {
                let rows = first..(first + self.sizes.logit_rows).min(chunk.len());
                self.executor().head(body, rows.clone())?;
                for row in 0..rows.len() {
                    each(scored + first + row, self.logits(row));
                }
            }
            scored += chunk.len();
            self.tokens.extend_from_slice(chunk);
        }
        Ok(())
    }

    /// What a delegate does of the model, by [`Options::offload`].
    #[cfg(feature = "delegate")]
    pub fn offload(&self) -> Option<&crate::delegate::Offload> {
        self.offload.as_ref().map(|runner| &runner.offload)
    }

    /// What the delegate did so far; `None` where the session has none.
    #[cfg(feature = "delegate")]
    pub fn offload_stats(&self) -> Option<&crate::delegate::OffloadStats> {
        self.offload.as_ref().map(|runner| &runner.stats)
    }

    /// Generates text after `prompt`. What the cache already holds of the prompt
    /// is not computed again, so a conversation costs only its new tokens.
    ///
    /// # Errors
    /// As for [`Session::prefill`], and [`Error::Sampler`] for options out of range.
    pub fn generate(
        &mut self,
        prompt: &[u32],
        options: &GenerateOptions,
        cancel: &CancelToken,
    ) -> Result<Generation<'_>> {
        Generation::start(self, prompt, options, cancel)
    }

    /// The logits of the last prefill, decode or acceptance; after
    /// [`Session::decode_top`], and so after a generation, only those that it
    /// computed.
    pub fn last_logits(&self) -> &[f32] {
        self.logits(self.accepted)
    }

    fn logits(&self, row: usize) -> &[f32] {
        // SAFETY: no step runs while the session is borrowed for the result.
        unsafe { self.arena.row(self.plan.logits, row) }
    }

    fn executor(&mut self) -> Executor<'_> {
        let shared = Shared {
            plan: &self.plan,
            kernels: &self.kernels,
            weights: &self.model.0.weights,
            arena: &self.arena,
            context: self.sizes.context,
        };
        Executor {
            shared,
            pool: &mut self.pool,
            governor: &self.governor,
            released: &mut self.released,
            #[cfg(feature = "delegate")]
            offload: self.offload.as_mut(),
        }
    }

    fn check(&self, tokens: &[u32]) -> Result<()> {
        if tokens.is_empty() {
            return Err(Error::EmptyPrompt);
        }
        let vocabulary = self.model.0.graph.vocabulary;
        if let Some(&token) = tokens.iter().find(|&&t| t as usize >= vocabulary) {
            return Err(Error::BadToken { token, vocabulary });
        }
        let needed = self.tokens.len() + tokens.len();
        if needed > self.sizes.context {
            return Err(Error::ContextFull {
                needed,
                context: self.sizes.context,
            });
        }
        Ok(())
    }
}

/// Norm weights and biases as f32, once.
fn load_vectors(model: &Model, plan: &Plan, arena: &Arena) -> Result<()> {
    for (weight, vector) in &plan.vectors {
        // SAFETY: nothing else uses the new arena.
        let floats = unsafe { arena.floats_mut(vector.region) };
        let bytes = model.0.weights.rows(weight);
        quant::dequantize(weight.dtype, bytes, floats).map_err(|_| {
            let reason = alloc::format!(
                "a vector of {} floats has {} bytes",
                floats.len(),
                bytes.len()
            );
            ondol_models::Error::Malformed { reason }
        })?;
    }
    Ok(())
}
