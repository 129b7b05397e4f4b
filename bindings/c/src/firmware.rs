//! A heap and a panic handler, which firmware does not have by itself.
//!
//! There is one thread of control: while a function of the library runs, no other may run,
//! in an interrupt or on another core. So the heap has no lock.

#[cfg(target_os = "none")]
mod system;
#[cfg(target_os = "none")]
pub use system::governor;

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr::{self, NonNull};
use linked_list_allocator::Heap;

/// The global allocator over one array of memory that the firmware provides.
///
/// It uses the first fit in a list of holes: there are few allocations, at load and for
/// each piece of text, and a session's arena is by far the largest.
pub struct StaticHeap(UnsafeCell<State>);

struct State {
    heap: Heap,
    peak: usize,
}

// SAFETY: one thread of control is a documented condition of firmware builds.
unsafe impl Sync for StaticHeap {}

impl StaticHeap {
    /// A heap of no memory: every allocation fails.
    pub const fn empty() -> StaticHeap {
        StaticHeap(UnsafeCell::new(State {
            heap: Heap::empty(),
            peak: 0,
        }))
    }

    /// Gives the heap its memory; does nothing and returns false if it has memory already.
    ///
    /// # Safety
    /// Nothing else uses the memory from now on.
    pub unsafe fn init(&self, start: *mut u8, bytes: usize) -> bool {
        self.with(|state| {
            let first = state.heap.size() == 0;
            if first {
                // SAFETY: passed on to the caller.
                unsafe { state.heap.init(start, bytes) };
            }
            first
        })
    }

    /// Bytes in use.
    pub fn used(&self) -> usize {
        self.with(|state| state.heap.used())
    }

    /// The most bytes that were in use at once.
    pub fn peak(&self) -> usize {
        self.with(|state| state.peak)
    }

    fn with<T>(&self, use_state: impl FnOnce(&mut State) -> T) -> T {
        // SAFETY: one thread of control, and `use_state` never comes back here.
        use_state(unsafe { &mut *self.0.get() })
    }
}

// SAFETY: the heap hands out disjoint blocks of its memory, or null.
unsafe impl GlobalAlloc for StaticHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.with(|state| {
            let block = state.heap.allocate_first_fit(layout);
            state.peak = state.peak.max(state.heap.used());
            block.map_or(ptr::null_mut(), NonNull::as_ptr)
        })
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some(block) = NonNull::new(block) else {
            return;
        };
        // SAFETY: allocated here with this layout, by the trait's contract.
        self.with(|state| unsafe { state.heap.deallocate(block, layout) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heap_refuses_what_does_not_fit_and_remembers_its_peak() {
        let heap = StaticHeap::empty();
        let small = Layout::from_size_align(1000, 64).unwrap();
        let mut memory = vec![0u8; 4096];
        // SAFETY: the memory is the heap's alone; blocks are given back as they came.
        unsafe {
            assert!(heap.alloc(small).is_null(), "no memory yet");
            assert!(heap.init(memory.as_mut_ptr(), memory.len()));
            assert!(!heap.init(memory.as_mut_ptr(), 1), "twice");

            let (a, b) = (heap.alloc(small), heap.alloc(small));
            assert!(a.addr().is_multiple_of(64) && b.addr().is_multiple_of(64));
            assert!(a.addr().abs_diff(b.addr()) >= 1000);
            let large = Layout::from_size_align(4096, 1).unwrap();
            assert!(heap.alloc(large).is_null());

            let most = heap.used();
            assert!(most >= 2000);
            heap.dealloc(a, small);
            heap.dealloc(b, small);
            assert_eq!((heap.used(), heap.peak()), (0, most));
            assert!(
                !heap
                    .alloc(Layout::from_size_align(3000, 8).unwrap())
                    .is_null()
            );
        }
    }
}
