//! The pool of a system with threads.
//!
//! # Why it is right
//!
//! All that threads share is in [`Shared`]. A run goes through these places:
//!
//! - `job`: the function, as a pointer without its lifetime, and the numbers of
//!   pieces and of shares. Written by the caller alone, before the run is opened.
//! - `unclaimed`: for each share of the pieces, how many of them nobody has taken.
//!   The caller opens a run by storing these numbers, one after another; who
//!   subtracts one from a positive number has claimed a piece of that share. A
//!   number may fall a little below zero, by those who came too late.
//! - `unfinished`: pieces that are not done. The caller's `run` returns when it is
//!   zero.
//! - `workers`: how many may work; those numbered from it on sleep. Written by the
//!   caller alone, while no run is open.
//!
//! *The function is alive, and `job` is at rest, whenever a worker looks.* A
//! worker reads `job` only between claiming a piece and subtracting it from
//! `unfinished`. In that time `unfinished` is positive, so `run` has not returned
//! (it waits even if the caller's own piece panicked), so what the function
//! borrows is alive and no other run was opened. A worker that wakes late finds
//! nothing to claim, or claims a piece of a later run, which is as good, even
//! while its other shares are being opened.
//!
//! *A worker sees the job and all that the caller wrote before.* The store that
//! opens a share is a release, and the claims of others after it are
//! read-modify-writes, which carry on its release sequence; so the acquire of any
//! claim that got a positive number synchronizes with that store.
//!
//! *The caller sees all that the workers wrote.* Each subtraction from
//! `unfinished` is a release, and each later one carries on its release sequence;
//! the caller's acquire load of zero reads the last of them, and so synchronizes
//! with all.
//!
//! *Nobody sleeps through his call.* A worker says `parked`, then looks at all of
//! `unclaimed` once more, then parks; the caller opens all shares, then looks who
//! is parked. Between what each says and its look stands a sequentially consistent
//! fence, so it cannot be that both miss:
//! either the worker sees each share as it was opened, or the caller sees the
//! worker and unparks it (and an unpark that comes before the park makes it return
//! at once). A worker
//! looks at `workers` along with `unclaimed`, and the caller writes it before it
//! opens the run, so the same holds for one that may work again. The caller's own
//! wait for the last piece is the same with `caller_waits` and
//! `unfinished`; there the last worker takes the lock before it notifies, which
//! the caller holds from before its look until it waits.
//!
//! Fences, for stores and loads that are themselves sequentially consistent would
//! do by the letter, but not under qemu: it lets an Arm `ldar` pass the `stlr`
//! before it, and a caller then slept for ever. `tests/loom` tries all orders of
//! the steps of small runs by a model of the language's memory.
//!
//! *Who may not work does no harm.* Nothing above asks which of the workers claims
//! a piece. One that looked just before `workers` fell may still claim a piece,
//! and no second one: it looks again before each.

use std::any::Any;
use std::boxed::Box;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::PoisonError;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};
use std::vec::Vec;

use super::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use super::sync::atomic::{AtomicBool, AtomicIsize, AtomicUsize, fence};
use super::sync::thread::{self, JoinHandle};
use super::sync::{Arc, Condvar, Mutex, SPINS, UnsafeCell};
use super::{Affinity, Job, Panicked};
use crate::machine::topology;

/// A fixed team of threads that do numbered pieces of work together.
///
/// A run borrows the pool mutably, so that the compiler refuses a run inside a run.
#[derive(Debug)]
pub struct Pool {
    pub(super) shared: Arc<Shared>,
    pub(super) handles: Vec<JoinHandle<()>>,
    /// How many may work, the caller among them.
    workers: usize,
    pub(super) patience: Patience,
    /// When a join last waited long for a worker in the middle of a piece.
    late: Option<Instant>,
    /// When that last was the second time in a short while.
    crowded: Option<Instant>,
}

/// What the threads share; the module's head says how.
pub(super) struct Shared {
    job: UnsafeCell<RawJob>,
    /// For each thread, the caller first: what is left of its share.
    unclaimed: Box<[CachePadded<AtomicIsize>]>,
    unfinished: CachePadded<AtomicUsize>,
    workers: AtomicUsize,
    /// Workers that stay on big cores.
    pinned: AtomicUsize,
    panicked: AtomicBool,
    pub(super) closing: AtomicBool,
    /// For each thread but the caller: it parks, or is about to.
    parked: Box<[CachePadded<AtomicBool>]>,
    caller_waits: AtomicBool,
    lock: Mutex<()>,
    last_piece_done: Condvar,
}

