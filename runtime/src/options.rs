//! The options of an engine and its sessions.

use crate::cache::KvType;
use crate::cpu::pool::Affinity;
use crate::governor::Governor;
use crate::screen::ScreenOptions;
use ondol_kernels::Isa;

/// The default chunk, in tokens: large enough that unpacking each panel of weights pays
/// off, small enough that the activations stay in cache.
const DEFAULT_CHUNK: usize = 256;

/// Default number of drafts. Without a clock their benefit can't be measured.
const DEFAULT_DRAFTS: usize = if cfg!(feature = "std") { 7 } else { 0 };

/// The options of an engine and its sessions.
///
/// ```
/// use ondol::{KvType, Model, SessionOptions};
///
/// let options = SessionOptions {
///     context: Some(256),
///     kv_type: KvType::Q8_0,
///     ..SessionOptions::default()
/// };
/// let bytes = Model::hello()?.memory(&options)?.total;
/// assert!(bytes < 4 << 20);
/// # Ok::<(), ondol::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct SessionOptions {
    /// Threads, with the caller's; at most 256. `None` uses one for each big core.
    pub threads: Option<usize>,
    /// The kernels; `None` uses those that `ONDOL_KERNELS` names, or else the fastest
    /// that the CPU can run.
    pub kernels: Option<Isa>,
    /// Context in tokens; `None` uses the context that the model was trained for, at
    /// most 4096.
    pub context: Option<usize>,
    /// The type of the KV cache: f16, or q8_0, which takes 34 bytes where f16 takes 64.
    pub kv_type: KvType,
    /// The largest number of tokens in one prefill pass; 256 by default.
    pub prefill_chunk: usize,
    /// Rows of logits that [`Session::score`](crate::Session::score) computes at a
    /// time. More rows are faster; each takes `vocabulary * 4` bytes.
    pub score_rows: usize,
    /// The largest number of drafts in one decode pass (speculative decoding by prompt
    /// lookup); 0 switches drafts off. The generated tokens are the same with any
    /// number: drafts only save time, and are left out while they do not. Each takes
    /// memory for a row of logits and for attention's partial results.
    pub drafts: usize,
    /// The largest number of sessions of one engine that a [`crate::Batch`] decodes in
    /// one pass; at most 32. Each beyond the first takes memory for attention's partial
    /// results.
    pub batch: usize,
    /// How the screen of the output head is used if the file has one. `None` does not
    /// use it: every token then reads the whole output head.
    pub screen: Option<ScreenOptions>,
    /// The most bytes that an engine, its sessions and the model's own heap may take
    /// together ([`Memory::total`](crate::Memory::total)). Making an engine or session
    /// that needs more fails with [`Error::DoesNotFit`](crate::Error::DoesNotFit).
    /// `None` sets no limit.
    pub memory_limit: Option<u64>,
    /// The cores on which the threads run.
    pub affinity: Affinity,
    /// Through it the app reports thermal state and memory pressure, and pauses
    /// sessions. Use one for all sessions of an app.
    pub governor: Governor,
    /// Runs parts of the model on a delegate's device. It must have been made for this
    /// model.
    #[cfg(feature = "delegate")]
    pub offload: Option<crate::delegate::Offload>,
}

impl Default for SessionOptions {
    fn default() -> Self {
        SessionOptions {
            threads: None,
            kernels: None,
            context: None,
            kv_type: KvType::default(),
            prefill_chunk: DEFAULT_CHUNK,
            score_rows: 1,
            drafts: DEFAULT_DRAFTS,
            batch: 1,
            screen: Some(ScreenOptions::default()),
            memory_limit: None,
            affinity: Affinity::default(),
            governor: Governor::default(),
            #[cfg(feature = "delegate")]
            offload: None,
        }
    }
}
