//! Rule 4: for a kernel level, logits do not depend on the number of threads.

use ondol::{CancelToken, Isa, KvType, Model, SessionOptions};

/// Logits, bit by bit, after a prompt in chunks and a few decoded tokens.
fn logits(model: &Model, kv_type: KvType, level: Option<Isa>, threads: usize) -> Vec<Vec<u32>> {
    let options = SessionOptions {
        threads: Some(threads),
        kernels: level,
        kv_type,
        prefill_chunk: 24,
        ..SessionOptions::default()
    };
    let mut session = model.session(&options).unwrap();
    let prompt: Vec<u32> = (0..90).map(|i| 3 + i * 11 % 300).collect();
    let bits = |logits: &[f32]| logits.iter().map(|x| x.to_bits()).collect::<Vec<u32>>();
    let mut all = vec![bits(session.prefill(&prompt, &CancelToken::new()).unwrap())];
    all.extend((0..12).map(|t| bits(session.decode(40 + t).unwrap())));
    all
}

#[test]
fn threads_do_not_change_a_bit() {
    let model = Model::hello().unwrap();
    for level in [None, Some(Isa::Scalar), Some(Isa::Exact)] {
        for kv_type in KvType::ALL {
            let one = logits(&model, kv_type, level, 1);
            for threads in [2, 3, 4] {
                assert!(
                    one == logits(&model, kv_type, level, threads),
                    "level {level:?}, {kv_type}, {threads} threads"
                );
            }
        }
    }
}

#[test]
fn levels_agree_on_the_likeliest_token() {
    let model = Model::hello().unwrap();
    let top = |level| {
        let all = logits(&model, KvType::F16, level, 1);
        let first = |bits: &Vec<u32>| {
            let best = bits
                .iter()
                .enumerate()
                .max_by(|a, b| f32::from_bits(*a.1).total_cmp(&f32::from_bits(*b.1)));
            best.map(|(i, _)| i)
        };
        all.iter().map(first).collect::<Vec<_>>()
    };
    let exact = top(Some(Isa::Exact));
    for level in [None, Some(Isa::Scalar)] {
        let same = top(level)
            .iter()
            .zip(&exact)
            .filter(|(a, b)| a == b)
            .count();
        assert!(
            same >= exact.len() - 1,
            "level {level:?}: {same} of {}",
            exact.len()
        );
    }
}
