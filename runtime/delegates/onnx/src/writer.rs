//! The nodes of an ONNX model.

use crate::proto::{
    ATTRIBUTE_INT, ATTRIBUTE_STRING, AttributeProto, Dimension, FLOAT, GraphProto, INT64,
    IR_VERSION, ModelProto, NodeProto, OPSET, OperatorSetIdProto, TensorProto, TensorShapeProto,
    TypeProto, TypeProtoTensor, ValueInfoProto,
};
use crate::{Error, Side, name, weights};
use ondol_plugin::ondol::delegate::segment::{Activation, Op, RowFn};
use ondol_plugin::ondol::delegate::{Quant, Store};
use ondol_plugin::{Graph, Node, Role, Tensor};

/// The model of a graph.
pub fn model(graph: &Graph) -> Result<ModelProto, Error> {
    let mut writer = Writer::new(graph);
    for (id, node) in graph.nodes.iter().enumerate() {
        writer.node(id, node)?;
    }
    Ok(ModelProto {
        ir_version: Some(IR_VERSION),
        producer_name: Some("ondol".to_owned()),
        graph: Some(writer.finish()),
        opset_import: vec![OperatorSetIdProto {
            domain: Some(String::new()),
            version: Some(OPSET),
        }],
    })
}

struct Writer<'g> {
    graph: &'g Graph<'g>,
    /// For each tensor: the name of its value.
    names: Vec<String>,
    /// For each tensor: whether it is a weight that was written.
    written: Vec<bool>,
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
}

impl<'g> Writer<'g> {
    fn new(graph: &'g Graph<'g>) -> Writer<'g> {
        Writer {
            graph,
            names: names(graph),
            written: vec![false; graph.tensors.len()],
            nodes: Vec::new(),
            constants: Vec::new(),
        }
    }

    fn finish(self) -> GraphProto {
        let side = |role| {
            let tensors = self.names.iter().zip(&self.graph.tensors);
            let tensors = tensors.filter(move |(_, tensor)| tensor.role == role);
            tensors.map(|(name, tensor)| value(name, tensor)).collect()
        };
        GraphProto {
            // A name may not be empty, and a graph's may.
            name: Some(format!("ondol {}", self.graph.name)),
            input: side(Role::Input),
            output: side(Role::Output),
            node: self.nodes,
            initializer: self.constants,
        }
    }

    // ---- nodes of the graph ----

    fn node(&mut self, id: usize, node: &Node) -> Result<(), Error> {
        let x = self.names[node.inputs[0]].clone();
        let second = node.inputs.get(1).copied();
        let last = match (node.op, second) {
            (Ok(Op::MatMul), Some(matrix)) => {
                self.matmul(&x, matrix, node.inputs.get(2).copied())?
            }
            (Ok(Op::Row(RowFn::RmsNorm { group, eps })), weight) => {
                self.rms_norm(&x, weight, eps, group, node.out)
            }
            (Ok(Op::Row(RowFn::Add)), Some(y)) => self.binary("Add", &x, &self.names[y].clone()),
            (Ok(Op::Row(RowFn::Scale { factor })), _) => self.by_scalar("Mul", &x, factor),
            (Ok(Op::Row(RowFn::Glu(Activation::Silu))), Some(y)) => self.silu_mul(&x, y),
            (Ok(Op::Row(RowFn::Glu(Activation::GeluTanh))), Some(y)) => self.gelu_mul(&x, y),
            (Ok(Op::Row(RowFn::Softcap { cap })), _) => self.softcap(&x, cap),
            _ => return Err(Error::Operation { node: id }),
        };
        self.rename(&last, node.out);
        Ok(())
    }

    fn matmul(&mut self, x: &str, matrix: usize, bias: Option<usize>) -> Result<String, Error> {
        let matrix = self.matrix(matrix)?;
        let product = self.binary("MatMul", x, &matrix);
        Ok(match bias {
            Some(bias) => {
                let bias = self.vector(bias);
                self.binary("Add", &product, &bias)
            }
            None => product,
        })
    }

    /// The norm in the operations that compilers know as one. ONNX has an operation for it since
    /// set 23, which few of them read.
    fn rms_norm(
        &mut self,
        x: &str,
        weight: Option<usize>,
        eps: f32,
        group: usize,
        out: usize,
    ) -> String {
        let (rows, cols) = (self.graph.rows, self.graph.tensors[out].cols);
        let grouped = cols != group;
        let x = match grouped {
            true => self.reshape(x, &[rows, cols / group, group]),
            false => x.to_owned(),
        };
        let squares = self.by_scalar("Pow", &x, 2.0);
        let last = self.integers(&[-1]);
        let mean = self.binary("ReduceMean", &squares, &last);
        let mean = self.by_scalar("Add", &mean, eps);
        let root = self.op("Sqrt", &[&mean], Vec::new());
        let mut normal = self.binary("Div", &x, &root);
        if let Some(weight) = weight {
            let weight = self.vector(weight);
            normal = self.binary("Mul", &normal, &weight);
        }
        match grouped {
            true => self.reshape(&normal, &[rows, cols]),
            false => normal,
        }
    }

    fn silu_mul(&mut self, x: &str, y: usize) -> String {
        let y = self.names[y].clone();
        let sigmoid = self.op("Sigmoid", &[x], Vec::new());
        let gate = self.binary("Mul", x, &sigmoid);
        self.binary("Mul", &gate, &y)
    }

    fn gelu_mul(&mut self, x: &str, y: usize) -> String {
        let y = self.names[y].clone();
        let tanh = text_attribute("approximate", "tanh");
        let gate = self.op("Gelu", &[x], vec![tanh]);
        self.binary("Mul", &gate, &y)
    }

    fn softcap(&mut self, x: &str, cap: f32) -> String {
        let share = self.by_scalar("Div", x, cap);
        let bent = self.op("Tanh", &[&share], Vec::new());
        self.by_scalar("Mul", &bent, cap)
    }

    // ---- weights ----

    /// A matrix as floats of `inputs x outputs`. Nodes that share it share its value.
    fn matrix(&mut self, id: usize) -> Result<String, Error> {
        if self.written[id] {
            return Ok(self.names[id].clone());
        }
        let matrix = &self.graph.tensors[id];
        let form = matrix.form.ok_or(Error::Form { tensor: id })?;
        let numbers = weights::numbers(format!("numbers{id}"), matrix, form);
        let numbers = self.constant(numbers);
        let floats = match form.store {
            Store::F32 => numbers,
            Store::F16 => {
                let to = int_attribute("to", i64::from(FLOAT));
                self.op("Cast", &[&numbers], vec![to])
            }
            Store::I8 | Store::I4 => self.dequantized(id, form, &numbers),
        };
        self.written[id] = true;
        self.names[id].clone_from(&floats);
        Ok(floats)
    }

    fn dequantized(&mut self, id: usize, form: Quant, numbers: &str) -> String {
        let matrix = &self.graph.tensors[id];
        let group = form.group_len(matrix.cols);
        let groups = matrix.cols / group;
        let scales = weights::scales(format!("scales{id}"), matrix, form, groups);
        let scales = self.constant(scales);
        let attributes = match groups {
            1 => vec![int_attribute("axis", 1)],
            _ => vec![
                int_attribute("axis", 0),
                int_attribute("block_size", group as i64),
            ],
        };
        self.op("DequantizeLinear", &[numbers, &scales], attributes)
    }

    /// A vector of floats, which ONNX broadcasts to rows.
    fn vector(&mut self, id: usize) -> String {
        if !self.written[id] {
            let vector = &self.graph.tensors[id];
            let (name, bytes) = (self.names[id].clone(), vector.data.to_vec());
            self.constant(weights::constant(name, FLOAT, &[vector.cols], bytes));
            self.written[id] = true;
        }
        self.names[id].clone()
    }

    fn integers(&mut self, numbers: &[i64]) -> String {
        let name = format!("constant{}", self.constants.len());
        let bytes = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        self.constant(weights::constant(name, INT64, &[numbers.len()], bytes))
    }

    fn scalar(&mut self, x: f32) -> String {
        let name = format!("constant{}", self.constants.len());
        let bytes = x.to_le_bytes().to_vec();
        self.constant(weights::constant(name, FLOAT, &[], bytes))
    }

    /// Appends a constant; returns its name.
    fn constant(&mut self, constant: TensorProto) -> String {
        let name = constant.name.clone().unwrap_or_default();
        self.constants.push(constant);
        name
    }

    // ---- nodes of ONNX ----

    fn reshape(&mut self, x: &str, shape: &[usize]) -> String {
        let shape: Vec<i64> = shape.iter().map(|&side| side as i64).collect();
        let shape = self.integers(&shape);
        self.binary("Reshape", x, &shape)
    }

    fn by_scalar(&mut self, kind: &str, x: &str, scalar: f32) -> String {
        let scalar = self.scalar(scalar);
        self.binary(kind, x, &scalar)
    }

    fn binary(&mut self, kind: &str, a: &str, b: &str) -> String {
        self.op(kind, &[a, b], Vec::new())
    }

    /// Appends a node with one output; returns the output's name.
    fn op(&mut self, kind: &str, inputs: &[&str], attribute: Vec<AttributeProto>) -> String {
        let name = format!("node{}", self.nodes.len());
        self.nodes.push(NodeProto {
            input: inputs.iter().map(ToString::to_string).collect(),
            output: vec![name.clone()],
            name: Some(name.clone()),
            op_type: Some(kind.to_owned()),
            attribute,
        });
        name
    }

    /// Gives the output of the node that was appended last the name of a tensor.
    fn rename(&mut self, last: &str, tensor: usize) {
        if let Some(node) = self.nodes.last_mut() {
            debug_assert_eq!(node.output, [last]);
            node.output = vec![self.names[tensor].clone()];
        }
    }
}

