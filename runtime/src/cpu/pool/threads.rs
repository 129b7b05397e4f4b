//! The pool of a system with threads.
//!
//! # Why it is correct
//!
//! All that threads share is in [`Shared`]. A run uses these fields:
//!
//! - `job`: the function, as a pointer without its lifetime, and the numbers of pieces
//!   and of shares. Only the caller writes it, before it opens the run.
//! - `unclaimed`: for each share, how many of its pieces are not claimed. The caller
//!   opens a run by storing these numbers, one after another. A thread that subtracts
//!   one from a positive number has claimed a piece of that share. A number may fall a
//!   little below zero, because of threads that subtract when no piece is left.
//! - `unfinished`: the number of pieces that are not finished. The caller's `run`
//!   returns when it is zero.
//! - `workers`: how many workers may claim pieces; workers with this number or a higher
//!   one sleep. Only the caller writes it, while no run is open.
//!
//! *While a worker reads `job`, nobody writes it and the function is alive.* A worker
//! reads `job` only between its claim of a piece and its subtraction of that piece from
//! `unfinished`. In that time `unfinished` is positive, so `run` has not returned (it
//! waits even if the caller's own piece panicked). Therefore everything that the
//! function borrows is alive, and no other run was opened. A worker that wakes late
//! finds nothing to claim, or claims a piece of a later run. That is correct too, even
//! while the caller is still opening the later run's other shares.
//!
//! *A worker sees the job and everything that the caller wrote before it.* The store
//! that opens a share is a release. The claims that follow are read-modify-writes and
//! continue its release sequence. So the acquire of any claim that got a positive
//! number synchronizes with that store.
//!
//! *The caller sees everything that the workers wrote.* Each subtraction from
//! `unfinished` is a release, and each later one continues its release sequence. The
//! caller's acquire load of zero reads the last of them, and so synchronizes with all.
//!
//! *No wake-up is lost.* A worker sets `parked`, then reads all of `unclaimed` once
//! more, then parks. The caller opens all shares, then reads `parked` of each worker.
//! On both sides a sequentially consistent fence stands between the write and the
//! reads, so at least one side sees the other's write: either the worker sees each
//! share as it was opened, or the caller sees that the worker is parked and unparks it.
//! (An unpark that comes before the park makes the park return at once.) A worker reads
//! `workers` together with `unclaimed`, and the caller writes `workers` before it opens
//! the run, so the same holds for a worker that may work again. The caller's own wait
//! for the last piece works in the same way, with `caller_waits` and `unfinished`: the
//! thread that finishes the last piece takes the lock before it notifies, and the
//! caller holds the lock from before its check until it waits.
//!
//! The code uses fences, although sequentially consistent stores and loads would be
//! sufficient by the memory model. Under qemu they are not: it lets an Arm `ldar` pass
//! the `stlr` before it, and then a caller slept for ever. `tests/loom` checks all
//! orders of the steps of small runs in a simulation of the memory model.
//!
//! *A worker that may not work does no harm.* Nothing above depends on which worker
//! claims a piece. A worker that read `workers` just before it was lowered may still
//! claim one piece, but no second one, because it reads `workers` again before each
//! claim.

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

/// A fixed number of threads that compute numbered pieces of work together.
///
/// A run borrows the pool mutably, so that the compiler rejects a run inside a run.
#[derive(Debug)]
pub struct Pool {
    pub(super) shared: Arc<Shared>,
    pub(super) handles: Vec<JoinHandle<()>>,
    /// How many workers may claim pieces, with the caller.
    workers: usize,
    pub(super) patience: Patience,
    /// When a caller last waited long for a worker in the middle of a piece.
    late: Option<Instant>,
    /// When such a wait last was the second one in a short time.
    crowded: Option<Instant>,
}

