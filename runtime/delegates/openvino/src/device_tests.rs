//! Tests of the table from the host's side, on a device of OpenVINO. Without
//! `ONDOL_OPENVINO_LIB` and `ONDOL_OPENVINO_DEVICE` they say that they are skipped;
//! `cargo xtask openvino` sets them.

ondol_plugin::device_tests!(
    crate::ondol_npu_get_api, "ONDOL_OPENVINO_DEVICE":
    a_job_ends_at_its_deadline_or_when_cancelled,
    norms_of_groups_and_biases,
    what_the_device_does_not_take_has_a_reason,
);
