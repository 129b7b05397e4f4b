//! The model is read back and looked at, without a vendor's library.

use crate::proto::{FLOAT, FLOAT16, INT4, INT8, ModelProto, NodeProto, TensorProto};
use crate::{Error, Side, encode, name, write, writer};
use ondol_plugin::ondol::delegate::segment::{Activation, Op, RowFn};
use ondol_plugin::ondol::delegate::{Group, Quant, Store};
use ondol_plugin::{Graph, Node, Role, Tensor};
use prost::Message;

const I4_BY_2: Quant = Quant {
    store: Store::I4,
    group: Group::Of(2),
    wide_scales: false,
};
const I8_BY_ROW: Quant = Quant {
    store: Store::I8,
    group: Group::Row,
    wide_scales: true,
};

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

fn weight(form: Quant, rows: usize, data: &'static [u8], scales: &'static [u8]) -> Tensor<'static> {
    Tensor {
        form: Some(form),
        data,
        scales,
        ..tensor(Role::Weight, rows, 4)
    }
}

/// Matrices of 2 rows and 4 columns.
fn matrices() -> [Tensor<'static>; 3] {
    // Half floats 1, 2, 3, 4.
    let halves = &[0, 0x3c, 0, 0x40, 0, 0x42, 0, 0x44];
    // 32-bit floats 1, 2.
    let floats = &[0, 0, 0x80, 0x3f, 0, 0, 0, 0x40];
    [
        weight(I4_BY_2, 2, &[0x21, 0x43, 0x65, 0x87], halves),
        weight(I8_BY_ROW, 2, &[1, 2, 3, 4, 5, 6, 7, 255], floats),
        weight(Quant::F16, 1, halves, &[]),
    ]
}

/// A graph with one node, whose inputs are the tensors before its output.
fn graph(op: Op, mut tensors: Vec<Tensor<'static>>, cols: usize) -> Graph<'static> {
    let node = Node {
        op: Ok(op),
        inputs: (0..tensors.len()).collect(),
        out: tensors.len(),
    };
    tensors.push(tensor(Role::Output, 3, cols));
    Graph {
        name: String::new(),
        rows: 3,
        tensors,
        nodes: vec![node],
    }
}

fn x() -> Tensor<'static> {
    tensor(Role::Input, 3, 4)
}

fn read(graph: &Graph) -> ModelProto {
    let model = ModelProto::decode(write(graph).unwrap().as_slice()).unwrap();
    check_wiring(&model);
    model
}

/// Checks that each value is made once, before it is used.
fn check_wiring(model: &ModelProto) {
    let graph = model.graph.as_ref().unwrap();
    let inputs = graph.input.iter().map(|value| &value.name);
    let constants = graph.initializer.iter().map(|constant| &constant.name);
    let mut made: Vec<String> = inputs.chain(constants).flatten().cloned().collect();
    for node in &graph.node {
        let mut used = node.input.iter();
        assert!(used.all(|name| made.contains(name)), "{node:?}");
        assert!(!made.contains(&node.output[0]), "{node:?}");
        made.extend(node.output.clone());
    }
    let mut outputs = graph.output.iter();
    assert!(outputs.all(|value| made.contains(value.name.as_ref().unwrap())));
}

fn kinds(model: &ModelProto) -> Vec<&str> {
    let nodes = &model.graph.as_ref().unwrap().node;
    nodes.iter().map(NodeProto::op_type).collect()
}

fn constants(model: &ModelProto) -> &[TensorProto] {
    &model.graph.as_ref().unwrap().initializer
}

fn int(node: &NodeProto, name: &str) -> Option<i64> {
    let mut attributes = node.attribute.iter();
    attributes.find(|a| a.name() == name)?.i
}

#[test]
fn a_matrix_in_groups_has_a_scale_for_each_block() {
    let [matrix, ..] = matrices();
    let model = read(&graph(Op::MatMul, vec![x(), matrix], 2));
    assert_eq!(kinds(&model), ["DequantizeLinear", "MatMul"]);
    let nodes = &model.graph.as_ref().unwrap().node;
    assert_eq!(int(&nodes[0], "axis"), Some(0));
    assert_eq!(int(&nodes[0], "block_size"), Some(2));
    let [numbers, scales] = constants(&model) else {
        panic!("{model:?}")
    };
    assert_eq!(
        (numbers.data_type(), &numbers.dims[..]),
        (INT4, &[4, 2][..])
    );
    // Rows 1 2 3 4 and 5 6 7 -8, transposed.
    assert_eq!(numbers.raw_data(), [0x51, 0x62, 0x73, 0x84]);
    assert_eq!((scales.data_type(), &scales.dims[..]), (FLOAT, &[2, 2][..]));
    let expected = [1.0f32, 3.0, 2.0, 4.0].map(f32::to_le_bytes);
    assert_eq!(scales.raw_data(), expected.as_flattened());
}

