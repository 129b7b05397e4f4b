//! When each expert of a model was used last, so that memory pressure drops those first
//! that were not used for the longest time.

use super::matrix_of;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use ondol_models::graph::{Graph, Op, Weight};
use ondol_models::heap;
use std::vec::Vec;

/// A time at which no expert was used.
const NEVER: u32 = 0;

/// The times at which experts were used, counted in passes.
pub struct Experts {
    /// The number of the last pass that began, from 1.
    now: AtomicU32,
    matrices: Vec<Matrices>,
    /// Of each tensor of the file its place in `matrices`.
    places: Vec<Option<usize>>,
}

/// A tensor that has a matrix for each expert.
struct Matrices {
    /// The matrix of the first expert.
    first: Weight,
    /// Of each expert the time of its last use.
    last: Vec<AtomicU32>,
}

impl Experts {
    /// Those of a graph whose file has `tensors` tensors.
    pub fn of(graph: &Graph, tensors: usize) -> Experts {
        let mut experts = Experts {
            now: AtomicU32::new(NEVER),
            matrices: Vec::new(),
            places: std::vec![None; tensors],
        };
        for node in &graph.nodes {
            let Op::Experts { weight, count, .. } = node.op else {
                continue;
            };
            let place = &mut experts.places[weight.tensor as usize];
            // Two operations may read parts of one tensor.
            if place.is_none() {
                *place = Some(experts.matrices.len());
                experts.matrices.push(Matrices {
                    first: weight,
                    last: (0..count).map(|_| AtomicU32::new(NEVER)).collect(),
                });
            }
        }
        experts
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        let times = self
            .matrices
            .iter()
            .map(|matrices| heap::bytes(&matrices.last));
        heap::bytes(&self.matrices) + heap::bytes(&self.places) + times.sum::<usize>()
    }

    /// A pass begins.
    pub fn next_pass(&self) {
        self.now.fetch_add(1, Relaxed);
    }

    /// A pass uses an expert's matrix in a tensor.
    pub fn used(&self, tensor: u32, expert: usize) {
        if let Some(place) = self.places[tensor as usize] {
            self.matrices[place].last[expert].store(self.now.load(Relaxed), Relaxed);
        }
    }

    /// Takes the matrices of the experts that were used before, but not since the median of
    /// all last uses. They then count as never used.
    pub fn take_coldest(&self) -> Vec<Weight> {
        let all = || self.matrices.iter().flat_map(|matrices| &matrices.last);
        let mut times: Vec<u32> = all().map(|last| last.load(Relaxed)).collect();
        times.retain(|&time| time != NEVER);
        times.sort_unstable();
        let median = times.get(times.len() / 2).copied().unwrap_or(NEVER);
        let mut coldest = Vec::new();
        for Matrices { first, last } in &self.matrices {
            for (expert, last) in last.iter().enumerate() {
                if (NEVER + 1..median).contains(&last.load(Relaxed)) {
                    last.store(NEVER, Relaxed);
                    coldest.push(matrix_of(first, expert));
                }
            }
        }
        coldest
    }
}
