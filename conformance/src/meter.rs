//! Energy from a meter that is not the device's: the log of one outside, or the CPU's
//! own counters (RAPL, `/sys/class/powercap`). What the machine draws when idle, measured
//! before the run, is subtracted.

use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long the machine is left idle before a run.
pub const IDLE: Duration = Duration::from_secs(5);
/// The largest time between two readings of a log during a run, in seconds.
pub const GAP: f64 = 2.0;
/// The fewest readings of a log in all phases of one kind together: with fewer, the result
/// depends on what happened at the ends of the phases.
pub const READINGS: usize = 10;
/// How often a log that is being written is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// Where Linux shows the counters: `energy_uj` and `max_energy_range_uj`, in microjoules,
/// by domain (`Documentation/power/powercap/powercap.rst` of the kernel).
const RAPL: &str = "/sys/class/powercap";

/// Why a meter gives no energy.
#[derive(Debug, thiserror::Error)]
pub enum MeterError {
    /// The log can't be read.
    #[error("{path}: {source}")]
    File {
        /// The log.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The log's first line does not name a column that is needed.
    #[error("the meter's log has no column of {0}; its first line must name `time` and `watts`")]
    NoColumn(&'static str),
    /// A line of the log is not a reading.
    #[error("line {line} of the meter's log is not a reading: {reason}")]
    BadLine {
        /// Counted from 1.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// The log goes back in time.
    #[error("line {line} of the meter's log is earlier than the line before it")]
    NotInOrder {
        /// Counted from 1.
        line: u64,
    },
    /// The log does not cover the run: another clock, or it began late or ended early.
    #[error(
        "the meter's log covers {first:.1} to {last:.1} (seconds since 1970), the run lasted from \
         {begin:.1} to {end:.1}: check the meter's clock"
    )]
    Outside {
        /// The log's first reading.
        first: f64,
        /// Its last one.
        last: f64,
        /// The beginning of a phase of the run.
        begin: f64,
        /// Its end.
        end: f64,
    },
    /// Readings are missing during the run.
    #[error("the meter's log has no reading for {seconds:.1} s from {at:.1} on, during the run")]
    Gap {
        /// The reading before the gap, in seconds since 1970.
        at: f64,
        /// Its length.
        seconds: f64,
    },
    /// The work was too short for the meter.
    #[error(
        "{readings} readings in {seconds:.2} s of work; at least {READINGS} are needed: measure more runs"
    )]
    TooShort {
        /// Readings during the work.
        readings: usize,
        /// How long it was.
        seconds: f64,
    },
    /// The machine drew less during the work than when idle: another program may have run
    /// while it should have been idle.
    #[error("the machine drew less at work than idle ({idle_watts:.3} W)")]
    BelowIdle {
        /// What it drew idle.
        idle_watts: f64,
    },
}

/// A meter during a run.
#[derive(Debug)]
pub enum Meter {
    /// None.
    Nothing,
    /// An outside meter that writes a log.
    Log(PathBuf),
    /// The CPU's counters.
    Counters(Vec<Counter>),
}

/// One of the CPU's counters.
#[derive(Debug)]
pub struct Counter {
    path: PathBuf,
    /// The counter's range, in microjoules: it begins again at 0 after it.
    range_uj: u64,
    last_uj: u64,
    /// Microjoules since the meter was opened.
    total_uj: u64,
}

/// A moment of a run.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// Seconds since 1970, by the machine's clock.
    seconds: f64,
    /// Joules that the counters counted from the opening of the meter to this moment.
    counted: f64,
}

/// Work, or idleness, between two moments.
#[derive(Debug, Clone, Copy)]
pub struct Phase {
    begin: Moment,
    end: Moment,
}

/// The energy and time of the work of a run, without the energy that the machine draws idle.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Energy {
    /// The energy in joules.
    pub joules: f64,
    /// The time in seconds.
    pub seconds: f64,
}

impl Meter {
    /// The log if one is given, else the CPU's counters if they can be read.
    pub fn find(log: Option<&Path>) -> Meter {
        match log {
            Some(path) => Meter::Log(path.to_path_buf()),
            None => Meter::counters(Path::new(RAPL)),
        }
    }

    fn counters(folder: &Path) -> Meter {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let counters: Vec<Counter> = entries
            .filter_map(|entry| Counter::open(&entry.path()))
            .collect();
        match counters.is_empty() {
            true => Meter::Nothing,
            false => Meter::Counters(counters),
        }
    }

    /// What the meter is, in English; `None` if there is no meter.
    pub fn name(&self) -> Option<String> {
        match self {
            Meter::Nothing => None,
            Meter::Log(path) => Some(format!("an outside meter's log, {}", path.display())),
            Meter::Counters(_) => Some("the CPU's counters (RAPL), packages".to_owned()),
        }
    }

