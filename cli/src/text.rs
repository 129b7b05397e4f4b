//! Texts from files and from standard input.

use crate::error::{Error, Result};
use std::io::{IsTerminal, Read, stdin};
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// If standard input has not ended after this time, a note is shown.
const PATIENCE: Duration = Duration::from_secs(3);

/// Why bytes are not accepted as text.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum NotText {
    /// A byte order mark of UTF-16 or UTF-32.
    #[error("it is UTF-16, and UTF-8 is needed")]
    Utf16,
    /// Bytes that are not UTF-8.
    #[error("it is not UTF-8 from byte {at} on, counted from 0")]
    NotUtf8 {
        /// Where the first of them is.
        at: usize,
    },
}

/// The text of a file, without a byte order mark.
pub fn read_file(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).map_err(Error::file("read", path))?;
    of_bytes(bytes).map_err(|source| Error::NotText {
        origin: path.display().to_string(),
        source,
    })
}

/// All of standard input, without a byte order mark.
pub fn read_stdin() -> Result<String> {
    let mut bytes = Vec::new();
    let read = stdin().lock().read_to_end(&mut bytes);
    read.map_err(|source| Error::Standard {
        stream: "input",
        source,
    })?;
    of_bytes(bytes).map_err(|source| Error::NotText {
        origin: "standard input".to_owned(),
        source,
    })
}

/// The text that is piped in beside a prompt; empty if there is none.
///
/// Standard input may be a pipe that never ends, so a note is shown while waiting.
pub fn read_piped() -> Result<String> {
    if !is_piped() {
        return Ok(String::new());
    }
    let (ended, waits) = channel::<()>();
    let watch = std::thread::Builder::new().spawn(move || {
        if waits.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            note!(
                "waiting for the end of standard input, which follows the prompt; `< /dev/null` leaves it out"
            );
        }
    });
    let text = read_stdin();
    drop((ended, watch));
    text
}

/// Whether standard input is a pipe, a file or a socket: neither a terminal, nor
/// `/dev/null` or another device.
#[cfg(unix)]
fn is_piped() -> bool {
    use std::os::fd::AsFd;
    use std::os::unix::fs::FileTypeExt;
    let kind = stdin().as_fd().try_clone_to_owned();
    let kind = kind.and_then(|stdin| std::fs::File::from(stdin).metadata());
    kind.is_ok_and(|kind| {
        let kind = kind.file_type();
        kind.is_file() || kind.is_fifo() || kind.is_socket()
    })
}

#[cfg(not(unix))]
fn is_piped() -> bool {
    !stdin().is_terminal()
}

/// Whether a chat is possible: input and output are a terminal.
pub fn is_typed() -> bool {
    stdin().is_terminal()
}

/// A text for a terminal: control characters are escaped as in `\u{1b}`, except line
/// breaks and tabs.
pub fn visible(text: String) -> String {
    let is_obeyed = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if !text.contains(is_obeyed) {
        return text;
    }
    let spell = |c: char| match is_obeyed(c) {
        true => c.escape_unicode().to_string(),
        false => c.to_string(),
    };
    text.chars().map(spell).collect()
}

/// UTF-8, without the byte order mark that editors on Windows add.
fn of_bytes(mut bytes: Vec<u8>) -> Result<String, NotText> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(NotText::Utf16);
    }
    if bytes.starts_with(&[0xef, 0xbb, 0xbf]) {
        bytes.drain(..3);
    }
    String::from_utf8(bytes).map_err(|error| NotText::NotUtf8 {
        at: error.utf8_error().valid_up_to(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_spelled() {
        let shown = |text: &str| visible(text.to_owned());
        assert_eq!(shown("온돌\t1\n"), "온돌\t1\n");
        assert_eq!(shown("\x1b[2J\r\u{9b}"), "\\u{1b}[2J\\u{d}\\u{9b}");
    }

    #[test]
    fn texts_are_utf_8_without_a_byte_order_mark() {
        let text = |bytes: &[u8]| of_bytes(bytes.to_vec());
        assert_eq!(text(b""), Ok(String::new()));
        assert_eq!(text("온돌\r\n".as_bytes()), Ok("온돌\r\n".to_owned()));
        assert_eq!(text("\u{feff}온돌".as_bytes()), Ok("온돌".to_owned()));
        // One in the text is the text's own.
        assert_eq!(text("a\u{feff}".as_bytes()), Ok("a\u{feff}".to_owned()));
        assert_eq!(text(b"\xff\xfea\0"), Err(NotText::Utf16));
        assert_eq!(text(b"\xfe\xff\0a"), Err(NotText::Utf16));
        assert_eq!(text(b"ab\xff"), Err(NotText::NotUtf8 { at: 2 }));
        assert_eq!(
            text("가".as_bytes().split_last().unwrap().1),
            Err(NotText::NotUtf8 { at: 0 })
        );
    }
}
