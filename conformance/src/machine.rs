//! What is known of the machine, its files and the time.

use crate::{Error, Result};
use ondol::store::files::Hasher;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// The hash of a file, hexadecimal.
pub fn sha256(path: &Path) -> Result<String> {
    let file = |source| Error::File {
        path: path.to_path_buf(),
        source,
    };
    let mut hasher = Hasher::new();
    let mut bytes = std::fs::File::open(path).map_err(file)?;
    std::io::copy(&mut bytes, &mut hasher).map_err(file)?;
    Ok(hasher.finish())
}

/// The CPU's name if the system reports it, else the architecture.
pub fn cpu_name() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or_else(
        || std::env::consts::ARCH.to_owned(),
        |(_, name)| name.trim().to_owned(),
    )
}

/// Kilobytes of memory that the process holds (`VmRSS`) or held at most (`VmHWM`), if
/// the system reports it.
pub fn memory_kb(field: &str) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

/// The time, `2026-11-29T12:00:00Z`.
pub fn utc_now() -> String {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    utc(since.as_secs())
}

/// Seconds since 1970 as a date, by the civil calendar (Howard Hinnant's
/// `civil_from_days`).
fn utc(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day) = (days / 146_097, days % 146_097);
    let year_of_era = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day + 2) / 153;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let day = day - (153 * from_march + 2) / 5 + 1;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(utc(1_795_953_599), "2026-11-29T11:59:59Z");
    }
}
