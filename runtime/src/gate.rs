//! Where paused sessions of the process sleep.
//!
//! There is one gate, a lock and a condition variable, and not one for each governor: a
//! session that waits must also hear its [`CancelToken`](crate::CancelToken), which knows
//! no governor, and waiting is rare.
//!
//! No wake-up is lost: a waiter increments [`WAITING`] before it checks its condition,
//! and a notifier stores its change before it reads [`WAITING`]. Both have a sequentially
//! consistent fence in between, so at least one sees the other (why fences:
//! `cpu/pool/threads.rs`). The notifier takes the lock before it notifies, and the waiter
//! holds the lock from its check until it sleeps.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicUsize, fence};
use std::sync::{Condvar, Mutex, PoisonError};

static WAITING: AtomicUsize = AtomicUsize::new(0);
static GATE: Mutex<()> = Mutex::new(());
static NEWS: Condvar = Condvar::new();

/// Makes every session that sleeps look at its condition again. It sees what was stored
/// before this call.
pub fn wake() {
    fence(SeqCst);
    if WAITING.load(Relaxed) > 0 {
        drop(GATE.lock().unwrap_or_else(PoisonError::into_inner));
        NEWS.notify_all();
    }
}

/// Sleeps while `condition` holds; whoever ends it calls [`wake`].
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
