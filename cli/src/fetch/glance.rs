//! Reads only the header of a file at an address: enough to say whether the model runs.

use super::http;
use crate::error::{Error, Result};
use crate::progress::Progress;
use ondol_models::arch;
use ondol_models::gguf::Gguf;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use tempfile::NamedTempFile;
use ureq::Agent;

/// Bytes that are read before the header is tried again.
const STEP: usize = 1 << 20;
/// The longest header: vocabularies take some 10 MB.
const LONGEST: usize = 256 << 20;

/// A file as long as the one at the address, with its header and zeros for its weights.
/// The zeros take no space on the disk. It is removed when this is dropped.
pub struct Glance {
    file: NamedTempFile,
    /// Bytes that were transferred.
    pub transferred: u64,
}

impl Glance {
    /// Reads the header of the file at an address.
    ///
    /// # Errors
    /// Those of the transfer; [`Error::Model`] if the header is not valid.
    pub fn at(address: &str) -> Result<Glance> {
        let agent = http::agent(address)?;
        let (header, size) = header(&agent, address)?;
        let temporary = |source| Error::file("write", &std::env::temp_dir())(source);
        let mut file = NamedTempFile::new().map_err(temporary)?;
        file.write_all(&header).map_err(temporary)?;
        file.as_file().set_len(size).map_err(temporary)?;
        let mut glance = Glance {
            file,
            transferred: header.len() as u64,
        };
        for (offset, len) in needed(glance.path(), address)? {
            let numbers = part(&agent, address, offset, len)?;
            let to = glance.file.as_file_mut();
            let written = to.seek(SeekFrom::Start(offset));
            written
                .and_then(|_| to.write_all(&numbers))
                .map_err(temporary)?;
            glance.transferred += len as u64;
        }
        Ok(glance)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.file.path()
    }
}

/// The first bytes of the file, with the whole header, and the size of the file.
fn header(agent: &Agent, address: &str) -> Result<(Vec<u8>, u64)> {
    let (body, size) = http::open(agent, address, 0)?;
    let progress = Progress::bytes("header", size.min(LONGEST as u64));
    let mut body = body.take(size.min(LONGEST as u64));
    let mut bytes = Vec::new();
    loop {
        let before = bytes.len();
        let read = body.by_ref().take(STEP as u64).read_to_end(&mut bytes);
        if let Err(error) = read {
            return Err(interrupted(
                address,
                bytes.len() as u64,
                size,
                error.to_string(),
            ));
        }
        progress.add((bytes.len() - before) as u64);
        match Gguf::header_len(&bytes) {
            Err(ondol_models::Error::Truncated { .. }) if bytes.len() > before => {}
            Err(source) => {
                let path = address.into();
                return Err(Error::Model { path, source });
            }
            Ok(_) => {
                progress.finish();
                return Ok((bytes, size));
            }
        }
    }
}

/// The tensors that are needed too: offset in the file and length of each, in bytes.
fn needed(path: &Path, address: &str) -> Result<Vec<(u64, usize)>> {
    let files = ondol::files::ModelFiles::open(path);
    let files = files.map_err(crate::model::runtime_error(address))?;
    // A part of a split model has an error of its own later.
    let Ok(gguf) = files.gguf() else {
        return Ok(Vec::new());
    };
    let tensors = gguf.tensors().iter();
    let read = tensors.filter(|tensor| arch::reads(tensor.name));
    Ok(read
        .map(|tensor| (tensor.offset, tensor.data.len()))
        .filter(|&(_, len)| len <= STEP)
        .collect())
}

fn part(agent: &Agent, address: &str, offset: u64, len: usize) -> Result<Vec<u8>> {
    let (body, size) = http::open(agent, address, offset)?;
    let mut bytes = Vec::new();
    let read = body.take(len as u64).read_to_end(&mut bytes);
    let reason = match read {
        Ok(read) if read == len => return Ok(bytes),
        Ok(_) => "the server closed the connection".to_owned(),
        Err(error) => error.to_string(),
    };
    let have = offset + bytes.len() as u64;
    Err(interrupted(address, have, size, reason))
}

fn interrupted(address: &str, have: u64, size: u64, reason: String) -> Error {
    Error::Interrupted {
        address: address.to_owned(),
        have,
        size,
        reason,
    }
}
