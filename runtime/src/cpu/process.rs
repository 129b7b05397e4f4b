//! What the system says of the process.

/// The process's peak resident memory in bytes, from the Linux and Android kernels.
pub fn peak_memory() -> Option<u64> {
    #[cfg(all(feature = "std", any(target_os = "linux", target_os = "android")))]
    {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
        let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
        Some(kilobytes * 1024)
    }
    #[cfg(not(all(feature = "std", any(target_os = "linux", target_os = "android"))))]
    None
}
