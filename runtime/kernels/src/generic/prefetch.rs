//! Asking for memory ahead of its use.

/// By how many bytes more than a run of rows those of the file are asked for ahead,
/// for the last row of the next run is used soon after it is asked for: of runs up to
/// [`NEAR`], and of longer ones.
const EARLY: usize = 1024;
const FAR_EARLY: usize = 4096;

/// The longest run of which the next one has room in the first cache too: two such,
/// and activations, take half of the 32 KB that most cores have.
const NEAR: usize = 8192;

/// Asks, while the `bytes` at `offset` of each row of a run are used, for as many of
/// the next run: in the order in which rows lie and not in that of their use, since
/// memory gives neighbouring lines at once.
#[inline(always)]
pub(crate) fn prefetch_next_run(
    run: *const u8,
    rows: usize,
    row_bytes: usize,
    offset: usize,
    bytes: usize,
) {
    let run_bytes = rows * row_bytes;
    let same = run.wrapping_add(run_bytes + rows * offset);
    match run_bytes <= NEAR {
        true => each_line(same.wrapping_add(EARLY), rows * bytes, line_to_first_cache),
        false => prefetch_far(same.wrapping_add(FAR_EARLY), rows * bytes),
    }
}

/// Asks for the cache lines of `bytes` bytes from `at` on, wherever it points, to come
/// to the second cache: what is far ahead would push the nearer out of the first, and
/// take of the few lines that it can wait for at once.
#[inline(always)]
pub(crate) fn prefetch_far(at: *const u8, bytes: usize) {
    each_line(at, bytes, line_to_second_cache);
}

#[inline(always)]
fn each_line(at: *const u8, bytes: usize, ask: impl Fn(*const u8)) {
    for line in (0..bytes).step_by(64) {
        ask(at.wrapping_add(line));
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn line_to_first_cache(at: *const u8) {
    use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a prefetch reads nothing, wherever it points.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) };
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn line_to_second_cache(at: *const u8) {
    use core::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
    // SAFETY: a prefetch reads nothing, wherever it points.
    unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) };
}

#[cfg(target_arch = "aarch64")]
#[inline(always)]
fn line_to_first_cache(at: *const u8) {
    // SAFETY: a prefetch reads nothing, wherever it points.
    unsafe {
        core::arch::asm!("prfm pldl1keep, [{0}]", in(reg) at, options(nomem, nostack, preserves_flags));
    }
}

#[cfg(target_arch = "aarch64")]
#[inline(always)]
fn line_to_second_cache(at: *const u8) {
    // SAFETY: a prefetch reads nothing, wherever it points.
    unsafe {
        core::arch::asm!("prfm pldl2keep, [{0}]", in(reg) at, options(nomem, nostack, preserves_flags));
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
#[inline(always)]
fn line_to_first_cache(_: *const u8) {}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
#[inline(always)]
fn line_to_second_cache(_: *const u8) {}
