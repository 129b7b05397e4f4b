//! Runs row operations: each computes one row of a pass.

use super::executor::Shared;
use super::experts;
use super::pass::Pass;
use crate::memory::{Buffer, Region};
use crate::plan::{Angles, RowOp};
use ondol_kernels::SMALL;
use ondol_models::graph::{RowFn, Weight};
use ondol_models::quant::packed;

impl Shared<'_> {
    pub(crate) fn row_op(&self, op: &RowOp, pass: Pass, row: usize) {
        let (arena, vector) = (self.arena, self.kernels.vector());
        // SAFETY: this thread alone works on `row`, and the planner keeps the buffers
        // that one operation reads and writes apart.
        unsafe {
            match *op {
                RowOp::RopeTable { out } => {
                    let mut table = arena.row_mut(out, row);
                    for rope in &self.plan.ropes {
                        let (angles, rest) = table.split_at_mut(2 * rope.inverse_frequencies.len());
                        fill_angles(rope, pass.position(row), angles);
                        table = rest;
                    }
                }
                RowOp::Embed {
                    table,
                    scale,
                    stand_in,
                    out,
                } => {
                    let out: &mut [f32] = arena.row_mut(out, row);
                    let stand_in = stand_in.filter(|_| !SMALL);
                    if let Some(token) = pass.token(row).or(stand_in) {
                        self.embed(&table, token, scale, out);
                    }
                    #[cfg(feature = "std")]
                    if let Some(vector) = pass.vector(row).filter(|_| stand_in.is_none()) {
                        out.copy_from_slice(vector);
                    }
                }
                RowOp::Function {
                    function,
                    a,
                    b,
                    weight,
                    out,
                } => {
                    self.copy_row(a, out, row);
                    let b: Option<&[f32]> = b.map(|b| arena.row(b, row));
                    let weight: Option<&[f32]> = weight.map(|v| arena.floats(v.region));
                    vector.apply(function, arena.row_mut(out, row), b, weight);
                }
                RowOp::Rope {
                    input,
                    out,
                    head_dim,
                    style,
                    table,
                    table_at,
                    dims,
                } => {
                    self.copy_row(input, out, row);
                    let angles = &arena.row(table, row)[table_at..table_at + dims];
                    let (cos, sin) = angles.split_at(dims / 2);
                    vector.rope(arena.row_mut(out, row), head_dim, cos, sin, style);
                }
                RowOp::StoreKv(ref store) => {
                    let (k, v) = (arena.row(store.k, row), arena.row(store.v, row));
                    let (sequence, position) = pass.place(row);
                    if let Some(kv) = self.plan.cache.slots[store.slot].kv() {
                        kv.store(sequence.memory(), vector, position, k, v);
                    }
                }
                RowOp::Prepare { input, matmul } => {
                    let matmul = &self.plan.matmuls[matmul];
                    let inputs = if SMALL { 1 } else { matmul.inputs };
                    let cols = input.width / inputs;
                    for (kind, region) in self.acts(matmul, cols, pass.rows) {
                        let bytes = kind.bytes(cols);
                        for at in 0..inputs {
                            let region = Region {
                                offset: region.offset + (row * inputs + at) * bytes,
                                bytes,
                            };
                            let all = arena.row(input, row);
                            let part = if SMALL {
                                all
                            } else {
                                &all[at * cols..][..cols]
                            };
                            self.kernels.prepare(kind, part, arena.bytes_mut(region));
                        }
                    }
                }
                // SMALL builds have no architecture with the others.
                _ if SMALL => {}
                RowOp::Route {
                    scores,
                    bias,
                    routing,
                    out,
                } => {
                    let bias: Option<&[f32]> = bias.map(|v| arena.floats(v.region));
                    let (scores, out) = (arena.row(scores, row), arena.row_mut(out, row));
                    experts::route(routing, scores, bias, out);
                }
                RowOp::Join { a, b, groups, out } => {
                    let (a, b) = (arena.row(a, row), arena.row(b, row));
                    let parts = a.chunks_exact(a.len() / groups);
                    let parts = parts.zip(b.chunks_exact(b.len() / groups));
                    let outs = arena.row_mut(out, row);
                    for (out, (a, b)) in outs.chunks_exact_mut(outs.len() / groups).zip(parts) {
                        let (first, second) = out.split_at_mut(a.len());
                        first.copy_from_slice(a);
                        second.copy_from_slice(b);
                    }
                }
                RowOp::RouteToAll { out } => experts::route_to_all(arena.row_mut(out, row)),
                RowOp::Weigh {
                    routes,
                    weight,
                    out,
                } => {
                    self.copy_row(routes, out, row);
                    let numbers = arena.floats(weight.region);
                    experts::weigh(arena.row_mut(out, row), numbers);
                }
                RowOp::Mix { input, routes, out } => {
                    let (input, routes) = (arena.row(input, row), arena.row(routes, row));
                    experts::mix(input, routes, arena.row_mut(out, row));
                }
                RowOp::Take {
                    input,
                    group,
                    first,
                    out,
                } => {
                    let count = out.width / (input.width / group);
                    let groups = arena.row(input, row).chunks_exact(group);
                    let parts = arena.row_mut(out, row).chunks_exact_mut(count);
                    for (to, from) in parts.zip(groups) {
                        to.copy_from_slice(&from[first..first + count]);
                    }
                }
            }
        }
    }

    /// Copies a row of `input` to `out`, unless the two are the same buffer.
    ///
    /// # Safety
    /// This thread alone works on `row`.
    unsafe fn copy_row(&self, input: Buffer, out: Buffer, row: usize) {
        if input != out {
            // SAFETY: passed on to the caller; buffers that differ are disjoint.
            unsafe {
                let source = self.arena.row(input, row);
                self.arena.row_mut(out, row).copy_from_slice(source);
            }
        }
    }

    /// Writes one row of the embedding table, times `scale`, to `out`. The caller has
    /// checked the token against the vocabulary.
    fn embed(&self, table: &Weight, token: u32, scale: f32, out: &mut [f32]) {
        let rows = self.weights.rows(table);
        // The lengths agree, because the builder checked the table's shape.
        if packed::dequantize_row(table.dtype, table.layout, rows, token as usize, out).is_err() {
            out.fill(f32::NAN);
        }
        if scale != 1.0 {
            let factor = RowFn::Scale { factor: scale };
            self.kernels.vector().apply(factor, out, None, None);
        }
    }
}

/// Writes the cosines, then the sines, of a position's angles. The angles are computed in
/// f64: as an f32 product, an angle near 10,000 radians is off by up to 0.0005.
fn fill_angles(rope: &Angles, position: usize, out: &mut [f32]) {
    let (cos, sin) = out.split_at_mut(rope.inverse_frequencies.len());
    // SMALL builds have no architecture whose queries grow with their position.
    let magnitude = match rope.growth {
        Some(growth) if !SMALL => rope.magnitude * growth.at(position),
        _ => rope.magnitude,
    };
    for ((cos, sin), &frequency) in cos.iter_mut().zip(sin).zip(&rope.inverse_frequencies) {
        let (s, c) = libm::sincos(position as f64 * f64::from(frequency));
        *cos = c as f32 * magnitude;
        *sin = s as f32 * magnitude;
    }
}
