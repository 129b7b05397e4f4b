//! Writes the graph of a plug-in as an ONNX model, for vendors whose compilers read ONNX.
//!
//! Weights stay integers: a constant and a `DequantizeLinear` before the `MatMul` are the pattern
//! that ONNX's compilers recognize as a compressed matrix.

mod proto;
#[cfg(test)]
mod tests;
mod weights;
mod writer;

use ondol_plugin::Graph;
use prost::Message;

/// A file of protobuf has at most this many bytes.
const LIMIT: usize = i32::MAX as usize;

/// Why a graph can't be written.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// The file would be larger than protobuf allows.
    #[error("a model of {size} bytes; protobuf allows {limit}")]
    TooLarge {
        /// Bytes of the file.
        size: usize,
        /// Bytes that are allowed.
        limit: usize,
    },
    /// A node's operation is none of `ondol_npu.h`.
    #[error("node {node} has no counterpart in ONNX")]
    Operation {
        /// Its index in the graph.
        node: usize,
    },
    /// A matrix is in a form that this build does not know.
    #[error("tensor {tensor} has an unknown form")]
    Form {
        /// Its index in the graph.
        tensor: usize,
    },
}

/// A side of a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// What the host writes.
    Input,
    /// What the host reads.
    Output,
}

/// The model's name for a value, which is the one at `index` among the graph's inputs or outputs.
pub fn name(side: Side, index: usize) -> String {
    match side {
        Side::Input => format!("input{index}"),
        Side::Output => format!("output{index}"),
    }
}

/// Writes a graph, whose weights have their data, as the bytes of an ONNX file.
///
/// # Errors
/// [`Error`].
pub fn write(graph: &Graph) -> Result<Vec<u8>, Error> {
    encode(&writer::model(graph)?, LIMIT)
}

fn encode(model: &proto::ModelProto, limit: usize) -> Result<Vec<u8>, Error> {
    match model.encoded_len() {
        size if size > limit => Err(Error::TooLarge { size, limit }),
        _ => Ok(model.encode_to_vec()),
    }
}