/// Names of all tensors: inputs and outputs are counted, as [`name`] says.
fn names(graph: &Graph) -> Vec<String> {
    let mut counts = [0, 0];
    let mut counted = |side: Side| {
        let count = &mut counts[side as usize];
        *count += 1;
        name(side, *count - 1)
    };
    let tensors = graph.tensors.iter().enumerate();
    let named = tensors.map(|(id, tensor)| match tensor.role {
        Role::Input => counted(Side::Input),
        Role::Output => counted(Side::Output),
        Role::Intermediate | Role::Weight => format!("tensor{id}"),
    });
    named.collect()
}

/// An input or output of 32-bit floats.
fn value(name: &str, tensor: &Tensor) -> ValueInfoProto {
    let dim = |side: usize| Dimension {
        dim_value: Some(side as i64),
    };
    let shape = TensorShapeProto {
        dim: vec![dim(tensor.rows), dim(tensor.cols)],
    };
    ValueInfoProto {
        name: Some(name.to_owned()),
        kind: Some(TypeProto {
            tensor_type: Some(TypeProtoTensor {
                elem_type: Some(FLOAT),
                shape: Some(shape),
            }),
        }),
    }
}

fn int_attribute(name: &str, i: i64) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        i: Some(i),
        s: None,
        kind: Some(ATTRIBUTE_INT),
    }
}

fn text_attribute(name: &str, text: &str) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        i: None,
        s: Some(text.as_bytes().to_vec()),
        kind: Some(ATTRIBUTE_STRING),
    }
}
