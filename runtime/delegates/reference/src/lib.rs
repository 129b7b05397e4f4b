//! A delegate on the CPU that computes in exactly the arithmetic that it declares.
//!
//! [`run`] and [`matmul`] compute without the C ABI: they are the oracle of the
//! conformance kit. [`open`] opens a device of any arithmetic; tests use it as a device without
//! faults. As a shared library it reads its setting from `ONDOL_REFERENCE_PART`.
//!
//! With 32-bit float activations and sums of 24 bits or more it is exact: the results
//! are those of 64-bit floats, rounded once ([`EXACT`]).

mod activations;
mod matmul;
mod rounding;
mod row;
mod segment;
mod setting;
#[cfg(test)]
mod tests;
mod tile;
mod weights;

pub use matmul::matmul;
pub use segment::run;
pub use setting::Setting;

use core::cell::RefCell;
use core::ffi::CStr;
use ondol_plugin::ondol::delegate::{
    Activations, Arithmetic, Delegate, DelegateError, Group, Label, Rounding,
};
use ondol_plugin::{Description, Graph, Log, Plugin, Result, Values, get_api, invalid};

/// The arithmetic of exact results: only the result is rounded.
pub const EXACT: Arithmetic = Arithmetic {
    activations: Activations::F32,
    group: Group::Row,
    accumulator_bits: 53,
    rounding: Rounding::NearestEven,
};

/// The environment variable with the setting of the shared library's device.
const VARIABLE: &str = "ONDOL_REFERENCE_PART";

/// The plug-in.
pub struct Reference;

/// An open device.
pub struct Device(Setting);

/// A graph as bytes, and the device's setting.
pub struct Program {
    graph: Vec<u8>,
    setting: Setting,
}

thread_local! {
    /// The setting of the device that this thread opens: the function of the C ABI that
    /// opens a device has no argument for it, and the host calls it on the thread of
    /// [`open`].
    static SETTING: RefCell<Option<Setting>> = const { RefCell::new(None) };
}

/// Opens a device with this setting. Devices of several settings can be open at once.
///
/// # Errors
/// As for [`Delegate::open`].
pub fn open(setting: Setting) -> core::result::Result<Delegate, DelegateError> {
    SETTING.set(Some(setting));
    // SAFETY: it is this plug-in, which keeps the contract.
    unsafe { Delegate::open(get_api::<Reference>) }
}

impl Plugin for Reference {
    type Device = Device;

    const NAME: &'static CStr = c"reference";
    const LICENCE: &'static CStr = c"Apache-2.0 OR MIT";

    fn init(_log: &Log) -> Result<()> {
        Ok(())
    }

    fn device_count() -> u32 {
        1
    }

    fn open(_index: u32) -> Result<Device> {
        match SETTING.take() {
            Some(setting) => Ok(Device(setting)),
            None => {
                let text = std::env::var(VARIABLE).unwrap_or_default();
                let setting = text.parse::<Setting>();
                setting
                    .map(Device)
                    .map_err(|e| invalid(format!("{VARIABLE}: {e}")))
            }
        }
    }
}

impl ondol_plugin::Device for Device {
    type Program = Program;

    fn describe(&self) -> Description {
        let setting = &self.0;
        Description {
            vendor: "Ondol".to_owned(),
            device: "reference".to_owned(),
            arch: setting.arch(),
            driver: env!("CARGO_PKG_VERSION").to_owned(),
            firmware: "none".to_owned(),
            label: Label::Emulator,
            memory: 0,
            arithmetic: setting.arithmetic,
            forms: setting.weights.clone(),
            rows: setting.rows.clone(),
        }
    }

    fn compile(&self, graph: &Graph) -> Result<Program> {
        Ok(Program {
            graph: graph.to_bytes(),
            setting: self.0.clone(),
        })
    }

    fn load(&self, bytes: &[u8]) -> Result<Program> {
        Graph::from_bytes(bytes, &self.0.weights)?;
        Ok(Program {
            graph: bytes.to_vec(),
            setting: self.0.clone(),
        })
    }
}

impl ondol_plugin::Program for Program {
    type Request = ();

    fn request(&self) -> Result<()> {
        Ok(())
    }

    fn run(&self, _: &mut (), values: Values, go_on: &dyn Fn() -> Result<()>) -> Result<()> {
        let graph = Graph::from_bytes(&self.graph, &self.setting.weights)?;
        let arithmetic = &self.setting.arithmetic;
        let computed = segment::compute(&graph, &values.inputs, arithmetic, go_on)?;
        for (output, computed) in values.outputs.into_iter().zip(&computed) {
            output.copy_from_slice(computed);
        }
        Ok(())
    }

    fn save(&self) -> Result<Vec<u8>> {
        Ok(self.graph.clone())
    }
}
