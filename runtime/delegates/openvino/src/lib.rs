//! A delegate of Ondol for Intel NPUs, which uses OpenVINO.

mod device;
#[cfg(test)]
mod device_tests;
mod ir;
mod openvino;
mod program;

use core::ffi::CStr;
use device::Device;
use ondol_plugin::{Log, Plugin, Result};

/// The plug-in: at most one device, the NPU or another one that was asked for.
pub struct OpenVino;

ondol_plugin::export!(OpenVino);

impl Plugin for OpenVino {
    type Device = Device;

    const NAME: &'static CStr = c"openvino";
    const LICENCE: &'static CStr = c"Apache-2.0 OR MIT";

    fn init(log: &Log) -> Result<()> {
        let runtime = device::init()?;
        if runtime.device.is_none() {
            // `device_count` can't return a reason.
            log.warn(&format!(
                "OpenVINO {} sees no NPU; ONDOL_OPENVINO_DEVICE=CPU tries the CPU in its place",
                runtime.version
            ));
        }
        Ok(())
    }

    fn device_count() -> u32 {
        let runtime = device::runtime();
        u32::from(runtime.is_some_and(|runtime| runtime.device.is_some()))
    }

    fn open(_index: u32) -> Result<Device> {
        Device::open()
    }
}
