//! Stores compiled programs on disk, with a checksum of the host's own.
//!
//! A vendor's loader was seen to accept a program with a flipped bit and to compute
//! wrong numbers with it. So the host stores each program with its SHA-256 and with a
//! key, the hash of everything on which the program depends. It gives a program to the
//! plug-in only if both are right. A file is written under another name and renamed, so
//! that a killed app leaves the old file or none.
//!
//! Layout: the magic, the key (32 bytes), the SHA-256 of the program (32 bytes), the
//! program.

use crate::files::hex;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::string::String;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::vec::Vec;

const MAGIC: &[u8; 8] = b"ONDOLNP1";
const HASH: usize = 32;

/// A SHA-256 hash.
pub type Hash = [u8; HASH];

/// A folder of compiled programs.
#[derive(Debug, Clone)]
pub struct Blobs {
    folder: PathBuf,
}

impl Blobs {
    pub fn new(folder: &Path) -> Blobs {
        Blobs {
            folder: folder.to_path_buf(),
        }
    }

    /// The program with this key; `None` if there is none, or if its file is damaged.
    pub fn read(&self, key: &Hash) -> Option<Vec<u8>> {
        let mut bytes = fs::read(self.path(key)).ok()?;
        let program = bytes.get(MAGIC.len() + 2 * HASH..)?;
        let (stored_key, stored_hash) = bytes[MAGIC.len()..].split_at(HASH);
        let is_whole =
            bytes.starts_with(MAGIC) && stored_key == key && stored_hash[..HASH] == hash(program);
        is_whole.then(|| bytes.split_off(MAGIC.len() + 2 * HASH))
    }

    /// The path of the file with this key, if the file exists. If [`Blobs::read`] finds
    /// no program, the file is damaged.
    pub fn file(&self, key: &Hash) -> Option<PathBuf> {
        Some(self.path(key)).filter(|path| path.exists())
    }

    /// Stores a program under its key.
    pub fn write(&self, key: &Hash, program: &[u8]) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let path = self.path(key);
        let beside = path.with_extension(part());
        let written = File::create(&beside).and_then(|mut file| {
            let head = [MAGIC.as_slice(), key, &hash(program)].concat();
            file.write_all(&head)?;
            file.write_all(program)?;
            file.sync_all()?;
            fs::rename(&beside, &path)
        });
        if written.is_err() {
            let _ = fs::remove_file(&beside);
        }
        written
    }

    /// Where a program with this key is stored.
    pub fn path(&self, key: &Hash) -> PathBuf {
        self.folder.join(hex(key)).with_extension("npu")
    }
}

/// A file extension that no other thread or process uses.
fn part() -> String {
    static WRITES: AtomicU32 = AtomicU32::new(0);
    let (process, write) = (std::process::id(), WRITES.fetch_add(1, Relaxed));
    std::format!("{process}-{write}.part")
}

/// The SHA-256 of some bytes.
pub fn hash(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_programs_come_back() {
        let folder = std::env::temp_dir().join(std::format!("ondol-blobs-{}", std::process::id()));
        let blobs = Blobs::new(&folder);
        let (key, other) = ([7; HASH], [8; HASH]);
        assert_eq!(blobs.read(&key), None);
        blobs.write(&key, b"a program").unwrap();
        assert_eq!(blobs.read(&key).as_deref(), Some(b"a program".as_slice()));
        let path = blobs.path(&key);
        let whole = fs::read(&path).unwrap();

        // Any flipped bit, any lost end.
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << (at % 8);
            fs::write(&path, &damaged).unwrap();
            assert_eq!(blobs.read(&key), None, "byte {at}");
            fs::write(&path, &whole[..at]).unwrap();
            assert_eq!(blobs.read(&key), None, "{at} bytes");
        }
        // Under another name.
        fs::write(&path, &whole).unwrap();
        fs::rename(&path, blobs.path(&other)).unwrap();
        assert_eq!(blobs.read(&other), None);
        fs::remove_dir_all(&folder).unwrap();
    }
}
