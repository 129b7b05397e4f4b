//! The lock and condition variable on which paused sessions of the process wait.
//!
//! All governors share one gate: a waiting session must also wake when its
//! [`CancelToken`](crate::CancelToken) is cancelled, and a token knows no governor.
//! Waiting is rare.
//!
//! No wake-up is lost: a waiter increments [`WAITING`] before it checks its condition,
//! and a notifier stores its change before it reads [`WAITING`]. On both sides a
//! sequentially consistent fence stands in between, so at least one side sees the
//! other's write (`cpu/pool/threads.rs` says why fences are used). The notifier takes the
//! lock before it notifies, and the waiter holds the lock from its check until it sleeps.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicUsize, fence};
use std::sync::{Condvar, Mutex, PoisonError};

static WAITING: AtomicUsize = AtomicUsize::new(0);
static GATE: Mutex<()> = Mutex::new(());
static NEWS: Condvar = Condvar::new();

/// Makes every waiting session check its condition again. It sees what was stored
/// before this call.
pub fn wake() {
    fence(SeqCst);
    if WAITING.load(Relaxed) > 0 {
        drop(GATE.lock().unwrap_or_else(PoisonError::into_inner));
        NEWS.notify_all();
    }
}

/// Waits while `condition` holds. A thread that makes it false must then call [`wake`].
pub fn wait_while(condition: impl Fn() -> bool) {
    WAITING.fetch_add(1, Relaxed);
    fence(SeqCst);
    let mut gate = GATE.lock().unwrap_or_else(PoisonError::into_inner);
    while condition() {
        gate = NEWS.wait(gate).unwrap_or_else(PoisonError::into_inner);
    }
    drop(gate);
    WAITING.fetch_sub(1, Relaxed);
}
