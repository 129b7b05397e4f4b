//! The file of a saved conversation: its messages as JSON, then the session.
//!
//! | bytes | |
//! | --- | --- |
//! | 8 | `ONDOLCH1` |
//! | 8 | bytes of the JSON, little-endian |
//! | n | the messages, a JSON array |
//! | rest | what [`Session::save`] writes, which has its own digest |
//!
//! The JSON needs no digest: the next prompt is made from its messages and compared with
//! the session's tokens, and tokens that differ are computed again.

use crate::conversation::ChatMessage;
use crate::error::{AppError, Result};
use ondol::files::{AtomicFile, folder_of, regular};
use ondol::{ErrorCode, Session};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

const MAGIC: &[u8; 8] = b"ONDOLCH1";

/// The most bytes of JSON that [`read`] accepts.
const LONGEST: u64 = 256 << 20;

/// Writes a conversation. Afterwards the file is either complete or not there.
///
/// # Errors
/// [`ErrorCode::Io`], or [`ErrorCode::Snapshot`] for a write of the session that failed.
pub fn write(path: &Path, messages: &[ChatMessage], session: &Session) -> Result<()> {
    let failed = |error: &dyn std::fmt::Display| io_error(path, error);
    let json = serde_json::to_vec(messages).map_err(|e| failed(&e))?;
    let file = AtomicFile::create_in(folder_of(path)).map_err(|e| failed(&e))?;
    let mut out = BufWriter::new(file);
    let head = [&MAGIC[..], &(json.len() as u64).to_le_bytes(), &json].concat();
    out.write_all(&head).map_err(|e| failed(&e))?;
    session.save(&mut out)?;
    let file = out.into_inner().map_err(|e| failed(&e))?;
    file.commit(path).map_err(|e| failed(&e))?;
    Ok(())
}

/// Reads a conversation: returns its messages, and restores its session into `session`.
///
/// # Errors
/// [`ErrorCode::Snapshot`] if the file is not a saved conversation of this model or is
/// damaged; [`ErrorCode::Io`].
pub fn read(path: &Path, session: &mut Session) -> Result<Vec<ChatMessage>> {
    let file = regular::open(path).map_err(|e| io_error(path, &e))?;
    let mut from = BufReader::new(file);
    let json = json(&mut from).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => none(path),
        _ => io_error(path, &error),
    })?;
    let messages = serde_json::from_slice(&json).map_err(|_| none(path))?;
    session.restore(from)?;
    Ok(messages)
}

fn json(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = [0; 16];
    from.read_exact(&mut head)?;
    let (magic, length) = head.split_at(8);
    let length = u64::from_le_bytes(length.try_into().unwrap_or_default());
    if magic != MAGIC || length > LONGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut json = Vec::new();
    // The vector grows with the bytes that the file has, whatever the length field claims.
    let read = from.take(length).read_to_end(&mut json)?;
    match read as u64 == length {
        true => Ok(json),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn io_error(path: &Path, error: &dyn std::fmt::Display) -> AppError {
    AppError::new(ErrorCode::Io, format!("{}: {error}", path.display()))
}

fn none(path: &Path) -> AppError {
    let message = format!(
        "{} is not a saved conversation, or is damaged",
        path.display()
    );
    AppError::new(ErrorCode::Snapshot, message)
}