    /// The present moment.
    pub fn now(&mut self) -> Moment {
        let counted_uj: u64 = match self {
            Meter::Counters(counters) => counters.iter_mut().map(Counter::count).sum(),
            Meter::Nothing | Meter::Log(_) => 0,
        };
        Moment {
            seconds: since_1970(),
            counted: counted_uj as f64 / 1e6,
        }
    }

    /// Does some work; returns its phase, and what the work returns.
    pub fn during<T>(&mut self, work: impl FnOnce() -> T) -> (Phase, T) {
        let begin = self.now();
        let given = work();
        let end = self.now();
        (Phase { begin, end }, given)
    }

    /// Leaves the machine idle for [`IDLE`], if there is a meter.
    pub fn idle(&mut self) -> Option<Phase> {
        match self {
            Meter::Nothing => None,
            _ => Some(self.during(|| sleep(IDLE)).0),
        }
    }

    /// What the meter read, after the run; `None` if there is no meter. Waits until a log
    /// that is being written has a reading after this call, for at most [`GAP`].
    ///
    /// # Errors
    /// [`MeterError`], if a log can't be used.
    pub fn readings(&self) -> Result<Option<Readings>, MeterError> {
        let Meter::Log(path) = self else {
            return Ok(self.name().map(|_| Readings(None)));
        };
        let asked = since_1970();
        loop {
            let log = Log::read(path)?;
            let last = log.0.last().map_or(f64::NEG_INFINITY, |reading| reading.0);
            let is_written = asked - last < GAP;
            if last >= asked || !is_written || since_1970() - asked > GAP {
                return Ok(Some(Readings(Some(log))));
            }
            sleep(LOOK);
        }
    }
}

/// Seconds since 1970, by the machine's clock.
fn since_1970() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64()
}

impl Counter {
    /// Opens the counter of a CPU package; `None` for a domain within a package, whose energy is
    /// part of the package's.
    fn open(folder: &Path) -> Option<Counter> {
        let number = |name: &str| read_number(&folder.join(name));
        let name = fs::read_to_string(folder.join("name")).ok()?;
        if !name.starts_with("package") {
            return None;
        }
        let last_uj = number("energy_uj")?;
        Some(Counter {
            path: folder.join("energy_uj"),
            range_uj: number("max_energy_range_uj")?,
            last_uj,
            total_uj: 0,
        })
    }

    /// Microjoules since the counter was opened. Must be called more often than the counter begins
    /// again at 0, which it does every few minutes or hours.
    fn count(&mut self) -> u64 {
        let now = read_number(&self.path).unwrap_or(self.last_uj);
        self.total_uj += match now >= self.last_uj {
            true => now - self.last_uj,
            false => now + self.range_uj.saturating_sub(self.last_uj),
        };
        self.last_uj = now;
        self.total_uj
    }
}

fn read_number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// What a meter read: a log, or `None` for counters, whose readings are in the moments.
#[derive(Debug)]
pub struct Readings(Option<Log>);

impl Readings {
    /// What the machine draws in a phase, in watts.
    ///
    /// # Errors
    /// [`MeterError`].
    pub fn watts(&self, phase: &Phase) -> Result<f64, MeterError> {
        Ok(self.joules(phase)? / phase.seconds())
    }

    /// The energy of phases of one kind, without `idle_watts`.
    ///
    /// # Errors
    /// [`MeterError`].
    pub fn energy(&self, phases: &[Phase], idle_watts: f64) -> Result<Energy, MeterError> {
        let seconds: f64 = phases.iter().map(Phase::seconds).sum();
        let mut joules = 0.0;
        for phase in phases {
            joules += self.joules(phase)?;
        }
        if let Some(log) = &self.0 {
            let readings = phases.iter().map(|phase| log.within(phase)).sum();
            if readings < READINGS {
                return Err(MeterError::TooShort { readings, seconds });
            }
        }
        let joules = joules - idle_watts * seconds;
        match joules > 0.0 {
            true => Ok(Energy { joules, seconds }),
            false => Err(MeterError::BelowIdle { idle_watts }),
        }
    }

    fn joules(&self, phase: &Phase) -> Result<f64, MeterError> {
        match &self.0 {
            Some(log) => log.joules(phase.begin.seconds, phase.end.seconds),
            None => Ok(phase.end.counted - phase.begin.counted),
        }
    }
}

impl Phase {
    fn seconds(&self) -> f64 {
        self.end.seconds - self.begin.seconds
    }
}

/// A meter's log: pairs of seconds since 1970 and watts, in the order of time.
#[derive(Debug)]
struct Log(Vec<(f64, f64)>);

impl Log {
    fn read(path: &Path) -> Result<Log, MeterError> {
        let text = fs::read_to_string(path).map_err(|source| MeterError::File {
            path: path.to_path_buf(),
            source,
        })?;
        Log::parse(complete_lines(&text))
    }

