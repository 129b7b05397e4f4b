//! A graph as bytes, for plug-ins whose programs are graphs, and a graph of a host's
//! segment.
//!
//! The numbers of roles, forms and operations are those of `ondol_npu.h`.

use crate::bytes::{corrupt, put_bytes, put_number, take_bytes, take_u32};
use crate::failure::{Failure, Result};
use crate::graph::{Graph, Node, Role, Tensor};
use core::iter::repeat_with;
use ondol::delegate::segment::{self, Op, Segment};
use ondol::delegate::{Quant, ffi};

impl<'g> Graph<'g> {
    /// The graph as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_bytes(&mut bytes, self.name.as_bytes());
        put_number(&mut bytes, self.rows);
        put_number(&mut bytes, self.tensors.len());
        for tensor in &self.tensors {
            put_tensor(&mut bytes, tensor);
        }
        put_number(&mut bytes, self.nodes.len());
        for node in &self.nodes {
            put_node(&mut bytes, node);
        }
        bytes
    }

    /// Reads the bytes of [`Graph::to_bytes`], and checks the graph as one of the host:
    /// matrices have one of `forms`, and all weights have their data.
    ///
    /// # Errors
    /// CORRUPT for any other bytes.
    pub fn from_bytes(bytes: &'g [u8], forms: &[Quant]) -> Result<Graph<'g>> {
        let mut rest = bytes;
        let graph = take_graph(&mut rest)?;
        if !rest.is_empty() {
            return Err(corrupt("the graph is longer than it says"));
        }
        let wrong = |failure: Failure| corrupt(failure.message);
        graph.check().map_err(wrong)?;
        for node in &graph.nodes {
            graph.supports(node, forms).map_err(corrupt)?;
        }
        graph.check_data().map_err(wrong)?;
        Ok(graph)
    }
}

impl<'g> From<&'g Segment> for Graph<'g> {
    fn from(segment: &'g Segment) -> Graph<'g> {
        let nodes = segment.nodes.iter();
        Graph {
            name: segment.name.clone(),
            rows: segment.rows,
            tensors: segment.tensors.iter().map(Tensor::from).collect(),
            nodes: nodes
                .map(|node| Node {
                    op: Ok(node.op),
                    inputs: node.inputs.clone(),
                    out: node.out,
                })
                .collect(),
        }
    }
}

impl<'g> From<&'g segment::Tensor> for Tensor<'g> {
    fn from(tensor: &'g segment::Tensor) -> Tensor<'g> {
        let mut made = Tensor {
            role: Role::Intermediate,
            rows: tensor.rows,
            cols: tensor.cols,
            form: Some(Quant::F32),
            data: &[],
            scales: &[],
        };
        match &tensor.role {
            segment::Role::Intermediate => {}
            segment::Role::Input => made.role = Role::Input,
            segment::Role::Output => made.role = Role::Output,
            segment::Role::Weight(form, stored) => {
                made.role = Role::Weight;
                made.form = form.or(made.form);
                (made.data, made.scales) = (&stored.data, &stored.scales);
            }
        }
        made
    }
}

fn put_tensor(to: &mut Vec<u8>, tensor: &Tensor) {
    let form = tensor.form.unwrap_or(Quant::F32).raw();
    let numbers = [tensor.role.raw(), form.store, form.group, form.scale_type];
    numbers.iter().for_each(|n| to.extend(n.to_le_bytes()));
    put_number(to, tensor.rows);
    put_number(to, tensor.cols);
    put_bytes(to, tensor.data);
    put_bytes(to, tensor.scales);
}

fn put_node(to: &mut Vec<u8>, node: &Node) {
    let mut raw = ffi::Node::EMPTY;
    match node.op {
        Ok(op) => op.write(&mut raw),
        Err(op) => raw.op = op,
    }
    let numbers = [raw.op, raw.eps.to_bits(), raw.group, raw.factor.to_bits()];
    numbers.iter().for_each(|n| to.extend(n.to_le_bytes()));
    put_number(to, node.out);
    put_number(to, node.inputs.len());
    node.inputs.iter().for_each(|&input| put_number(to, input));
}

fn take_graph<'g>(rest: &mut &'g [u8]) -> Result<Graph<'g>> {
    let name = String::from_utf8_lossy(take_bytes(rest)?).into_owned();
    let rows = take_u32(rest)? as usize;
    let n = take_u32(rest)? as usize;
    let tensors = repeat_with(|| take_tensor(rest)).take(n);
    let tensors = tensors.collect::<Result<_>>()?;
    let n = take_u32(rest)? as usize;
    let nodes = repeat_with(|| take_node(rest)).take(n);
    Ok(Graph {
        name,
        rows,
        tensors,
        nodes: nodes.collect::<Result<_>>()?,
    })
}

