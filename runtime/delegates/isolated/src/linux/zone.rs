//! The shared memory of a session's values, with guards around each value.
//!
//! The memory is one file. Each value has a zone of whole pages and lies at its end. The
//! host maps the file as it is. The helper maps each zone between pages that can't be read or
//! written, so that the system stops a plug-in that writes or reads far beyond a value. The
//! bytes of a zone around its value (its guards) hold a pattern, by which the host finds smaller
//! overruns of outputs when a job has ended.

use memmap2::MmapRaw;
use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
use rustix::mm::{MapFlags, ProtFlags};
use rustix::param::page_size;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::{ptr, slice};

/// The alignment of values in bytes, and the fewest bytes in front of a value.
const ALIGN: usize = 64;

/// The byte in the guards. Floats of this byte are NaN, so the results of a plug-in that reads
/// them as part of an input are NaN too.
const PATTERN: u8 = 0xff;

/// The most bytes in front of an output that are checked.
const FRONT: usize = 4096;

/// An input or output of a program.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Value {
    /// Id of its tensor.
    pub tensor: u32,
    /// Its size in bytes.
    pub bytes: u64,
    /// Whether the device writes it.
    pub is_output: bool,
}

/// The part of the memory that has one value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Zone {
    /// Offset in the file; a multiple of the page size, as `len` is.
    pub start: usize,
    /// Length in bytes.
    pub len: usize,
    /// Offset of the value's first byte from `start`.
    pub value: usize,
    /// The value's bytes.
    pub bytes: usize,
}

/// The place of a program's value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Slot {
    /// Id of the tensor.
    pub tensor: u32,
    /// Index of its zone.
    pub zone: usize,
}

/// The zones of a session, and for each of its programs the places of its values.
/// Programs share zones, because a session runs one program at a time; a zone is for inputs or
/// for outputs, not for both. `None` if the memory would be larger than the address space.
pub fn layout(programs: &[&[Value]]) -> Option<(Vec<Zone>, Vec<Vec<Slot>>)> {
    let mut zones: Vec<Zone> = Vec::new();
    let mut kinds = Vec::new();
    let mut slots = Vec::new();
    for values in programs {
        let mut placed: Vec<Slot> = Vec::new();
        for value in *values {
            let kind = (value.bytes, value.is_output);
            let is_free =
                |zone: &usize| kinds[*zone] == kind && placed.iter().all(|slot| slot.zone != *zone);
            let zone = match (0..zones.len()).find(is_free) {
                Some(zone) => zone,
                None => {
                    let start = zones.last().map_or(0, |zone| zone.start + zone.len);
                    zones.push(Zone::of(usize::try_from(value.bytes).ok()?, start)?);
                    kinds.push(kind);
                    zones.len() - 1
                }
            };
            placed.push(Slot {
                tensor: value.tensor,
                zone,
            });
        }
        slots.push(placed);
    }
    Some((zones, slots))
}

impl Zone {
    fn of(bytes: usize, start: usize) -> Option<Zone> {
        let padded = bytes.checked_next_multiple_of(ALIGN)?;
        let len = padded.checked_add(ALIGN)?;
        let len = len.checked_next_multiple_of(page_size())?;
        start.checked_add(len)?;
        Some(Zone {
            start,
            len,
            value: len - padded,
            bytes,
        })
    }

    /// The bytes in front of the value, and those behind it, in the file.
    fn guards(&self) -> [Range<usize>; 2] {
        let value = self.start + self.value;
        let front = value - self.value.min(FRONT);
        [front..value, value + self.bytes..self.start + self.len]
    }
}

/// A file in memory with these bytes, for another process to read.
///
/// # Errors
/// The system's, also if there is not enough memory.
pub fn file_of<'b>(parts: impl IntoIterator<Item = &'b [u8]>) -> io::Result<File> {
    let mut file = File::from(rustix::fs::memfd_create("ondol", MemfdFlags::CLOEXEC)?);
    for part in parts {
        file.write_all(part)?;
    }
    Ok(file)
}

