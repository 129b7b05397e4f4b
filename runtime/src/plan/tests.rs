//! Properties of a plan on which the executor relies. The small model has everything
//! that makes buffers begin and end within one step.

use super::*;
use ondol_models::graph::{Activation, Attention, Node, Rope, ValueId};
use ondol_models::quant::{DType, Layout as WeightLayout};

const WIDTH: usize = 640;
const HEAD_DIM: usize = 256;
const HEADS: usize = 4;
const HIDDEN: usize = 2048;

/// A graph that is being built.
struct Sketch {
    nodes: Vec<Node>,
    weights: u32,
}

impl Sketch {
    fn push(&mut self, op: Op, width: usize) -> ValueId {
        let layer = None;
        self.nodes.push(Node { op, width, layer });
        ValueId(self.nodes.len() as u32 - 1)
    }

    fn width(&self, value: ValueId) -> usize {
        self.nodes[value.0 as usize].width
    }

    fn weight(&mut self, rows: usize, cols: usize) -> Weight {
        self.weights += 1;
        Weight {
            tensor: self.weights,
            dtype: DType::F32,
            layout: WeightLayout::Rows,
            first_row: 0,
            rows,
            cols,
        }
    }

    fn linear(&mut self, input: ValueId, width: usize) -> ValueId {
        let weight = self.weight(width, self.width(input));
        let bias = None;
        self.push(
            Op::MatMul {
                input,
                weight,
                bias,
            },
            width,
        )
    }

    fn norm(&mut self, input: ValueId, group: usize) -> ValueId {
        let weight = Some(self.weight(1, group));
        let (width, eps) = (self.width(input), 1e-6);
        self.push(
            Op::Row {
                function: RowFn::RmsNorm { group, eps },
                a: input,
                b: None,
                weight,
            },
            width,
        )
    }

    fn row(&mut self, function: RowFn, a: ValueId, b: Option<ValueId>) -> ValueId {
        let op = Op::Row {
            function,
            a,
            b,
            weight: None,
        };
        self.push(op, self.width(a))
    }

    fn add(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.row(RowFn::Add, a, Some(b))
    }

    fn rope(&mut self, input: ValueId) -> ValueId {
        let width = self.width(input);
        let (head_dim, rope) = (HEAD_DIM, 0);
        self.push(
            Op::Rope {
                input,
                head_dim,
                rope,
            },
            width,
        )
    }

    /// A layer with norms before and after each block, and on queries and keys.
    fn layer(&mut self, x: ValueId, slot: u32) -> ValueId {
        let h = self.norm(x, WIDTH);
        let q = self.linear(h, HEADS * HEAD_DIM);
        let k = self.linear(h, HEAD_DIM);
        let v = self.linear(h, HEAD_DIM);
        let q = self.norm(q, HEAD_DIM);
        let k = self.norm(k, HEAD_DIM);
        let (q, k) = (self.rope(q), self.rope(k));
        let h = self.attention(q, k, v, slot);
        let h = self.linear(h, WIDTH);
        let h = self.norm(h, WIDTH);
        let x = self.add(x, h);

        let h = self.norm(x, WIDTH);
        let (gate, up) = (self.linear(h, HIDDEN), self.linear(h, HIDDEN));
        let glu = RowFn::Glu(Activation::GeluTanh);
        let h = self.row(glu, gate, Some(up));
        let h = self.linear(h, WIDTH);
        let h = self.norm(h, WIDTH);
        self.add(x, h)
    }

    /// A layer with a norm before each block only.
    fn plain_layer(&mut self, x: ValueId, slot: u32) -> ValueId {
        let h = self.norm(x, WIDTH);
        let q = self.linear(h, HEADS * HEAD_DIM);
        let k = self.linear(h, HEAD_DIM);
        let v = self.linear(h, HEAD_DIM);
        let (q, k) = (self.rope(q), self.rope(k));
        let h = self.attention(q, k, v, slot);
        let h = self.linear(h, WIDTH);
        let x = self.add(x, h);

        let h = self.norm(x, WIDTH);
        let (gate, up) = (self.linear(h, HIDDEN), self.linear(h, HIDDEN));
        let h = self.row(RowFn::Glu(Activation::Silu), gate, Some(up));
        let h = self.linear(h, WIDTH);
        self.add(x, h)
    }

