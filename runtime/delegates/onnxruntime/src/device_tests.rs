//! Tests of the table from the host's side, on an execution provider. Without
//! `ONDOL_ONNXRUNTIME_LIB` and `ONDOL_ONNXRUNTIME_PROVIDER` they say that they are skipped;
//! `cargo xtask onnxruntime` sets them.

use ondol_plugin::ondol::delegate::Delegate;
use ondol_plugin::testing;

/// Runs a test on the device, if the environment names one.
fn on_device(test: fn(&Delegate)) {
    const DEVICE: &str = "ONDOL_ONNXRUNTIME_PROVIDER";
    if std::env::var_os(DEVICE).is_none() {
        eprintln!("SKIPPED: {DEVICE} is not set");
        return;
    }
    // SAFETY: it is this plug-in.
    test(&unsafe { Delegate::open(crate::ondol_npu_get_api) }.unwrap());
}

#[test]
fn a_job_ends_at_its_deadline_or_when_cancelled() {
    on_device(testing::a_job_ends_at_its_deadline_or_when_cancelled);
}

#[test]
fn norms_of_groups_and_biases() {
    on_device(testing::norms_of_groups_and_biases);
}

#[test]
fn what_the_device_does_not_take_has_a_reason() {
    on_device(testing::what_the_device_does_not_take_has_a_reason);
}
