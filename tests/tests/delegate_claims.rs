//! What a device takes of a model, what it refuses and what the host withholds: with
//! the sample plug-in, over the whole path.

#![cfg(all(target_os = "linux", target_pointer_width = "64"))]

use ondol::delegate::segment::{Role, Segment, Tensor};
use ondol::delegate::{
    Code, Delegate, Offload, OffloadReport, SpanCount, Stage, UnclaimedNodes, ffi,
};
use ondol::models::graph::{Node, Op};
use ondol::models::quant::DType;
use ondol::{Error, Model};
use ondol_tests::offloads::*;
use ondol_tests::random_model::{ARCHITECTURES, RandomModel};
use ondol_tests::refusing::{self, Refuses};
use ondol_tests::{error, softnpu};

/// Devices that each refuse one kind of operation, or one of several matmuls that the
/// CPU runs together.
const REFUSALS: [(&str, Refuses); 8] = [
    ("additions", |offered| offered.op == ffi::ADD),
    ("norms", |offered| offered.op == ffi::RMSNORM),
    ("gated units", |offered| {
        matches!(offered.op, ffi::SILU_MUL | ffi::GELU_MUL)
    }),
    ("queries", |offered| {
        (offered.sibling, offered.siblings) == (0, 3)
    }),
    ("keys", |offered| {
        (offered.sibling, offered.siblings) == (1, 3)
    }),
    ("values", |offered| {
        (offered.sibling, offered.siblings) == (2, 3)
    }),
    ("gates", |offered| {
        (offered.sibling, offered.siblings) == (0, 2)
    }),
    ("projections after another operation", |offered| {
        (offered.op, offered.siblings) == (ffi::MATMUL, 1)
    }),
];

/// A small model of each architecture.
fn small() -> impl Iterator<Item = (&'static str, Model)> {
    ARCHITECTURES.into_iter().map(|architecture| {
        let random = RandomModel::small(architecture);
        let model = Model::from_bytes(random.to_bytes()).expect(architecture);
        (architecture, model)
    })
}

fn multiply_adds(groups: &[UnclaimedNodes]) -> u64 {
    groups.iter().map(|group| group.multiply_adds).sum()
}

/// Multiply-adds for one row of the spans.
fn claimed(report: &OffloadReport) -> u64 {
    report.spans.iter().map(|span| span.multiply_adds).sum()
}

/// Every operation of the model is in one list of the report, with its work.
#[track_caller]
fn assert_complete(model: &Model, report: &OffloadReport) {
    let spans: usize = report.spans.iter().map(|span| span.nodes).sum();
    let groups = [report.refused.as_slice(), &report.withheld].concat();
    let others: usize = groups.iter().map(|group| group.nodes).sum();
    assert_eq!(spans + others, model.graph().nodes.len(), "{report:?}");
    let of_node = |node: &Node| match node.op {
        Op::MatMul { weight, .. } => (weight.rows * weight.cols) as u64,
        _ => 0,
    };
    let all: u64 = model.graph().nodes.iter().map(of_node).sum();
    assert_eq!(claimed(report) + multiply_adds(&groups), all, "{report:?}");
}

#[test]
fn a_refusal_loses_no_matmul_beside_it() {
    for (name, model) in small() {
        let whole = claimed(offload(&model, &small_programs()).report());
        let truth = scores(&mut session(&model, None), 20);
        for (refusal, refuses) in REFUSALS {
            let device = refusing::open(refuses);
            let offload = try_offload(&model, &device, &small_programs()).unwrap();
            let report = offload.report();
            assert_complete(&model, report);
            let lost = multiply_adds(&report.refused);
            assert_eq!(claimed(report) + lost, whole, "{name}, {refusal}");
            let is_matmul = !matches!(refusal, "additions" | "norms" | "gated units");
            assert_eq!(lost > 0, is_matmul && !report.refused.is_empty());
            let of_whole = (whole - lost) as f64 / whole as f64;
            assert_eq!(report.work.prefill, of_whole, "{name}, {refusal}");

            let mut session = session(&model, Some(&offload));
            let error = error(&scores(&mut session, 20), &truth);
            assert!(error <= NEAR, "{name}, {refusal}: {error}");
            assert_all_on_device(&session, 1, 0);
        }
    }
}

/// Bits of the logits after a prompt and of some decoded tokens.
fn answer(model: &Model, offload: Option<&Offload>) -> Vec<Vec<u32>> {
    let mut session = session(model, offload);
    let mut all = vec![prefill(&mut session, 40)];
    all.extend((0..3).map(|token| bits(session.decode(40 + token).unwrap())));
    all
}

