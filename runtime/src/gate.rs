//! Where paused sessions of the process sleep.
//!
//! There is one gate, a lock and a condition variable, and not one for each governor: a
//! session that waits must also hear its [`CancelToken`](crate::CancelToken), which knows
//! no governor, and waiting is rare.
//!
//! No wake-up is lost. A session that waits increments [`WAITING`] before it looks at its
//! condition; a thread that changes the condition stores it before it reads the count.
//! A sequentially consistent fence stands between the two on both sides, so one of them
//! sees the other (`cpu/pool/threads.rs` says why fences). The thread that wakes takes
//! the lock before it notifies, and the session holds it from its look until it sleeps.

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
