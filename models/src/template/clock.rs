//! `strftime_now`: the caller's clock in the codes of C's `strftime`.

use std::fmt::Write;

use chrono::{DateTime, Local};
use minijinja::Error;

use super::guard::failure;

/// The last second of the year 9999: the clock is clamped, so that a year has four digits.
const LATEST: i64 = 253_402_300_799;
/// Codes that mean the same to C and to chrono. `%s`, seconds since 1970 in UTC, is not among
/// them: the time is that of a clock whose zone is not known.
const CODES: &str = "aAbBcCdDeFgGhHIjklmMnpPrRStTuUVwWxXyY%";

/// The system's clock in the system's zone: seconds since 1970-01-01 00:00 there.
pub(super) fn local_now() -> i64 {
    Local::now().naive_local().and_utc().timestamp()
}

/// Formats a time in English. `seconds` is counted from 1970-01-01 00:00 on the clock to
/// show. As for Python's times without a zone, `%Z` and `%z` are empty.
///
/// # Errors
/// For a code that is not known.
pub(super) fn strftime(seconds: i64, format: &str) -> Result<String, Error> {
    let moment = DateTime::from_timestamp(seconds.clamp(0, LATEST), 0).unwrap_or_default();
    let mut text = String::with_capacity(format.len());
    let mut rest = format;
    while let Some((before, from_code)) = rest.split_once('%') {
        text.push_str(before);
        let letters = from_code.trim_start_matches(['-', '_', '0', '^']);
        let flags = &from_code[..from_code.len() - letters.len()];
        let mut chars = letters.chars();
        let Some(letter) = chars.next() else {
            // As in C, an incomplete code is written unchanged.
            text.push('%');
            text.push_str(flags);
            return Ok(text);
        };
        rest = chars.as_str();
        let unknown = || {
            failure(format!(
                "`strftime_now` does not know the code `%{flags}{letter}`"
            ))
        };
        let field = match letter {
            'Z' | 'z' => continue,
            // Microseconds, as Python has it.
            'f' => "000000".to_owned(),
            _ if CODES.contains(letter) => {
                let mut field = String::new();
                let code = format!("%{}{letter}", flags.replace('^', ""));
                write!(field, "{}", moment.format(&code)).map_err(|_| unknown())?;
                field
            }
            _ => return Err(unknown()),
        };
        match flags.contains('^') {
            true => text.push_str(&field.to_uppercase()),
            false => text.push_str(&field),
        }
    }
    text.push_str(rest);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::{local_now, strftime};
    use std::process::Command;
    use std::time::{SystemTime, UNIX_EPOCH};

    fn shown(seconds: i64, format: &str) -> String {
        strftime(seconds, format).unwrap()
    }

    /// Zones by name where the system has them, and by a rule of their own.
    #[test]
    fn the_zone_is_the_systems() {
        let zones = [("Asia/Seoul", 9 * 3600), ("KST-9", 9 * 3600), ("UTC", 0)];
        for (zone, offset) in zones {
            if zone.contains('/')
                && !std::path::Path::new("/usr/share/zoneinfo/Asia/Seoul").exists()
            {
                println!("skipped {zone}: the system has no names of zones");
                continue;
            }
            // A process of its own: the variable can't be set here, where threads run.
            let child = Command::new(std::env::current_exe().unwrap())
                .args(["--ignored", "--nocapture", "prints_the_offset"])
                .env("TZ", zone)
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&child.stdout);
            assert!(
                text.contains(&format!("offset {offset}\n")),
                "{zone}: {text}"
            );
        }
    }

    #[test]
    #[ignore = "a part of the test above, which runs it in several zones"]
    fn prints_the_offset() {
        let utc = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs() as i64;
        let offset = local_now() - utc;
        println!("offset {}", (offset + 1) / 60 * 60);
    }

    #[test]
    fn known_dates() {
        // From `date -u -d @… +…`.
        assert_eq!(
            shown(0, "%A %a %d %B %Y %j %H:%M:%S %p"),
            "Thursday Thu 01 January 1970 001 00:00:00 AM"
        );
        assert_eq!(
            shown(951_827_696, "%F %T %j %a"),
            "2000-02-29 12:34:56 060 Tue"
        );
        assert_eq!(
            shown(1_735_689_599, "%d %b %Y %j %I %-I %p"),
            "31 Dec 2024 366 11 11 PM"
        );
        assert_eq!(
            shown(1_772_323_200, "%Y-%m-%d %j %w %e|%-d|%y"),
            "2026-03-01 060 0  1|1|26"
        );
    }

    /// From Python's `datetime(1970, 1, 1).strftime(…)` on Linux.
    #[test]
    fn codes_are_as_in_python() {
        assert_eq!(
            shown(0, "%c|%U|%R|%k|%l|%u|%G|%V|%g|%C|%n|%t|%_d|%^a|%f|%Z|%z|%P"),
            "Thu Jan  1 00:00:00 1970|00|00:00| 0|12|4|1970|01|70|19|\n|\t| 1|THU|000000|||am"
        );
        assert_eq!(
            shown(
                0,
                "%-H %-j %-y %-k %-l %-C %-V %-U %-u %_H %0e %h %r %x %X %D"
            ),
            "0 1 70 0 12 19 1 0 4  0 01 Jan 12:00:00 AM 01/01/70 00:00:00 01/01/70"
        );
    }

    #[test]
    fn the_text_around_codes_stays() {
        assert_eq!(
            shown(0, "오늘은 %Y년 %-m월 %-d일, 100%% %"),
            "오늘은 1970년 1월 1일, 100% %"
        );
    }

    #[test]
    fn unknown_codes_are_named() {
        for code in ["%Q", "%s", "%+", "%v", "%E", "%-_d", "% ", "%년"] {
            let error = strftime(0, &format!("%Y {code} %m")).unwrap_err();
            assert!(error.to_string().contains(&format!("`{code}`")), "{error}");
        }
    }

    #[test]
    fn clocks_out_of_range_are_clamped() {
        assert_eq!(shown(i64::MIN, "%Y"), "1970");
        assert_eq!(shown(i64::MAX, "%F"), "9999-12-31");
    }
}
