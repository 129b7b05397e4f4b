//! Rule 1: prefill and decode never touch the allocator, and guesses cost no allocation either.

use ondol::testing::Drafts;
use ondol::{
    CancelToken, GenerateOptions, Isa, KvType, MemoryPressure, Model, SamplerOptions,
    ScreenOptions, SessionOptions, ThermalState,
};
use ondol_models::quant::DType;
use ondol_tests::counting::Counting;
use ondol_tests::packing::packed;
use ondol_tests::random_model::RandomModel;

#[global_allocator]
static ALLOCATOR: Counting = Counting::new();

/// One test: the counts are the process's, and starting another would be counted.
#[test]
fn nothing_allocates() {
    prefill_and_decode_do_not_allocate();
    a_screened_head_does_not_allocate();
}

fn prefill_and_decode_do_not_allocate() {
    let model = Model::hello().unwrap();
    let prompt: Vec<u32> = (0..100).map(|i| 3 + i * 7 % 200).collect();
    let cancel = CancelToken::new();
    let levels = [None, Some(Isa::Scalar), Some(Isa::Exact)];
    for (level, kv_type) in levels
        .into_iter()
        .flat_map(|l| KvType::ALL.map(|ty| (l, ty)))
    {
        let options = SessionOptions {
            threads: Some(2),
            kernels: level,
            kv_type,
            prefill_chunk: 32,
            ..SessionOptions::default()
        };
        let mut session = model.session(&options).unwrap();
        let before = ALLOCATOR.calls();
        session.prefill(&prompt, &cancel).unwrap();
        for token in 0..20 {
            if token == 10 {
                session
                    .engine()
                    .governor()
                    .set_thermal(ThermalState::Critical);
                session
                    .engine()
                    .governor()
                    .set_memory_pressure(MemoryPressure::Low);
            }
            session.decode(5 + token).unwrap();
            session.run_drafts(&[3, token, 4]).unwrap();
            session.accept_draft(token).unwrap();
        }
        assert_eq!(ALLOCATOR.calls() - before, 0, "level {level:?}, {kv_type}");
    }
    let pieces = generate(&model, 0);
    assert_eq!(generate(&model, 7), pieces);
}

/// The allocations of a long text: those of its pieces.
fn generate(model: &Model, drafts: usize) -> usize {
    let options = SessionOptions {
        threads: Some(2),
        drafts,
        ..SessionOptions::default()
    };
    let mut session = model.session(&options).unwrap();
    let prompt = model.encode_prompt("Hello! Hello! Hello!");
    let greedy = GenerateOptions {
        sampler: SamplerOptions::greedy(),
        max_tokens: Some(200),
        ..GenerateOptions::default()
    };
    let cancel = CancelToken::new();
    let generation = session.generate(&prompt, &greedy, &cancel).unwrap();
    let before = ALLOCATOR.calls();
    generation.for_each(|piece| assert!(piece.is_ok()));
    ALLOCATOR.calls() - before
}

fn a_screened_head_does_not_allocate() {
    let model = RandomModel {
        vocabulary: 20_000,
        dtype: DType::Q4_0,
        table_dtype: DType::Q8_0,
        ..RandomModel::small("llama")
    };
    let model = Model::from_bytes(packed(&model.to_bytes())).unwrap();
    for level in [None, Some(Isa::Scalar), Some(Isa::Exact)] {
        let options = SessionOptions {
            threads: Some(2),
            kernels: level,
            screen: Some(ScreenOptions {
                audit_every: 3,
                ..ScreenOptions::default()
            }),
            ..SessionOptions::default()
        };
        let mut session = model.session(&options).unwrap();
        let before = ALLOCATOR.calls();
        for token in 0..20 {
            session.decode_top(5 + token, 1 + token as usize).unwrap();
        }
        // Too many are asked for.
        session.decode_top(5, 10_000).unwrap();
        assert_eq!(ALLOCATOR.calls() - before, 0, "level {level:?}");
        let stats = session.screen_stats().unwrap();
        assert_eq!((stats.screened, stats.audits, stats.whole), (20, 7, 1));
    }
}
