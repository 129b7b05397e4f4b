//! Standard output and standard error. If the reader of standard output is gone, that
//! is an error; for standard error it is ignored. Neither causes a panic.

use crate::error::{Error, Result};
use crate::text;
use serde::Serialize;
use std::fmt::Display;
use std::io::{IsTerminal, Write, stdout};

/// Writes a line to standard error, like `eprintln!`, but ignores errors. Notes and
/// errors quote files that may be hostile, so control characters are escaped.
macro_rules! note {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let text = $crate::text::visible(format!($($text)*));
        let _ = writeln!(std::io::stderr(), "{text}");
    }};
}

/// Writes a line for people, with control characters escaped as in notes.
pub fn line(text: impl Display) -> Result<()> {
    raw_line(&text::visible(text.to_string()))
}

/// Writes a line for people as [`line()`] does, in red where standard output shows colours
/// (<https://no-color.org>).
pub fn alarm(text: impl Display) -> Result<()> {
    let text = text::visible(text.to_string());
    let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    match stdout().is_terminal() && !is_plain {
        true => raw_line(&format!("\x1b[31m{text}\x1b[0m")),
        false => raw_line(&text),
    }
}

fn raw_line(text: &str) -> Result<()> {
    writeln!(stdout(), "{text}").map_err(|source| Error::Standard {
        stream: "output",
        source,
    })
}

/// Writes text unchanged and flushes it.
pub fn stream(text: &str) -> Result<()> {
    let mut out = stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|source| Error::Standard {
            stream: "output",
            source,
        })
}

/// Writes one JSON value as a line.
pub fn json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string(value).map_err(|e| Error::Standard {
        stream: "output",
        source: e.into(),
    })?;
    raw_line(&text)
}

/// Says what a command wrote to its output: as JSON or as a line for people, which is a note if
/// the output was written `through`, since it may be standard output itself.
pub fn written(value: &impl Serialize, text: String, is_json: bool, through: bool) -> Result<()> {
    match is_json {
        true => json(value),
        false if through => {
            note!("{text}");
            Ok(())
        }
        false => line(text),
    }
}

/// Bytes for people: "98.4 MB" (decimal, as on download pages).
pub fn megabytes(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}
