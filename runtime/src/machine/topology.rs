//! Finds the big cores of the CPU.
//!
//! A phone's little cores do about a third of a big core's work, and share its memory
//! and its heat. If every core had a piece of work, the big cores would wait for the
//! little ones. So by default an engine has one thread for each big core that the
//! process may use.
//!
//! Linux and Android report the capacity of each core in sysfs. Apple's systems report
//! the number of cores of the highest performance level. Elsewhere all cores count as
//! big.

// The code that reads the files of Linux is compiled and tested wherever there is
// `std`.
#![cfg_attr(not(any(target_os = "linux", target_os = "android")), allow(dead_code))]

use std::string::String;
use std::vec::Vec;

/// The number of cores that the system's core sets can hold.
const MAX_CORES: usize = 1024;

/// The strength of a core, in a unit that is the same for all cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Core {
    id: usize,
    strength: u64,
}

/// The unit of the strength of cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Measure {
    /// `cpu_capacity`: work at the highest frequency, 1024 for the best core. Little
    /// cores have 250 to 450 (Cortex-A55 beside A76 to X1), middle ones 600 to 900. A
    /// big core has at least half of the best.
    Capacity,
    /// `cpuinfo_max_freq`. It does not include the work per cycle, so the limit is
    /// higher: little cores run at up to 0.78 of the best frequency (Snapdragon 855:
    /// 0.63, 695: 0.77, Intel's hybrids: 0.78), middle ones at 0.80 and more
    /// (Snapdragon 855: 0.85).
    Frequency,
}

impl Measure {
    fn is_big(self, strength: u64, best: u64) -> bool {
        match self {
            Measure::Capacity => strength.saturating_mul(2) >= best,
            Measure::Frequency => strength.saturating_mul(5) >= best.saturating_mul(4),
        }
    }

    fn path(self, core: usize) -> String {
        match self {
            Measure::Capacity => std::format!("cpu{core}/cpu_capacity"),
            Measure::Frequency => std::format!("cpu{core}/cpufreq/cpuinfo_max_freq"),
        }
    }
}

/// The default number of threads: the big cores that the process may use, but no more
/// than its share of CPU time allows.
pub fn default_threads() -> usize {
    let share = std::thread::available_parallelism().map_or(1, usize::from);
    system::big_count().map_or(share, |big| big.clamp(1, share))
}

/// Restricts the calling thread to the big cores that the process may use. The system
/// may move it among them, because it knows which of them is free.
///
/// Returns false if the system has no such call, does not report its cores, or refuses.
pub fn pin_to_big_cores() -> bool {
    system::pin_to_big_cores()
}

/// The big cores among those that are online and `allowed`, according to the files
/// below `/sys/devices/system/cpu`, which `file` reads. Empty if there are no such
/// files.
///
/// All are big if they have the same strength, or if the strength of one is not reported.
/// So all are also big if only little cores are allowed, as Android does with apps in the
/// background.
fn big_cores(file: impl Fn(&str) -> Option<String>, allowed: impl Fn(usize) -> bool) -> Vec<usize> {
    let list = |name| file(name).and_then(|text| parse_list(&text));
    let mut ids = list("online")
        .or_else(|| list("possible"))
        .unwrap_or_default();
    ids.retain(|&id| allowed(id));
    for measure in [Measure::Capacity, Measure::Frequency] {
        let cores: Option<Vec<Core>> = ids
            .iter()
            .map(|&id| {
                let strength = file(&measure.path(id))?.trim().parse().ok()?;
                Some(Core { id, strength })
            })
            .collect();
        if let Some(cores) = cores {
            let best = cores.iter().map(|core| core.strength).max().unwrap_or(0);
            let is_big = |core: &&Core| measure.is_big(core.strength, best);
            return cores.iter().filter(is_big).map(|core| core.id).collect();
        }
    }
    ids
}

/// Parses a list of cores in the kernel's format: `0-3,6`.
fn parse_list(text: &str) -> Option<Vec<usize>> {
    let mut ids = Vec::new();
    for range in text.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?);
        if first > last || last >= MAX_CORES || ids.last().is_some_and(|&id| id >= first) {
            return None;
        }
        ids.extend(first..=last);
    }
    Some(ids)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod system {
    use super::{MAX_CORES, Vec};
    use core::mem::zeroed;
    use std::path::Path;

    pub fn big_count() -> Option<usize> {
        Some(big_cores().len()).filter(|&count| count > 0)
    }

    pub fn pin_to_big_cores() -> bool {
        let cores = big_cores();
        if cores.is_empty() {
            return false;
        }
        // SAFETY: a set of cores is plain bits, and has room for all cores that
        // `big_cores` returns; 0 is the calling thread.
        unsafe {
            let mut set: libc::cpu_set_t = zeroed();
            cores.iter().for_each(|&id| libc::CPU_SET(id, &mut set));
            libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) == 0
        }
    }

    fn big_cores() -> Vec<usize> {
        let folder = Path::new("/sys/devices/system/cpu");
        let file = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
        let allowed = allowed();
        super::big_cores(file, |id| {
            has_room(id) && allowed.is_none_or(|set| contains(&set, id))
        })
    }

    /// The cores on which the calling thread may run.
    fn allowed() -> Option<libc::cpu_set_t> {
        // SAFETY: a set of cores is plain bits, and the call writes at most the size
        // that it is given.
        unsafe {
            let mut set: libc::cpu_set_t = zeroed();
            let got = libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set);
            (got == 0).then_some(set)
        }
    }

    /// On 32-bit Android a set has room for only 32 cores.
    fn has_room(id: usize) -> bool {
        id < MAX_CORES.min(size_of::<libc::cpu_set_t>() * 8)
    }

    fn contains(set: &libc::cpu_set_t, id: usize) -> bool {
        // SAFETY: the set has room for this id.
        has_room(id) && unsafe { libc::CPU_ISSET(id, set) }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        /// Pinned workers stay on big cores, and other threads are not moved.
        #[test]
        fn a_thread_pins_itself_alone() {
            let ids = |set: libc::cpu_set_t| -> Vec<usize> {
                (0..MAX_CORES).filter(|&id| contains(&set, id)).collect()
            };
            let before = ids(allowed().unwrap());
            let big = big_cores();
            assert!(!big.is_empty());
            let pinned = std::thread::spawn(move || {
                assert!(pin_to_big_cores());
                ids(allowed().unwrap())
            });
            assert_eq!(pinned.join().unwrap(), big);
            assert_eq!(ids(allowed().unwrap()), before);
        }
    }
}

#[cfg(target_vendor = "apple")]
mod system {
    /// The number of cores of the highest performance level. Compiled, but not run in
    /// our tests.
    pub fn big_count() -> Option<usize> {
        let mut count: libc::c_int = 0;
        let mut size = size_of::<libc::c_int>();
        // SAFETY: the name ends in zero, and the call writes at most `size` bytes to
        // the number.
        let failed = unsafe {
            libc::sysctlbyname(
                c"hw.perflevel0.physicalcpu".as_ptr(),
                (&raw mut count).cast(),
                &raw mut size,
                core::ptr::null_mut(),
                0,
            )
        };
        usize::try_from(count)
            .ok()
            .filter(|&n| failed == 0 && n > 0)
    }

    /// The system places threads by itself and has no such call.
    pub fn pin_to_big_cores() -> bool {
        false
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
mod system {
    pub fn big_count() -> Option<usize> {
        None
    }

    pub fn pin_to_big_cores() -> bool {
        false
    }
}

#[cfg(test)]
mod tests;
