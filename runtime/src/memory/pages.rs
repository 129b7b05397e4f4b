//! Returns pages of memory to the system.
//!
//! The system may refuse any of these calls. The memory is then unchanged, which is no
//! error.

use core::ptr::NonNull;

/// Returns the whole pages among `bytes` bytes from `start`. They then read as zeros or
/// as before.
///
/// # Safety
/// Nothing else uses the bytes during the call, and their owner accepts any contents
/// afterwards.
pub unsafe fn discard(start: NonNull<u8>, bytes: usize) {
    #[cfg(all(feature = "std", unix))]
    {
        // On Apple's systems only this advice allows the system to drop the contents.
        #[cfg(target_vendor = "apple")]
        let advice = libc::MADV_FREE;
        #[cfg(not(target_vendor = "apple"))]
        let advice = libc::MADV_DONTNEED;
        // SAFETY: passed on to the caller.
        unsafe { advise(start, bytes, advice) };
    }
    #[cfg(not(all(feature = "std", unix)))]
    let _ = (start, bytes);
}

/// Removes the whole pages among some bytes of a mapped file from the process. With
/// `from_cache` also from the system's file cache, if the system has a call for that. They
/// are loaded again when used.
#[cfg(feature = "std")]
pub fn unload(map: &memmap2::Mmap, bytes: core::ops::Range<usize>, from_cache: bool) {
    #[cfg(unix)]
    {
        let bytes = &map[bytes.clone()];
        let start = NonNull::from(bytes).cast();
        // SAFETY: the pages of a read-only map of a file are never dirty, so they have
        // the same contents when they are loaded again.
        unsafe {
            #[cfg(any(target_os = "linux", target_os = "android"))]
            if from_cache {
                advise(start, bytes.len(), libc::MADV_PAGEOUT);
            }
            advise(start, bytes.len(), libc::MADV_DONTNEED);
        }
    }
    let _ = (map, bytes, from_cache);
}

/// Gives the advice for the whole pages among `bytes` bytes from `start`.
///
/// # Safety
/// The advice must not change bytes that other code relies on.
#[cfg(all(feature = "std", unix))]
unsafe fn advise(start: NonNull<u8>, bytes: usize, advice: libc::c_int) {
    // SAFETY: `sysconf` only returns a number.
    let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(0);
    let skipped = start.as_ptr().align_offset(page.max(1));
    let whole = bytes.saturating_sub(skipped) / page.max(1) * page;
    if whole > 0 {
        // SAFETY: whole pages within the caller's bytes; the rest is the caller's promise.
        unsafe { libc::madvise(start.as_ptr().add(skipped).cast(), whole, advice) };
    }
}

#[cfg(all(test, feature = "std", target_os = "linux"))]
mod tests {
    use super::*;

    /// Whole pages become zeros; the bytes around them on shared pages stay.
    #[test]
    fn only_whole_pages_are_discarded() {
        let mut bytes = std::vec![7u8; 1 << 20];
        let (from, to) = (1000, bytes.len() - 1000);
        let start = NonNull::from(&mut bytes[from..to]).cast();
        // SAFETY: own bytes, looked at below only to see what became of them.
        unsafe { discard(start, to - from) };
        assert!(bytes[..from].iter().chain(&bytes[to..]).all(|&b| b == 7));
        let zeros = bytes.iter().filter(|&&b| b == 0).count();
        assert!(zeros > bytes.len() - 3 * 65536 && zeros < to - from);
    }
}