#[test]
fn a_matrix_by_rows_has_a_scale_for_each_output() {
    let [_, matrix, _] = matrices();
    let model = read(&graph(Op::MatMul, vec![x(), matrix], 2));
    let nodes = &model.graph.as_ref().unwrap().node;
    assert_eq!(int(&nodes[0], "axis"), Some(1));
    assert_eq!(int(&nodes[0], "block_size"), None);
    let [numbers, scales] = constants(&model) else {
        panic!("{model:?}")
    };
    assert_eq!(
        (numbers.data_type(), &numbers.dims[..]),
        (INT8, &[4, 2][..])
    );
    assert_eq!(numbers.raw_data(), [1, 5, 2, 6, 3, 7, 4, 255]);
    assert_eq!(scales.dims, [2]);
}

#[test]
fn half_floats_are_cast_and_a_bias_is_added() {
    let [.., matrix] = matrices();
    let bias = Tensor {
        data: &[0, 0, 0x80, 0x3f],
        ..tensor(Role::Weight, 1, 1)
    };
    let model = read(&graph(Op::MatMul, vec![x(), matrix, bias], 1));
    assert_eq!(kinds(&model), ["Cast", "MatMul", "Add"]);
    let nodes = &model.graph.as_ref().unwrap().node;
    assert_eq!(int(&nodes[0], "to"), Some(i64::from(FLOAT)));
    let [numbers, bias] = constants(&model) else {
        panic!("{model:?}")
    };
    assert_eq!(numbers.data_type(), FLOAT16);
    assert_eq!((bias.data_type(), &bias.dims[..]), (FLOAT, &[1][..]));
}

#[test]
fn functions_of_rows_are_basic_operations() {
    let row = |function, inputs| {
        let model = read(&graph(Op::Row(function), inputs, 4));
        kinds(&model).join(" ")
    };
    let weight = |cols| Tensor {
        data: &[0; 16],
        ..tensor(Role::Weight, 1, cols)
    };
    let norm = |group| RowFn::RmsNorm { group, eps: 0.5 };
    let basic = "Pow ReduceMean Add Sqrt Div";
    assert_eq!(row(norm(4), vec![x()]), basic);
    assert_eq!(row(norm(4), vec![x(), weight(4)]), format!("{basic} Mul"));
    assert_eq!(
        row(norm(2), vec![x(), weight(2)]),
        format!("Reshape {basic} Mul Reshape")
    );
    assert_eq!(row(RowFn::Add, vec![x(), x()]), "Add");
    assert_eq!(row(RowFn::Scale { factor: 2.0 }, vec![x()]), "Mul");
    assert_eq!(row(RowFn::Softcap { cap: 2.0 }, vec![x()]), "Div Tanh Mul");
    let gate = |activation| row(RowFn::Glu(activation), vec![x(), x()]);
    assert_eq!(gate(Activation::Silu), "Sigmoid Mul Mul");
    assert_eq!(gate(Activation::GeluTanh), "Gelu Mul");
}

#[test]
fn values_are_named_by_their_place() {
    let model = read(&graph(Op::Row(RowFn::Add), vec![x(), x()], 4));
    let graph = model.graph.unwrap();
    let inputs: Vec<_> = graph.input.iter().map(|value| value.name()).collect();
    assert_eq!(inputs, [name(Side::Input, 0), name(Side::Input, 1)]);
    assert_eq!(graph.output[0].name(), name(Side::Output, 0));
    let shape = graph.output[0].kind.clone().unwrap().tensor_type.unwrap();
    let dims: Vec<_> = shape
        .shape
        .unwrap()
        .dim
        .iter()
        .map(|d| d.dim_value())
        .collect();
    assert_eq!(dims, [3, 4]);
}

#[test]
fn nodes_share_a_matrix() {
    let [matrix, ..] = matrices();
    let mut twice = graph(Op::MatMul, vec![x(), matrix], 2);
    twice.tensors.push(tensor(Role::Output, 3, 2));
    twice.nodes.push(Node {
        out: 3,
        ..twice.nodes[0].clone()
    });
    let model = read(&twice);
    assert_eq!(kinds(&model), ["DequantizeLinear", "MatMul", "MatMul"]);
}

#[test]
fn what_can_not_be_written_is_an_error() {
    let [matrix, ..] = matrices();
    let mut wrong = graph(Op::MatMul, vec![x(), matrix], 2);
    let model = writer::model(&wrong).unwrap();
    let size = model.encoded_len();
    assert!(encode(&model, size).is_ok());
    let limit = size - 1;
    assert_eq!(encode(&model, limit), Err(Error::TooLarge { size, limit }));
    wrong.tensors[1].form = None;
    assert_eq!(write(&wrong), Err(Error::Form { tensor: 1 }));
    wrong.nodes[0].op = Err(99);
    assert_eq!(write(&wrong), Err(Error::Operation { node: 0 }));
}
