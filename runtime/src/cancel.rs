use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};

/// Cancels a running prefill or generation from any thread.
///
/// Clones share one flag. It is looked at between layers in prefill and between
/// tokens in decode.
#[derive(Debug, Clone, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// A token that is not cancelled.
    pub fn new() -> CancelToken {
        CancelToken::default()
    }

    /// Asks the work that holds a clone to stop.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether [`CancelToken::cancel`] was called.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Makes the token usable again after a cancel.
    pub fn reset(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}
