//! Functions of builds without an operating system.

use super::StaticHeap;
use crate::status::{Message, ondol_status};
use core::ffi::{c_char, c_void};
use core::fmt::Write;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicPtr, Ordering};
use runtime::Governor;

#[global_allocator]
static HEAP: StaticHeap = StaticHeap::empty();

/// An [`ondol_panic_fn`], or null.
static ON_PANIC: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());

/// Is called on a panic: a bug in Ondol, or an arena that is too small for the model.
/// It must not return, and must not call the library: reset or stop the device. The
/// message is English and ends with a zero.
pub type ondol_panic_fn = Option<unsafe extern "C" fn(message: *const c_char)>;

/// Firmware builds only. Gives the library the array from which it takes all its
/// memory, and a function to call on a panic (NULL: it stops in an endless loop). Call
/// it once, before any other function; the array then belongs to the library.
///
/// Firmware builds have one thread of control: no function of the library may run while
/// another does, in an interrupt or on another core, except `ondol_cancel_request`.
///
/// # Safety
/// `arena` has `bytes` bytes that nothing else uses.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_init(
    arena: *mut c_void,
    bytes: usize,
    on_panic: ondol_panic_fn,
) -> ondol_status {
    /// The fewest bytes of an arena: it must have room for the list of holes.
    const LEAST: usize = 1024;
    // SAFETY: the header asks it of the caller.
    if arena.is_null() || bytes < LEAST || !unsafe { HEAP.init(arena.cast(), bytes) } {
        return ondol_status::InvalidArgument;
    }
    let hook = on_panic.map_or(core::ptr::null_mut(), |hook| hook as *mut ());
    ON_PANIC.store(hook, Ordering::Relaxed);
    ondol_status::Ok
}

/// An [`ondol_step_fn`], or null.
static ON_STEP: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());

/// Is called between two steps of a pass, many times per layer. It must not call the
/// library, except `ondol_cancel_request`.
pub type ondol_step_fn = Option<unsafe extern "C" fn()>;

/// Firmware builds only. Sets a function that is called between two steps of every
/// pass, for example to feed a watchdog; NULL calls nothing.
#[unsafe(no_mangle)]
pub extern "C" fn ondol_on_step(on_step: ondol_step_fn) {
    let hook = on_step.map_or(core::ptr::null_mut(), |hook| hook as *mut ());
    ON_STEP.store(hook, Ordering::Relaxed);
}

/// The governor of all sessions.
pub fn governor() -> Governor {
    Governor::calling(|| {
        let hook = ON_STEP.load(Ordering::Relaxed);
        // SAFETY: `ondol_on_step` stored an `ondol_step_fn`, where null is `None`.
        if let Some(hook) = unsafe { core::mem::transmute::<*mut (), ondol_step_fn>(hook) } {
            // SAFETY: the function is the firmware's.
            unsafe { hook() };
        }
    })
}

/// Firmware builds only. Bytes of the arena in use.
#[unsafe(no_mangle)]
pub extern "C" fn ondol_heap_used() -> usize {
    HEAP.used()
}

/// Firmware builds only. The largest number of bytes of the arena that were in use at once.
#[unsafe(no_mangle)]
pub extern "C" fn ondol_heap_peak() -> usize {
    HEAP.peak()
}

#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    let hook = ON_PANIC.load(Ordering::Relaxed);
    // SAFETY: `ondol_init` stored an `ondol_panic_fn`, where null is `None`.
    let hook = unsafe { core::mem::transmute::<*mut (), ondol_panic_fn>(hook) };
    if let Some(hook) = hook {
        let mut message = Message::default();
        // A message that is too long is cut.
        let _ = write!(message, "{info}");
        // SAFETY: the message ends with a zero, and the function is the firmware's.
        unsafe { hook(message.text()) };
    }
    loop {
        core::hint::spin_loop();
    }
}
