//! Seals: whether files still have the bytes that were hashed.
//!
//! Hashing a model at each start would take as long as its packed copy saves: a second
//! for two gigabytes. So a *seal* is stored: the SHA-256 of all bytes, and what the
//! files looked like then ([`Look`]). If a seal does not match, all bytes are hashed
//! again. If the hash is the same, the file was only touched, or copied to another
//! disk, and gets a new seal.
//!
//! A seal does not detect a disk that returns other bytes than were written, between
//! the samples and without a change of the file. [`super::Check::Whole`] does.

use super::PIECE;
use super::error::{Result, StoreError};
use super::event::{Event, Watch};
use super::look::Look;
use crate::CancelToken;
use crate::files::{Hasher, regular};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::string::String;

/// The SHA-256 of files, and what they looked like when it was computed. It tells in
/// milliseconds whether they seem unchanged, without reading all of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Seal {
    sha256: String,
    look: Look,
}

impl Seal {
    /// Hashes files, and seals them.
    ///
    /// # Errors
    /// [`StoreError::File`] for one that can't be read, [`StoreError::Cancelled`].
    pub fn of(
        files: &[PathBuf],
        cancel: &CancelToken,
        events: &mut dyn FnMut(Event<'_>),
    ) -> Result<Seal> {
        Seal::hash(files, &mut Watch { cancel, events })
    }

    pub(super) fn hash(files: &[PathBuf], watch: &mut Watch<'_>) -> Result<Seal> {
        let look = Look::at_rest(files)?;
        let sha256 = hash(files, watch)?;
        Ok(Seal { sha256, look })
    }

    /// A seal from the hash of files and their look before it was computed.
    pub(super) fn new(sha256: String, look: Look) -> Seal {
        Seal { sha256, look }
    }

    /// The seal for the same bytes in other files, which were just copied or renamed.
    ///
    /// # Errors
    /// [`StoreError::File`] for one that can't be read.
    pub fn moved_to(self, files: &[PathBuf]) -> Result<Seal> {
        let look = Look::at_rest(files)?;
        Ok(Seal { look, ..self })
    }

    /// SHA-256 of the files one after another, 64 hexadecimal digits.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Whether the files look as they did. If not, they may still have the same bytes.
    ///
    /// # Errors
    /// [`StoreError::File`] for one that can't be read.
    pub fn holds(&self, files: &[PathBuf]) -> Result<bool> {
        self.look.holds(files)
    }

    /// Whether the files look as they did except for their times: a guess, for display.
    pub(super) fn seems_to_hold(&self, files: &[PathBuf]) -> Result<bool> {
        Ok(self.look.is_same_but_for_times(&Look::at(files)?))
    }

    /// Whether the files have the bytes that were hashed. Reads all bytes, unless the
    /// seal matches and `whole` is false, and renews the seal.
    pub(super) fn renew(
        &mut self,
        files: &[PathBuf],
        whole: bool,
        watch: &mut Watch<'_>,
    ) -> Result<bool> {
        if !whole && self.holds(files)? {
            return Ok(true);
        }
        let now = Seal::hash(files, watch)?;
        let same = now.sha256 == self.sha256;
        if same {
            *self = now;
        }
        Ok(same)
    }
}

/// The SHA-256 of files one after another.
fn hash(files: &[PathBuf], watch: &mut Watch<'_>) -> Result<String> {
    let sizes = files.iter().map(fs::metadata);
    let bytes = sizes.flatten().map(|about| about.len()).sum();
    let path = files.first().map_or(Path::new(""), |path| path);
    watch.tell(Event::Verifying { path, bytes });
    let mut hasher = Hasher::new();
    let mut piece = std::vec![0; PIECE];
    for path in files {
        let failed = || StoreError::file("read", path);
        let mut file = regular::open(path).map_err(failed())?;
        loop {
            match file.read(&mut piece) {
                Ok(0) => break,
                Ok(n) => {
                    hasher.update(&piece[..n]);
                    watch.advance(n as u64)?;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(failed()(e)),
            }
        }
    }
    Ok(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{Folder, age, folder};
    use std::time::Duration;
    use std::vec::Vec;

    /// A file of `bytes` bytes whose modification time is far in the past, and its folder.
    fn file(test: &str, bytes: usize) -> (Folder, [PathBuf; 1]) {
        let folder = folder(test);
        let path = folder.join("file");
        fs::write(&path, noise(bytes, 1)).unwrap();
        age(&path);
        (folder, [path])
    }

    fn noise(bytes: usize, seed: u32) -> Vec<u8> {
        let number = |i: u32| (i + seed * 7919).wrapping_mul(2_654_435_761);
        (0..bytes as u32).map(|i| (number(i) >> 24) as u8).collect()
    }

    fn seal(files: &[PathBuf]) -> Seal {
        Seal::of(files, &CancelToken::new(), &mut |_| {}).unwrap()
    }

    fn renew(seal: &mut Seal, files: &[PathBuf], whole: bool) -> bool {
        let (cancel, events) = (&CancelToken::new(), &mut |_: Event<'_>| {});
        let renewed = seal.renew(files, whole, &mut Watch { cancel, events });
        renewed.unwrap()
    }

    #[test]
    fn other_bytes_with_the_same_size_and_time_break_a_seal() {
        for bytes in [1000, 3 << 20] {
            let (_folder, path) = file("seal-other", bytes);
            let mut seal = seal(&path);
            std::thread::sleep(Duration::from_millis(30));
            fs::write(&path[0], noise(bytes, 2)).unwrap();
            age(&path[0]);
            assert!(!seal.holds(&path).unwrap());
            assert!(!seal.seems_to_hold(&path).unwrap());
            assert!(!renew(&mut seal, &path, false));
        }
    }

    #[test]
    fn one_byte_anywhere_is_found_where_all_are_hashed() {
        let (_folder, path) = file("seal-byte", 3 << 20);
        let mut seal = seal(&path);
        let mut bytes = fs::read(&path[0]).unwrap();
        bytes[1_234_567] ^= 1;
        fs::write(&path[0], bytes).unwrap();
        age(&path[0]);
        assert!(!renew(&mut seal, &path, true));
    }

    #[test]
    fn a_touched_file_gets_a_new_seal_that_holds() {
        let (_folder, path) = file("seal-touched", 3 << 20);
        let mut seal = seal(&path);
        fs::write(&path[0], noise(3 << 20, 1)).unwrap();
        std::thread::sleep(Duration::from_millis(30));
        assert!(renew(&mut seal, &path, false));
        assert!(seal.holds(&path).unwrap());
    }

    #[test]
    fn a_renamed_file_keeps_its_hash() {
        let (folder, path) = file("seal-renamed", 1000);
        let (seal, new) = (seal(&path), [folder.join("new")]);
        fs::rename(&path[0], &new[0]).unwrap();
        std::thread::sleep(Duration::from_millis(30));
        let hash = seal.sha256().to_owned();
        let moved = seal.moved_to(&new).unwrap();
        assert!(moved.holds(&new).unwrap() && moved.sha256() == hash);
    }

    #[test]
    fn a_file_that_is_gone_is_an_error() {
        let (folder, path) = file("seal-gone", 10);
        let seal = seal(&path);
        drop(folder);
        assert!(seal.holds(&path).is_err() && seal.seems_to_hold(&path).is_err());
    }
}
