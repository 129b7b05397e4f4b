//! Rule 1: `Model::memory` is what a model and its session hold, before they hold it.

use ondol::{KvType, Model};
use ondol_models::quant::DType;
use ondol_tests::counting::Counting;
use ondol_tests::holding::{compare, fill, options};
use ondol_tests::packing::packed;
use ondol_tests::random_model::RandomModel;

#[global_allocator]
static ALLOCATOR: Counting = Counting::new();

fn packed_model_with_a_screen() -> Vec<u8> {
    let model = RandomModel {
        vocabulary: 20_000,
        dtype: DType::Q4_0,
        table_dtype: DType::Q8_0,
        ..RandomModel::small("llama")
    };
    packed(&model.to_bytes())
}

/// The one test of this file: the counts are the process's, and a second test's
/// message to the harness would be among them.
#[test]
fn what_is_announced_is_what_is_allocated() {
    for kv_type in KvType::ALL {
        allocates_what_it_announces(kv_type, || Model::hello().unwrap());
    }
    let file = packed_model_with_a_screen();
    // The copy is the model's: what is not mapped counts.
    allocates_what_it_announces(KvType::F16, || Model::from_bytes(file.clone()).unwrap());
}

fn allocates_what_it_announces(kv_type: KvType, load: impl FnOnce() -> Model) {
    let options = options(kv_type);
    let before = ALLOCATOR.restart_peak();
    let model = load();
    let held = ALLOCATOR.now() - before;
    let memory = model.memory(&options).unwrap();
    let off = held.abs_diff(memory.model as usize);
    // The harness allocates a little meanwhile.
    assert!(off < 2048, "the model holds {held} bytes: {memory:?}");

    let mut session = model.session(&options).unwrap();
    fill(&mut session);
    compare(&model, memory, ALLOCATOR.peak() - before, 0.005);
}
