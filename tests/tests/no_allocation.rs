//! Rule 1: prefill and decode never touch the allocator.

use ondol::{CancelToken, Level, Model, Options};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

struct Counting;

static CALLS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn prefill_and_decode_do_not_allocate() {
    let model = Model::hello().unwrap();
    let prompt: Vec<u32> = (0..100).map(|i| 3 + i * 7 % 200).collect();
    let cancel = CancelToken::new();
    for level in [None, Some(Level::Scalar), Some(Level::Exact)] {
        let options = Options {
            threads: Some(2),
            kernels: level,
            prefill_chunk: 32,
            ..Options::default()
        };
        let mut session = model.session(&options).unwrap();
        let before = CALLS.load(Ordering::Relaxed);
        session.prefill(&prompt, &cancel).unwrap();
        for token in 0..20 {
            session.decode(5 + token).unwrap();
        }
        assert_eq!(CALLS.load(Ordering::Relaxed) - before, 0, "level {level:?}");
    }
}
