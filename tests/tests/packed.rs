//! A packed copy computes what its source does, bit for bit: every
//! architecture, every block format, prefill and decode.

use ondol::{CancelToken, Isa, Model, SessionOptions};
use ondol_models::quant::DType;
use ondol_tests::packing::packed;
use ondol_tests::random_model::{ARCHITECTURES, RandomModel};

/// Logits, bit by bit, after a long prompt, a short one, and a few decoded tokens.
fn logits(file: &[u8], level: Option<Isa>, threads: usize) -> Vec<Vec<u32>> {
    let model = Model::from_bytes(file.to_vec()).unwrap();
    let options = SessionOptions {
        threads: Some(threads),
        kernels: level,
        ..SessionOptions::default()
    };
    let mut session = model.session(&options).unwrap();
    let vocabulary = model.graph().vocabulary as u32;
    let prompt: Vec<u32> = (0..50).map(|i| (3 + i * 11) % vocabulary).collect();
    let bits = |logits: &[f32]| logits.iter().map(|x| x.to_bits()).collect::<Vec<u32>>();
    let cancel = CancelToken::new();
    let mut all = vec![bits(session.prefill(&prompt, &cancel).unwrap())];
    all.push(bits(session.prefill(&prompt[..5], &cancel).unwrap()));
    all.extend((0..3).map(|t| bits(session.decode(40 + t).unwrap())));
    all
}

#[track_caller]
fn check(file: &[u8], name: &str) {
    let packed = packed(file);
    assert!(Model::from_bytes(packed.clone()).unwrap().is_packed());
    for level in [None, Some(Isa::Scalar), Some(Isa::Exact)] {
        let plain = logits(file, level, 1);
        assert!(
            plain.iter().flatten().any(|&bits| bits != 0),
            "{name}: all logits are zero"
        );
        for threads in [1, 2] {
            assert!(
                plain == logits(&packed, level, threads),
                "{name}, level {level:?}, {threads} threads"
            );
        }
    }
}

#[test]
fn every_architecture() {
    for architecture in ARCHITECTURES {
        let mut model = RandomModel::small(architecture);
        model.dtype = DType::Q4_0;
        model.table_dtype = DType::Q8_0;
        check(&model.to_bytes(), architecture);
    }
}

#[test]
fn every_format() {
    for dtype in DType::all().filter(|&dtype| ondol_models::quant::packed::can_pack(dtype)) {
        let mut model = RandomModel::small("llama");
        (model.layers, model.width, model.hidden) = (1, 256, 256);
        (model.heads, model.kv_heads, model.head_dim) = (4, 2, 64);
        (model.dtype, model.table_dtype, model.tied) = (dtype, dtype, false);
        check(&model.to_bytes(), dtype.name());
    }
}

#[test]
fn hello() {
    check(Model::hello_bytes(), "hello");
}

#[test]
fn another_version_of_the_layout_is_refused_by_name() {
    let mut file = packed(Model::hello_bytes());
    let q = DType::Q8_0 as u32;
    let (now, next) = (0x4F4E_0100 | q, 0x4F4E_0200 | q);
    let at = file.windows(4).position(|bytes| bytes == now.to_le_bytes());
    let at = at.expect("hello has a matrix of Q8_0");
    file[at..at + 4].copy_from_slice(&next.to_le_bytes());
    let error = Model::from_bytes(file).err().unwrap().to_string();
    assert!(error.contains("version 2"), "{error}");
}
