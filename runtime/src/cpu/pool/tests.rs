use std::cell::UnsafeCell;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::{Arc, Mutex, atomic::AtomicBool};
use std::thread;
use std::time::{Duration, Instant};
use std::vec::Vec;

use super::threads::{CROWDED, Patience};
use super::*;

/// Every piece is computed exactly once, and `run` returns after the last, for pools
/// with fewer and with more threads than pieces.
#[test]
fn every_piece_is_done_once() {
    for threads in [0, 1, 2, 4] {
        let mut pool = Pool::new(threads, Affinity::Free);
        assert_eq!(pool.threads(), threads.max(1));
        for pieces in [0, 1, 2, 3, 4, 5, 17, 100] {
            let counts: Vec<AtomicU32> = (0..pieces).map(|_| AtomicU32::new(0)).collect();
            pool.run(pieces, &|piece, worker| {
                assert!(worker < threads.max(1));
                counts[piece].fetch_add(1, Relaxed);
            })
            .unwrap();
            assert!(counts.iter().all(|count| count.load(Relaxed) == 1));
        }
    }
}

/// Many short runs with data that is not atomic: pieces see what the caller wrote
/// before the run, and the caller sees afterwards what pieces wrote.
#[test]
fn writes_are_seen_across_many_runs() {
    struct Cells(Vec<UnsafeCell<u64>>);
    // SAFETY: in a run each piece uses its own cell, and the caller none.
    unsafe impl Sync for Cells {}

    for threads in [2, 4] {
        let mut pool = Pool::new(threads, Affinity::Free);
        let mut cells = Cells((0..7).map(UnsafeCell::new).collect());
        for run in 0..5_000_u64 {
            let pieces = 1 + usize::try_from(run % 7).unwrap();
            let cells_ref = &cells;
            pool.run(pieces, &|piece, _| {
                // SAFETY: as above.
                unsafe { *cells_ref.0[piece].get() += run };
            })
            .unwrap();
            *cells.0[0].get_mut() += 1;
        }
        let expected = |piece: u64| {
            let added: u64 = (0..5_000).filter(|run| run % 7 >= piece).sum();
            piece + added + if piece == 0 { 5_000 } else { 0 }
        };
        for (piece, cell) in cells.0.iter_mut().enumerate() {
            assert_eq!(*cell.get_mut(), expected(piece as u64), "piece {piece}");
        }
    }
}

/// A worker computes one piece at a time, so no other thread uses its scratch.
#[test]
fn a_worker_does_one_piece_at_a_time() {
    let mut pool = Pool::new(4, Affinity::Free);
    let busy: Vec<AtomicBool> = (0..4).map(|_| AtomicBool::new(false)).collect();
    for _ in 0..200 {
        pool.run(50, &|_, worker| {
            assert!(!busy[worker].swap(true, SeqCst));
            std::hint::black_box((0..100).sum::<u32>());
            assert!(busy[worker].swap(false, SeqCst));
        })
        .unwrap();
    }
}

/// Other threads take part: two pieces that wait for each other both end.
#[test]
fn pieces_run_at_the_same_time() {
    let mut pool = Pool::new(2, Affinity::Free);
    for _ in 0..20 {
        let met = AtomicU32::new(0);
        pool.run(2, &|_, _| {
            met.fetch_add(1, SeqCst);
            while met.load(SeqCst) < 2 {
                thread::yield_now();
            }
        })
        .unwrap();
    }
}

/// Workers that are not delayed compute the pieces of their own shares, in order.
#[test]
fn a_workers_pieces_are_neighbours() {
    let mut pool = Pool::new(2, Affinity::Free);
    let done = [const { AtomicU32::new(0) }; 2];
    let order = Mutex::new([Vec::new(), Vec::new()]);
    pool.run(8, &|piece, worker| {
        order.lock().unwrap()[worker].push(piece);
        let steps = done[worker].fetch_add(1, SeqCst) + 1;
        while done[1 - worker].load(SeqCst) < steps {
            thread::yield_now();
        }
    })
    .unwrap();
    let order = order.into_inner().unwrap();
    assert_eq!(order, [Vec::from_iter(0..4), Vec::from_iter(4..8)]);
}

