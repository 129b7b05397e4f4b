//! Whether files still have the bytes that were hashed.
//!
//! To hash a model at each start would cost as much as its packed copy gains: a
//! second for two gigabytes. So a *seal* is kept beside: the SHA-256 of all bytes,
//! and what the system said of the files then. A seal holds as long as size, time of
//! change and, on Unix, inode and time of the last change of any kind (ctime) are the
//! same. No program can set the ctime: a file that was replaced or written to has
//! another one, even if it got the old time of change back.
//!
//! Some systems have no ctime, and some file systems (FAT, network shares) make it up.
//! So 32 blocks of 4 KiB are compared too, drawn evenly over all bytes: other weights
//! of the same size differ in nearly every block. That costs a millisecond.
//!
//! Where a seal does not hold, nothing is decided yet: the bytes are hashed again,
//! whole. If they are the same, the file was only touched, or copied to another disk,
//! and gets a new seal. What no seal sees is a disk that gives other bytes than were
//! written, with no change of the file: `ondol pull` hashes whole each time, and finds it.

use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::regular;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Blocks that are compared at each start.
const BLOCKS: u64 = 32;
const BLOCK: u64 = 4 << 10;

/// The clock of most file systems ticks every few milliseconds.
const TICK: Duration = Duration::from_millis(20);

/// Bytes that are hashed at a time.
const PIECE: usize = 1 << 18;

/// A hash, and how the files looked that had it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Seal {
    /// SHA-256 of the files one after another, in hexadecimal.
    pub sha256: String,
    look: Look,
}

/// What can be seen of files without reading them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Look {
    files: Vec<Stat>,
    /// SHA-256 of the blocks.
    blocks: String,
    /// Whether a file was changed so shortly before that a later change may bear
    /// the same time.
    fresh: bool,
}

/// What the system says of a file; times are seconds and nanoseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Stat {
    bytes: u64,
    modified: (i64, u32),
    changed: Option<(i64, u32)>,
    inode: Option<u64>,
}

impl Seal {
    /// Seals files whose hash is known and that looked so before it was taken.
    pub fn new(sha256: String, look: Look) -> Seal {
        Seal { sha256, look }
    }

    /// Hashes the files, and seals them.
    pub fn of(files: &[PathBuf]) -> Result<Seal> {
        let look = Look::at_rest(files)?;
        Ok(Seal::new(hash(files)?, look))
    }

    /// Whether the files look as they did. If not, they may have the same bytes yet.
    ///
    /// # Errors
    /// A file that can't be read.
    pub fn holds(&self, files: &[PathBuf]) -> Result<bool> {
        Ok(!self.look.fresh && self.look == Look::at(files)?.settled())
    }

    /// Whether the files look as they did but for their times: a guess, to show.
    pub fn seems_to_hold(&self, files: &[PathBuf]) -> bool {
        Look::at(files).is_ok_and(|now| {
            let sizes = |look: &Look| look.files.iter().map(|f| f.bytes).collect::<Vec<_>>();
            now.blocks == self.look.blocks && sizes(&now) == sizes(&self.look)
        })
    }

    /// Whether the files have the bytes that were hashed. All of them are read, unless
    /// the seal holds and `whole` is not asked for; then the seal is made new.
    ///
    /// # Errors
    /// A file that can't be read.
    pub fn renew(&mut self, files: &[PathBuf], whole: bool) -> Result<bool> {
        if !whole && self.holds(files)? {
            return Ok(true);
        }
        let now = Seal::of(files)?;
        let same = now.sha256 == self.sha256;
        if same {
            *self = now;
        }
        Ok(same)
    }
}

impl Look {
    /// Looks at files that are about to be hashed: if one was changed just now, after
    /// the clock has ticked, so that a later change bears another time.
    pub fn at_rest(files: &[PathBuf]) -> Result<Look> {
        let look = Look::at(files)?;
        if !look.fresh {
            return Ok(look);
        }
        std::thread::sleep(TICK);
        Look::at(files)
    }

    /// Looks at files now.
    pub fn at(files: &[PathBuf]) -> Result<Look> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default();
        let (mut stats, mut hasher, mut fresh) = (Vec::new(), Sha256::new(), false);
        for path in files {
            let failed = || Error::file("read", path);
            let mut file = regular::open(path).map_err(failed())?;
            let about = file.metadata().map_err(failed())?;
            hash_blocks(&mut file, about.len(), &mut hasher).map_err(failed())?;
            let stat = Stat::of(&about);
            fresh |= stat.is_fresh(now);
            stats.push(stat);
        }
        Ok(Look {
            files: stats,
            blocks: hex(&hasher.finalize()),
            fresh,
        })
    }

    /// Whether the files were not changed in between.
    pub fn is_same(&self, later: &Look) -> bool {
        self.files == later.files && self.blocks == later.blocks
    }

    fn settled(self) -> Look {
        Look {
            fresh: false,
            ..self
        }
    }
}

impl Stat {
    fn of(about: &Metadata) -> Stat {
        let modified = about.modified().ok();
        let modified = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let modified = modified.unwrap_or_default();
        Stat {
            bytes: about.len(),
            modified: (modified.as_secs() as i64, modified.subsec_nanos()),
            changed: changed(about),
            inode: inode(about),
        }
    }

    /// Whether the last change is so young that another one may bear the same time.
    /// Times without nanoseconds are those of a clock that ticks every two seconds.
    fn is_fresh(&self, now: Duration) -> bool {
        let (seconds, nanos) = self.changed.unwrap_or(self.modified);
        let tick = match nanos {
            0 => Duration::from_secs(2),
            _ => TICK,
        };
        let changed = Duration::new(u64::try_from(seconds).unwrap_or(0), nanos);
        now < changed + tick
    }
}