#[test]
fn the_steps_of_the_cpu_give_the_same_bits_whatever_is_refused() {
    for (name, model) in small() {
        let expected = answer(&model, None);
        for (refusal, refuses) in REFUSALS {
            let device = refusing::open(refuses);
            let offload = try_offload(&model, &device, &all_passes()).unwrap();
            device.inject(c"device-lost", 0).unwrap();
            assert!(
                answer(&model, Some(&offload)) == expected,
                "{name}, {refusal}"
            );
        }
    }
}

#[test]
fn the_report_says_what_the_host_withholds() {
    let random = RandomModel::small("llama");
    let layers = random.layers;
    let model = Model::from_bytes(random.to_bytes()).unwrap();
    let offload = offload(&model, &small_programs());
    let report = offload.report();
    assert_complete(&model, report);
    let nodes = |word: &str| {
        let mut groups = report.withheld.iter();
        let found = groups.find(|group| group.reason.contains(word));
        found.map_or((0, 0), |group| (group.nodes, group.multiply_adds))
    };
    assert_eq!(nodes("attention"), (layers, 0));
    assert_eq!(nodes("rotation"), (2 * layers, 0));
    assert_eq!(nodes("embedding"), (1, 0));
    // The last layer after its attention, the last norm, and the matmul of the logits.
    assert_eq!(nodes("head").0, 10);
    assert!(nodes("head").1 > 0, "{report:?}");
    assert_eq!(report.refused, []);
    let work = report.work;
    let stages = (work.prefill, work.decode, work.head, work.attention);
    assert_eq!(stages, (1.0, 0.0, 0.0, 0.0));
    let of_decode = self::offload(&model, &all_passes()).report().work.decode;
    assert_eq!(of_decode, 1.0);
}

#[test]
fn work_is_counted_by_stage() {
    let model = hello();
    let offload = offload(&model, &all_passes());
    let mut session = session(&model, Some(&offload));
    prefill(&mut session, 20);
    for token in 0..3 {
        session.decode(token).unwrap();
    }
    let of_rows = |passes: u64, rows: u64| SpanCount {
        spans: passes * spans(&session),
        multiply_adds: rows * claimed(offload.report()),
    };
    let stats = stats(&session);
    assert_eq!(stats.prefill.on_device, of_rows(1, 20));
    assert_eq!(stats.decode.on_device, of_rows(3, 3));

    let device = softnpu::open_without_reset();
    let offload = try_offload(&model, &device, &all_passes()).unwrap();
    device.inject(c"device-lost", 0).unwrap();
    let mut lost = self::session(&model, Some(&offload));
    prefill(&mut lost, 20);
    lost.decode(0).unwrap();
    let stats = self::stats(&lost);
    assert_eq!(stats.prefill.on_cpu, of_rows(1, 20));
    assert_eq!(stats.decode.on_cpu, of_rows(1, 1));
    assert_eq!(
        (stats.on_device(), stats.on_cpu()),
        (0, 2 * spans(&session))
    );
}

// ---- a device with little memory ----

/// Bytes of weights of a program, by the sizes that the plug-in was given.
fn weight_bytes(segment: &Segment) -> usize {
    let bytes = |tensor: &Tensor| match &tensor.role {
        Role::Weight(_, stored) => stored.data.len() + stored.scales.len(),
        _ => 0,
    };
    segment.tensors.iter().map(bytes).sum()
}