// SAFETY: `job` is the only field that is not `Sync`, and access to it is ruled
// as the module's head says.
unsafe impl Sync for Shared {}
// SAFETY: the pointer in `job` is to a `Sync` function and is followed only while
// that is borrowed by a run.
unsafe impl Send for Shared {}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// A wait for a piece that lasts longer is no matter of uneven pieces.
const LATE: Duration = Duration::from_micros(500);

/// A single late piece is chance; two in this time are not.
const AGAIN: Duration = Duration::from_millis(100);

/// How long a core is taken to be another program's then; less than [`AGAIN`], so
/// that one late piece after it is enough.
pub(super) const CROWDED: Duration = Duration::from_millis(50);

/// A value with cache lines of its own (Arm's big cores and Intel's prefetcher
/// take 128 bytes at a time).
#[repr(align(128))]
struct CachePadded<T>(T);

#[derive(Clone, Copy)]
struct RawJob {
    function: *const Job<'static>,
    pieces: usize,
    /// Shares that the pieces are cut into.
    shares: usize,
}

impl RawJob {
    /// The pieces of a share: neighbours, so that who does them in order goes
    /// through memory in order, and a line that is asked for ahead of its use is
    /// asked for by the core that uses it.
    fn share(&self, share: usize) -> Range<usize> {
        let (each, more) = (self.pieces / self.shares, self.pieces % self.shares);
        let start = share * each + share.min(more);
        start..start + each + usize::from(share < more)
    }
}

impl Pool {
    /// A pool of `threads` workers, one of which is the caller of
    /// [`Pool::run`]. If the system refuses a thread, the pool has as many as
    /// it gave: results do not depend on it.
    ///
    /// Returns when all threads are up, so that what the system allocates for
    /// them is allocated.
    #[must_use]
    pub fn new(threads: usize, affinity: Affinity) -> Self {
        let others = threads.saturating_sub(1);
        let nothing: &Job<'static> = &|_, _| ();
        let shared = Arc::new(Shared {
            job: UnsafeCell::new(RawJob {
                function: nothing,
                pieces: 0,
                shares: 0,
            }),
            unclaimed: (0..=others)
                .map(|_| CachePadded(AtomicIsize::new(0)))
                .collect(),
            // Coming up is the first work of each thread.
            unfinished: CachePadded(AtomicUsize::new(others)),
            workers: AtomicUsize::new(others + 1),
            pinned: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            parked: (0..others)
                .map(|_| CachePadded(AtomicBool::new(false)))
                .collect(),
            caller_waits: AtomicBool::new(false),
            lock: Mutex::new(()),
            last_piece_done: Condvar::new(),
        });
        let patience = Patience::new(threads);
        let handles: Vec<_> = (1..=others)
            .map_while(|worker| {
                let shared = Arc::clone(&shared);
                thread::Builder::new()
                    .name(std::format!("ondol-{worker}"))
                    .spawn(move || shared.work(worker, affinity, patience))
                    .ok()
            })
            .collect();
        shared.finish(others - handles.len());
        let mut pool = Self {
            shared,
            workers: handles.len() + 1,
            handles,
            patience,
            late: None,
            crowded: None,
        };
        pool.wait_for_last_piece(Instant::now());
        pool.late = None;
        pool
    }