/// Parked threads are woken, and so is a parked caller.
#[test]
fn sleepers_are_woken() {
    let mut pool = Pool::new(3, Affinity::Free);
    for pause in [0, 1, 5] {
        thread::sleep(Duration::from_millis(pause));
        let met = AtomicU32::new(0);
        pool.run(3, &|_, worker| {
            met.fetch_add(1, SeqCst);
            while met.load(SeqCst) < 3 {
                thread::yield_now();
            }
            if worker != 0 {
                // The caller stops spinning during this time.
                thread::sleep(Duration::from_millis(2));
            }
        })
        .unwrap();
    }
}

/// A caller that goes to sleep just as the last piece ends is woken, and so are workers
/// that park just as a run is opened. For this the caller does not spin before it
/// sleeps, and the pieces take from less to more time than going to sleep. Reporting to
/// the watchdog after each run shifts the threads a little each time: only in this way
/// a wake-up was lost when the fences were missing, within seconds, also on x86. Under
/// qemu the test found a lost wake-up.
#[test]
fn nobody_sleeps_through_his_call() {
    const RUNS: u32 = 300_000;
    // On a busy machine, or on one core.
    const LONG_ENOUGH: Duration = Duration::from_secs(15);
    const HANGS: Duration = Duration::from_secs(10);
    let mut pool = Pool::new(2, Affinity::Free);
    let (run_ended, runs) = std::sync::mpsc::channel::<bool>();
    let watch = thread::spawn(move || {
        while let Ok(goes_on) = runs.recv_timeout(HANGS) {
            if !goes_on {
                return;
            }
        }
        std::eprintln!("somebody sleeps through his call: the test would never end");
        std::process::abort();
    });
    let began = Instant::now();
    for run in 1..=RUNS {
        pool.patience.spin = Duration::ZERO;
        let met = AtomicU32::new(0);
        pool.run(2, &|_, worker| {
            met.fetch_add(1, Relaxed);
            meet(&met);
            for _ in 0..worker as u32 * (run % 256) {
                std::hint::spin_loop();
            }
        })
        .unwrap();
        let goes_on = run < RUNS && began.elapsed() < LONG_ENOUGH;
        run_ended.send(goes_on).unwrap();
        if !goes_on {
            break;
        }
    }
    watch.join().unwrap();
}

/// Waits for the other piece: without delay if it has a core, otherwise without taking
/// this core from it.
fn meet(met: &AtomicU32) {
    for _ in 0..1000 {
        if met.load(Relaxed) == 2 {
            return;
        }
        std::hint::spin_loop();
    }
    while met.load(Relaxed) < 2 {
        thread::yield_now();
    }
}

/// After waits for a worker in the middle of a piece, `is_crowded` is true for a while.
#[test]
fn late_pieces_tell_of_a_crowd() {
    let mut pool = Pool::new(2, Affinity::Free);
    assert!(!pool.is_crowded());
    let mut late = || {
        let met = AtomicU32::new(0);
        pool.run(2, &|_, worker| {
            met.fetch_add(1, SeqCst);
            while met.load(SeqCst) < 2 {
                thread::yield_now();
            }
            // Longer than both took to meet, even with few cores.
            thread::sleep(Duration::from_millis(30 * worker as u64));
        })
        .unwrap();
        pool.is_crowded()
    };
    assert!((0..20).any(|_| late()), "never a crowd");
    thread::sleep(CROWDED);
    assert!(!pool.is_crowded());
}

