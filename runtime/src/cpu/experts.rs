//! Mixtures of experts: the choice of the experts, and the products with their matrices.
//!
//! If rows share experts, a piece is a part of one expert's matrix times all rows that
//! chose it, gathered; otherwise it is such a part times one row.

use super::executor::Shared;
use crate::memory::Region;
use crate::plan::{ExpertsScratch, ExpertsStep, GATHERED, Part, Piece};
use ondol_kernels::{Acts, Matrix, OutRows, Store};
use ondol_models::graph::{Gate, Routing, RowFn, Weight};

/// A row, and the number of the expert among those that the row chose.
type Choice = (usize, usize);

impl ExpertsStep {
    /// Whether a piece takes all rows of its expert.
    fn by_expert(&self, rows: usize) -> bool {
        rows * self.used() > self.count
    }
}

impl Shared<'_> {
    /// The number of pieces of a step for `rows` rows.
    pub(super) fn experts_pieces(&self, step: &ExpertsStep, rows: usize) -> usize {
        let groups = if step.by_expert(rows) {
            step.count
        } else {
            rows * step.used()
        };
        groups * self.plan.matmuls[step.matmul].pieces.len()
    }

    /// Computes one piece.
    pub(super) fn experts_piece(
        &self,
        step: &ExpertsStep,
        rows: usize,
        piece: usize,
        worker: usize,
    ) {
        let pieces = &self.plan.matmuls[step.matmul].pieces;
        let (group, piece) = (piece / pieces.len(), &pieces[piece % pieces.len()]);
        if !step.by_expert(rows) {
            let choice = (group / step.used(), group % step.used());
            let expert = self.chosen(step, choice);
            return self.multiply(step, piece, expert, &[choice], rows, worker);
        }
        let mut gathered = [(0, 0); GATHERED];
        let mut len = 0;
        for choice in (0..rows).flat_map(|row| (0..step.used()).map(move |slot| (row, slot))) {
            if self.chosen(step, choice) != group {
                continue;
            }
            gathered[len] = choice;
            len += 1;
            if len == GATHERED {
                self.multiply(step, piece, group, &gathered, rows, worker);
                len = 0;
            }
        }
        if len > 0 {
            self.multiply(step, piece, group, &gathered[..len], rows, worker);
        }
    }

    /// The expert of a choice.
    fn chosen(&self, step: &ExpertsStep, (row, slot): Choice) -> usize {
        // SAFETY: routes are only read in this step.
        unsafe { self.arena.row(step.routes, row)[slot] as usize }
    }

    /// Multiplies a part of one expert's matrix with the rows that chose it.
    fn multiply(
        &self,
        step: &ExpertsStep,
        piece: &Piece,
        expert: usize,
        choices: &[Choice],
        rows: usize,
        worker: usize,
    ) {
        let matmul = &self.plan.matmuls[step.matmul];
        let part = &matmul.parts[piece.part];
        let outputs = piece.rows.len();
        let of_expert = self.weights.use_expert(&part.weight, expert);
        let weight = Weight {
            first_row: of_expert.first_row + piece.rows.start,
            rows: outputs,
            ..of_expert
        };
        let (dtype, cols) = (weight.dtype, weight.cols);
        let bytes = self.weights.rows(&weight);
        let kind = self.kernels.act_kind(dtype, rows);
        let matrix = Matrix::new(dtype, weight.layout, outputs, cols, bytes);
        let acts = self.acts(matmul, cols, rows).find(|(k, _)| *k == kind);
        // The builder checked the weight's shape, and the step before prepared this kind.
        let (Some(matrix), Some((_, acts))) = (matrix, acts) else {
            return;
        };
        let scratch =
            ExpertsScratch::new(self.plan.layout.scratch[worker], kind.bytes(cols), outputs);
        // SAFETY: activations are only read in this step; scratch is this worker's own,
        // and its parts are disjoint.
        unsafe {
            let gathered = self.arena.bytes_mut(scratch.acts);
            let of_step = self.arena.bytes(acts);
            for (&choice, to) in choices
                .iter()
                .zip(gathered.chunks_exact_mut(kind.bytes(cols)))
            {
                let from = input(matmul.inputs, choice) * kind.bytes(cols);
                to.copy_from_slice(&of_step[from..from + kind.bytes(cols)]);
            }
            let acts = Acts::new(kind, choices.len(), cols, gathered);
            let out = self.arena.pointer_at(scratch.products);
            let out = OutRows::new(out, outputs, Store::Set);
            let kernel = self.arena.bytes_mut(scratch.kernel);
            self.kernels
                .matmul(&matrix, 0..outputs, &acts, &out, kernel);
            let products = self.arena.floats(scratch.products);
            for (&choice, products) in choices.iter().zip(products.chunks_exact(outputs)) {
                self.put(part, piece, expert, choice, products);
            }
        }
    }

    /// Stores the products of one choice, plus the expert's bias.
    ///
    /// # Safety
    /// No other thread uses these columns of the output.
    unsafe fn put(
        &self,
        part: &Part,
        piece: &Piece,
        expert: usize,
        (row, slot): Choice,
        products: &[f32],
    ) {
        let per_expert = part.weight.rows;
        let row = part.out.rows(row, 1).offset;
        let columns = Region {
            offset: row + (slot * per_expert + piece.rows.start) * 4,
            bytes: products.len() * 4,
        };
        // SAFETY: passed on to the caller; vectors are only read.
        unsafe {
            let out = self.arena.floats_mut(columns);
            out.copy_from_slice(products);
            let Some(bias) = part.bias else { return };
            let first = expert * per_expert + piece.rows.start;
            let bias = &self.arena.floats(bias.region)[first..first + products.len()];
            let vector = self.kernels.vector();
            vector.apply(RowFn::Add, out, Some(bias), None);
        }
    }
}

