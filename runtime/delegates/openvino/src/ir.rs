//! Writes a graph as OpenVINO's IR: an XML text, and the weights to which it refers.
//!
//! Weights stay integers. A constant, a Convert, a Multiply by the scales and, for
//! groups, a Reshape are the pattern that OpenVINO's devices recognize as a compressed
//! matrix.

use half::f16;
use ondol_plugin::ondol::delegate::segment::{Activation, Op, RowFn};
use ondol_plugin::ondol::delegate::{Quant, Store};
use ondol_plugin::{Graph, Node, Role, Tensor};
use std::fmt::Write;

/// Alignment of constants: OpenVINO uses aligned ones in place.
const ALIGN: usize = 64;

/// A model in OpenVINO's format.
pub struct Ir {
    /// The IR as XML.
    pub xml: String,
    /// The bytes of its constants.
    pub weights: Vec<u8>,
}

/// An output of a layer: a value in the IR.
#[derive(Clone, Copy)]
struct Port {
    layer: usize,
    port: usize,
    kind: &'static str,
}

/// Dimensions of a value.
type Shape = Vec<usize>;

/// Writes the IR of a graph. All its nodes must be supported, and all weights have
/// data.
pub fn build(graph: &Graph) -> Ir {
    let mut builder = Builder::default();
    builder.parameters(graph);
    for node in &graph.nodes {
        let made = builder.node(graph, node);
        builder.values[node.out] = Some(made);
    }
    builder.results(graph);
    builder.finish()
}

#[derive(Default)]
struct Builder {
    layers: String,
    edges: String,
    n_layers: usize,
    weights: Vec<u8>,
    /// For each tensor: the value that holds it, once it is computed.
    values: Vec<Option<Value>>,
}

/// The output of a layer, with its shape.
#[derive(Clone)]
struct Value {
    port: Port,
    shape: Shape,
}

const F32: &str = "f32";

impl Builder {
    // ---- nodes ----

