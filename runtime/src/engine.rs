//! An engine: what the sessions of a model share.

use crate::cpu::executor::{Executor, Shared};
use crate::cpu::pool::Pool;
use crate::cpu::turns::Turns;
use crate::memory::{Arena, ArenaLayout, Memory};
use crate::plan::{Plan, PlanOptions};
use crate::sizing::Sizing;
use crate::{CancelToken, Error, Governor, Model, Result, ScreenOptions, SessionOptions};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering};
use ondol_kernels::{Kernels, SMALL};
use ondol_models::quant;

/// Runs the passes of any number of sessions of one model, with the same options.
///
/// It owns the threads and the memory in which a pass runs; a session adds the states
/// of its own sequence. Sessions may be used from different threads at the same time:
/// their passes run one after another, in the order in which they were requested.
/// [`Batch`](crate::Batch) decodes one token of each of several sessions in one pass,
/// which is faster.
///
/// Clones refer to the same engine. Sessions keep it alive.
///
/// ```
/// use ondol::{CancelToken, Model, SessionOptions};
///
/// let engine = Model::hello()?.engine(&SessionOptions::default())?;
/// let (mut one, mut other) = (engine.session()?, engine.session()?);
/// one.prefill(&[1, 2, 3], &CancelToken::new())?;
/// other.prefill(&[4, 5], &CancelToken::new())?;
/// # Ok::<(), ondol::Error>(())
/// ```
#[derive(Clone)]
pub struct Engine(pub(crate) Arc<Inner>);

/// What an engine and its sessions share.
pub(crate) struct Inner {
    pub model: Model,
    pub kernels: Kernels,
    pub plan: Plan,
    pub sizes: PlanOptions,
    pub screen: Option<ScreenOptions>,
    pub governor: Governor,
    workspace: Turns<Workspace>,
    threads: usize,
    pinned: usize,
    /// Memory of the engine with one session.
    memory: Memory,
    limit: Option<u64>,
    /// The number of sessions that exist.
    sessions: AtomicUsize,
    #[cfg(feature = "delegate")]
    offload: Option<crate::delegate::Offload>,
}

impl Model {
    /// An engine with these options, for any number of sessions.
    ///
    /// # Errors
    /// [`Error::DoesNotFit`] if [`Model::memory`] exceeds the options' limit,
    /// [`Error::OutOfMemory`] if the system does not provide the memory;
    /// those of [`Model::memory`]; [`Error::BadMargin`]; [`Error::MemoryPressure`] while
    /// the options' governor reports critical memory pressure; [`Error::Model`] for a
    /// damaged vector of the file; with a strict offload also `Error::Delegate` if the
    /// device refuses a session.
    pub fn engine(&self, options: &SessionOptions) -> Result<Engine> {
        let screen = options.screen.filter(|_| !SMALL && self.has_screen());
        screen.iter().try_for_each(ScreenOptions::check)?;
        Engine::new(self.clone(), Sizing::new(self, options)?, options)
    }
}

/// What a pass uses; one pass at a time.
pub(crate) struct Workspace {
    pool: Pool,
    arena: Arena,
    #[cfg(feature = "delegate")]
    pub offload: Option<crate::delegate::Runner>,
}

impl Engine {
    fn new(model: Model, sizing: Sizing, options: &SessionOptions) -> Result<Engine> {
        let Sizing {
            kernels,
            plan,
            sizes,
            memory,
        } = sizing;
        fits(options.memory_limit, memory.total)?;
        options.governor.admit(&model)?;
        let arena = Arena::new(plan.layout.total)?;
        #[cfg(feature = "std")]
        plan.check(&sizes);
        load_vectors(&model, &plan, &arena)?;
        let pool = Pool::new(sizes.threads, options.affinity);
        let (threads, pinned) = (pool.threads(), pool.pinned());
        let workspace = Workspace {
            pool,
            arena,
            #[cfg(feature = "delegate")]
            offload: match &options.offload {
                Some(offload) => Some(crate::delegate::Runner::new(offload, sizes.chunk)?),
                None => None,
            },
        };
        let screen = options.screen.filter(|_| model.has_screen());
        let engine = Engine(Arc::new(Inner {
            model,
            kernels,
            plan,
            sizes,
            screen,
            governor: options.governor.clone(),
            workspace: Turns::new(workspace),
            threads,
            pinned,
            memory,
            limit: options.memory_limit,
            sessions: AtomicUsize::new(0),
            #[cfg(feature = "delegate")]
            offload: options.offload.clone(),
        }));
        #[cfg(feature = "std")]
        engine.log();
        Ok(engine)
    }

