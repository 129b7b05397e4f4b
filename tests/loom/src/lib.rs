//! The thread pool of the runtime, its very source, with loom's threads and atomics.
//! `tests/pool.rs` runs it in all orders of the threads' steps, with every old value
//! that the language allows a load to see.

/// What the pool's source finds around it in the runtime.
#[allow(missing_docs)]
pub mod cpu {
    pub mod pool;
}

#[allow(missing_docs)]
pub mod machine {
    pub mod topology {
        #[must_use]
        pub fn pin_to_big_cores() -> bool {
            false
        }
    }
}
