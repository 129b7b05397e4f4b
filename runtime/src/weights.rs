//! The bytes of a model: mapped, owned, or in read-only memory.

#[cfg(feature = "std")]
use crate::memory::unload;
use alloc::vec::Vec;
use core::ops::Range;
use ondol_models::gguf::Gguf;
use ondol_models::graph::Weight;
use ondol_models::heap;

/// The bytes of one file.
pub(crate) enum FileBytes {
    /// Mapped from a file.
    #[cfg(feature = "std")]
    Mapped(memmap2::Mmap),
    /// On the heap.
    Owned(Vec<u8>),
    /// In the program, or in flash.
    Static(&'static [u8]),
}

impl core::ops::Deref for FileBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            #[cfg(feature = "std")]
            FileBytes::Mapped(map) => map,
            FileBytes::Owned(bytes) => bytes,
            FileBytes::Static(bytes) => bytes,
        }
    }
}

/// The model's files, and the place of each tensor in them.
pub(crate) struct Weights {
    shards: Vec<FileBytes>,
    tensors: Vec<(u32, Range<usize>)>,
}

impl Weights {
    /// The file number and byte range of each tensor of a parsed file.
    pub fn places(gguf: &Gguf) -> Vec<(u32, Range<usize>)> {
        let place = |t: &ondol_models::gguf::TensorInfo| {
            let start = t.offset as usize;
            (t.shard, start..start + t.data.len())
        };
        gguf.tensors().iter().map(place).collect()
    }

    pub fn new(shards: Vec<FileBytes>, tensors: Vec<(u32, Range<usize>)>) -> Weights {
        Weights { shards, tensors }
    }

    /// The bytes of the rows that `weight` names.
    pub fn rows(&self, weight: &Weight) -> &[u8] {
        let row = weight.dtype.row_bytes(weight.cols).unwrap_or(0);
        let (shard, place) = &self.tensors[weight.tensor as usize];
        let tensor = &self.shards[*shard as usize][place.clone()];
        &tensor[weight.first_row * row..(weight.first_row + weight.rows) * row]
    }

    /// Drops mapped files from memory; see [`unload`].
    #[cfg(feature = "std")]
    pub fn release(&self, from_cache: bool) {
        for shard in &self.shards {
            if let FileBytes::Mapped(map) = shard {
                unload(map, from_cache);
            }
        }
    }

    /// Size of all files in bytes.
    pub fn file_bytes(&self) -> u64 {
        self.shards.iter().map(|s| s.len() as u64).sum()
    }

    /// Bytes on the heap: those of files that were read there, and of the places of
    /// tensors.
    pub fn heap_bytes(&self) -> usize {
        let held = self.shards.iter().map(|shard| match shard {
            FileBytes::Owned(bytes) => bytes.capacity(),
            _ => 0,
        });
        heap::bytes(&self.shards) + heap::bytes(&self.tensors) + held.sum::<usize>()
    }

    /// Bytes of the files that are mapped, or are in read-only memory.
    pub fn mapped_bytes(&self) -> u64 {
        match self.shards.first() {
            Some(FileBytes::Owned(_)) => 0,
            _ => self.file_bytes(),
        }
    }
}
