//! Which cores are big.
//!
//! A phone's little cores do a third of a big core's work, and share its memory
//! and its heat; with a piece of work on each, the big cores wait for the last
//! one. So a session has as many threads as the process may use big cores.
//!
//! Linux and Android tell the capacity of each core in sysfs, Apple's systems
//! the number of cores of the highest performance level; elsewhere all cores
//! count.

// Reading the files of Linux is compiled, and tested, wherever there is `std`.
#![cfg_attr(not(any(target_os = "linux", target_os = "android")), allow(dead_code))]

use std::string::String;
use std::vec::Vec;

/// As many cores as the system's sets of cores hold.
const MAX_CORES: usize = 1024;

/// How much a core can do, in some unit that is the same for all cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Core {
    id: usize,
    strength: u64,
}

/// What the strengths of cores tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Measure {
    /// `cpu_capacity`: work at the highest frequency, 1024 for the best core.
    /// Little cores have 250 to 450 (Cortex-A55 beside A76 to X1), middle ones
    /// 600 to 900: a half parts them.
    Capacity,
    /// `cpuinfo_max_freq`, which says nothing of the work per cycle, so the
    /// bound is closer: little cores run at up to 0.78 of the best frequency
    /// (Snapdragon 855: 0.63, 695: 0.77, Intel's hybrids: 0.78), middle ones at
    /// 0.80 and more (Snapdragon 855: 0.85).
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

/// The number of threads that a session has by default: the big cores among
/// those that the process may use, and no more than its share of time allows.
pub fn default_threads() -> usize {
    let share = std::thread::available_parallelism().map_or(1, usize::from);
    system::big_count().map_or(share, |big| big.clamp(1, share))
}

/// Keeps the calling thread on the big cores that the process may use. It may
/// move among them: the system knows better which of them is free.
///
/// False where the system has no such call, does not tell, or refuses.
pub fn pin_to_big_cores() -> bool {
    system::pin_to_big_cores()
}

/// The big ones among the cores that are online and `allowed`, by the text of
/// the files below `/sys/devices/system/cpu`; none if there are no such files.
///
/// Among cores of the same strength, or if any core's strength is not told, all
/// are big. So they are if only little cores are allowed, as Android does to
/// apps in the background.
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

/// A list of cores as the kernel writes it: `0-3,6`.
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
        // SAFETY: a set of cores is plain bits, and has room for all that
        // `big_cores` names; 0 is the calling thread.
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

    /// The cores that the calling thread may use.
    fn allowed() -> Option<libc::cpu_set_t> {
        // SAFETY: a set of cores is plain bits, and the call writes no more than
        // the size that it is told.
        unsafe {
            let mut set: libc::cpu_set_t = zeroed();
            let got = libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set);
            (got == 0).then_some(set)
        }
    }

    /// On 32-bit Android a set has room for 32 cores only.
    fn has_room(id: usize) -> bool {
        id < MAX_CORES.min(size_of::<libc::cpu_set_t>() * 8)
    }

    fn contains(set: &libc::cpu_set_t, id: usize) -> bool {
        // SAFETY: the id is one that the set has room for.
        has_room(id) && unsafe { libc::CPU_ISSET(id, set) }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        /// What is pinned stays on big cores, and nobody else is moved.
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
    /// The cores of the highest performance level. Compiled, but not run by us.
    pub fn big_count() -> Option<usize> {
        let mut count: libc::c_int = 0;
        let mut size = size_of::<libc::c_int>();
        // SAFETY: the name ends in zero, and the call writes no more than `size`
        // bytes to the number.
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

    /// The system places threads by itself and has no call for it.
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
