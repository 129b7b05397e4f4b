//! What a report says of the machine, its files and the time.

use crate::{Error, Result};
use ondol::files::Hasher;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// The SHA-256 of a file, hexadecimal.
///
/// # Errors
/// [`Error::File`] if the file can't be read.
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

/// The hash of a text, hexadecimal.
pub fn sha256_of(text: &str) -> String {
    let mut hasher = Hasher::new();
    hasher.update(text.as_bytes());
    hasher.finish()
}

/// The SHA-256 of the running program's file, hexadecimal.
///
/// # Errors
/// [`Error::File`] if the program's file can't be found or read.
pub fn program_sha256() -> Result<String> {
    let file = |source| Error::File {
        path: "the program".into(),
        source,
    };
    sha256(&std::env::current_exe().map_err(file)?)
}

/// The text of a file of the system, such as one in `/proc`; empty if it can't be read.
pub fn told(path: &str) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.trim().to_owned()
}

/// Bytes of memory; 0 where the system does not tell.
pub fn memory() -> u64 {
    let text = told("/proc/meminfo");
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kilobytes = total.and_then(|total| total.trim().strip_suffix("kB")?.trim().parse().ok());
    kilobytes.map_or(0, |kilobytes: u64| kilobytes * 1024)
}

/// The time in Korea, which has no summer time: `2026-11-29T21:00:00+09:00`.
pub fn now_in_korea() -> String {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    in_korea(since.as_secs())
}

/// Seconds since 1970 as a date, by the civil calendar (Howard Hinnant's
/// `civil_from_days`).
fn in_korea(seconds: u64) -> String {
    let seconds = seconds + 9 * 3600;
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
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}+09:00")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(in_korea(0), "1970-01-01T09:00:00+09:00");
        assert_eq!(in_korea(951_782_400), "2000-02-29T09:00:00+09:00");
        assert_eq!(in_korea(1_795_964_399), "2026-11-29T23:59:59+09:00");
    }
}
