//! Each test is about one promise of the pool's head. Runs are as small as can show it:
//! the number of orders grows with every step.
//!
//! What the tests see was tried: with any one of the pool's four fences taken out, with a
//! claim, the opening of a share or the count of finished pieces made relaxed, or without
//! the lock before the caller is notified, at least two of them fail.

use loom::cell::UnsafeCell;
use loom::sync::{Condvar, Mutex};
use ondol_loom::cpu::pool::{Affinity, Panicked, Pool};

/// Tries the orders in which threads are put off at most so many times between two of
/// their steps: all but a few faults show by two or three.
fn all_orders(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

/// Numbers that are not atomic: loom tells where two threads could be at one at once.
struct Numbers(Vec<UnsafeCell<u32>>);

// SAFETY: loom notices who breaks the rule that a piece has its own number alone.
unsafe impl Sync for Numbers {}

impl Numbers {
    fn new(count: usize) -> Self {
        Self((0..count).map(|_| UnsafeCell::new(0)).collect())
    }

    fn add(&self, index: usize) {
        // SAFETY: as above.
        self.0[index].with_mut(|number| unsafe { *number += 1 });
    }

    fn get(&self, index: usize) -> u32 {
        // SAFETY: as above.
        self.0[index].with(|number| unsafe { *number })
    }
}

/// Where pieces wait for each other, without spinning: if one never comes, all
/// threads wait, and loom says so.
struct Meeting {
    missing: Mutex<usize>,
    complete: Condvar,
}

impl Meeting {
    fn of(count: usize) -> Self {
        Self {
            missing: Mutex::new(count),
            complete: Condvar::new(),
        }
    }

    fn come(&self) {
        let mut missing = self.missing.lock().unwrap();
        *missing -= 1;
        self.complete.notify_all();
        while *missing > 0 {
            missing = self.complete.wait(missing).unwrap();
        }
    }
}

/// Each piece once, after all that the caller wrote before and before all that it
/// reads after, in two runs one behind the other.
#[test]
fn every_piece_is_done_once_and_seen() {
    all_orders(1, || {
        let mut pool = Pool::new(2, Affinity::Free);
        let numbers = Numbers::new(2);
        for run in 0..2 {
            numbers.add(0);
            pool.run(2, &|piece, _| numbers.add(piece)).unwrap();
            assert_eq!([numbers.get(0), numbers.get(1)], [2 * run + 2, run + 1]);
        }
    });
}

/// More pieces than threads: who is through helps with the other share.
#[test]
fn no_piece_is_missed_or_done_twice() {
    all_orders(2, || {
        let mut pool = Pool::new(2, Affinity::Free);
        let numbers = Numbers::new(3);
        pool.run(3, &|piece, _| numbers.add(piece)).unwrap();
        (0..3).for_each(|piece| assert_eq!(numbers.get(piece), 1));
    });
}

/// Pieces that wait for each other need both threads: a worker that slept through the
/// call, or a caller that slept through the last piece, would wait for ever.
#[test]
fn nobody_sleeps_through_his_call() {
    all_orders(3, || {
        let mut pool = Pool::new(2, Affinity::Free);
        let meeting = Meeting::of(2);
        pool.run(2, &|_, _| meeting.come()).unwrap();
    });
}

/// The same for a worker that had to rest for a run, which the caller does alone.
#[test]
fn who_may_work_again_is_woken() {
    all_orders(2, || {
        let mut pool = Pool::new(2, Affinity::Free);
        pool.set_workers(1);
        pool.run(2, &|_, worker| assert_eq!(worker, 0)).unwrap();
        pool.set_workers(2);
        let meeting = Meeting::of(2);
        pool.run(2, &|_, _| meeting.come()).unwrap();
    });
}

/// A panic on either thread is an error after the join, and the next run is whole.
#[test]
fn a_panic_comes_back() {
    all_orders(1, || {
        let mut pool = Pool::new(2, Affinity::Free);
        // Thrown past the hook, which would print for each order.
        let bad = pool.run(2, &|piece, _| match piece {
            0 => (),
            _ => std::panic::resume_unwind(Box::new("on purpose")),
        });
        assert_eq!(bad, Err(Panicked));
        let numbers = Numbers::new(2);
        let whole = pool.run(2, &|piece, _| numbers.add(piece));
        assert_eq!(whole, Ok(()));
        assert_eq!([numbers.get(0), numbers.get(1)], [1, 1]);
    });
}
