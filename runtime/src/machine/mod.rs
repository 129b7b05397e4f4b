//! What the system says of the machine and of a process.

mod process;
#[cfg(feature = "std")]
pub(crate) mod topology;

pub use process::{ProcessMemory, process_memory};

/// The CPU's own name where the system tells it, else the architecture.
#[cfg(feature = "std")]
pub fn cpu_name() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or(std::env::consts::ARCH, |(_, name)| name.trim())
        .into()
}
