//! Rule 1: prefill and decode never touch the allocator.

use ondol::{CancelToken, Level, MemoryPressure, Model, Options, ThermalLevel};
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
            if token == 10 {
                session.governor().set_thermal(ThermalLevel::Critical);
                session.governor().set_memory_pressure(MemoryPressure::Low);
            }
            session.decode(5 + token).unwrap();
        }
        assert_eq!(ALLOCATOR.calls() - before, 0, "level {level:?}");
    }
}
