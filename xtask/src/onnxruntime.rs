//! Tests the delegate for execution providers of ONNX Runtime: its own tests and
//! `ondol verify`, with the provider for the CPU.

use crate::plugin::Plugin;
use crate::steps::{Extent, Outcome};
use crate::wheel::Wheel;

/// The version of ONNX Runtime that is tested.
const WHEEL: Wheel = Wheel {
    package: "onnxruntime==1.32.0",
    folder: "onnxruntime",
    inside: "onnxruntime/capi",
    library: "onnxruntime",
};

/// Runs the plug-in's own tests, then `ondol verify` with it: on the built-in model, and if all is
/// to be tested, on a real one.
pub fn onnxruntime(extent: Extent) -> Outcome {
    WHEEL.with("the ONNX Runtime delegate", |library| {
        let env = [
            ("ONDOL_ONNXRUNTIME_LIB", library),
            ("ONDOL_ONNXRUNTIME_PROVIDER", "CPU"),
        ];
        let plugin = Plugin::test("ondol-delegate-onnxruntime", &env)?;
        plugin.hello()?;
        match extent {
            Extent::Part => Ok(()),
            Extent::All => plugin.smollm2(&WHEEL.folder()),
        }
    })
}
