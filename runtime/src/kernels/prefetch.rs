//! Asking for memory ahead of its use.

/// By how many bytes more than a run of rows those of the file are asked for ahead,
/// for the last row of the next run is used soon after it is asked for.
const EARLY: usize = 1024;

/// Asks, while the `bytes` at `offset` of each row of a run are used, for as many of
/// the next run: in the order in which rows lie and not in that of their use, since
/// memory gives neighbouring lines at once.
#[inline(always)]
pub(super) fn prefetch_next_run(
    run: *const u8,
    rows: usize,
    row_bytes: usize,
    offset: usize,
    bytes: usize,
) {
    let ahead = rows * (row_bytes + offset) + EARLY;
    prefetch(run.wrapping_add(ahead), rows * bytes);
}

/// Asks for the cache lines of `bytes` bytes from `at` on, wherever it points.
#[inline(always)]
pub(super) fn prefetch(at: *const u8, bytes: usize) {
    for line in (0..bytes).step_by(64) {
        prefetch_line(at.wrapping_add(line));
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn prefetch_line(at: *const u8) {
    use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a prefetch reads nothing, wherever it points.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) };
}

#[cfg(target_arch = "aarch64")]
#[inline(always)]
fn prefetch_line(at: *const u8) {
    // SAFETY: a prefetch reads nothing, wherever it points.
    unsafe {
        core::arch::asm!("prfm pldl1keep, [{0}]", in(reg) at, options(nomem, nostack, preserves_flags));
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
#[inline(always)]
fn prefetch_line(_: *const u8) {}
