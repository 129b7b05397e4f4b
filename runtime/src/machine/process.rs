//! Memory of a process, as Linux and Android report it.

/// Memory of a process in bytes; `None` for a number that the system does not report.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessMemory {
    /// In physical memory at present (`VmRSS`).
    pub resident: Option<u64>,
    /// The part of it in pages that belong to no file (`RssAnon`).
    pub anonymous: Option<u64>,
    /// The largest amount that was in physical memory at once (`VmHWM`).
    pub peak: Option<u64>,
    /// The address space (`VmSize`).
    pub virtual_size: Option<u64>,
}

/// The memory of the process with this id; `None` is this process. All fields are
/// `None` if there is no such process, and on systems other than Linux and Android.
pub fn process_memory(pid: Option<u32>) -> ProcessMemory {
    #[cfg(all(feature = "std", any(target_os = "linux", target_os = "android")))]
    {
        let process = pid.map_or("self".into(), |pid| pid.to_string());
        let status = std::format!("/proc/{process}/status");
        parse(&std::fs::read_to_string(status).unwrap_or_default())
    }
    #[cfg(not(all(feature = "std", any(target_os = "linux", target_os = "android"))))]
    {
        let _ = pid;
        ProcessMemory::default()
    }
}

#[cfg(all(feature = "std", any(target_os = "linux", target_os = "android")))]
fn parse(status: &str) -> ProcessMemory {
    let bytes = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kilobytes = line.trim().strip_suffix("kB")?.trim().parse::<u64>();
        kilobytes.ok()?.checked_mul(1024)
    };
    ProcessMemory {
        resident: bytes("VmRSS:"),
        anonymous: bytes("RssAnon:"),
        peak: bytes("VmHWM:"),
        virtual_size: bytes("VmSize:"),
    }
}

#[cfg(all(test, feature = "std", target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_process_holds_what_it_uses() {
        let memory = process_memory(None);
        assert_eq!(memory, process_memory(Some(std::process::id())));
        let [Some(resident), Some(anonymous), Some(peak)] =
            [memory.resident, memory.anonymous, memory.peak]
        else {
            panic!("{memory:?}");
        };
        assert!(0 < anonymous && anonymous < resident && resident <= peak);
    }

    #[test]
    fn what_is_no_status_tells_nothing() {
        for text in ["", "VmRSS:", "VmRSS: 5 MB", "VmHWM: -3 kB", "RssAnon: kB"] {
            assert_eq!(parse(text), ProcessMemory::default(), "{text}");
        }
    }
}