fn take_tensor<'g>(rest: &mut &'g [u8]) -> Result<Tensor<'g>> {
    let role = Role::from_raw(take_u32(rest)?).map_err(corrupt)?;
    let form = ffi::Quant {
        hdr: ffi::Hdr::of::<ffi::Quant>(),
        store: take_u32(rest)?,
        group: take_u32(rest)?,
        scale_type: take_u32(rest)?,
    };
    Ok(Tensor {
        role,
        rows: take_u32(rest)? as usize,
        cols: take_u32(rest)? as usize,
        form: Quant::from_raw(&form),
        data: take_bytes(rest)?,
        scales: take_bytes(rest)?,
    })
}

fn take_node(rest: &mut &[u8]) -> Result<Node> {
    let mut raw = ffi::Node::EMPTY;
    raw.op = take_u32(rest)?;
    raw.eps = f32::from_bits(take_u32(rest)?);
    raw.group = take_u32(rest)?;
    raw.factor = f32::from_bits(take_u32(rest)?);
    let out = take_u32(rest)? as usize;
    let n = take_u32(rest)? as usize;
    let inputs = repeat_with(|| Ok(take_u32(rest)? as usize)).take(n);
    Ok(Node {
        op: Op::read(&raw).ok_or(raw.op),
        inputs: inputs.collect::<Result<_>>()?,
        out,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ondol::delegate::segment::RowFn;
    use ondol::delegate::{Code, Group, Quantized, Store};

    const FORM: Quant = Quant {
        store: Store::I4,
        group: Group::Of(4),
        wide_scales: true,
    };

    fn segment() -> Segment {
        let mut segment = Segment {
            name: "온돌".to_owned(),
            rows: 2,
            tensors: Vec::new(),
            nodes: Vec::new(),
        };
        let stored = Quantized {
            data: vec![0x21; 8],
            scales: vec![1; 16],
        };
        let x = segment.push(segment::Role::Input, 2, 4);
        let w = segment.push(segment::Role::Weight(Some(FORM), stored), 4, 4);
        let y = segment.push(segment::Role::Intermediate, 2, 4);
        let out = segment.push(segment::Role::Output, 2, 4);
        let norm = RowFn::RmsNorm { group: 2, eps: 0.5 };
        for (op, inputs, out) in [(Op::MatMul, vec![x, w], y), (Op::Row(norm), vec![y], out)] {
            segment.nodes.push(segment::Node { op, inputs, out });
        }
        segment
    }

    #[test]
    fn a_graph_comes_back() {
        let segment = segment();
        let bytes = Graph::from(&segment).to_bytes();
        let graph = Graph::from_bytes(&bytes, &[FORM]).unwrap();
        assert_eq!((graph.name.as_str(), graph.rows), ("온돌", 2));
        assert_eq!(graph.to_bytes(), bytes);
        let matrix = &graph.tensors[1];
        assert_eq!((matrix.role, matrix.form), (Role::Weight, Some(FORM)));
        assert_eq!(
            (matrix.data, matrix.scales),
            ([0x21; 8].as_slice(), [1; 16].as_slice())
        );
        for (node, expected) in graph.nodes.iter().zip(&segment.nodes) {
            assert_eq!(node.op, Ok(expected.op));
            assert_eq!((&node.inputs, node.out), (&expected.inputs, expected.out));
        }
        let refused = Graph::from_bytes(&bytes, &[Quant::F16]).err().unwrap();
        assert_eq!(refused.code, Code::Corrupt);
    }

    /// Damage is refused, or gives another graph that is whole.
    #[test]
    fn no_bytes_are_trusted() {
        let bytes = Graph::from(&segment()).to_bytes();
        for len in 0..bytes.len() {
            assert!(Graph::from_bytes(&bytes[..len], &[FORM]).is_err(), "{len}");
        }
        assert!(Graph::from_bytes(&[&bytes[..], &[0]].concat(), &[FORM]).is_err());
        let mut without_data = segment();
        without_data.tensors[1].role = segment::Role::Weight(Some(FORM), Quantized::default());
        let without_data = Graph::from(&without_data).to_bytes();
        assert!(Graph::from_bytes(&without_data, &[FORM]).is_err());
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Ok(graph) = Graph::from_bytes(&flipped, &[FORM]) {
                assert!(
                    graph.check().is_ok() && graph.check_data().is_ok(),
                    "bit {bit}"
                );
            }
        }
    }
}
