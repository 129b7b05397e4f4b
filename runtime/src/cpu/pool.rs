//! The thread pool: one step is one fork-join over numbered pieces of work.
//!
//! The caller of [`Pool::run`] is one of the workers. Each has a share of
//! neighbouring pieces, which are taken one by one: first by the share's owner,
//! then by whoever is through with his own. So a core that is busy elsewhere costs
//! little: the caller finishes alone what nobody else takes, and waits only for
//! pieces that somebody has taken. Those who wait spin for some microseconds,
//! then park.
//!
//! Without `std` there are no threads, and the caller does all pieces in order.

/// A piece of the work panicked. The other pieces may have been left out; the
/// pool is as good as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a worker thread panicked")]
pub struct Panicked;

/// A piece of work: the function gets the piece's number and the worker's. A
/// worker does one piece at a time, so that its number can name its scratch.
pub type Job<'a> = dyn Fn(usize, usize) + Sync + 'a;

/// Where the workers of a pool run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Affinity {
    /// Wherever the system puts them, which is best for most.
    #[default]
    Free,
    /// On the big cores that the process may use, on Linux and Android, unless
    /// the system refuses. The caller's own thread is a worker too, but it is not
    /// the pool's to move. Without `std` there are no others.
    BigCores,
}

#[cfg(not(feature = "std"))]
pub use alone::Pool;
#[cfg(feature = "std")]
pub use threads::Pool;

#[cfg(not(feature = "std"))]
mod alone {
    use super::{Affinity, Job, Panicked};

    /// The pool of a system without threads.
    #[derive(Debug)]
    pub struct Pool(());

    impl Pool {
        /// A pool of one worker, whatever is asked for.
        #[must_use]
        pub fn new(_threads: usize, _affinity: Affinity) -> Self {
            Self(())
        }

        /// The number of workers.
        #[must_use]
        pub fn threads(&self) -> usize {
            1
        }

        /// No worker is kept on certain cores.
        #[must_use]
        pub fn pinned(&self) -> usize {
            0
        }

        /// There is one worker at least and at most.
        pub fn set_workers(&mut self, _workers: usize) {}

        /// Nobody waits for anybody.
        #[must_use]
        pub fn is_crowded(&mut self) -> bool {
            false
        }

        /// Does `job(piece, 0)` for every piece below `pieces`, in order.
        ///
        /// # Errors
        /// None; with threads there are.
        pub fn run(&mut self, pieces: usize, job: &Job<'_>) -> Result<(), Panicked> {
            (0..pieces).for_each(|piece| job(piece, 0));
            Ok(())
        }
    }
}

#[cfg(feature = "std")]
mod sync;
#[cfg(feature = "std")]
mod threads;

#[cfg(all(test, feature = "std"))]
mod tests;
