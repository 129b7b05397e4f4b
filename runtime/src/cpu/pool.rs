//! The thread pool: one step is one fork-join over numbered pieces of work.
//!
//! The caller of [`Pool::run`] is one of the workers. Each worker has a share of
//! neighbouring pieces. Pieces are claimed one by one, first by the worker that has the
//! share, then by any worker that has finished its own. A core that is busy with
//! another program therefore costs little: the caller computes pieces that no other
//! worker claims, and waits only for pieces that are claimed. Waiting threads spin for
//! some microseconds, then park.
//!
//! Without `std` there are no threads, and the caller computes all pieces in order.

/// The function panicked in a piece. Other pieces may not have been computed. The pool
/// can be used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a worker thread panicked; this is a bug in Ondol")]
pub struct Panicked;

/// The function that computes a piece. Its arguments are the number of the piece and
/// the number of the worker. A worker computes one piece at a time, so the worker's
/// number can select its scratch.
pub type Job<'a> = dyn Fn(usize, usize) + Sync + 'a;

/// The cores on which a pool's workers may run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Affinity {
    /// The system chooses. This is best in most cases.
    #[default]
    Free,
    /// On Linux and Android, the big cores that the process may use, unless the system
    /// refuses. The caller's own thread is a worker too, but the pool does not move it.
    /// Has no effect without `std`.
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
        /// Makes a pool of one worker; both arguments are ignored.
        #[must_use]
        pub fn new(_threads: usize, _affinity: Affinity) -> Self {
            Self(())
        }

        /// The number of workers.
        #[must_use]
        pub fn threads(&self) -> usize {
            1
        }

        /// The number of workers that are kept on big cores: none.
        #[must_use]
        pub fn pinned(&self) -> usize {
            0
        }

        /// Does nothing: the pool always has one worker.
        pub fn set_workers(&mut self, _workers: usize) {}

        /// Whether another program seems to use a worker's core: never.
        #[must_use]
        pub fn is_crowded(&mut self) -> bool {
            false
        }

        /// Calls `job(piece, 0)` for every piece below `pieces`, in order.
        ///
        /// # Errors
        /// None. The pool of a system with threads has errors.
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
