//! What files look like, without reading all of them.
//!
//! First, what the system reports: size, modification time and, on Unix, inode and the
//! time of the last change of any kind (ctime). No program can set the ctime: a file
//! that was replaced or written has another one, even if its modification time was
//! restored.
//!
//! Some systems have no ctime, and some file systems (FAT, network shares) invent one.
//! So bytes are compared too: of a GGUF file its header and tensor table, and blocks of
//! 4 KiB of every tensor (the first, the last and one in each 16 MiB); of any other
//! file such blocks of the whole. This takes milliseconds.

use super::error::{Result, StoreError};
use crate::files::{Hasher, regular};
use memmap2::Mmap;
use ondol_models::gguf::Gguf;
use serde::{Deserialize, Serialize};
use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::PathBuf;
use std::string::String;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::vec::Vec;

/// Bytes of a sample.
const BLOCK: u64 = 4 << 10;

/// One block is sampled in each stretch of this many bytes.
const STRETCH: u64 = 16 << 20;

/// Time stamps of most file systems advance every few milliseconds.
const TICK: Duration = Duration::from_millis(20);

/// What files look like.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Look {
    files: Vec<Stat>,
    /// SHA-256 of the headers and samples of all files.
    samples: String,
    /// Whether a file was changed so recently that a later change could have the same
    /// time stamp.
    fresh: bool,
}

/// What the system reports about a file; times are seconds and nanoseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Stat {
    bytes: u64,
    modified: (i64, u32),
    changed: Option<(i64, u32)>,
    inode: Option<u64>,
}