#[cfg(unix)]
fn changed(about: &Metadata) -> Option<(i64, u32)> {
    use std::os::unix::fs::MetadataExt;
    Some((about.ctime(), about.ctime_nsec() as u32))
}

#[cfg(unix)]
fn inode(about: &Metadata) -> Option<u64> {
    Some(std::os::unix::fs::MetadataExt::ino(about))
}

#[cfg(not(unix))]
fn changed(_about: &Metadata) -> Option<(i64, u32)> {
    None
}

#[cfg(not(unix))]
fn inode(_about: &Metadata) -> Option<u64> {
    None
}

/// Hashes blocks of a file: the first, the last, and one somewhere in each of as many
/// equal stretches. A small file is hashed whole.
fn hash_blocks(file: &mut File, bytes: u64, hasher: &mut Sha256) -> io::Result<()> {
    if bytes <= BLOCKS * BLOCK {
        return io::copy(file, &mut HashWriter(hasher)).map(drop);
    }
    let stretch = bytes / BLOCKS;
    for index in 0..BLOCKS {
        let start = match index {
            0 => 0,
            _ if index == BLOCKS - 1 => bytes - BLOCK,
            _ => index * stretch + drawn(index) % (stretch - BLOCK + 1),
        };
        let mut block = [0; BLOCK as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut block)?;
        hasher.update(block);
    }
    Ok(())
}

/// A number that looks random and is the same at each start (SplitMix64).
fn drawn(index: u64) -> u64 {
    let mut x = index.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

struct HashWriter<'h>(&'h mut Sha256);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The SHA-256 of files one after another.
fn hash(files: &[PathBuf]) -> Result<String> {
    let sizes = files.iter().map(fs::metadata);
    let bytes = sizes.flatten().map(|about| about.len()).sum();
    let first = files.first().map_or(Path::new(""), |path| path);
    let progress = Progress::bytes(&format!("verifying {}", first.display()), bytes);
    let mut hasher = Sha256::new();
    let mut piece = vec![0; PIECE];
    for path in files {
        let failed = || Error::file("read", path);
        let mut file = regular::open(path).map_err(failed())?;
        loop {
            match file.read(&mut piece) {
                Ok(0) => break,
                Ok(n) => {
                    hasher.update(&piece[..n]);
                    progress.add(n as u64);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(failed()(e)),
            }
        }
    }
    progress.finish();
    Ok(hex(&hasher.finalize()))
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    /// A file of so many bytes, its time of change far in the past, and its folder.
    fn file(test: &str, bytes: usize) -> (PathBuf, [PathBuf; 1]) {
        let name = format!("ondol-seal-{test}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("file");
        fs::write(&path, noise(bytes, 1)).unwrap();
        set_time(&path);
        (folder, [path])
    }

    fn noise(bytes: usize, seed: u64) -> Vec<u8> {
        (0..bytes as u64)
            .map(|i| drawn(i + seed * 7919) as u8)
            .collect()
    }

    fn set_time(path: &Path) {
        let file = File::options().write(true).open(path).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
        file.set_modified(time).unwrap();
    }

    #[test]
    fn other_bytes_with_the_same_size_and_time_break_a_seal() {
        for bytes in [1000, 3 << 20] {
            let (folder, path) = file("other", bytes);
            let seal = Seal::of(&path).unwrap();
            std::thread::sleep(Duration::from_millis(30));
            fs::write(&path[0], noise(bytes, 2)).unwrap();
            set_time(&path[0]);
            assert!(!seal.holds(&path).unwrap());
            assert!(!seal.seems_to_hold(&path));
            assert!(!seal.clone().renew(&path, false).unwrap());
            fs::remove_dir_all(folder).unwrap();
        }
    }

    #[test]
    fn one_byte_anywhere_is_found_where_all_are_hashed() {
        let (folder, path) = file("byte", 3 << 20);
        let seal = Seal::of(&path).unwrap();
        let mut bytes = fs::read(&path[0]).unwrap();
        bytes[1_234_567] ^= 1;
        fs::write(&path[0], bytes).unwrap();
        set_time(&path[0]);
        assert!(!seal.clone().renew(&path, true).unwrap());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_touched_file_gets_a_new_seal_that_holds() {
        let (folder, path) = file("touched", 3 << 20);
        let mut seal = Seal::of(&path).unwrap();
        fs::write(&path[0], noise(3 << 20, 1)).unwrap();
        std::thread::sleep(Duration::from_millis(30));
        assert!(seal.renew(&path, false).unwrap());
        assert!(seal.holds(&path).unwrap());
        fs::remove_dir_all(folder).unwrap();
    }

    /// Clocks tick: what was changed just now may be changed again at the same time.
    #[test]
    fn a_seal_of_a_file_that_was_just_changed_does_not_hold() {
        let now = Duration::new(1000, 500);
        let stat = |seconds, nanos| Stat {
            bytes: 1,
            modified: (1, 1),
            changed: Some((seconds, nanos)),
            inode: Some(1),
        };
        assert!(stat(1000, 499).is_fresh(now) && stat(999, 0).is_fresh(now));
        assert!(!stat(999, 1).is_fresh(now) && !stat(998, 0).is_fresh(now));
    }

    #[test]
    fn a_file_that_is_gone_is_an_error() {
        let (folder, path) = file("gone", 10);
        let seal = Seal::of(&path).unwrap();
        fs::remove_dir_all(folder).unwrap();
        assert!(seal.holds(&path).is_err() && !seal.seems_to_hold(&path));
    }
}
