use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};

/// Cancels a running prefill or generation from any thread.
///
/// Clones share one flag. It is checked between layers in prefill, between tokens in
/// decode, and while a session is paused or waits for its pass.
///
/// ```
/// use ondol::{CancelToken, Error, Model, SessionOptions};
///
/// let mut session = Model::hello()?.session(&SessionOptions::default())?;
/// let cancel = CancelToken::new();
/// cancel.clone().cancel(); // usually on another thread
/// assert!(matches!(session.prefill(&[1, 2], &cancel), Err(Error::Cancelled)));
/// # Ok::<(), ondol::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// A token that is not cancelled.
    pub fn new() -> CancelToken {
        CancelToken::default()
    }

    /// Asks all work that holds a clone to stop. Must not be called from a signal
    /// handler: it may take a lock to wake a paused session.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Release);
        #[cfg(feature = "std")]
        crate::gate::wake();
    }

    /// Whether [`CancelToken::cancel`] was called.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Makes the token usable again after a cancel.
    pub fn reset(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}
