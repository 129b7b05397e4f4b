//! A queue for an engine's memory: one pass at a time, in the order in which threads
//! asked.
//!
//! A plain lock is not fair: a thread with a long prompt would take it again and again
//! before a waiting thread wakes.

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

    /// How often a waiting thread checks whether it was cancelled.
    const LOOK: Duration = Duration::from_millis(50);

    /// Room in the queue; it grows if more threads wait.
    const QUEUE: usize = 64;

    /// A value that one thread at a time uses, in the order of asking.
    pub struct Turns<T> {
        queue: Mutex<Queue>,
        left: Condvar,
        value: Mutex<T>,
    }

    /// The tickets of the thread that uses the value (the first) and of those that
    /// wait.
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

        /// Calls `work` with the value when all threads that asked earlier have
        /// finished.
        ///
        /// # Errors
        /// [`Error::Cancelled`] if the wait was cancelled, and the errors of `work`.
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

    /// The first place in the queue. Dropping it leaves the queue.
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

    /// A value that one thread at a time uses.
    pub struct Turns<T> {
        in_use: AtomicBool,
        value: UnsafeCell<T>,
    }

    // SAFETY: `in_use` gives the value to one thread at a time.
    unsafe impl<T: Send> Sync for Turns<T> {}

    impl<T> Turns<T> {
        pub fn new(value: T) -> Turns<T> {
            Turns {
                in_use: AtomicBool::new(false),
                value: UnsafeCell::new(value),
            }
        }

        /// Calls `work` with the value when no other thread uses it.
        ///
        /// # Errors
        /// The errors of `work`.
        pub fn take<R>(
            &self,
            _cancel: Option<&CancelToken>,
            work: impl FnOnce(&mut T) -> Result<R>,
        ) -> Result<R> {
            while self.in_use.swap(true, Ordering::Acquire) {
                core::hint::spin_loop();
            }
            // SAFETY: this thread changed `in_use` from false to true, so it alone has
            // the value.
            let done = work(unsafe { &mut *self.value.get() });
            self.in_use.store(false, Ordering::Release);
            done
        }
    }
}
