//! The bytes of a model: mapped, owned, or in read-only memory.

#[cfg(feature = "std")]
mod experts;

#[cfg(feature = "std")]
use crate::memory::unload;
use alloc::vec::Vec;
use core::ops::Range;
#[cfg(feature = "std")]
use experts::Experts;
use ondol_models::gguf::Gguf;
use ondol_models::graph::{Graph, Weight};
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

/// The matrix of an expert, from that of the first one.
fn matrix_of(first: &Weight, expert: usize) -> Weight {
    Weight {
        first_row: first.first_row + expert * first.rows,
        ..*first
    }
}

/// The model's files, and the place of each tensor in them.
pub(crate) struct Weights {
    shards: Vec<FileBytes>,
    tensors: Vec<(u32, Range<usize>)>,
    #[cfg(feature = "std")]
    experts: Experts,
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

    pub fn new(
        shards: Vec<FileBytes>,
        tensors: Vec<(u32, Range<usize>)>,
        graph: &Graph,
    ) -> Weights {
        #[cfg(not(feature = "std"))]
        let _ = graph;
        Weights {
            #[cfg(feature = "std")]
            experts: Experts::of(graph, tensors.len()),
            shards,
            tensors,
        }
    }

    /// The bytes of the rows that `weight` names.
    pub fn rows(&self, weight: &Weight) -> &[u8] {
        let (shard, bytes) = self.place(weight);
        &shard[bytes]
    }

    /// The file that has the rows that `weight` names, and their bytes in it.
    fn place(&self, weight: &Weight) -> (&FileBytes, Range<usize>) {
        let row = weight.dtype.row_bytes(weight.cols).unwrap_or(0);
        let (shard, tensor) = &self.tensors[weight.tensor as usize];
        let start = tensor.start + weight.first_row * row;
        let bytes = start..start + weight.rows * row;
        assert!(bytes.end <= tensor.end, "rows beyond the tensor");
        (&self.shards[*shard as usize], bytes)
    }

    /// A pass begins.
    pub fn next_pass(&self) {
        #[cfg(feature = "std")]
        self.experts.next_pass();
    }

    /// The matrix of one expert, of which a pass now uses some rows. `first` is the matrix of
    /// the first expert.
    pub fn use_expert(&self, first: &Weight, expert: usize) -> Weight {
        #[cfg(feature = "std")]
        self.experts.used(first.tensor, expert);
        matrix_of(first, expert)
    }

    /// Drops mapped files from the process; they are read again when used. With
    /// `from_cache` the system's file cache drops them too, otherwise only the experts that
    /// were not used for the longest time ([`Experts::take_coldest`]).
    #[cfg(feature = "std")]
    pub fn release(&self, from_cache: bool) {
        // Before the rest: the system drops what is mapped from its cache, and nothing else.
        for expert in self.experts.take_coldest() {
            if let (FileBytes::Mapped(map), bytes) = self.place(&expert) {
                unload(map, bytes, true);
            }
        }
        for shard in &self.shards {
            if let FileBytes::Mapped(map) = shard {
                unload(map, 0..map.len(), from_cache);
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
        #[cfg(feature = "std")]
        let experts = self.experts.heap_bytes();
        #[cfg(not(feature = "std"))]
        let experts = 0;
        heap::bytes(&self.shards) + heap::bytes(&self.tensors) + held.sum::<usize>() + experts
    }

    /// Bytes of the files that are mapped, or are in read-only memory.
    pub fn mapped_bytes(&self) -> u64 {
        match self.shards.first() {
            Some(FileBytes::Owned(_)) => 0,
            _ => self.file_bytes(),
        }
    }
}
