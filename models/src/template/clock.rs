//! `strftime_now`: the caller's clock in the codes of C's `strftime`.

const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const SECONDS_PER_DAY: i64 = 86_400;
/// Seconds of ten thousand years: the clock is clamped to a year of four digits.
const LATEST: i64 = 253_402_300_799;

/// A moment, split into the fields of the Gregorian calendar.
struct Moment {
    year: i64,
    /// 1 to 12.
    month: i64,
    /// 1 to 31.
    day: i64,
    /// 1 to 366.
    day_of_year: i64,
    /// 0 is Sunday.
    weekday: i64,
    hour: i64,
    minute: i64,
    second: i64,
}

/// The system's clock in the system's zone: seconds since 1970-01-01 00:00 there.
pub(super) fn local_now() -> i64 {
    let now = chrono::Local::now();
    now.timestamp() + i64::from(now.offset().local_minus_utc())
}

/// `seconds` since 1970-01-01 00:00 of the clock to show, by `format`. Unknown
/// codes are left as they are.
pub(super) fn strftime(seconds: i64, format: &str) -> String {
    let moment = Moment::new(seconds.clamp(0, LATEST));
    let mut text = String::with_capacity(format.len());
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        let rest = chars.as_str();
        let padded = !rest.starts_with('-');
        let code = rest.strip_prefix('-').unwrap_or(rest).chars().next();
        match code.and_then(|code| moment.field(code, padded)) {
            Some(field) => {
                text.push_str(&field);
                chars.nth(usize::from(!padded));
            }
            None => text.push('%'),
        }
    }
    text
}

impl Moment {
    /// Days are counted from 1970-01-01 by H. Hinnant's `civil_from_days`
    /// (<https://howardhinnant.github.io/date_algorithms.html>), whose years
    /// start in March so that the leap day comes last.
    fn new(seconds: i64) -> Moment {
        let days = seconds / SECONDS_PER_DAY;
        let second_of_day = seconds % SECONDS_PER_DAY;
        let since_era = days + 719_468;
        let era = since_era / 146_097;
        let day_of_era = since_era % 146_097;
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_from_march = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_from_march + 2) / 153;
        let day = day_from_march - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 {
            month_from_march + 3
        } else {
            month_from_march - 9
        };
        let year = era * 400 + year_of_era + i64::from(month <= 2);
        let leap = i64::from(year % 4 == 0 && (year % 100 != 0 || year % 400 == 0));
        let day_of_year = if month > 2 {
            day_from_march + 60 + leap
        } else {
            day_from_march - 305
        };
        Moment {
            year,
            month,
            day,
            day_of_year,
            weekday: (days + 4) % 7,
            hour: second_of_day / 3_600,
            minute: second_of_day / 60 % 60,
            second: second_of_day % 60,
        }
    }

    fn field(&self, code: char, padded: bool) -> Option<String> {
        let number = |value: i64, width: usize| {
            if padded {
                format!("{value:0width$}")
            } else {
                value.to_string()
            }
        };
        let day_name = DAYS[(self.weekday % 7) as usize];
        let month_name = MONTHS[((self.month - 1) % 12) as usize];
        let hour_of_12 = (self.hour + 11) % 12 + 1;
        Some(match code {
            'Y' => self.year.to_string(),
            'y' => number(self.year % 100, 2),
            'm' => number(self.month, 2),
            'd' => number(self.day, 2),
            'e' if padded => format!("{:2}", self.day),
            'e' => self.day.to_string(),
            'j' => number(self.day_of_year, 3),
            'H' => number(self.hour, 2),
            'I' => number(hour_of_12, 2),
            'M' => number(self.minute, 2),
            'S' => number(self.second, 2),
            'p' => if self.hour < 12 { "AM" } else { "PM" }.to_owned(),
            'A' => day_name.to_owned(),
            'a' => day_name[..3].to_owned(),
            'B' => month_name.to_owned(),
            'b' | 'h' => month_name[..3].to_owned(),
            'w' => self.weekday.to_string(),
            'F' => format!("{}-{:02}-{:02}", self.year, self.month, self.day),
            'D' | 'x' => format!("{:02}/{:02}/{:02}", self.month, self.day, self.year % 100),
            'T' | 'X' => format!("{:02}:{:02}:{:02}", self.hour, self.minute, self.second),
            '%' => "%".to_owned(),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{local_now, strftime};
    use std::process::Command;
    use std::time::{SystemTime, UNIX_EPOCH};

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
            strftime(0, "%A %a %d %B %Y %j %H:%M:%S %p"),
            "Thursday Thu 01 January 1970 001 00:00:00 AM"
        );
        assert_eq!(
            strftime(951_827_696, "%F %T %j %a"),
            "2000-02-29 12:34:56 060 Tue"
        );
        assert_eq!(
            strftime(1_735_689_599, "%d %b %Y %j %I %-I %p"),
            "31 Dec 2024 366 11 11 PM"
        );
        assert_eq!(
            strftime(1_772_323_200, "%Y-%m-%d %j %w %e|%-d|%y"),
            "2026-03-01 060 0  1|1|26"
        );
    }

    #[test]
    fn the_text_around_codes_stays() {
        assert_eq!(
            strftime(0, "오늘은 %Y년 %-m월 %-d일, 100%% %Q %"),
            "오늘은 1970년 1월 1일, 100% %Q %"
        );
    }

    #[test]
    fn clocks_out_of_range_are_clamped() {
        assert_eq!(strftime(i64::MIN, "%Y"), "1970");
        assert_eq!(strftime(i64::MAX, "%F"), "9999-12-31");
    }

    #[test]
    fn days_of_all_years_follow_each_other() {
        let mut last = 0;
        for day in 0..40_000 {
            let text = strftime(day * 86_400, "%m %d %j");
            let fields: Vec<i64> = text.split(' ').map(|f| f.parse().unwrap()).collect();
            assert!(
                fields[2] == last + 1 || (fields[..2] == [1, 1] && fields[2] == 1),
                "{text}"
            );
            last = fields[2];
        }
    }
}
