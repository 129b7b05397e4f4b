//! The plan and the exact memory of a model with given options, before anything is
//! allocated.

use crate::cache::KvType;
use crate::memory::{Logits, Memory};
use crate::plan::{Plan, PlanOptions, Span};
use crate::{Error, Model, Result, SessionOptions};
#[cfg(feature = "delegate")]
use alloc::sync::Arc;
use ondol_kernels::{FINE_TOKENS, Isa, Kernels, SMALL};
use ondol_models::graph::State;

/// The default context in tokens, if the model was trained for at least as many.
const DEFAULT_CONTEXT: usize = 4096;

/// Largest number of threads: each needs scratch, and a larger number is probably a
/// mistake.
const MAX_THREADS: usize = 256;

/// Everything that is decided about an engine before it is made.
pub(crate) struct Sizing {
    pub kernels: Kernels,
    pub plan: Plan,
    pub sizes: PlanOptions,
    /// Memory of the engine with one session.
    pub memory: Memory,
}

impl Model {
    /// The exact memory, in bytes, of an engine with one session and these options, of
    /// the model itself, and of each further session. Neither arena nor cache is
    /// allocated.
    ///
    /// # Errors
    /// [`Error::UnsupportedIsa`], [`Error::UnknownIsa`] for the name in `ONDOL_KERNELS`,
    /// [`Error::UnsupportedKvType`], [`Error::PartKvBlock`]; with delegates also
    /// `Error::OtherModel` if the offload was made for another model.
    pub fn memory(&self, options: &SessionOptions) -> Result<Memory> {
        Ok(Sizing::new(self, options)?.memory)
    }
}

impl Sizing {
    pub fn new(model: &Model, options: &SessionOptions) -> Result<Sizing> {
        let kernels = kernels(options)?;
        check_kv_type(model, options.kv_type)?;
        let screen = options.screen.and(model.0.screen.as_ref());
        let screen = screen.filter(|_| !SMALL);
        let sizes = sizes(model, options);
        let spans = spans(model, options)?;
        let plan = Plan::new(&model.0.graph, screen, &kernels, sizes, spans);
        let memory = memory(model, &plan, &sizes, options);
        Ok(Sizing {
            kernels,
            plan,
            sizes,
            memory,
        })
    }
}

fn memory(model: &Model, plan: &Plan, sizes: &PlanOptions, options: &SessionOptions) -> Memory {
    let arena = plan.layout.memory();
    let kv_cache = plan.cache.bytes;
    let logits = Logits::bytes(sizes.session_rows, plan.logits.width);
    let ids = sizes.context.saturating_add(sizes.draft_rows);
    let ids = ids.saturating_mul(size_of::<u32>());
    let lists = ids.saturating_add(plan.cache.list_bytes());
    let further_session = kv_cache.saturating_add(logits).saturating_add(lists);
    let steps = plan.heap_bytes();
    let loaded = model.0.heap_bytes();
    let delegate = staging_bytes(options, sizes.chunk);
    let shared = plan
        .layout
        .total
        .saturating_add(steps)
        .saturating_add(loaded);
    let total = shared.saturating_add(further_session) as u64;
    Memory {
        weights_mapped: model.0.weights.mapped_bytes(),
        kv_cache: kv_cache as u64,
        logits: logits as u64,
        steps: steps.saturating_add(lists) as u64,
        model: loaded as u64,
        delegate,
        total: total.saturating_add(delegate),
        further_session: further_session as u64,
        ..arena
    }
}

/// The spans that run on the delegate.
#[cfg(feature = "delegate")]
fn spans<'o>(model: &Model, options: &'o SessionOptions) -> Result<&'o [Span]> {
    match &options.offload {
        Some(offload) if !Arc::ptr_eq(&offload.0.model.0, &model.0) => Err(Error::OtherModel),
        Some(offload) => Ok(&offload.0.spans),
        None => Ok(&[]),
    }
}

/// Without delegates there are no spans.
#[cfg(not(feature = "delegate"))]
fn spans<'o>(_model: &Model, _options: &'o SessionOptions) -> Result<&'o [Span]> {
    Ok(&[])
}

/// Checks that the build has this KV type and that the model's heads consist of whole
/// blocks of it.
fn check_kv_type(model: &Model, kv_type: KvType) -> Result<()> {
    if !kv_type.in_build() {
        return Err(Error::UnsupportedKvType(kv_type));
    }
    let head_dims = model.0.graph.states().filter_map(|state| match state {
        State::KeysValues { head_dim, .. } => Some(head_dim),
        State::Conv { .. } | State::Recurrent { .. } => None,
    });
    let mut parts = head_dims.filter(|dim| !dim.is_multiple_of(kv_type.cell_len()));
    parts.next().map_or(Ok(()), |head_dim| {
        Err(Error::PartKvBlock { kv_type, head_dim })
    })
}

fn sizes(model: &Model, options: &SessionOptions) -> PlanOptions {
    let context = options
        .context
        .unwrap_or(model.0.graph.trained_context.min(DEFAULT_CONTEXT))
        .max(1);
    let chunk = options.prefill_chunk.clamp(1, context);
    // With more rows activations are coarser, and results would differ from one row's.
    let most = FINE_TOKENS.min(chunk);
    let can_step_back = model
        .0
        .graph
        .states()
        .all(|state| matches!(state, State::KeysValues { .. }));
    let drafts = if can_step_back { options.drafts } else { 0 };
    let draft_rows = drafts.min(most - 1) + 1;
    let decode_rows = options.batch.min(FINE_TOKENS).max(draft_rows);
    PlanOptions {
        context,
        chunk: chunk.max(decode_rows),
        logit_rows: options.score_rows.max(decode_rows),
        session_rows: options.score_rows.max(draft_rows),
        draft_rows,
        decode_rows,
        threads: options
            .threads
            .unwrap_or_else(default_threads)
            .clamp(1, MAX_THREADS),
        kv_type: options.kv_type,
    }
}

/// The kernels that the options or `ONDOL_KERNELS` name, or else the fastest.
fn kernels(options: &SessionOptions) -> Result<Kernels> {
    let isa: Option<Isa> = match options.kernels {
        Some(isa) => Some(isa),
        #[cfg(feature = "std")]
        None => Isa::from_env()?,
        #[cfg(not(feature = "std"))]
        None => None,
    };
    match isa {
        Some(isa) => Kernels::with_isa(isa).ok_or(Error::UnsupportedIsa(isa)),
        None => Ok(Kernels::detect()),
    }
}

#[cfg(feature = "std")]
fn default_threads() -> usize {
    crate::machine::topology::default_threads()
}

#[cfg(not(feature = "std"))]
fn default_threads() -> usize {
    1
}

/// Bytes of the buffers that an engine shares with its delegate, for passes of `chunk`
/// rows.
#[cfg(feature = "delegate")]
fn staging_bytes(options: &SessionOptions, chunk: usize) -> u64 {
    let offload = options.offload.as_ref();
    offload.map_or(0, |offload| offload.0.session_bytes(chunk))
}

/// Without delegates there are none.
#[cfg(not(feature = "delegate"))]
fn staging_bytes(_options: &SessionOptions, _chunk: usize) -> u64 {
    0
}