/// The row of activations that a choice reads. Each row of the pass has `inputs` of them:
/// one for all its experts, or one for each.
fn input(inputs: usize, (row, slot): Choice) -> usize {
    match inputs {
        1 => row,
        inputs => row * inputs + slot,
    }
}

/// Chooses the experts of a row: writes their indices to the first half of `out`, and
/// their weights to the second. Of experts with equal ranks the first one is chosen. One
/// whose rank is NaN is chosen only if the ranks of all others are NaN too.
pub(super) fn route(routing: Routing, scores: &[f32], bias: Option<&[f32]>, out: &mut [f32]) {
    let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let total: f32 = match routing.gate {
        Gate::Softmax => scores.iter().map(|x| libm::expf(x - highest)).sum(),
        Gate::Sigmoid => 1.0,
    };
    let probability = |expert: usize| match routing.gate {
        Gate::Sigmoid => 1.0 / (1.0 + libm::expf(-scores[expert])),
        Gate::Softmax => libm::expf(scores[expert] - highest) / total,
    };
    let rank = |expert: usize| match bias {
        Some(bias) => probability(expert) + bias[expert],
        // The order of the probabilities is that of the scores.
        None if routing.groups[0] == 1 => scores[expert],
        None => probability(expert),
    };
    let group_len = scores.len() / routing.groups[0];
    let groups = match routing.groups {
        [1, _] => 1,
        groups => best_groups(groups, group_len, rank),
    };
    let (chosen, weights) = out.split_at_mut(routing.used);
    for at in 0..chosen.len() {
        let mut best: Option<(usize, f32)> = None;
        for expert in 0..scores.len() {
            let rank = rank(expert);
            let is_in = groups >> (expert / group_len) & 1 == 1;
            let is_free = is_in && !chosen[..at].contains(&(expert as f32));
            let beats = |highest: f32| rank > highest || (highest.is_nan() && !rank.is_nan());
            if is_free && best.is_none_or(|(_, highest)| beats(highest)) {
                best = Some((expert, rank));
            }
        }
        let (expert, _) = best.unwrap_or_default();
        (chosen[at], weights[at]) = (expert as f32, probability(expert));
    }
    let sum: f32 = match routing.normalize {
        true => weights.iter().sum(),
        false => 1.0,
    };
    let factor = routing.scale / sum;
    weights.iter_mut().for_each(|weight| *weight *= factor);
}