    fn parameters(&mut self, graph: &Graph) {
        self.values = vec![None; graph.tensors.len()];
        for (id, tensor) in graph.tensors.iter().enumerate() {
            if tensor.role == Role::Input {
                let shape = vec![tensor.rows, tensor.cols];
                let data = format!(r#"element_type="f32" shape="{}""#, list(&shape));
                let made = self.layer("Parameter", "opset1", &data, &[], F32, shape);
                self.values[id] = Some(made);
            }
        }
    }

    fn results(&mut self, graph: &Graph) {
        for (id, tensor) in graph.tensors.iter().enumerate() {
            if tensor.role == Role::Output {
                let value = self.value(id);
                self.open("Result", "opset1", "", &[&value]);
                self.layers.push_str("</layer>\n");
            }
        }
    }

    /// The value of a tensor. The graph's order guarantees that it was computed before.
    fn value(&self, id: usize) -> Value {
        match &self.values[id] {
            Some(value) => value.clone(),
            None => unreachable!("a graph was not checked"),
        }
    }

    fn node(&mut self, graph: &Graph, node: &Node) -> Value {
        let x = self.value(node.inputs[0]);
        let second = node.inputs.get(1);
        match node.op {
            Ok(Op::MatMul) => {
                let bias = node.inputs.get(2).map(|&bias| &graph.tensors[bias]);
                self.matmul(&x, &graph.tensors[node.inputs[1]], bias)
            }
            Ok(Op::Row(function)) => match function {
                RowFn::RmsNorm { group, eps } => {
                    let weight = second.map(|&weight| &graph.tensors[weight]);
                    self.rms_norm(&x, weight, eps, group)
                }
                RowFn::Add => {
                    let y = self.value(node.inputs[1]);
                    self.binary("Add", &x, &y)
                }
                RowFn::Scale { factor } => self.scaled(&x, factor),
                RowFn::Glu(activation) => {
                    let y = self.value(node.inputs[1]);
                    let gate = match activation {
                        Activation::Silu => self.unary("Swish", "opset4", "", &x),
                        Activation::GeluTanh => {
                            self.unary("Gelu", "opset7", r#"approximation_mode="TANH""#, &x)
                        }
                        _ => unreachable!("the contract does not have it"),
                    };
                    self.binary("Multiply", &gate, &y)
                }
                RowFn::Softcap { cap } => {
                    let share = self.scalar(cap, x.shape.len());
                    let share = self.binary("Divide", &x, &share);
                    let bent = self.unary("Tanh", "opset1", "", &share);
                    self.scaled(&bent, cap)
                }
                _ => unreachable!("the contract does not have it"),
            },
            Err(_) => unreachable!("a graph was not claimed"),
        }
    }

    fn matmul(&mut self, x: &Value, matrix: &Tensor, bias: Option<&Tensor>) -> Value {
        let w = self.matrix(matrix);
        let shape = vec![x.shape[0], matrix.rows];
        let data = r#"transpose_a="false" transpose_b="true""#;
        let product = self.layer("MatMul", "opset1", data, &[x, &w], F32, shape);
        match bias {
            Some(bias) => {
                let bias = self.vector(bias, vec![1, bias.cols]);
                self.binary("Add", &product, &bias)
            }
            None => product,
        }
    }

    /// A matrix as floats of `rows x cols`.
    fn matrix(&mut self, matrix: &Tensor) -> Value {
        let (rows, cols) = (matrix.rows, matrix.cols);
        let Some(form) = matrix.form.filter(|&form| form != Quant::F16) else {
            let halves = self.constant("f16", vec![rows, cols], matrix.data);
            return self.convert(&halves);
        };
        let groups = cols / form.group_len(cols);
        let (numbers, scales) = match groups {
            1 => (vec![rows, cols], vec![rows, 1]),
            n => (vec![rows, n, cols / n], vec![rows, n, 1]),
        };
        let kind = if form.store == Store::I4 { "i4" } else { "i8" };
        let numbers = self.constant(kind, numbers, matrix.data);
        let numbers = self.convert(&numbers);
        let scales = self.constant(F32, scales, &wide_scales(form, matrix.scales));
        let product = self.binary("Multiply", &numbers, &scales);
        match groups {
            1 => product,
            _ => self.reshape(&product, vec![rows, cols]),
        }
    }

    fn rms_norm(&mut self, x: &Value, weight: Option<&Tensor>, eps: f32, group: usize) -> Value {
        let whole = x.shape.clone();
        let grouped = whole[1] != group;
        let x = match grouped {
            true => self.reshape(x, vec![whole[0], whole[1] / group, group]),
            false => x.clone(),
        };
        let rank = x.shape.len();
        let two = self.scalar(2.0, rank);
        let squares = self.binary("Power", &x, &two);
        let mean = self.mean(&squares);
        let eps = self.scalar(eps, rank);
        let mean = self.binary("Add", &mean, &eps);
        let root = self.unary("Sqrt", "opset1", "", &mean);
        let one = self.scalar(1.0, rank);
        let scale = self.binary("Divide", &one, &root);
        let mut normal = self.binary("Multiply", &x, &scale);
        if let Some(weight) = weight {
            let mut shape = vec![1; rank];
            shape[rank - 1] = group;
            let weight = self.vector(weight, shape);
            normal = self.binary("Multiply", &normal, &weight);
        }
        match grouped {
            true => self.reshape(&normal, whole),
            false => normal,
        }
    }

    fn scaled(&mut self, x: &Value, factor: f32) -> Value {
        let factor = self.scalar(factor, x.shape.len());
        self.binary("Multiply", x, &factor)
    }

    // ---- layers ----

    /// An elementwise layer of two operands, of which numpy's rules broadcast one to
    /// the other.
    fn binary(&mut self, kind: &str, a: &Value, b: &Value) -> Value {
        let sides = a.shape.iter().zip(&b.shape);
        let shape = sides.map(|(&a, &b)| a.max(b)).collect();
        let data = r#"auto_broadcast="numpy""#;
        self.layer(kind, "opset1", data, &[a, b], F32, shape)
    }

    fn unary(&mut self, kind: &str, opset: &str, data: &str, x: &Value) -> Value {
        self.layer(kind, opset, data, &[x], F32, x.shape.clone())
    }

    fn convert(&mut self, x: &Value) -> Value {
        let data = r#"destination_type="f32""#;
        self.layer("Convert", "opset1", data, &[x], F32, x.shape.clone())
    }

    fn reshape(&mut self, x: &Value, shape: Shape) -> Value {
        let sides = self.integers(&shape);
        let data = r#"special_zero="false""#;
        self.layer("Reshape", "opset1", data, &[x, &sides], F32, shape)
    }

    /// The mean over the last dimension, which becomes 1.
    fn mean(&mut self, x: &Value) -> Value {
        let last = x.shape.len() - 1;
        let axis = self.integers(&[last]);
        let mut shape = x.shape.clone();
        shape[last] = 1;
        let data = r#"keep_dims="true""#;
        self.layer("ReduceMean", "opset1", data, &[x, &axis], F32, shape)
    }

    fn vector(&mut self, vector: &Tensor, shape: Shape) -> Value {
        self.constant(F32, shape, vector.data)
    }

    fn scalar(&mut self, x: f32, rank: usize) -> Value {
        self.constant(F32, vec![1; rank], &x.to_le_bytes())
    }

    fn integers(&mut self, numbers: &[usize]) -> Value {
        let bytes = numbers.iter().flat_map(|&n| (n as i64).to_le_bytes());
        let bytes: Vec<u8> = bytes.collect();
        self.constant("i64", vec![numbers.len()], &bytes)
    }

    fn constant(&mut self, kind: &'static str, shape: Shape, bytes: &[u8]) -> Value {
        let start = self.weights.len().next_multiple_of(ALIGN);
        self.weights.resize(start, 0);
        self.weights.extend_from_slice(bytes);
        let data = format!(
            r#"element_type="{kind}" shape="{}" offset="{start}" size="{}""#,
            list(&shape),
            bytes.len()
        );
        self.layer("Const", "opset1", &data, &[], kind, shape)
    }

    /// Appends a layer with one output.
    fn layer(
        &mut self,
        kind: &str,
        opset: &str,
        data: &str,
        inputs: &[&Value],
        makes: &'static str,
        shape: Shape,
    ) -> Value {
        let layer = self.open(kind, opset, data, inputs);
        let port = Port {
            layer,
            port: inputs.len(),
            kind: makes,
        };
        self.layers.push_str("<output>");
        self.port(port.port, makes, &shape);
        self.layers.push_str("</output></layer>\n");
        Value { port, shape }
    }

    /// Opens a layer: writes its attributes, its inputs, and the edges to them.
    fn open(&mut self, kind: &str, opset: &str, data: &str, inputs: &[&Value]) -> usize {
        let layer = self.n_layers;
        self.n_layers += 1;
        put(
            &mut self.layers,
            format_args!(r#"<layer id="{layer}" name="{layer}" type="{kind}" version="{opset}">"#),
        );
        if !data.is_empty() {
            put(&mut self.layers, format_args!("<data {data}/>"));
        }
        if !inputs.is_empty() {
            self.layers.push_str("<input>");
            for (to, input) in inputs.iter().enumerate() {
                self.port(to, input.port.kind, &input.shape);
                self.edge(input.port, layer, to);
            }
            self.layers.push_str("</input>");
        }
        layer
    }

    fn port(&mut self, id: usize, kind: &str, shape: &[usize]) {
        let precision = kind.to_uppercase().replace('F', "FP");
        put(
            &mut self.layers,
            format_args!(r#"<port id="{id}" precision="{precision}">"#),
        );
        for side in shape {
            put(&mut self.layers, format_args!("<dim>{side}</dim>"));
        }
        self.layers.push_str("</port>");
    }

    fn edge(&mut self, from: Port, layer: usize, port: usize) {
        put(
            &mut self.edges,
            format_args!(
                r#"<edge from-layer="{}" from-port="{}" to-layer="{layer}" to-port="{port}"/>"#,
                from.layer, from.port
            ),
        );
        self.edges.push('\n');
    }

    fn finish(self) -> Ir {
        let (layers, edges) = (self.layers, self.edges);
        Ir {
            xml: format!(
                "<?xml version=\"1.0\"?>\n<net name=\"ondol\" version=\"11\">\n\
                 <layers>\n{layers}</layers>\n<edges>\n{edges}</edges>\n</net>\n"
            ),
            weights: self.weights,
        }
    }
}

/// Appends to a string, which can't fail.
fn put(to: &mut String, words: core::fmt::Arguments) {
    let _ = to.write_fmt(words);
}

fn list(sides: &[usize]) -> String {
    let sides: Vec<String> = sides.iter().map(usize::to_string).collect();
    sides.join(",")
}

/// A matrix's scales as 32-bit floats.
fn wide_scales(form: Quant, scales: &[u8]) -> Vec<u8> {
    if form.wide_scales {
        return scales.to_vec();
    }
    let halves = scales.chunks_exact(2);
    let floats = halves.map(|half| f16::from_le_bytes([half[0], half[1]]).to_f32());
    floats.flat_map(f32::to_le_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ondol_plugin::ondol::delegate::Group;

    fn tensor(role: Role, rows: usize, cols: usize) -> Tensor<'static> {
        Tensor {
            role,
            rows,
            cols,
            form: Some(Quant::F32),
            data: &[],
            scales: &[],
        }
    }

    /// One value through a matrix of 2 rows in groups of 2.
    fn matmul() -> Graph<'static> {
        let matrix = Tensor {
            form: Some(Quant {
                store: Store::I4,
                group: Group::Of(2),
                wide_scales: false,
            }),
            data: &[0x21, 0x43, 0x65, 0x87],
            // 1, 2, 3, 4
            scales: &[0, 0x3c, 0, 0x40, 0, 0x42, 0, 0x44],
            ..tensor(Role::Weight, 2, 4)
        };
        Graph {
            name: "golden".to_owned(),
            rows: 1,
            tensors: vec![
                tensor(Role::Input, 1, 4),
                matrix,
                tensor(Role::Output, 1, 2),
            ],
            nodes: vec![Node {
                op: Ok(Op::MatMul),
                inputs: vec![0, 1],
                out: 2,
            }],
        }
    }

    #[test]
    fn a_matrix_in_groups() {
        let ir = build(&matmul());
        assert_eq!(ir.xml, include_str!("golden.xml"));
        assert_eq!(ir.weights[..4], [0x21, 0x43, 0x65, 0x87]);
        let scales: Vec<u8> = [1.0f32, 2.0, 3.0, 4.0]
            .into_iter()
            .flat_map(f32::to_le_bytes)
            .collect();
        assert_eq!(ir.weights[64..80], scales);
        assert_eq!(
            ir.weights[128..],
            [2, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0]
        );
    }

    #[test]
    fn every_constant_is_aligned_and_within_the_weights() {
        let ir = build(&matmul());
        let number = |layer: &str, key: &str| -> usize {
            let (_, rest) = layer.split_once(key).unwrap();
            rest.split('"').next().unwrap().parse().unwrap()
        };
        let constants = ir.xml.lines().filter(|line| line.contains("offset="));
        for layer in constants {
            let (offset, size) = (number(layer, "offset=\""), number(layer, " size=\""));
            assert!(offset.is_multiple_of(ALIGN) && offset + size <= ir.weights.len());
        }
    }
}
