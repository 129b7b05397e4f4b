//! Tests the delegate for Intel NPUs: its own tests and `ondol verify`, with OpenVINO
//! on the CPU.

use crate::plugin::Plugin;
use crate::steps::Outcome;
use crate::wheel::Wheel;

/// The version of OpenVINO that is tested.
const WHEEL: Wheel = Wheel {
    package: "openvino==2026.4.0",
    folder: "openvino",
    inside: "openvino/libs",
    library: "openvino_c",
};

/// Runs the plug-in's own tests, then `ondol verify` with it.
pub fn openvino() -> Outcome {
    WHEEL.with("the OpenVINO delegate", |library| {
        let env = [
            ("ONDOL_OPENVINO_LIB", library),
            ("ONDOL_OPENVINO_DEVICE", "CPU"),
        ];
        let plugin = Plugin::test("ondol-delegate-openvino", &env)?;
        plugin.hello()?;
        plugin.smollm2(&WHEEL.folder())
    })
}
