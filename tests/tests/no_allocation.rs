//! Rule 1: prefill and decode never touch the allocator, and guesses cost no allocation either.

use ondol::{CancelToken, GenerateOptions, Level, Model, Options, SamplerOptions};
use ondol_tests::counting::Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting::new();

#[test]
fn prefill_and_decode_do_not_allocate() {
    let model = Model::hello().unwrap();
    let prompt: Vec<u32> = (0..100).map(|i| 3 + i * 7 % 200).collect();
    let cancel = CancelToken::new();
    for level in [None, Some(Level::Scalar), Some(Level::Exact)] {
        let options = Options {
            threads: Some(2),
            kernels: level,
            prefill_chunk: 32,
            ..Options::default()
        };
        let mut session = model.session(&options).unwrap();
        let before = ALLOCATOR.calls();
        session.prefill(&prompt, &cancel).unwrap();
        for token in 0..20 {
            session.decode(5 + token).unwrap();
            session.decode_with_drafts(&[3, token, 4]).unwrap();
            session.accept(token).unwrap();
        }
        assert_eq!(ALLOCATOR.calls() - before, 0, "level {level:?}");
    }
    let pieces = generate(&model, 0);
    assert_eq!(generate(&model, 7), pieces);
}

/// The allocations of a long text: those of its pieces.
fn generate(model: &Model, drafts: usize) -> usize {
    let options = Options {
        threads: Some(2),
        drafts,
        ..Options::default()
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