/// The fields that the threads share. The head of this file says how they are used.
pub(super) struct Shared {
    job: UnsafeCell<RawJob>,
    /// For each thread, the caller first: how many pieces of its share are not claimed.
    unclaimed: Box<[CachePadded<AtomicIsize>]>,
    unfinished: CachePadded<AtomicUsize>,
    workers: AtomicUsize,
    /// Number of workers that are kept on big cores.
    pinned: AtomicUsize,
    panicked: AtomicBool,
    pub(super) closing: AtomicBool,
    /// For each thread except the caller: whether it is parked or about to park.
    parked: Box<[CachePadded<AtomicBool>]>,
    caller_waits: AtomicBool,
    lock: Mutex<()>,
    last_piece_done: Condvar,
}

// SAFETY: `job` is the only field that is not `Sync`; the head of this file says why
// access to it is sound.
unsafe impl Sync for Shared {}
// SAFETY: the pointer in `job` is to a `Sync` function, and threads follow it only
// while a run borrows that function.
unsafe impl Send for Shared {}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// If a wait for a piece is longer than this, uneven pieces are not the reason.
const LATE: Duration = Duration::from_micros(500);

/// One late piece may be chance; two within this time are not.
const AGAIN: Duration = Duration::from_millis(100);

/// How long a core is then assumed to be in use by another program. It is less than
/// [`AGAIN`], so that one more late piece renews it.
pub(super) const CROWDED: Duration = Duration::from_millis(50);

/// A value alone in its cache lines. (Arm's big cores and Intel's prefetcher work on
/// 128 bytes at a time.)
#[repr(align(128))]
struct CachePadded<T>(T);

#[derive(Clone, Copy)]
struct RawJob {
    function: *const Job<'static>,
    pieces: usize,
    /// Number of shares that the pieces are divided into.
    shares: usize,
}

impl RawJob {
    /// The pieces of a share. They are neighbours, so that a worker that computes them
    /// in order reads memory in order, and data that it prefetches is data that it uses
    /// itself.
    fn share(&self, share: usize) -> Range<usize> {
        let (each, more) = (self.pieces / self.shares, self.pieces % self.shares);
        let start = share * each + share.min(more);
        start..start + each + usize::from(share < more)
    }
}

impl Pool {
    /// Makes a pool of `threads` workers, one of which is the caller of [`Pool::run`].
    /// If the system refuses to start a thread, the pool has fewer workers. Results do
    /// not depend on their number.
    ///
    /// Returns when all threads have started, so that the memory that the system
    /// allocates for them is allocated.
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
            // A thread's start counts as a piece.
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

