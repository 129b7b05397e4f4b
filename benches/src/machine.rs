//! The conditions of a measurement: the machine, the date, the commit.

use ondol::machine::cpu_name;
use serde::{Deserialize, Serialize};
use std::fs;
use std::process::Command;

/// The CPU flags on which the choice of kernels depends.
const FEATURES: [&str; 17] = [
    "avx",
    "avx2",
    "fma",
    "f16c",
    "bmi2",
    "avx_vnni",
    "avx512f",
    "avx512bw",
    "avx512vl",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_int8",
    "asimd",
    "asimddp",
    "i8mm",
    "sve",
];

/// The properties of a machine on which figures depend. What the system does not report is empty.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Machine {
    /// The CPU's own name.
    pub cpu: String,
    /// Cores that a program may use.
    pub cores: usize,
    /// The CPU's features on which the choice of kernels depends.
    pub features: Vec<String>,
    /// Caches of a core, as the system writes them: level and size.
    pub caches: Vec<String>,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Distribution and kernel.
    pub os: String,
    /// The compiler that built Ondol.
    pub rustc: String,
}

impl Machine {
    /// Describes this machine.
    pub fn describe() -> Machine {
        let cpu = read("/proc/cpuinfo");
        let flags = field(&cpu, "flags").or_else(|| field(&cpu, "Features"));
        let flags: Vec<&str> = flags.unwrap_or_default().split_whitespace().collect();
        let system = read("/etc/os-release");
        let system = field(&system, "PRETTY_NAME").unwrap_or_default();
        let memory = read("/proc/meminfo");
        let kilobytes = field(&memory, "MemTotal").and_then(|text| text.split(' ').next());
        Machine {
            cpu: cpu_name(),
            cores: cores(),
            features: FEATURES
                .iter()
                .filter(|name| flags.contains(name))
                .map(|&name| name.into())
                .collect(),
            caches: caches(),
            memory_bytes: kilobytes.and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) * 1024,
            os: format!(
                "{}, {}",
                system.trim_matches('"'),
                first_line("uname", &["-sr"])
            ),
            rustc: first_line("rustc", &["--version"]),
        }
    }

    /// The CPU's name for a file name: lower case, words joined by hyphens.
    pub fn slug(&self) -> String {
        let name = self
            .cpu
            .replace("(R)", "")
            .replace("(TM)", "")
            .to_lowercase();
        let words = name.split(|c: char| !c.is_ascii_alphanumeric());
        words
            .filter(|word| !word.is_empty())
            .collect::<Vec<_>>()
            .join("-")
    }
}

/// Cores that a program may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get())
}

/// Date and time, UTC.
pub fn now() -> String {
    first_line("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"])
}

/// The commit that is checked out, `-dirty` if files differ from it.
pub fn commit() -> String {
    first_line("git", &["describe", "--always", "--dirty", "--exclude=*"])
}

fn caches() -> Vec<String> {
    let entry = |index: u32, what: &str| {
        let path = format!("/sys/devices/system/cpu/cpu0/cache/index{index}/{what}");
        fs::read_to_string(path).map(|text| text.trim().to_owned())
    };
    let cache = |index| {
        let kind = entry(index, "type").ok()?;
        let text = format!(
            "L{} {}",
            entry(index, "level").ok()?,
            entry(index, "size").ok()?
        );
        (kind != "Instruction").then_some(text)
    };
    (0..5).filter_map(cache).collect()
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The value of the first `key: value` or `key=value`.
fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let value = |line: &'a str| {
        let (name, value) = line.split_once([':', '='])?;
        (name.trim() == key).then_some(value.trim())
    };
    text.lines().find_map(value)
}

/// The first line that a command prints; empty if it can't be run.
fn first_line(program: &str, args: &[&str]) -> String {
    let output = Command::new(program)
        .args(args)
        .current_dir(crate::root())
        .output();
    let output = output.map(|output| output.stdout).unwrap_or_default();
    let text = String::from_utf8_lossy(&output);
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "flags_more : no\nflags\t\t: avx2 fma\nMemTotal:  24 kB\nA=\"b\"";
        assert_eq!(field(text, "flags"), Some("avx2 fma"));
        assert_eq!(field(text, "MemTotal"), Some("24 kB"));
        assert_eq!(field(text, "A"), Some("\"b\""));
        assert_eq!(field(text, "flag"), None);
    }

    #[test]
    fn file_names_hold_letters_digits_and_hyphens() {
        let cpu = "Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz".to_owned();
        let machine = Machine {
            cpu,
            ..Machine::default()
        };
        assert_eq!(machine.slug(), "intel-xeon-gold-6338-cpu-2-00ghz");
    }

    #[test]
    fn this_machine_has_a_name_and_cores() {
        let machine = Machine::describe();
        assert!(!machine.cpu.is_empty() && machine.cores > 0);
    }
}
