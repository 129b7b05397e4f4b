//! Who may use an engine's memory: one pass at a time, in the order of asking.
//!
//! A plain lock is not fair: a thread with a long prompt would take it again and again
//! before a waiting one wakes.

#[cfg(not(feature = "std"))]
pub use alone::Turns;
#[cfg(feature = "std")]
pub use threads::Turns;

#[cfg(feature = "std")]
mod threads {
    use crate::{CancelToken, Error, Result};
    use std::collections::VecDeque;
    use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
    use std::time::Duration;

    /// How often one who waits looks whether he was cancelled.
    const LOOK: Duration = Duration::from_millis(50);

    /// More waiting threads than this make the queue grow.
    const QUEUE: usize = 64;

    /// A value that threads use in turn.
    pub struct Turns<T> {
        queue: Mutex<Queue>,
        left: Condvar,
        value: Mutex<T>,
    }

    /// Tickets of those who use the value (the first) or wait for it.
    struct Queue {
        tickets: VecDeque<u64>,
        next: u64,
    }

    impl<T> Turns<T> {
        pub fn new(value: T) -> Turns<T> {
            let tickets = VecDeque::with_capacity(QUEUE);
            Turns {
                queue: Mutex::new(Queue { tickets, next: 0 }),
                left: Condvar::new(),
                value: Mutex::new(value),
            }
        }

        /// Uses the value when all who asked before are through.
        ///
        /// # Errors
        /// [`Error::Cancelled`] if that comes first, and those of `work`.
        pub fn take<R>(
            &self,
            cancel: Option<&CancelToken>,
            work: impl FnOnce(&mut T) -> Result<R>,
        ) -> Result<R> {
            let _place = self.wait(cancel)?;
            work(&mut self.value.lock().unwrap_or_else(PoisonError::into_inner))
        }

        fn wait(&self, cancel: Option<&CancelToken>) -> Result<Place<'_, T>> {
            let mut queue = self.queue();
            let ticket = queue.next;
            queue.next += 1;
            queue.tickets.push_back(ticket);
            while queue.tickets.front() != Some(&ticket) {
                if cancel.is_some_and(CancelToken::is_cancelled) {
                    queue.tickets.retain(|&other| other != ticket);
                    return Err(Error::Cancelled);
                }
                let woken = self.left.wait_timeout(queue, LOOK);
                queue = woken.unwrap_or_else(PoisonError::into_inner).0;
            }
            Ok(Place(self))
        }

        fn queue(&self) -> MutexGuard<'_, Queue> {
            self.queue.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    /// The first place of the queue, which is left when this is dropped.
    struct Place<'t, T>(&'t Turns<T>);

    impl<T> Drop for Place<'_, T> {
        fn drop(&mut self) {
            self.0.queue().tickets.pop_front();
            self.0.left.notify_all();
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use std::sync::Barrier;
        use std::thread;
        use std::vec::Vec;

        /// A thread that asks again at once does not come before one that waits.
        #[test]
        fn turns_are_in_order_of_asking() {
            let turns = Turns::new(Vec::new());
            let start = Barrier::new(2);
            let work = |name: u32| {
                start.wait();
                for _ in 0..20 {
                    let taken = turns.take(None, |order| {
                        order.push(name);
                        thread::sleep(Duration::from_millis(2));
                        Ok(())
                    });
                    taken.unwrap();
                }
            };
            thread::scope(|scope| {
                scope.spawn(|| work(0));
                scope.spawn(|| work(1));
            });
            let order = turns.value.into_inner().unwrap();
            let same = order.windows(2).filter(|pair| pair[0] == pair[1]).count();
            assert!(same < 10, "{order:?}");
        }

        #[test]
        fn one_who_waits_can_be_cancelled() {
            let turns = Turns::new(());
            let cancel = CancelToken::new();
            let waited = turns.take(None, |()| {
                thread::scope(|scope| {
                    let waits = scope.spawn(|| turns.take(Some(&cancel), |()| Ok(())));
                    thread::sleep(Duration::from_millis(5));
                    cancel.cancel();
                    Ok(waits.join().unwrap())
                })
            });
            assert!(matches!(waited, Ok(Err(Error::Cancelled))));
            assert!(turns.take(None, |()| Ok(())).is_ok());
        }
    }
}

#[cfg(not(feature = "std"))]
mod alone {
    use crate::{CancelToken, Result};
    use core::cell::UnsafeCell;
    use core::sync::atomic::{AtomicBool, Ordering};

    /// A value that is used by one at a time.
    pub struct Turns<T> {
        in_use: AtomicBool,
        value: UnsafeCell<T>,
    }

    // SAFETY: `in_use` keeps all but one away from the value.
    unsafe impl<T: Send> Sync for Turns<T> {}

    impl<T> Turns<T> {
        pub fn new(value: T) -> Turns<T> {
            Turns {
                in_use: AtomicBool::new(false),
                value: UnsafeCell::new(value),
            }
        }

        /// Uses the value when nobody else does.
        ///
        /// # Errors
        /// Those of `work`.
        pub fn take<R>(
            &self,
            _cancel: Option<&CancelToken>,
            work: impl FnOnce(&mut T) -> Result<R>,
        ) -> Result<R> {
            while self.in_use.swap(true, Ordering::Acquire) {
                core::hint::spin_loop();
            }
            // SAFETY: `in_use` was false and is true now.
            let done = work(unsafe { &mut *self.value.get() });
            self.in_use.store(false, Ordering::Release);
            done
        }
    }
}
