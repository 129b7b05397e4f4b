//! What the pool's threads are synchronized by: loom's in place of the standard library's.

pub use loom::cell::UnsafeCell;
pub use loom::sync::{Arc, Condvar, Mutex};

/// A model of all orders needs no time to pass.
pub const SPINS: bool = false;

pub mod atomic {
    pub use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};

    /// A counter that others subtract from while it is set. Loom lets a subtraction
    /// read a value older than the newest one, if a third thread's subtraction is not
    /// ordered with the store of the newest; the language does not, since all changes
    /// of one atomic have one order. So a store is a swap here, which has its place
    /// among the subtractions.
    pub struct AtomicIsize(loom::sync::atomic::AtomicIsize);

    impl AtomicIsize {
        pub fn new(value: isize) -> Self {
            Self(loom::sync::atomic::AtomicIsize::new(value))
        }

        pub fn load(&self, ordering: Ordering) -> isize {
            self.0.load(ordering)
        }

        pub fn store(&self, value: isize, ordering: Ordering) {
            self.0.swap(value, ordering);
        }

        pub fn fetch_sub(&self, value: isize, ordering: Ordering) -> isize {
            self.0.fetch_sub(value, ordering)
        }
    }
}

/// Threads that can park. Loom's own forget an `unpark` that comes while they wait for
/// a lock, which the standard library's do not.
pub mod thread {
    use super::{Arc, Condvar, Mutex};
    use std::cell::RefCell;
    use std::io;

    loom::thread_local! {
        static OWN: RefCell<Thread> = RefCell::new(Thread::default());
    }

    /// Holds the token that `unpark` leaves and `park` takes.
    #[derive(Clone)]
    pub struct Thread(Arc<(Mutex<bool>, Condvar)>);

    impl Default for Thread {
        fn default() -> Self {
            Self(Arc::new((Mutex::new(false), Condvar::new())))
        }
    }

    impl Thread {
        pub fn unpark(&self) {
            let (token, given) = &*self.0;
            *token.lock().unwrap() = true;
            given.notify_one();
        }
    }

    pub fn park() {
        let own = OWN.with(|own| own.borrow().clone());
        let (token, given) = &*own.0;
        let mut there = token.lock().unwrap();
        while !*there {
            there = given.wait(there).unwrap();
        }
        *there = false;
    }

    #[derive(Debug)]
    pub struct JoinHandle<T> {
        inner: loom::thread::JoinHandle<T>,
        thread: Thread,
    }

    impl std::fmt::Debug for Thread {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.debug_struct("Thread").finish_non_exhaustive()
        }
    }

    impl<T> JoinHandle<T> {
        pub fn thread(&self) -> &Thread {
            &self.thread
        }

        pub fn join(self) -> std::thread::Result<T> {
            self.inner.join()
        }
    }

    pub struct Builder(loom::thread::Builder);

    impl Builder {
        pub fn new() -> Self {
            Self(loom::thread::Builder::new())
        }

        pub fn name(self, name: String) -> Self {
            Self(self.0.name(name))
        }

        pub fn spawn<T: Send + 'static>(
            self,
            life: impl FnOnce() -> T + Send + 'static,
        ) -> io::Result<JoinHandle<T>> {
            let thread = Thread::default();
            let own = thread.clone();
            let inner = self.0.spawn(move || {
                OWN.with(|place| *place.borrow_mut() = own);
                life()
            })?;
            Ok(JoinHandle { inner, thread })
        }
    }
}
