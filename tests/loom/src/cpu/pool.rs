//! The pool of the runtime, and the types of its interface.

mod sync;
#[path = "../../../../runtime/src/cpu/pool/threads.rs"]
mod threads;

pub use threads::Pool;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Panicked;

pub type Job<'a> = dyn Fn(usize, usize) + Sync + 'a;

#[derive(Clone, Copy, PartialEq)]
pub enum Affinity {
    Free,
    BigCores,
}
