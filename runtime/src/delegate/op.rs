//! The operation of a segment's node, and its form in the C ABI.

use super::ffi;
use core::ops::RangeInclusive;
pub use ondol_models::graph::{Activation, RowFn};

/// The operation of a node. `ondol_npu.h` has the formulas.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Op {
    /// Inputs: a value, a weight, and optionally a bias.
    MatMul,
    /// Inputs: the function's values, and optionally its weight.
    Row(RowFn),
}

impl Op {
    /// The possible numbers of inputs. Values come first, then weights.
    pub fn inputs(self) -> RangeInclusive<usize> {
        match self {
            Op::MatMul => 2..=3,
            Op::Row(function) => {
                let values = function.values();
                values..=values + usize::from(function.weight_len(1).is_some())
            }
        }
    }

    /// The operation of a node in the C ABI; `None` if this build does not know its
    /// number.
    pub fn read(raw: &ffi::Node) -> Option<Op> {
        let (eps, group, factor) = (raw.eps, raw.group as usize, raw.factor);
        Some(match raw.op {
            ffi::MATMUL => Op::MatMul,
            ffi::RMSNORM => Op::Row(RowFn::RmsNorm { group, eps }),
            ffi::ADD => Op::Row(RowFn::Add),
            ffi::SCALE => Op::Row(RowFn::Scale { factor }),
            ffi::SILU_MUL => Op::Row(RowFn::Glu(Activation::Silu)),
            ffi::GELU_MUL => Op::Row(RowFn::Glu(Activation::GeluTanh)),
            ffi::SOFTCAP => Op::Row(RowFn::Softcap { cap: factor }),
            _ => return None,
        })
    }

    /// Whether the contract has the operation. No device takes another one.
    pub fn is_in_contract(self) -> bool {
        let mut raw = ffi::Node::EMPTY;
        self.write(&mut raw);
        raw.op != ffi::Node::EMPTY.op
    }

    /// Writes the operation into a node of the C ABI. If the contract does not have the
    /// operation, the node's number becomes 0, which no operation has.
    pub fn write(self, raw: &mut ffi::Node) {
        raw.op = match self {
            Op::MatMul => ffi::MATMUL,
            Op::Row(RowFn::RmsNorm { group, eps }) => {
                (raw.group, raw.eps) = (group as u32, eps);
                ffi::RMSNORM
            }
            Op::Row(RowFn::Add) => ffi::ADD,
            Op::Row(RowFn::Scale { factor }) => {
                raw.factor = factor;
                ffi::SCALE
            }
            Op::Row(RowFn::Glu(Activation::Silu)) => ffi::SILU_MUL,
            Op::Row(RowFn::Glu(Activation::GeluTanh)) => ffi::GELU_MUL,
            Op::Row(RowFn::Softcap { cap }) => {
                raw.factor = cap;
                ffi::SOFTCAP
            }
            Op::Row(_) => ffi::Node::EMPTY.op,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every operation with its number in the contract. The numbers never change.
    const OPS: [(Op, u32, &str); 7] = [
        (Op::MatMul, 1, "MATMUL"),
        (
            Op::Row(RowFn::RmsNorm {
                group: 8,
                eps: 1e-5,
            }),
            2,
            "RMSNORM",
        ),
        (Op::Row(RowFn::Add), 3, "ADD"),
        (Op::Row(RowFn::Scale { factor: 0.5 }), 4, "SCALE"),
        (Op::Row(RowFn::Glu(Activation::Silu)), 5, "SILU_MUL"),
        (Op::Row(RowFn::Glu(Activation::GeluTanh)), 6, "GELU_MUL"),
        (Op::Row(RowFn::Softcap { cap: 30.0 }), 7, "SOFTCAP"),
    ];
    const HEADER: &str = include_str!("../../delegates/ondol_npu.h");

    fn node(op: u32) -> ffi::Node {
        ffi::Node {
            op,
            ..ffi::Node::EMPTY
        }
    }

    #[test]
    fn the_numbers_are_those_of_the_contract() {
        for (op, number, name) in OPS {
            let mut raw = node(0);
            op.write(&mut raw);
            assert_eq!(raw.op, number, "{op:?}");
            assert_eq!(Op::read(&raw), Some(op));
            let line = std::format!("    ONDOL_NPU_{name} = {number}");
            assert!(HEADER.contains(&line), "{line}");
        }
        let of_header = HEADER.split("typedef uint32_t ondol_npu_op;").nth(1);
        let of_header = of_header.and_then(|rest| rest.split("};").next());
        let constants = of_header.unwrap_or_default().matches("    ONDOL_NPU_");
        assert_eq!(
            constants.count(),
            OPS.len(),
            "an op that is not listed here"
        );
        assert_eq!(Op::read(&node(0)), None);
        assert_eq!(Op::read(&node(8)), None);
    }
}
