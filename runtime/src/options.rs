//! How an engine and its sessions run.

use crate::cpu::pool::Affinity;
use crate::governor::Governor;
use crate::kernels::Level;
use crate::kernels::attention::KvType;
use crate::screen::ScreenOptions;

/// Tokens of one prefill pass: enough to pay for unpacking each panel of
/// weights, few enough for the activations to stay in cache.
const DEFAULT_CHUNK: usize = 256;

/// Tokens of one decode pass beside the one that is certain. Without a clock
/// nothing tells whether they pay.
const DEFAULT_DRAFTS: usize = if cfg!(feature = "std") { 7 } else { 0 };

/// How an engine and its sessions run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Threads, at most 256; `None` takes as many as there are big cores.
    pub threads: Option<usize>,
    /// Kernel level; `None` takes `ONDOL_KERNELS` or else the best the CPU can run.
    pub kernels: Option<Level>,
    /// Tokens of context; `None` takes what the model was trained for, at most 4096.
    pub context: Option<usize>,
    /// What keys and values are kept as: f16, or q8_0 in little more than half the
    /// bytes.
    pub kv_type: KvType,
    /// Tokens of one prefill pass, at most.
    pub prefill_chunk: usize,
    /// Rows of logits that [`Session::score`] computes at a time. More rows are
    /// faster and cost `vocabulary * 4` bytes each.
    pub score_rows: usize,
    /// Tokens that are guessed ahead by prompt lookup and checked in one pass, at
    /// most; 0 is off. The tokens are the same with any number: guesses only save
    /// time, and are left out while they do not. Each costs a row of logits and
    /// attention's partial results.
    pub drafts: usize,
    /// Sessions of one engine that are decoded in one pass, at most 32
    /// ([`crate::Batch`]). Each but the first costs attention's partial results.
    pub batch: usize,
    /// How a screen of the head is used where the file has one; `None` leaves it
    /// alone, and every token reads the whole head.
    pub screen: Option<ScreenOptions>,
    /// Refuse an engine and its sessions where they take more bytes than this in all,
    /// the model's own included.
    pub memory_limit: Option<u64>,
    /// Where the threads run.
    pub affinity: Affinity,
    /// Tells the session how the device is doing, from any thread; one for all
    /// sessions of an app.
    pub governor: Governor,
    /// Runs parts of the model on a device. It must have been made for this model.
    #[cfg(feature = "delegate")]
    pub offload: Option<crate::delegate::Offload>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
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
