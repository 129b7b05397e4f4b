//! A session: one conversation's KV cache, and the memory its steps run in.

use crate::cpu::arena::Arena;
use crate::cpu::executor::{Executor, Shared};
use crate::cpu::pool::Pool;
use crate::generate::{GenerateOptions, Generation};
use crate::kernels::Kernels;
use crate::plan::{Plan, PlanOptions};
use crate::{CancelToken, Error, Governor, Model, Options, Result};
use alloc::vec::Vec;
use ondol_models::quant;

/// Runs one sequence of tokens through a model.
///
/// All memory is taken when the session is made; prefill and decode allocate
/// nothing. While its [`Governor`] is paused, what runs the session blocks.
pub struct Session {
    model: Model,
    kernels: Kernels,
    pool: Pool,
    plan: Plan,
    arena: Arena,
    sizes: PlanOptions,
    governor: Governor,
    /// How many of its calls to give memory back were answered.
    released: u32,
    /// Tokens whose keys and values the cache holds.
    tokens: Vec<u32>,
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
        let arena = Arena::new(plan.layout.total)?;
        load_vectors(&model, &plan, &arena)?;
        let pool = Pool::new(sizes.threads, options.affinity);
        let tokens = Vec::with_capacity(sizes.context);
        Ok(Session {
            model,
            kernels,
            pool,
            plan,
            arena,
            sizes,
            released: options.governor.releases(),
            governor: options.governor.clone(),
            tokens,
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
        let used = self.tokens.len();
        self.executor().discard_unused(used);
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
        let chunks = tokens.chunks(self.sizes.chunk);
        let last = chunks.len() - 1;
        for (index, chunk) in chunks.enumerate() {
            let start = self.tokens.len();
            let mut executor = self.executor();
            executor.body(chunk, start, Some(cancel))?;
            if index == last {
                executor.head(chunk.len() - 1..chunk.len())?;
            }
            self.tokens.extend_from_slice(chunk);
        }
        Ok(self.logits(0))
    }

    /// Runs one token; the logits are those after it.
    ///
    /// # Errors
    /// [`Error::BadToken`], [`Error::ContextFull`].
    ///
    /// No cancel ends this one token, not even while the session is paused; a
    /// [`Generation`] hears it.
    pub fn decode(&mut self, token: u32) -> Result<&[f32]> {
        self.decode_unless(token, None)
    }

    /// As [`Session::decode`], unless it is cancelled meanwhile.
    pub(crate) fn decode_unless(
        &mut self,
        token: u32,
        cancel: Option<&CancelToken>,
    ) -> Result<&[f32]> {
        self.check(&[token])?;
        let start = self.tokens.len();
        let mut executor = self.executor();
        executor.body(&[token], start, cancel)?;
        executor.head(0..1)?;
        self.tokens.push(token);
        Ok(self.logits(0))
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
        let mut scored = 0;
        for chunk in tokens.chunks(self.sizes.chunk) {
            let start = self.tokens.len();
            self.executor().body(chunk, start, Some(cancel))?;
            for first in (0..chunk.len()).step_by(self.sizes.logit_rows) {
                let rows = first..(first + self.sizes.logit_rows).min(chunk.len());
                self.executor().head(rows.clone())?;
                for row in 0..rows.len() {
                    each(scored + first + row, self.logits(row));
                }
            }
            scored += chunk.len();
            self.tokens.extend_from_slice(chunk);
        }
        Ok(())
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

    /// The logits of the last prefill or decode.
    pub fn last_logits(&self) -> &[f32] {
        self.logits(0)
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