/// The groups with the largest sums of their two best experts, as bits.
fn best_groups([count, chosen]: [usize; 2], group_len: usize, rank: impl Fn(usize) -> f32) -> u64 {
    let worth = |group: usize| {
        let mut two = [f32::NEG_INFINITY; 2];
        for rank in (group * group_len..(group + 1) * group_len).map(&rank) {
            if rank > two[0] {
                two = [rank, two[0]];
            } else if rank > two[1] {
                two[1] = rank;
            }
        }
        two.into_iter().filter(|rank| rank.is_finite()).sum::<f32>()
    };
    let mut bits = 0;
    for _ in 0..chosen {
        let free = (0..count).filter(|group| bits >> group & 1 == 0);
        let first =
            |best: (usize, f32), next: (usize, f32)| if next.1 > best.1 { next } else { best };
        let best = free.map(|group| (group, worth(group))).reduce(first);
        bits |= 1 << best.map_or(0, |(group, _)| group);
    }
    bits
}

/// Chooses all experts in their order, each with the weight 1.
pub(super) fn route_to_all(out: &mut [f32]) {
    let (chosen, weights) = out.split_at_mut(out.len() / 2);
    for (expert, chosen) in chosen.iter_mut().enumerate() {
        *chosen = expert as f32;
    }
    weights.fill(1.0);
}

/// Multiplies the weight of each chosen expert by the element of `numbers` at the
/// expert's index.
pub(super) fn weigh(routes: &mut [f32], numbers: &[f32]) {
    let (chosen, weights) = routes.split_at_mut(routes.len() / 2);
    for (weight, expert) in weights.iter_mut().zip(chosen) {
        *weight *= numbers[*expert as usize];
    }
}

/// The sum of the chosen experts' parts of `input`, each times its weight.
pub(super) fn mix(input: &[f32], routes: &[f32], out: &mut [f32]) {
    let weights = &routes[routes.len() / 2..];
    out.fill(0.0);
    for (part, weight) in input.chunks_exact(out.len()).zip(weights) {
        for (out, x) in out.iter_mut().zip(part) {
            *out += weight * x;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routed(gate: Gate, scores: &[f32], bias: Option<&[f32]>) -> (Vec<f32>, Vec<f32>) {
        let routing = Routing {
            used: 2,
            gate,
            normalize: true,
            scale: 1.0,
            groups: [1, 1],
        };
        let mut out = vec![0.0; 4];
        route(routing, scores, bias, &mut out);
        (out[..2].to_vec(), out[2..].to_vec())
    }

    #[test]
    fn of_equal_scores_the_first_experts_are_chosen() {
        let (chosen, weights) = routed(Gate::Softmax, &[1.0; 4], None);
        assert_eq!(chosen, [0.0, 1.0]);
        assert_eq!(weights, [0.5, 0.5]);
    }

    #[test]
    fn nan_is_chosen_only_when_nothing_else_is_left() {
        let (chosen, _) = routed(Gate::Sigmoid, &[f32::NAN, 0.0, f32::NAN, -1.0], None);
        assert_eq!(chosen, [1.0, 3.0]);
        let (chosen, _) = routed(Gate::Sigmoid, &[f32::NAN, f32::NAN, 0.0], None);
        assert_eq!(chosen, [2.0, 0.0]);
    }

    #[test]
    fn a_bias_chooses_experts_but_does_not_weigh_them() {
        let (scores, bias) = ([0.0, 2.0, 1.0], [1.0, 0.0, 0.9]);
        let (chosen, weights) = routed(Gate::Sigmoid, &scores, Some(&bias));
        // Probabilities of 0.5, 0.881 and 0.731, and their sums with the bias.
        assert_eq!(chosen, [2.0, 0.0]);
        assert!((weights[0] - 0.7311 / 1.2311).abs() < 1e-4, "{weights:?}");
    }

    #[test]
    fn experts_come_from_the_best_groups_alone() {
        let scores = [9.0, -9.0, 2.0, 2.1, 1.0, 1.1, -9.0, 8.0];
        let routing = Routing {
            used: 3,
            gate: Gate::Sigmoid,
            normalize: false,
            scale: 1.0,
            groups: [4, 2],
        };
        let mut out = [0.0; 6];
        route(routing, &scores, None, &mut out);
        // The groups count 1.0, 1.8, 1.5 and 1.0.
        assert_eq!(out[..3], [3.0, 2.0, 5.0]);
    }

    #[test]
    fn experts_whose_probabilities_vanish_keep_their_order() {
        let (chosen, _) = routed(Gate::Softmax, &[0.0, -300.0, -200.0, -250.0], None);
        assert_eq!(chosen, [0.0, 2.0]);
    }
}