    /// The number of workers, the caller among them.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.handles.len() + 1
    }

    /// The number of workers that are kept on big cores; never the caller.
    #[must_use]
    pub fn pinned(&self) -> usize {
        self.shared.pinned.load(Relaxed)
    }

    /// Lets only the first `workers` take pieces in the runs to come (at least
    /// the caller, at most all); the others sleep.
    pub fn set_workers(&mut self, workers: usize) {
        let workers = workers.clamp(1, self.threads());
        if workers != self.workers {
            self.workers = workers;
            self.shared.workers.store(workers, Relaxed);
        }
    }

    /// Whether another program seems to have one of the workers' cores: twice in
    /// a short while, and not long ago, a worker was put off in the middle of a
    /// piece, for longer than all the work before it took.
    #[must_use]
    pub fn is_crowded(&mut self) -> bool {
        self.crowded = self.crowded.filter(|since| since.elapsed() < CROWDED);
        self.crowded.is_some()
    }

    /// Does `job(piece, worker)` once for every `piece` below `pieces`, in any
    /// order and on any worker (`worker` is below [`Pool::threads`]; the caller
    /// is 0), and returns when all are done. As far as all keep up, a worker's
    /// pieces are neighbours, in ascending order. Nothing is allocated.
    ///
    /// # Errors
    /// [`Panicked`] if a piece did; pieces not begun by then are left out.
    ///
    /// # Panics
    /// If there are more than `isize::MAX` pieces.
    pub fn run(&mut self, pieces: usize, job: &Job<'_>) -> Result<(), Panicked> {
        if pieces <= 1 || self.workers == 1 {
            // A fork would cost more than it gives.
            return catch_unwind(AssertUnwindSafe(|| (0..pieces).for_each(|p| job(p, 0))))
                .map_err(forget_payload);
        }
        let opened = Instant::now();
        self.open(pieces, job);
        let done = self.shared.claim_all(0);
        self.shared.finish(done);
        self.wait_for_last_piece(opened);
        if self.shared.panicked.swap(false, Relaxed) {
            return Err(Panicked);
        }
        Ok(())
    }

    /// Publishes a run and wakes who sleeps.
    fn open(&mut self, pieces: usize, job: &Job<'_>) {
        assert!(
            pieces <= isize::MAX.unsigned_abs(),
            "more pieces than can be counted"
        );
        let shared = &*self.shared;
        let shares = pieces.min(self.workers);
        let function: *const Job<'_> = job;
        let job = RawJob {
            // SAFETY: only the lifetime changes, and nobody follows the pointer
            // after `run` has returned.
            function: unsafe {
                std::mem::transmute::<*const Job<'_>, *const Job<'static>>(function)
            },
            pieces,
            shares,
        };
        // SAFETY: no run is open, so nobody else looks at the job.
        shared.job.with_mut(|place| unsafe { *place = job });
        shared.unfinished.0.store(pieces, Relaxed);
        for (share, unclaimed) in (0..shares).zip(&shared.unclaimed) {
            let all = job.share(share).len();
            unclaimed.0.store(all.cast_signed(), Release);
        }
        fence(SeqCst);

        // The first share is the caller's own.
        let sleepers = self.handles.iter().zip(&shared.parked);
        for (handle, parked) in sleepers.take(shares - 1) {
            if parked.0.load(Relaxed) {
                handle.thread().unpark();
            }
        }
    }

    fn wait_for_last_piece(&mut self, opened: Instant) {
        let unfinished = &self.shared.unfinished.0;
        if self.patience.spin_until(|| unfinished.load(Acquire) == 0) {
            return;
        }
        let began = Instant::now();
        let shared = &*self.shared;
        let mut guard = shared.lock.lock().unwrap_or_else(PoisonError::into_inner);
        shared.caller_waits.store(true, Relaxed);
        fence(SeqCst);
        while unfinished.load(Acquire) != 0 {
            guard = shared
                .last_piece_done
                .wait(guard)
                .unwrap_or_else(PoisonError::into_inner);
        }
        shared.caller_waits.store(false, Relaxed);
        drop(guard);
        let waited = began.elapsed();
        if waited > LATE && waited > began.duration_since(opened) {
            let again = self.late.is_some_and(|late| late.elapsed() < AGAIN);
            self.late = Some(Instant::now());
            self.crowded = self.late.filter(|_| again);
        }
        self.patience.slept(waited);
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.closing.store(true, Relaxed);
        for handle in self.handles.drain(..) {
            handle.thread().unpark();
            // A worker catches the panics of its pieces, and has no others.
            let _ = handle.join();
        }
    }
}

impl Shared {
    /// The life of a thread.
    fn work(&self, worker: usize, affinity: Affinity, mut patience: Patience) {
        if affinity == Affinity::BigCores && topology::pin_to_big_cores() {
            self.pinned.fetch_add(1, Relaxed);
        }
        self.finish(1);
        while self.wait_for_work(worker, &mut patience) {
            let done = self.claim_all(worker);
            self.finish(done);
        }
    }

    fn may_work(&self, worker: usize) -> bool {
        worker < self.workers.load(Relaxed)
    }