    #[cfg(feature = "std")]
    fn log(&self) {
        let (isa, threads) = (self.isa(), self.threads());
        let (context, bytes) = (self.context(), self.memory().total);
        log::info!("engine: kernels {isa}, {threads} threads, context {context}, {bytes} bytes");
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.0.model
    }

    /// The context: the largest number of tokens in a session.
    pub fn context(&self) -> usize {
        self.0.sizes.context
    }

    /// The memory of the engine with one session, as [`Model::memory`] returns it.
    pub fn memory(&self) -> Memory {
        self.0.memory
    }

    /// Threads that run the steps, the caller's included.
    pub fn threads(&self) -> usize {
        self.0.threads
    }

    /// Threads that are pinned to big cores, by [`SessionOptions::affinity`].
    pub fn pinned_threads(&self) -> usize {
        self.0.pinned
    }

    /// The governor of the engine's options.
    pub fn governor(&self) -> &Governor {
        &self.0.governor
    }

    /// The kernels in use.
    pub fn isa(&self) -> crate::Isa {
        self.0.kernels.isa()
    }

    /// Releases to the system the memory that only passes use, until the next pass.
    pub fn release_unused(&self) {
        // There is no cancel token, so this can't fail.
        let _ = self.0.workspace.take(None, |workspace| {
            workspace.discard_scratch(&self.0.plan.layout);
            Ok(())
        });
    }

    /// The parts of the model that a delegate runs: [`SessionOptions::offload`].
    #[cfg(feature = "delegate")]
    pub fn offload(&self) -> Option<&crate::delegate::Offload> {
        self.0.offload.as_ref()
    }

    /// Counts of the delegate's work so far, for all sessions; `None` without a
    /// delegate.
    #[cfg(feature = "delegate")]
    pub fn offload_stats(&self) -> Option<crate::delegate::OffloadStats> {
        let stats = self.0.workspace.take(None, |workspace| {
            Ok(workspace
                .offload
                .as_ref()
                .map(|runner| runner.stats.clone()))
        });
        stats.ok().flatten()
    }

    /// Counts one more session, if the limit allows it.
    pub(crate) fn admit_session(&self) -> Result<()> {
        let Inner {
            memory, sessions, ..
        } = &*self.0;
        self.0.governor.admit(&self.0.model)?;
        let others = sessions.fetch_add(1, Ordering::Relaxed);
        let further = memory.further_session.saturating_mul(others as u64);
        let fits = fits(self.0.limit, memory.total.saturating_add(further));
        if fits.is_err() {
            self.forget_session();
        }
        fits
    }

    pub(crate) fn forget_session(&self) {
        self.0.sessions.fetch_sub(1, Ordering::Relaxed);
    }

    /// Runs a pass, or parts of one, with its logits in `logits`. `released` is the
    /// number of the governor's requests to release memory that the caller has served.
    pub(crate) fn run<R>(
        &self,
        logits: &Arena,
        released: &mut u32,
        cancel: Option<&CancelToken>,
        work: impl FnOnce(&mut Executor) -> Result<R>,
    ) -> Result<R> {
        self.0.workspace.take(cancel, |workspace| {
            // SAFETY: the caller's block is borrowed until the pass is over, and each
            // pass lends a block that no other pass uses.
            unsafe { workspace.arena.lend(logits) };
            work(&mut workspace.executor(&self.0, released))
        })
    }
}

impl Workspace {
    /// Releases the pages of regions that each pass writes before it reads them.
    fn discard_scratch(&self, layout: &ArenaLayout) {
        let passing = [layout.values, layout.acts, layout.partials];
        for &region in passing.iter().chain(&layout.scratch) {
            // SAFETY: no step runs, and each pass writes these before it reads them.
            unsafe { self.arena.discard(region) };
        }
    }

    fn executor<'w>(&'w mut self, engine: &'w Inner, released: &'w mut u32) -> Executor<'w> {
        Executor {
            shared: Shared {
                plan: &engine.plan,
                kernels: &engine.kernels,
                weights: &engine.model.0.weights,
                arena: &self.arena,
            },
            pool: &mut self.pool,
            governor: &engine.governor,
            released,
            #[cfg(feature = "delegate")]
            offload: self.offload.as_mut(),
        }
    }
}

fn fits(limit: Option<u64>, needed: u64) -> Result<()> {
    match limit.filter(|&limit| needed > limit) {
        Some(allowed) => Err(Error::DoesNotFit { needed, allowed }),
        None => Ok(()),
    }
}

/// Converts norm weights and biases to f32, once.
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
