//! Prefetching: memory is asked for before it is used.

/// Plain rows are prefetched one run of rows and this many bytes ahead: without the extra
/// bytes, the last row of the next run would be used soon after its prefetch. `EARLY` is
/// for runs of up to [`NEAR`] bytes, `FAR_EARLY` for longer ones.
const EARLY: usize = 1024;
const FAR_EARLY: usize = 4096;

/// Bytes of the longest run whose next one also has room in the first-level cache: two
/// such runs take half of the 32 KB that most cores have.
const NEAR: usize = 8192;

/// Is called while the `bytes` at `offset` of each row of a run are used, and prefetches
/// as many bytes of the next run. It takes these in the order of addresses, not of use,
/// since memory delivers neighbouring lines together.
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

/// Prefetches the cache lines of `bytes` bytes from `at` on into the second-level cache;
/// `at` may point anywhere. In the first-level cache, lines that are used much later
/// would replace lines that are used sooner, and would be among the few that it can wait
/// for at once.
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