/// The host's side of a session's memory.
pub struct Memory {
    /// For the helper.
    pub file: File,
    map: MmapRaw,
    zones: Vec<Zone>,
}

impl Memory {
    /// Allocates the memory of these zones, with their guards.
    ///
    /// # Errors
    /// The system's, if there is not enough memory.
    pub fn new(zones: Vec<Zone>) -> io::Result<Memory> {
        let len = zones.last().map_or(1, |zone| zone.start + zone.len);
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = File::from(rustix::fs::memfd_create("ondol-values", flags)?);
        // Allocated now: if memory is short, this is an error here and no signal later.
        rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, len as u64)?;
        // If the plug-in could shorten the file, an access of the host would end it by a signal.
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&file, seals)?;
        let map = MmapRaw::map_raw(&file)?;
        let memory = Memory { file, map, zones };
        (0..memory.zones.len()).for_each(|zone| memory.mend(zone));
        Ok(memory)
    }

    fn at(&self, offset: usize) -> *mut u8 {
        self.map.as_mut_ptr().wrapping_add(offset)
    }

    /// Copies a value of the host into its zone.
    ///
    /// # Safety
    /// The zone's bytes lie at `from`.
    pub unsafe fn write(&self, zone: usize, from: *const u8) {
        let zone = &self.zones[zone];
        // SAFETY: the zone is in the mapping; the other bytes are the caller's.
        unsafe { ptr::copy_nonoverlapping(from, self.at(zone.start + zone.value), zone.bytes) }
    }

    /// Copies a value out of its zone.
    ///
    /// # Safety
    /// The host has room for the zone's bytes at `to`.
    pub unsafe fn read(&self, zone: usize, to: *mut u8) {
        let zone = &self.zones[zone];
        // SAFETY: as above.
        unsafe { ptr::copy_nonoverlapping(self.at(zone.start + zone.value), to, zone.bytes) }
    }

    /// Checks whether a job wrote into the guards of a zone, and restores them.
    ///
    /// # Errors
    /// The place of the write: "past the end" or "in front".
    pub fn check(&self, zone: usize) -> Result<(), &'static str> {
        let [front, behind] = self.zones[zone].guards().map(|guard| self.is_whole(guard));
        if front && behind {
            return Ok(());
        }
        self.mend(zone);
        Err(if front { "past the end" } else { "in front" })
    }

    fn is_whole(&self, guard: Range<usize>) -> bool {
        let mut bytes = [0; FRONT];
        let bytes = &mut bytes[..guard.len().min(FRONT)];
        // SAFETY: the guard is in the mapping. It is copied first, since a plug-in that
        // still runs could change it.
        unsafe { ptr::copy_nonoverlapping(self.at(guard.start), bytes.as_mut_ptr(), bytes.len()) };
        bytes.iter().all(|&byte| byte == PATTERN)
    }

    fn mend(&self, zone: usize) {
        for guard in self.zones[zone].guards() {
            // SAFETY: the guard is in the mapping.
            unsafe { self.at(guard.start).write_bytes(PATTERN, guard.len()) };
        }
    }
}

/// The helper's side: each zone lies between pages that can't be read or written.
pub struct Guarded {
    start: *mut u8,
    len: usize,
    /// The first byte of each zone.
    zones: Vec<*mut u8>,
}

// SAFETY: it owns its mapping, and gives out nothing but addresses.
unsafe impl Send for Guarded {}

