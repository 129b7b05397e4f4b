//! A delegate of Ondol for every NPU whose vendor has an execution provider for ONNX Runtime.

mod device;
#[cfg(test)]
mod device_tests;
mod onnxruntime;
mod program;
mod runner;
mod settings;

use core::ffi::CStr;
use device::Device;
use ondol_plugin::{Log, Plugin, Result};

/// The plug-in: one device, the execution provider that was asked for.
pub struct OnnxRuntime;

ondol_plugin::export!(OnnxRuntime);

impl Plugin for OnnxRuntime {
    type Device = Device;

    const NAME: &'static CStr = c"onnxruntime";
    const LICENCE: &'static CStr = c"Apache-2.0 OR MIT";

    fn init(log: &Log) -> Result<()> {
        let runtime = device::init()?;
        if runtime.provider.is_none() {
            // `device_count` can't return a reason.
            log.warn(&format!(
                "ONNX Runtime {} has {}; {} names the one to use",
                runtime.library.version(),
                runtime.library.providers()?.join(", "),
                settings::PROVIDER,
            ));
        }
        Ok(())
    }

    fn device_count() -> u32 {
        let runtime = device::runtime();
        u32::from(runtime.is_some_and(|runtime| runtime.provider.is_some()))
    }

    fn open(_index: u32) -> Result<Device> {
        Device::open()
    }
}