/// softnpu refuses a program that exceeds the limit, so the host's count is tested too.
#[test]
fn the_layers_that_fit_are_on_the_device() {
    let random = RandomModel::small("llama").quantized(DType::Q4_0);
    let model = Model::from_bytes(random.to_bytes()).unwrap();
    let whole = offload(&model, &small_programs());
    let sizes: Vec<usize> = whole.segments(16).map(|s| weight_bytes(&s)).collect();
    let truth = scores(&mut session(&model, None), 20);
    let first: usize = sizes[..2].iter().sum();
    for (limit, options, fitting) in [
        (first, small_programs(), 2),
        (first - 1, small_programs(), 1),
        (2 * first, all_passes(), 2),
        (2 * first - 1, all_passes(), 1),
        (sizes.iter().sum(), small_programs(), sizes.len()),
    ] {
        let device = with_memory(limit);
        assert_eq!(device.info().memory_limit, limit as u64);
        let offload = try_offload(&model, &device, &options).unwrap();
        let report = offload.report();
        assert_complete(&model, report);
        let names = |offload: &Offload| -> Vec<String> {
            let spans = offload.report().spans.iter();
            spans.map(|span| span.name.clone()).collect()
        };
        assert_eq!(names(&offload), names(&whole)[..fitting], "{limit} bytes");
        let full = report
            .refused
            .iter()
            .any(|r| r.reason.contains(&format!("{limit} bytes")));
        assert_eq!(full, fitting < sizes.len(), "{:?}", report.refused);
        let error = error(&scores(&mut session(&model, Some(&offload)), 20), &truth);
        assert!(error <= NEAR, "{limit} bytes: {error}");
    }
    let nothing = try_offload(&model, &with_memory(1), &small_programs()).unwrap_err();
    assert!(
        nothing.to_string().contains("1 bytes of weights"),
        "{nothing}"
    );
}

/// A device whose programs have so many bytes of weights at most.
fn with_memory(bytes: usize) -> Delegate {
    let from = "number_of(\"SOFTNPU_MEMORY\", 0)";
    let plugin = softnpu::with_bug(
        &format!("memory-{bytes}"),
        "softnpu.c",
        from,
        &bytes.to_string(),
    );
    // SAFETY: the sample keeps the contract.
    unsafe { Delegate::load(&plugin) }.unwrap()
}

// ---- one device of several ----

#[test]
fn a_device_is_chosen_by_its_index() {
    let from = "number_of(\"SOFTNPU_DEVICES\", 1)";
    let plugin = softnpu::with_bug("two-devices", "softnpu.c", from, "2");
    // SAFETY: the sample keeps the contract.
    let open = |index| unsafe { Delegate::load_device(&plugin, index) };
    let [first, second] = [0, 1].map(|index| open(index).unwrap());
    assert_eq!(first.info().device, "softnpu");
    assert_eq!(second.info().device, "softnpu 1");
    let refused = open(2).unwrap_err();
    assert_eq!((refused.stage, refused.code), (Stage::Open, Code::Invalid));
    assert!(refused.message.contains("devices 0 to 1"), "{refused}");
    let model = hello();
    let offloads =
        [&first, &second].map(|device| try_offload(&model, device, &small_programs()).unwrap());
    // What is lost is one device.
    second.inject(c"device-lost", 0).unwrap();
    let counts = offloads.map(|offload| {
        let mut session = session(&model, Some(&offload));
        prefill(&mut session, 20);
        stats(&session).failures
    });
    assert_eq!(counts, [0, 1]);
}

// ---- the same spans on another delegate ----

#[test]
fn the_same_spans_run_on_another_delegate() {
    for (name, model) in small() {
        let one = offload(&model, &all_passes());
        let other = one.on(&softnpu::open()).unwrap();
        let (here, there) = (one.report(), other.report());
        assert_eq!(format!("{:?}", here.spans), format!("{:?}", there.spans));
        assert_eq!(here.work, there.work);
        assert_eq!(here.programs, there.programs);
        assert!(
            answer(&model, Some(&one)) == answer(&model, Some(&other)),
            "{name}"
        );
    }
}

#[track_caller]
fn assert_refused(offload: &Offload, other: &Delegate, word: &str) {
    let Err(Error::Delegate(told)) = offload.on(other) else {
        panic!("it takes all");
    };
    assert_eq!((told.stage, told.code), (Stage::Claim, Code::Unsupported));
    assert!(told.message.contains(word), "{told}");
}

#[test]
fn another_delegate_must_take_all() {
    let random = RandomModel::small("llama").quantized(DType::Q4_0);
    let model = Model::from_bytes(random.to_bytes()).unwrap();
    let offload = offload(&model, &all_passes());
    let (_, refuses) = REFUSALS[0];
    assert_refused(&offload, &refusing::open(refuses), "layers 0 to 1");
    // Two that can't even be asked.
    let changed = |name, from, to| {
        let plugin = softnpu::with_bug(name, "softnpu.c", from, to);
        // SAFETY: the sample keeps the contract, whatever it lists.
        unsafe { Delegate::load(&plugin) }.unwrap()
    };
    let rows = changed("rows", "ROWS[] = {1, 16,", "ROWS[] = {1,");
    assert_refused(&offload, &rows, "16 rows");
    let forms = changed("forms", "{&I4_BY_32, ", "{");
    assert_refused(&offload, &forms, "i4");
}