    /// Whether there is something to claim for `worker`, or the pool closes.
    fn is_called(&self, worker: usize) -> bool {
        let mut shares = self.unclaimed.iter();
        let is_open = shares.any(|unclaimed| unclaimed.0.load(Relaxed) > 0);
        is_open && self.may_work(worker) || self.closing.load(Relaxed)
    }

    /// Waits for a run; false when the pool closes.
    fn wait_for_work(&self, worker: usize, patience: &mut Patience) -> bool {
        if !patience.spin_until(|| self.is_called(worker)) {
            let began = Instant::now();
            let parked = &self.parked[worker - 1].0;
            parked.store(true, Relaxed);
            fence(SeqCst);
            while !self.is_called(worker) {
                thread::park();
            }
            parked.store(false, Relaxed);
            patience.slept(began.elapsed());
        }
        !self.closing.load(Relaxed)
    }

    /// Does pieces until there are none to claim, of its own share first; returns
    /// how many.
    fn claim_all(&self, worker: usize) -> usize {
        let (others, own_first) = self.unclaimed.split_at(worker);
        let shares = (worker..).zip(own_first).chain((0..).zip(others));
        shares
            .map(|(share, unclaimed)| self.claim_share(share, &unclaimed.0, worker))
            .sum()
    }

    /// Does pieces of a share until there are none to claim; returns how many.
    fn claim_share(&self, share: usize, unclaimed: &AtomicIsize, worker: usize) -> usize {
        let mut done = 0;
        while unclaimed.load(Relaxed) > 0 && self.may_work(worker) {
            let left = unclaimed.fetch_sub(1, Acquire);
            if left <= 0 {
                break;
            }
            self.do_piece(share, left.unsigned_abs(), worker);
            done += 1;
        }
        done
    }

    /// Does a piece that was claimed when `left` were left of its share.
    fn do_piece(&self, share: usize, left: usize, worker: usize) {
        if self.panicked.load(Relaxed) {
            return;
        }
        // SAFETY: this thread has claimed a piece that is not finished, so the
        // run is open: the job is not written, and the function is borrowed.
        let job = self.job.with(|place| unsafe { *place });
        // SAFETY: as above.
        let function = unsafe { &*job.function };
        let piece = job.share(share).end - left;
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| function(piece, worker))) {
            forget_payload(payload);
            self.panicked.store(true, Relaxed);
        }
    }

    /// Counts `done` pieces as finished, and wakes the caller after the last.
    fn finish(&self, done: usize) {
        if done == 0 {
            return;
        }
        if self.unfinished.0.fetch_sub(done, AcqRel) != done {
            return;
        }
        fence(SeqCst);
        if self.caller_waits.load(Relaxed) {
            let _guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
            self.last_piece_done.notify_one();
        }
    }
}

/// The panic hook has told the message. Dropping what was thrown could throw
/// again, so it is not dropped.
fn forget_payload(payload: Box<dyn Any + Send>) -> Panicked {
    std::mem::forget(payload);
    Panicked
}

/// How long to spin before parking.
///
/// Spinning pays if the wait ends meanwhile. So a wait that was much longer than
/// any spin halves the next spin, and one that a longer spin would have met
/// doubles it: on an idle or a crowded machine threads soon park at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) spin: Duration,
    pub(super) longest: Duration,
}

impl Patience {
    pub(super) const LONGEST: Duration = Duration::from_micros(50);
    pub(super) const SHORTEST: Duration = Duration::from_micros(1);

    fn new(threads: usize) -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        let longest = if threads > cores {
            // Who spins takes the core of who works.
            Self::SHORTEST
        } else {
            Self::LONGEST
        };
        Self {
            spin: longest,
            longest,
        }
    }

    /// Spins until the condition holds, or patience ends (then it is false).
    pub(super) fn spin_until(&self, condition: impl Fn() -> bool) -> bool {
        if !SPINS {
            return condition();
        }
        // Most joins end in this first, clockless round.
        for _ in 0..64 {
            if condition() {
                return true;
            }
            std::hint::spin_loop();
        }
        let began = Instant::now();
        while began.elapsed() < self.spin {
            for _ in 0..16 {
                if condition() {
                    return true;
                }
                std::hint::spin_loop();
            }
        }
        false
    }

    /// Learns from a park that lasted so long.
    pub(super) fn slept(&mut self, time: Duration) {
        self.spin = if time < self.longest {
            (self.spin * 2).min(self.longest)
        } else {
            (self.spin / 2).max(Self::SHORTEST)
        };
    }
}
