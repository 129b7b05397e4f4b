//! What the system reports about the machine and about a process.

mod process;
#[cfg(feature = "std")]
pub(crate) mod topology;

pub use process::{ProcessMemory, process_memory};

/// The CPU's name if the system reports it, otherwise the architecture.
#[cfg(feature = "std")]
pub fn cpu_name() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or(std::env::consts::ARCH, |(_, name)| name.trim())
        .into()
}