    fn attention(&mut self, q: ValueId, k: ValueId, v: ValueId, slot: u32) -> ValueId {
        let attention = Attention {
            slot,
            heads: HEADS,
            kv_heads: 1,
            head_dim: HEAD_DIM,
            scale: 1.0,
            softcap: None,
            sinks: None,
            window: None,
        };
        let op = Op::Attention { q, k, v, attention };
        self.push(op, HEADS * HEAD_DIM)
    }
}

/// Layers with norms around each block: no matmul absorbs an addition.
fn graph(layers: u32) -> Graph {
    sketched(layers, Sketch::layer)
}

/// Layers in which matmuls absorb the additions.
fn plain_graph(layers: u32) -> Graph {
    sketched(layers, Sketch::plain_layer)
}

fn sketched(layers: u32, layer: fn(&mut Sketch, ValueId, u32) -> ValueId) -> Graph {
    let mut sketch = Sketch {
        nodes: Vec::new(),
        weights: 0,
    };
    let vocabulary = 1000;
    let table = sketch.weight(vocabulary, WIDTH);
    let mut x = sketch.push(
        Op::Embed {
            table,
            scale: 25.0,
            stand_in: None,
        },
        WIDTH,
    );
    for slot in 0..layers {
        x = layer(&mut sketch, x, slot);
    }
    let h = sketch.norm(x, WIDTH);
    let logits = sketch.linear(h, vocabulary);
    let logits = sketch.row(RowFn::Softcap { cap: 30.0 }, logits, None);
    let rope = Rope {
        style: RopeStyle::HalfSplit,
        inverse_frequencies: alloc::vec![1.0; HEAD_DIM / 2],
        magnitude: 1.0,
        long: None,
        growth: None,
    };
    Graph {
        architecture: "sketch".into(),
        nodes: sketch.nodes,
        ropes: alloc::vec![rope],
        logits,
        vocabulary,
        trained_context: 64,
    }
}

/// Rows run in any order and at the same time, so no row may overlap another row's
/// values: two buffers of one step are equal or disjoint.
#[test]
fn rows_of_one_step_do_not_disturb_each_other() {
    let kernels = Kernels::detect();
    for chunk in [1, 2, 7, 64] {
        let options = PlanOptions {
            context: 64,
            chunk,
            logit_rows: chunk.min(2),
            session_rows: 1,
            draft_rows: 1,
            decode_rows: 1,
            threads: 2,
            kv_type: KvType::F16,
        };
        let plan = Plan::new(&graph(2), None, &kernels, options, &[]);
        for (steps, rows) in [(&plan.body, chunk), (&plan.head, options.logit_rows)] {
            for ops in steps.iter().filter_map(|step| match step {
                Step::Rows(ops) => Some(ops),
                _ => None,
            }) {
                let all: Vec<Buffer> = ops.iter().flat_map(check::buffers_of_row).collect();
                for a in &all {
                    for b in all.iter().filter(|b| *b != a) {
                        let (a, b) = (a.rows(0, rows), b.rows(0, rows));
                        let apart =
                            a.offset + a.bytes <= b.offset || b.offset + b.bytes <= a.offset;
                        assert!(apart, "{a:?} and {b:?} with {rows} rows in {ops:#?}");
                    }
                }
            }
        }
    }
}

#[test]
fn cuts_of_a_piece_are_its_rows() {
    for rows in [0..16, 16..17, 32..48, 48..160, 0..1000] {
        for cuts in [1, 4] {
            let piece = Piece {
                part: 3,
                rows: rows.clone(),
            };
            let mut next = rows.start;
            for cut in (0..cuts).map(|cut| piece.cut(cut, cuts)) {
                assert_eq!((cut.part, cut.rows.start), (3, next));
                assert!(cut.rows.is_empty() || next.is_multiple_of(16));
                next = cut.rows.end;
            }
            assert_eq!(next, rows.end);
        }
    }
}

