//! The scratch of a worker in a step of experts.

use crate::memory::Region;
use ondol_kernels::{ActKind, Acts};

/// The most rows that one call of a kernel multiplies with an expert's matrix.
pub const GATHERED: usize = 32;

/// The parts of a worker's scratch.
pub struct ExpertsScratch {
    /// The activations of the gathered rows.
    pub acts: Region,
    /// Their products with a piece of a matrix.
    pub products: Region,
    /// What the kernel itself needs.
    pub kernel: Region,
}

impl ExpertsScratch {
    /// Divides a worker's scratch, for activations of `row_bytes` and pieces of `outputs`
    /// rows of a matrix.
    pub fn new(all: Region, row_bytes: usize, outputs: usize) -> ExpertsScratch {
        let mut at = all.offset;
        let mut push = |bytes: usize| {
            let region = Region { offset: at, bytes };
            at += bytes.next_multiple_of(Acts::ALIGN);
            region
        };
        let (acts, products) = (push(GATHERED * row_bytes), push(GATHERED * outputs * 4));
        let kernel = Region {
            offset: at,
            bytes: all.offset + all.bytes - at,
        };
        ExpertsScratch {
            acts,
            products,
            kernel,
        }
    }

    /// Bytes of all parts, with `kernel` bytes for the kernel itself.
    pub fn bytes(kind: ActKind, cols: usize, outputs: usize, kernel: usize) -> usize {
        let acts = GATHERED.saturating_mul(kind.bytes(cols));
        let products = GATHERED.saturating_mul(outputs).saturating_mul(4);
        [acts, products, kernel]
            .into_iter()
            .map(|bytes| bytes.saturating_add(Acts::ALIGN))
            .fold(0, usize::saturating_add)
    }
}
