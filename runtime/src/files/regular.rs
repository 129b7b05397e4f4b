//! Opens regular files only. Opening a FIFO waits for its other end, and reading a
//! device may never end.

use std::fs::{self, File};
use std::io::{Error, ErrorKind, Read, Result};
use std::path::Path;
use std::vec::Vec;

/// Opens a file to read it.
///
/// # Errors
/// The system's errors; [`ErrorKind::IsADirectory`] and [`ErrorKind::InvalidInput`] for
/// a file that is not regular.
pub fn open(path: &Path) -> Result<File> {
    #[cfg(test)]
    super::testing::refuse(path)?;
    open_model(path)
}

/// As [`open`], for the model that runs. Separate, so that tests can make only the
/// store's own reads fail.
pub(crate) fn open_model(path: &Path) -> Result<File> {
    check(&fs::metadata(path)?)?;
    File::open(path)
}

/// Checks that a file has `length` bytes from `offset` on, and returns that length in
/// bytes. `None` stands for all bytes that follow `offset`.
///
/// # Errors
/// [`ErrorKind::UnexpectedEof`] for a part that the file does not have, and those of
/// [`open`] for a file that is not regular.
pub(crate) fn part(file: &File, offset: u64, length: Option<u64>) -> Result<usize> {
    let kind = file.metadata()?;
    check(&kind)?;
    let rest = kind.len().checked_sub(offset);
    let length = rest.and_then(|rest| match length {
        None => Some(rest),
        Some(length) => (length <= rest).then_some(length),
    });
    let outside = || Error::new(ErrorKind::UnexpectedEof, "the file ends before this part");
    let length = length.ok_or_else(outside)?;
    usize::try_from(length).map_err(|_| outside())
}

/// All bytes of a file.
///
/// # Errors
/// Those of [`open`], and of reading.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opens a file to lock it or to append to it, and creates it if it does not exist.
///
/// # Errors
/// Those of [`open`], and of creating a file.
pub fn append(path: &Path) -> Result<File> {
    match fs::metadata(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => {}
        kind => check(&kind?)?,
    }
    File::options().append(true).create(true).open(path)
}

fn check(kind: &fs::Metadata) -> Result<()> {
    match (kind.is_file(), kind.is_dir()) {
        (true, _) => Ok(()),
        (_, true) => Err(Error::new(ErrorKind::IsADirectory, "the path is a folder")),
        _ => {
            let reason = "the path is a pipe or a device, not a file";
            Err(Error::new(ErrorKind::InvalidInput, reason))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::testing::folder;

    #[test]
    fn a_part_lies_inside_the_file() {
        let folder = folder("part");
        let path = folder.join("ten");
        fs::write(&path, [0; 10]).unwrap();
        let file = File::open(&path).unwrap();
        assert_eq!(part(&file, 0, None).unwrap(), 10);
        assert_eq!(part(&file, 3, None).unwrap(), 7);
        assert_eq!(part(&file, 3, Some(7)).unwrap(), 7);
        for (offset, length) in [(3, Some(8)), (11, None), (u64::MAX, Some(1))] {
            let error = part(&file, offset, length).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        }
    }
}