/// All operations between two attentions are one span. It begins with the attention's
/// output and the residual, and ends with queries, keys and values before rotation.
#[test]
fn spans_lie_between_attentions() {
    let graph = graph(3);
    let spans = spans(&graph, |_| true);
    let ops = |span: &Span, is: fn(&Op) -> bool| {
        let ops = span.nodes.iter().map(|&node| &graph.nodes[node].op);
        ops.filter(|op| is(op)).count()
    };
    let matmuls: Vec<usize> = spans
        .iter()
        .map(|span| ops(span, |op| matches!(op, Op::MatMul { .. })))
        .collect();
    assert_eq!(matmuls, [3, 7, 7]);
    let values = |span: &Span| (span.inputs.len(), span.outputs.len());
    // The embedding is the first residual; each later span also passes one to the next.
    let shapes: Vec<_> = spans.iter().map(values).collect();
    assert_eq!(shapes, [(1, 3), (2, 4), (2, 4)]);
    for span in &spans {
        assert_eq!(
            ops(span, |op| matches!(op, Op::Rope { .. } | Op::Embed { .. })),
            0
        );
    }
    // A refused node splits its span. A part without a matmul is not a span.
    let refused = spans[1].nodes[1];
    let cut = super::spans(&graph, |node| node != refused);
    assert!(cut.iter().all(|span| !span.nodes.contains(&refused)));
    assert_eq!(cut.len(), spans.len() + 1);
}

/// Spans split steps and change nothing else: the steps of a span are consecutive, and
/// compute all of the span. So it is whichever operation is refused, and no other matmul
/// is lost.
#[test]
fn steps_keep_to_their_spans() {
    for (name, graph) in [("norms", graph(3)), ("plain", plain_graph(3))] {
        let all: Vec<usize> = spans(&graph, |_| true)
            .into_iter()
            .flat_map(|s| s.nodes)
            .collect();
        let is_matmul = |node: &&usize| matches!(graph.nodes[**node].op, Op::MatMul { .. });
        for refused in all.iter().map(|&node| Some(node)).chain([None]) {
            let spans = spans(&graph, |node| Some(node) != refused);
            assert_steps(&graph, &spans);
            let taken = spans.iter().flat_map(|span| &span.nodes);
            let expected = all.iter().filter(|&&node| Some(node) != refused);
            assert_eq!(
                taken.filter(is_matmul).count(),
                expected.filter(is_matmul).count(),
                "{name} without {refused:?}"
            );
        }
    }
}

#[track_caller]
fn assert_steps(graph: &Graph, spans: &[Span]) {
    let options = PlanOptions {
        context: 64,
        chunk: 16,
        logit_rows: 1,
        session_rows: 1,
        draft_rows: 1,
        decode_rows: 1,
        threads: 2,
        kv_type: KvType::F16,
    };
    let plan = Plan::new(graph, None, &Kernels::detect(), options, spans);
    plan.check(&options);
    assert_eq!(plan.spans.len(), spans.len());
    for (span, steps) in spans.iter().zip(&plan.spans) {
        assert_eq!(span.inputs.len(), steps.inputs.len());
        assert_eq!(span.outputs.len(), steps.outputs.len());
        let of_span = &plan.body[steps.steps.clone()];
        let stateless = |op: &RowOp| {
            !matches!(
                op,
                RowOp::StoreKv(_) | RowOp::Rope { .. } | RowOp::Embed { .. }
            )
        };
        for step in of_span {
            match step {
                Step::Rows(ops) => assert!(ops.iter().all(stateless), "{ops:#?}"),
                Step::MatMul(_) => {}
                other => panic!("{other:?} in a span"),
            }
        }
        let matmuls = of_span.iter().filter_map(|step| match step {
            Step::MatMul(index) => Some(plan.matmuls[*index].parts.len()),
            _ => None,
        });
        let expected = span
            .nodes
            .iter()
            .filter(|&&node| matches!(graph.nodes[node].op, Op::MatMul { .. }));
        assert_eq!(matmuls.sum::<usize>(), expected.count());
    }
}

/// A buffer outside its arena is found before a pass runs.
#[test]
fn a_plan_that_leaves_its_arena_is_found() {
    let options = PlanOptions {
        context: 64,
        chunk: 16,
        logit_rows: 2,
        session_rows: 1,
        draft_rows: 1,
        decode_rows: 1,
        threads: 2,
        kv_type: KvType::F16,
    };
    let plan = || Plan::new(&graph(2), None, &Kernels::detect(), options, &[]);
    plan().check(&options);
    let outside = |plan: Plan| std::panic::catch_unwind(move || plan.check(&options)).is_err();
    let mut short = plan();
    short.layout.total -= crate::memory::round_up(1);
    assert!(outside(short));
    let mut far = plan();
    far.head_inputs[0].1.offset = far.layout.total;
    assert!(outside(far));
}