    /// A CSV file whose head names a column `time` (seconds since 1970, or
    /// `2026-11-30T12:00:00.5+09:00` as in RFC 3339) and one `watts`.
    fn parse(text: &str) -> Result<Log, MeterError> {
        let mut reader = csv::ReaderBuilder::new()
            .trim(csv::Trim::All)
            .from_reader(text.trim_start_matches('\u{feff}').as_bytes());
        let bad = |line, reason: String| MeterError::BadLine { line, reason };
        let heads = reader.headers().map_err(|e| bad(1, e.to_string()))?;
        let column = |names: &[&str], missing| {
            let mut heads = heads.iter();
            let at = heads.position(|head| names.contains(&head.to_lowercase().as_str()));
            at.ok_or(MeterError::NoColumn(missing))
        };
        let time = column(&["time", "timestamp", "clock"], "time")?;
        let watts = column(&["watts", "watt", "w", "power"], "watts")?;
        let mut log: Vec<(f64, f64)> = Vec::new();
        for row in reader.records() {
            let row =
                row.map_err(|e| bad(e.position().map_or(0, csv::Position::line), e.to_string()))?;
            let line = row.position().map_or(0, csv::Position::line);
            let (clock, power) = (&row[time], &row[watts]);
            let reading = seconds(clock).zip(finite(power));
            let reading = reading.ok_or_else(|| bad(line, format!("`{clock}`, `{power}`")))?;
            if log.last().is_some_and(|last| reading.0 < last.0) {
                return Err(MeterError::NotInOrder { line });
            }
            log.push(reading);
        }
        Ok(Log(log))
    }

    /// The energy between two moments: the power is taken as linear between readings.
    fn joules(&self, begin: f64, end: f64) -> Result<f64, MeterError> {
        let outside = |first, last| MeterError::Outside {
            first,
            last,
            begin,
            end,
        };
        let (Some(first), Some(last)) = (self.0.first(), self.0.last()) else {
            return Err(outside(0.0, 0.0));
        };
        if begin < first.0 || end > last.0 {
            return Err(outside(first.0, last.0));
        }
        let mut joules = 0.0;
        for pair in self.0.windows(2) {
            let ((t0, w0), (t1, w1)) = (pair[0], pair[1]);
            let (from, to) = (t0.max(begin), t1.min(end));
            if from >= to {
                continue;
            }
            if t1 - t0 > GAP {
                return Err(MeterError::Gap {
                    at: t0,
                    seconds: t1 - t0,
                });
            }
            let watts = |t: f64| w0 + (w1 - w0) * (t - t0) / (t1 - t0);
            joules += (watts(from) + watts(to)) / 2.0 * (to - from);
        }
        Ok(joules)
    }

    /// Readings in a phase.
    fn within(&self, phase: &Phase) -> usize {
        let inside = phase.begin.seconds..=phase.end.seconds;
        self.0.iter().filter(|(t, _)| inside.contains(t)).count()
    }
}

/// Without a last line that has no end: it may not be written yet.
fn complete_lines(text: &str) -> &str {
    let end = text.rfind('\n').map_or(text.len(), |at| at + 1);
    &text[..end]
}

fn finite(text: &str) -> Option<f64> {
    text.parse().ok().filter(|x: &f64| x.is_finite())
}

/// Seconds since 1970 from a number of them, or from a date with a time and its zone.
fn seconds(text: &str) -> Option<f64> {
    finite(text).or_else(|| of_date(text))
}

/// RFC 3339: `2026-11-30T12:00:00.5+09:00`, or with a space for the T.
fn of_date(text: &str) -> Option<f64> {
    let (date, time) = text.split_once(['T', ' '])?;
    let (time, zone) = match time.strip_suffix('Z') {
        Some(time) => (time, 0.0),
        None => {
            let (time, zone) = time.split_at(time.rfind(['+', '-'])?);
            (time, zone_seconds(zone)?)
        }
    };
    let mut fields = date.splitn(3, '-').map(|field| field.parse::<i64>().ok());
    let (year, month, day) = (fields.next()??, fields.next()??, fields.next()??);
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    Some(days(year, month, day) as f64 * 86_400.0 + clock_seconds(time)? - zone)
}

/// Days since 1970, by the civil calendar (Howard Hinnant's `days_from_civil`).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// `12:00:00.5`.
fn clock_seconds(text: &str) -> Option<f64> {
    let mut fields = text.splitn(3, ':').map(finite);
    let (hour, minute, second) = (fields.next()??, fields.next()??, fields.next()??);
    Some(hour * 3600.0 + minute * 60.0 + second)
}

