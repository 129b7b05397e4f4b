//! A delegate of Ondol that runs spans of a model by candle, on a GPU or on the CPU.
//!
//! The features `cuda` and `metal` add the GPUs. Without them there is only candle's CPU,
//! which is labelled an emulator: its times say nothing of a GPU.

mod device;
mod program;
#[cfg(test)]
mod tests;

use core::ffi::CStr;
use device::{Device, Place};
use ondol_plugin::{Log, Plugin, Result, invalid};

/// The plug-in: at most one device.
pub struct Candle;

ondol_plugin::export!(Candle);

impl Plugin for Candle {
    type Device = Device;

    const NAME: &'static CStr = c"candle";
    const LICENCE: &'static CStr = c"Apache-2.0 OR MIT";

    fn init(log: &Log) -> Result<()> {
        if Place::chosen()?.is_none() {
            // `device_count` can't return a reason.
            log.warn(&format!(
                "this build of the plug-in has no GPU; {}=cpu tries the CPU in its place",
                device::VARIABLE
            ));
        }
        Ok(())
    }

    fn device_count() -> u32 {
        u32::from(matches!(Place::chosen(), Ok(Some(_))))
    }

    fn open(_index: u32) -> Result<Device> {
        let place = Place::chosen()?.ok_or_else(|| invalid("there is no device"))?;
        Device::open(place)
    }
}