    /// The number of workers, with the caller.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.handles.len() + 1
    }

    /// The number of workers that are kept on big cores, without the caller.
    #[must_use]
    pub fn pinned(&self) -> usize {
        self.shared.pinned.load(Relaxed)
    }

    /// Lets only the first `workers` workers claim pieces in later runs; the others
    /// sleep. `workers` is raised to 1 (the caller) or lowered to [`Pool::threads`] if
    /// needed.
    pub fn set_workers(&mut self, workers: usize) {
        let workers = workers.clamp(1, self.threads());
        if workers != self.workers {
            self.workers = workers;
            self.shared.workers.store(workers, Relaxed);
        }
    }

    /// Whether another program seems to use one of the workers' cores. This is so for a
    /// short time after the caller twice waited long for a worker in the middle of a
    /// piece: longer than half a millisecond, and longer than the run had taken before
    /// the wait.
    #[must_use]
    pub fn is_crowded(&mut self) -> bool {
        self.crowded = self.crowded.filter(|since| since.elapsed() < CROWDED);
        self.crowded.is_some()
    }

    /// Calls `job(piece, worker)` once for every `piece` below `pieces`, in any order
    /// and on any worker, and returns when all calls have returned. `worker` is below
    /// [`Pool::threads`]; the caller is 0. If no worker is delayed, a worker's pieces
    /// are neighbours in ascending order. Nothing is allocated.
    ///
    /// # Errors
    /// [`Panicked`] if the function panicked in a piece; pieces that had not begun are
    /// skipped.
    ///
    /// # Panics
    /// If there are more than `isize::MAX` pieces and more than one worker.
    pub fn run(&mut self, pieces: usize, job: &Job<'_>) -> Result<(), Panicked> {
        if pieces <= 1 || self.workers == 1 {
            // A fork would cost more time than it saves.
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

    /// Opens a run and unparks the workers that sleep.
    fn open(&mut self, pieces: usize, job: &Job<'_>) {
        assert!(
            pieces <= isize::MAX.unsigned_abs(),
            "more pieces than can be counted"
        );
        let shared = &*self.shared;
        let shares = pieces.min(self.workers);
        let function: *const Job<'_> = job;
        let job = RawJob {
            // SAFETY: only the lifetime changes, and no thread follows the pointer
            // after `run` has returned.
            function: unsafe {
                std::mem::transmute::<*const Job<'_>, *const Job<'static>>(function)
            },
            pieces,
            shares,
        };
        // SAFETY: no run is open, so no other thread reads the job.
        shared.job.with_mut(|place| unsafe { *place = job });
        shared.unfinished.0.store(pieces, Relaxed);
        for (share, unclaimed) in (0..shares).zip(&shared.unclaimed) {
            let all = job.share(share).len();
            unclaimed.0.store(all.cast_signed(), Release);
        }
        fence(SeqCst);

        // The first share belongs to the caller.
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
            // A worker catches the panics of its pieces. It has no other panics.
            let _ = handle.join();
        }
    }
}

impl Shared {
    /// The main function of a thread.
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

    /// Whether there is a piece that `worker` may claim, or the pool closes.
    fn is_called(&self, worker: usize) -> bool {
        let mut shares = self.unclaimed.iter();
        let is_open = shares.any(|unclaimed| unclaimed.0.load(Relaxed) > 0);
        is_open && self.may_work(worker) || self.closing.load(Relaxed)
    }

    /// Waits for a run; returns false when the pool closes.
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

    /// Computes pieces until there are none to claim, those of its own share first.
    /// Returns how many it claimed.
    fn claim_all(&self, worker: usize) -> usize {
        let (others, own_first) = self.unclaimed.split_at(worker);
        let shares = (worker..).zip(own_first).chain((0..).zip(others));
        shares
            .map(|(share, unclaimed)| self.claim_share(share, &unclaimed.0, worker))
            .sum()
    }

    /// Computes pieces of a share until there are none to claim. Returns how many it
    /// claimed.
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

    /// Computes the piece that was claimed when `left` pieces of its share were
    /// unclaimed.
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

/// The panic hook has printed the message. The payload is not dropped, because its
/// destructor could panic again.
fn forget_payload(payload: Box<dyn Any + Send>) -> Panicked {
    std::mem::forget(payload);
    Panicked
}

/// How long to spin before parking.
///
/// Spinning is useful only if the wait ends during it. A wait that was longer than the
/// longest spin halves the next spin; a shorter one, which a longer spin would have
/// covered, doubles it. So threads soon park at once on an idle or a crowded machine.
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
            // A spinning thread takes the core of a working one.
            Self::SHORTEST
        } else {
            Self::LONGEST
        };
        Self {
            spin: longest,
            longest,
        }
    }

    /// Spins until the condition holds (returns true) or the spin time is over (returns
    /// false).
    pub(super) fn spin_until(&self, condition: impl Fn() -> bool) -> bool {
        if !SPINS {
            return condition();
        }
        // Most waits end in this first loop, which does not read the clock.
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

    /// Adapts the spin time to a park that lasted for `time`.
    pub(super) fn slept(&mut self, time: Duration) {
        self.spin = if time < self.longest {
            (self.spin * 2).min(self.longest)
        } else {
            (self.spin / 2).max(Self::SHORTEST)
        };
    }
}