impl Guarded {
    /// Maps the zones of a file.
    ///
    /// # Errors
    /// The system's.
    pub fn map(file: &File, zones: &[Zone]) -> io::Result<Guarded> {
        let page = page_size();
        let len = zones.iter().map(|zone| zone.len + page).sum::<usize>() + page;
        // SAFETY: asks for new addresses, which nothing else uses.
        let start = unsafe {
            rustix::mm::mmap_anonymous(ptr::null_mut(), len, ProtFlags::empty(), MapFlags::PRIVATE)
        }?;
        let mut guarded = Guarded {
            start: start.cast(),
            len,
            zones: Vec::with_capacity(zones.len()),
        };
        let mut at = page;
        for zone in zones {
            let place = guarded.start.wrapping_add(at);
            let access = ProtFlags::READ | ProtFlags::WRITE;
            let flags = MapFlags::SHARED | MapFlags::FIXED;
            // SAFETY: replaces addresses that were reserved above.
            unsafe {
                rustix::mm::mmap(
                    place.cast(),
                    zone.len,
                    access,
                    flags,
                    file,
                    zone.start as u64,
                )
            }?;
            guarded.zones.push(place);
            at += zone.len + page;
        }
        Ok(guarded)
    }

    /// The zones' first bytes.
    pub fn zones(&self) -> slice::Iter<'_, *mut u8> {
        self.zones.iter()
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: the addresses were reserved in `map`, and nothing uses them any more.
        // If the system refuses, they stay reserved.
        let _ = unsafe { rustix::mm::munmap(self.start.cast(), self.len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(tensor: u32, bytes: u64, is_output: bool) -> Value {
        Value {
            tensor,
            bytes,
            is_output,
        }
    }

    #[test]
    fn programs_share_zones_and_values_do_not() {
        let one = [
            value(0, 100, false),
            value(1, 100, false),
            value(2, 100, true),
        ];
        let other = [value(0, 100, false), value(5, 5000, true)];
        let (zones, slots) = layout(&[&one, &other]).unwrap();
        let places = |slots: &[Slot]| slots.iter().map(|slot| slot.zone).collect::<Vec<_>>();
        assert_eq!(places(&slots[0]), [0, 1, 2]);
        assert_eq!(places(&slots[1]), [0, 3]);
        for (i, zone) in zones.iter().enumerate() {
            assert_eq!((zone.start % page_size(), zone.len % page_size()), (0, 0));
            assert_eq!(zone.value % ALIGN, 0);
            assert!(zone.value >= ALIGN);
            assert!(zone.len - zone.value - zone.bytes < ALIGN);
            let next = zones
                .get(i + 1)
                .map_or(zone.start + zone.len, |next| next.start);
            assert_eq!(next, zone.start + zone.len);
        }
        assert!(layout(&[&[value(0, u64::MAX, true)]]).is_none());
    }

    #[test]
    fn values_go_both_ways_and_guards_see_writes() {
        let values = [value(0, 100, true), value(1, 4096, true)];
        let (zones, _) = layout(&[&values]).unwrap();
        let memory = Memory::new(zones.clone()).unwrap();
        let guarded = Guarded::map(&memory.file, &zones).unwrap();
        let written: Vec<u8> = (0..100).collect();
        // SAFETY: 100 bytes are the first zone's value.
        unsafe { memory.write(0, written.as_ptr()) };
        for (i, (zone, &start)) in zones.iter().zip(guarded.zones()).enumerate() {
            let value = start.wrapping_add(zone.value);
            assert_eq!(memory.check(i), Ok(()));
            // SAFETY: all of it is in the zone.
            unsafe {
                value.sub(1).write(0);
                assert_eq!(memory.check(i), Err("in front"));
                assert_eq!(memory.check(i), Ok(()));
                value.write_bytes(7, zone.bytes);
                assert_eq!(memory.check(i), Ok(()));
                if zone.bytes % ALIGN != 0 {
                    value.add(zone.bytes).write(0);
                    assert_eq!(memory.check(i), Err("past the end"));
                }
            }
        }
        let mut read = [0; 100];
        // SAFETY: as above.
        unsafe { memory.read(0, read.as_mut_ptr()) };
        assert_eq!(read, [7; 100]);
    }

    #[test]
    fn the_file_can_not_be_cut() {
        let memory = Memory::new(layout(&[&[value(0, 1, true)]]).unwrap().0).unwrap();
        assert!(memory.file.set_len(0).is_err());
    }
}
