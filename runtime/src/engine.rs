//! An engine: what the sessions of a model share.

use crate::cpu::arena::Arena;
use crate::cpu::executor::{Executor, Shared};
use crate::cpu::pool::Pool;
use crate::cpu::turns::Turns;
use crate::kernels::Kernels;
use crate::plan::{Layout, Memory, Plan, PlanOptions};
use crate::{CancelToken, Error, Governor, Model, Options, Result, ScreenOptions, Session};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering};
use ondol_models::quant;

/// Runs the passes of any number of [`Session`]s of one model, with the same options.
///
/// It has the threads and the memory that a pass runs in; a session adds the state of
/// its own sequence. Sessions may be used from different threads at the same time:
/// their passes are run one after another, in the order in which they were asked for.
/// [`Batch`](crate::Batch) runs a token of several sessions in one pass, which is
/// faster.
///
/// Clones are one engine. Sessions keep it alive.
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
    /// Of the engine with one session.
    memory: Memory,
    limit: Option<u64>,
    /// Sessions that there are.
    sessions: AtomicUsize,
    #[cfg(feature = "delegate")]
    offload: Option<crate::delegate::Offload>,
}

/// What one pass at a time uses.
pub(crate) struct Workspace {
    pool: Pool,
    arena: Arena,
    #[cfg(feature = "delegate")]
    pub offload: Option<crate::delegate::Runner>,
}

impl Engine {
    pub(crate) fn new(
        model: Model,
        kernels: Kernels,
        plan: Plan,
        sizes: PlanOptions,
        memory: Memory,
        options: &Options,
    ) -> Result<Engine> {
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
        Ok(Engine(Arc::new(Inner {
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
        })))
    }

    /// A session with an empty sequence.
    ///
    /// # Errors
    /// [`Error::DoesNotFit`] where the options' limit is less than the engine with all
    /// its sessions takes, [`Error::OutOfMemory`] where the system has less,
    /// [`Error::MemoryPressure`] while the governor says so.
    pub fn session(&self) -> Result<Session> {
        Session::new(self)
    }

    /// Room for passes that decode up to `rows` sessions together, at most
    /// [`Options::batch`].
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]: the batch has a row of logits for each.
    #[cfg(feature = "std")]
    pub fn batch(&self, rows: usize) -> Result<crate::Batch> {
        crate::Batch::new(self, rows.clamp(1, self.0.sizes.decode_rows))
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.0.model
    }

    /// Tokens that a session holds at most.
    pub fn context(&self) -> usize {
        self.0.sizes.context
    }

    /// The memory of the engine with one session, as [`Model::memory`] says.
    pub fn memory(&self) -> Memory {
        self.0.memory
    }

    /// Threads that run the steps, the caller's included.
    pub fn threads(&self) -> usize {
        self.0.threads
    }

    /// Threads that are kept on big cores, by [`Options::affinity`].
    pub fn pinned_threads(&self) -> usize {
        self.0.pinned
    }

    /// What tells the engine how the device is doing: the one of its options.
    pub fn governor(&self) -> &Governor {
        &self.0.governor
    }

    /// The kernel level in use.
    pub fn isa(&self) -> crate::Isa {
        self.0.kernels.isa()
    }

    /// Gives back to the system the memory that only a pass uses, until the next one.
    pub fn release_unused(&self) {
        // Nobody cancels this.
        let _ = self.0.workspace.take(None, |workspace| {
            workspace.discard_scratch(&self.0.plan.layout);
            Ok(())
        });
    }

    /// What a delegate does of the model, by [`Options::offload`].
    #[cfg(feature = "delegate")]
    pub fn offload(&self) -> Option<&crate::delegate::Offload> {
        self.0.offload.as_ref()
    }

    /// What the delegate did so far, for all sessions; `None` where there is none.
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

    /// Counts a session, where the limit allows one more.
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

    /// Runs a pass, or parts of one, with its logits in `logits`. `released` says how
    /// many of the governor's calls to give memory back the caller answered.
    pub(crate) fn run<R>(
        &self,
        logits: &Arena,
        released: &mut u32,
        cancel: Option<&CancelToken>,
        work: impl FnOnce(&mut Executor) -> Result<R>,
    ) -> Result<R> {
        self.0.workspace.take(cancel, |workspace| {
            // SAFETY: the caller's block is borrowed until the pass is over, each pass
            // lends its own, and whoever lends one has it for himself.
            unsafe { workspace.arena.lend(logits) };
            work(&mut workspace.executor(&self.0, released))
        })
    }
}

impl Workspace {
    /// Gives back the pages of what is written anew in each pass.
    fn discard_scratch(&self, layout: &Layout) {
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