/// The caller waits for pieces that were claimed, but not for a worker that has claimed
/// none. In this test the worker never claims one.
#[test]
fn the_caller_finishes_alone_when_nobody_comes() {
    let mut pool = Pool::new(2, Affinity::Free);
    let hold = Arc::clone(&pool.shared);
    // A worker that sees the pool closing ends, as if it were never scheduled.
    hold.closing.store(true, SeqCst);
    pool.handles[0].thread().unpark();
    while !pool.handles[0].is_finished() {
        thread::yield_now();
    }
    let done = AtomicU32::new(0);
    pool.run(100, &|_, worker| {
        assert_eq!(worker, 0);
        done.fetch_add(1, Relaxed);
    })
    .unwrap();
    assert_eq!(done.into_inner(), 100);
}

/// A panic in any piece, on any worker, is an error after the join, and the next run is
/// complete.
#[test]
fn a_panic_is_an_error_and_the_pool_lives_on() {
    for threads in [1, 2, 4] {
        let mut pool = Pool::new(threads, Affinity::Free);
        for bad in [0, 1, 30, 63] {
            let result = pool.run(64, &|piece, _| assert_ne!(piece, bad, "on phase"));
            assert_eq!(result, Err(Panicked));
            let done = AtomicU32::new(0);
            let whole = pool.run(64, &|_, _| {
                done.fetch_add(1, Relaxed);
            });
            assert_eq!(whole, Ok(()));
            assert_eq!(done.into_inner(), 64);
        }
    }
}

#[test]
fn patience_follows_the_waits() {
    let mut patience = Patience {
        spin: Patience::LONGEST,
        longest: Patience::LONGEST,
    };
    for _ in 0..10 {
        patience.slept(Duration::from_millis(1));
    }
    assert_eq!(patience.spin, Patience::SHORTEST);
    assert!(!patience.spin_until(|| false));
    for _ in 0..10 {
        patience.slept(Duration::from_micros(10));
    }
    assert_eq!(patience.spin, Patience::LONGEST);
}

#[test]
fn a_pool_can_move_to_another_thread() {
    let mut pool = Pool::new(2, Affinity::Free);
    pool.run(4, &|_, _| ()).unwrap();
    let pool = thread::spawn(move || {
        pool.run(4, &|_, _| ()).unwrap();
        pool
    });
    pool.join().unwrap().run(4, &|_, _| ()).unwrap();
}

/// Workers that may not work claim nothing, except for one piece that each may have
/// been about to claim. When they may work again, they do.
#[test]
fn fewer_workers_take_pieces() {
    let mut pool = Pool::new(4, Affinity::Free);
    for (workers, expected) in [(4, 4), (3, 3), (1, 1), (2, 2), (0, 1), (9, 4)] {
        pool.set_workers(workers);
        let taken = [(); 4].map(|()| AtomicU32::new(0));
        for _ in 0..300 {
            // Each of the first pieces waits a little, so that all workers can take
            // part.
            pool.run(8, &|_, worker| {
                taken[worker].fetch_add(1, Relaxed);
                thread::sleep(Duration::from_micros(20));
            })
            .unwrap();
        }
        let taken = taken.map(AtomicU32::into_inner);
        let (working, resting) = taken.split_at(expected);
        assert!(working.iter().all(|&n| n > 1), "{workers}: {taken:?}");
        assert!(resting.iter().all(|&n| n <= 1), "{workers}: {taken:?}");
    }
}

/// Runs end and compute every piece although the number of workers changes all the
/// time.
#[test]
fn the_number_of_workers_may_change_at_every_run() {
    let mut pool = Pool::new(4, Affinity::Free);
    for run in 0..20_000 {
        pool.set_workers(1 + run % 4);
        let done = AtomicU32::new(0);
        pool.run(5, &|_, _| {
            done.fetch_add(1, Relaxed);
        })
        .unwrap();
        assert_eq!(done.into_inner(), 5);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn workers_are_pinned_and_the_caller_is_not() {
    assert_eq!(Pool::new(2, Affinity::Free).pinned(), 0);
    assert_eq!(Pool::new(3, Affinity::BigCores).pinned(), 2);
}