/// `+09:00`.
fn zone_seconds(text: &str) -> Option<f64> {
    let sign = if text.starts_with('-') { -1.0 } else { 1.0 };
    Some(sign * clock_seconds(&format!("{}:0", &text[1..]))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phase(begin: f64, end: f64) -> Phase {
        let moment = |seconds| Moment {
            seconds,
            counted: 0.0,
        };
        Phase {
            begin: moment(begin),
            end: moment(end),
        }
    }

    fn log(text: &str) -> Result<Log, MeterError> {
        Log::parse(text)
    }

    #[test]
    fn a_log_is_joined_in_by_time() {
        let log = log("time,watts\n100,2\n101,4\n102,4\n").unwrap();
        assert!((log.joules(100.0, 102.0).unwrap() - 7.0).abs() < 1e-9);
        assert!((log.joules(100.5, 101.0).unwrap() - 1.75).abs() < 1e-9);
        assert_eq!(log.joules(101.2, 101.2).unwrap(), 0.0);
    }

    #[test]
    fn what_a_log_lacks_is_told() {
        let error = log("time,volts\n1,2\n").unwrap_err();
        assert!(matches!(error, MeterError::NoColumn("watts")), "{error}");
        let error = log("time,watts\n1,2\n2,much\n").unwrap_err();
        assert!(
            matches!(error, MeterError::BadLine { line: 3, .. }),
            "{error}"
        );
        let error = log("time,watts\n1,2\n0.5,2\n").unwrap_err();
        assert!(
            matches!(error, MeterError::NotInOrder { line: 3 }),
            "{error}"
        );
        let short = log("time,watts\n10,2\n11,2\n15,2\n").unwrap();
        let error = short.joules(9.0, 10.5).unwrap_err();
        assert!(matches!(error, MeterError::Outside { .. }), "{error}");
        let error = short.joules(10.5, 16.0).unwrap_err();
        assert!(matches!(error, MeterError::Outside { .. }), "{error}");
        let error = short.joules(10.5, 12.0).unwrap_err();
        assert!(matches!(error, MeterError::Gap { seconds, .. } if seconds == 4.0));
        assert!(log("time,watts\n").unwrap().joules(1.0, 2.0).is_err());
    }

    #[test]
    fn the_idle_draw_is_subtracted() {
        let lines: String = (0..60).map(|t| format!("{t},5\n")).collect();
        let readings = Readings(Some(log(&format!("Clock,Power\n{lines}")).unwrap()));
        let work = [phase(10.0, 20.0), phase(30.0, 40.0)];
        let energy = readings.energy(&work, 2.0).unwrap();
        assert!((energy.joules - 60.0).abs() < 1e-9 && energy.seconds == 20.0);
        let error = readings.energy(&work, 5.0).unwrap_err();
        assert!(matches!(error, MeterError::BelowIdle { .. }), "{error}");
        let error = readings.energy(&work[..1], 2.0);
        assert!(error.is_ok(), "eleven readings");
        let error = readings.energy(&[phase(10.0, 15.0)], 2.0).unwrap_err();
        assert!(matches!(error, MeterError::TooShort { readings: 6, .. }));
    }

    #[test]
    fn clocks_have_zones() {
        assert_eq!(seconds("12.5"), Some(12.5));
        assert_eq!(seconds("1970-01-01T00:00:01Z"), Some(1.0));
        assert_eq!(seconds("1970-01-01 09:00:00.5+09:00"), Some(0.5));
        assert_eq!(seconds("2000-02-29T00:00:00Z"), Some(951_782_400.0));
        assert_eq!(seconds("2026-11-29T23:59:59+09:00"), Some(1_795_964_399.0));
        for text in [
            "",
            "noon",
            "2026-11-29T12:00:00",
            "2026-13-01T00:00:00Z",
            "NaN",
        ] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    /// A counter that begins again at its range; domains within a package do not count.
    #[test]
    fn counters_are_read_across_their_end() {
        let folder = std::env::temp_dir().join(format!("ondol-rapl-{}", std::process::id()));
        let domain = |name: &str, kind: &str, energy: &str| {
            let folder = folder.join(name);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("name"), kind).unwrap();
            fs::write(folder.join("max_energy_range_uj"), "10000000\n").unwrap();
            fs::write(folder.join("energy_uj"), energy).unwrap();
        };
        domain("intel-rapl:0", "package-0\n", "9000000\n");
        domain("intel-rapl:0:0", "core\n", "1\n");
        let mut meter = Meter::counters(&folder);
        let (phase, ()) = meter.during(|| domain("intel-rapl:0", "package-0\n", "1500000\n"));
        let readings = meter.readings().unwrap().unwrap();
        assert!((readings.joules(&phase).unwrap() - 2.5).abs() < 1e-9);
        fs::remove_dir_all(&folder).unwrap();
        assert!(matches!(Meter::counters(&folder), Meter::Nothing));
    }
}