impl Look {
    /// Looks at files that will be hashed next. If one was changed just now, waits
    /// until the clock has advanced, so that a later change has another time stamp.
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
        let (mut stats, mut hasher, mut fresh) = (Vec::new(), Hasher::new(), false);
        for path in files {
            let failed = || StoreError::file("read", path);
            let mut file = regular::open(path).map_err(failed())?;
            let stat = Stat::of(&file.metadata().map_err(failed())?);
            hash_samples(&mut file, stat.bytes, &mut hasher).map_err(failed())?;
            fresh |= stat.is_fresh(now);
            stats.push(stat);
        }
        Ok(Look {
            files: stats,
            samples: hasher.finish(),
            fresh,
        })
    }

    /// Whether the files look the same now, and can't have changed within the same time
    /// stamp.
    pub fn holds(&self, files: &[PathBuf]) -> Result<bool> {
        Ok(!self.fresh && self.is_same(&Look::at(files)?))
    }

    /// Whether the files were unchanged between the two looks.
    pub fn is_same(&self, later: &Look) -> bool {
        self.files == later.files && self.samples == later.samples
    }

    pub fn is_same_but_for_times(&self, later: &Look) -> bool {
        let sizes = |look: &Look| look.files.iter().map(|f| f.bytes).collect::<Vec<_>>();
        self.samples == later.samples && sizes(self) == sizes(later)
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

    /// Whether the last change is so recent that another one could have the same time
    /// stamp. Time stamps without nanoseconds are assumed to advance every two seconds.
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

/// Hashes the compared parts of a file of `bytes` bytes. The file is read, not mapped:
/// a failing disk is then an error, where a map would end the process.
fn hash_samples(file: &mut File, bytes: u64, hasher: &mut Hasher) -> io::Result<()> {
    for range in samples(file, bytes)? {
        file.seek(SeekFrom::Start(range.start))?;
        let wanted = range.end - range.start;
        if io::copy(&mut Read::take(&mut *file, wanted), hasher)? != wanted {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

/// The parts of a file that are compared.
fn samples(file: &File, bytes: u64) -> io::Result<Vec<Range<u64>>> {
    if bytes == 0 {
        return Ok(Vec::new());
    }
    // SAFETY: the map is only read, and lives as long as this call. A program that
    // truncates the file meanwhile ends this one, as it would when the model runs.
    let map = unsafe { Mmap::map(file) }?;
    let gguf = match Gguf::parse(&map) {
        Err(ondol_models::Error::OutOfMemory { .. }) => {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        // A damaged model has other samples than a whole one, whatever they are.
        Err(_) => return Ok(blocks(0..bytes)),
        Ok(gguf) => gguf,
    };
    let tensors = gguf.tensors().iter();
    let tensors = tensors.map(|tensor| tensor.offset..tensor.offset + tensor.data.len() as u64);
    let header = 0..tensors.clone().map(|t| t.start).min().unwrap_or(bytes);
    let mut samples = std::vec![header];
    samples.extend(tensors.flat_map(blocks));
    Ok(samples)
}

/// The compared blocks of a range of bytes: the first, the last, and one at a
/// pseudo-random place in each [`STRETCH`] between them. A short range is compared
/// whole.
fn blocks(of: Range<u64>) -> Vec<Range<u64>> {
    if of.end - of.start <= 3 * BLOCK {
        return std::vec![of];
    }
    let block = |start| start..start + BLOCK;
    let mut blocks = std::vec![block(of.start)];
    let last = of.end - BLOCK;
    let mut start = of.start + BLOCK;
    while start + BLOCK <= last {
        let room = STRETCH.min(last - start) - BLOCK + 1;
        blocks.push(block(start + drawn(start) % room));
        start += STRETCH;
    }
    blocks.push(block(last));
    blocks
}

/// A pseudo-random number that is the same at each start (SplitMix64).
fn drawn(index: u64) -> u64 {
    let mut x = index.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Model;
    use crate::store::tests::folder;
    use std::fs;

    fn samples_of(path: &PathBuf) -> String {
        Look::at(std::slice::from_ref(path)).unwrap().samples
    }

    #[test]
    fn the_samples_see_every_tensor_and_the_header() {
        let folder = folder("samples");
        let path = folder.join("model.gguf");
        let whole = Model::hello_bytes();
        fs::write(&path, whole).unwrap();
        let right = samples_of(&path);
        let gguf = Gguf::parse(whole).unwrap();
        let places = gguf.tensors().iter().flat_map(|tensor| {
            let start = tensor.offset as usize;
            [start, start + tensor.data.len() - 1]
        });
        let header = gguf.tensors().iter().map(|t| t.offset).min().unwrap() as usize;
        // The version, a key's last letter, the directory's last byte.
        let places = places.chain([4, header / 2, header - 1]);
        for place in places {
            let mut bytes = whole.to_vec();
            bytes[place] ^= 1;
            fs::write(&path, &bytes).unwrap();
            assert_ne!(samples_of(&path), right, "byte {place}");
        }
        fs::write(&path, whole).unwrap();
        assert_eq!(samples_of(&path), right);
    }

    #[test]
    fn blocks_lie_within_and_hold_both_ends() {
        for bytes in [1, BLOCK, 3 * BLOCK, 3 * BLOCK + 1, STRETCH, 5 * STRETCH + 7] {
            let of = 1234..1234 + bytes;
            let blocks = blocks(of.clone());
            assert_eq!(blocks[0].start, of.start, "{bytes}");
            assert_eq!(blocks[blocks.len() - 1].end, of.end, "{bytes}");
            let within = |b: &Range<u64>| of.start <= b.start && b.end <= of.end;
            assert!(blocks.iter().all(within), "{bytes}");
            // One of the whole, or both ends and one for each stretch between them.
            let between = bytes.saturating_sub(2 * BLOCK).div_ceil(STRETCH);
            let count = if bytes <= 3 * BLOCK { 1 } else { between + 2 };
            assert_eq!(blocks.len() as u64, count, "{bytes}");
        }
    }

    /// A file that was changed just now can be changed again with the same time stamp.
    #[test]
    fn what_was_just_changed_is_fresh() {
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
}
