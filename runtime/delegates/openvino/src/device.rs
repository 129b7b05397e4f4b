//! Loads OpenVINO, chooses the device, and describes it to the host.

use crate::openvino::{self, Core};
use crate::program::Program;
use ondol_plugin::forms::{I4_BY_32, I4_BY_128, I4_BY_ROW, I8_BY_ROW};
use ondol_plugin::ondol::delegate::{Activations, Arithmetic, Label, Quant};
use ondol_plugin::{Description, Failure, Graph, Loaded, Result, invalid, unsupported};
use std::env;
use std::path::Path;

/// Environment variable with the path of the C library, if it is not where OpenVINO's
/// own installers put it.
const LIBRARY: &str = "ONDOL_OPENVINO_LIB";
/// Environment variable with the name of a device other than the NPU.
const DEVICE: &str = "ONDOL_OPENVINO_DEVICE";
const NPU: &str = "NPU";

/// The numbers of rows that graphs can have.
const ROWS: [usize; 3] = [1, 64, 256];

/// The forms that Intel documents for its NPUs. Half floats are for the many weights
/// for which one scale per row would be too coarse.
const NPU_FORMS: [Quant; 4] = [I4_BY_128, I4_BY_ROW, I8_BY_ROW, Quant::F16];
/// The forms that the other devices compute correctly. They also take 8 bits in groups
/// of 32, but then the host would not use half floats, and SmolLM2 would lose 4 % of
/// its likeliest tokens.
const OTHER_FORMS: [Quant; 5] = [I4_BY_128, I4_BY_32, I4_BY_ROW, I8_BY_ROW, Quant::F16];

/// The loaded OpenVINO.
pub struct Runtime {
    /// Compiles models.
    pub core: Core,
    /// OpenVINO's version.
    pub version: String,
    /// The chosen device, if there is one.
    pub device: Option<String>,
}

static RUNTIME: Loaded<Runtime> = Loaded::new();

/// Loads the library and chooses a device. Later calls return the same.
///
/// # Errors
/// UNSUPPORTED if there is no library, or if it does not have the device that was asked
/// for.
pub fn init() -> Result<&'static Runtime> {
    RUNTIME.load(Runtime::load)
}

/// The result of [`init`]; `None` before it.
pub fn runtime() -> Option<&'static Runtime> {
    RUNTIME.get()
}

impl Runtime {
    fn load() -> Result<Runtime> {
        let library = env::var_os(LIBRARY);
        openvino::load(library.as_deref().map(Path::new)).map_err(|failure| Failure {
            message: format!("{failure}; {LIBRARY} may name libopenvino_c"),
            ..failure
        })?;
        let core = Core::new()?;
        let wanted = env::var(DEVICE).ok().filter(|name| !name.is_empty());
        let device = choose(&core.devices()?, wanted.as_deref())?;
        if let Some(device) = &device {
            exact(&core, device)?;
        }
        Ok(Runtime {
            core,
            version: openvino::version()?,
            device,
        })
    }
}

/// The device that was asked for, or else the NPU; `None` if there is no NPU.
fn choose(all: &[String], wanted: Option<&str>) -> Result<Option<String>> {
    // If there are several devices of a kind, their names end in a point and a number.
    let is = |name: &String, wanted: &str| name == wanted || name.split('.').next() == Some(wanted);
    let found = all.iter().find(|name| is(name, wanted.unwrap_or(NPU)));
    match (found, wanted) {
        (None, Some(wanted)) => Err(unsupported(format!(
            "OpenVINO has no device {wanted}, but {}",
            all.join(", ")
        ))),
        _ => Ok(found.cloned()),
    }
}

/// Makes a device compute with the activations that `device_info` states: by default
/// the CPU may round inputs to 16 bits, or to 8 bits if weights are integers.
fn exact(core: &Core, device: &str) -> Result<()> {
    if is_npu(device) {
        return Ok(());
    }
    core.set_property(device, "INFERENCE_PRECISION_HINT", "f32")?;
    core.set_property(device, "EXECUTION_MODE_HINT", "ACCURACY")?;
    core.set_property(device, "DYNAMIC_QUANTIZATION_GROUP_SIZE", "0")
}

fn is_npu(device: &str) -> bool {
    device.split('.').next() == Some(NPU)
}

/// An open device.
pub struct Device {
    /// The library to which it belongs.
    pub runtime: &'static Runtime,
    /// OpenVINO's name of the device.
    pub name: &'static str,
}

impl Device {
    /// Opens the only device.
    ///
    /// # Errors
    /// INVALID before [`init`], or if there is no device.
    pub fn open() -> Result<Device> {
        let none = || invalid("there is no device");
        let runtime = runtime().ok_or_else(none)?;
        let name = runtime.device.as_ref().ok_or_else(none)?;
        Ok(Device { runtime, name })
    }

    fn arch(&self) -> String {
        self.property("DEVICE_ARCHITECTURE")
            .unwrap_or_else(|| self.name.to_owned())
    }

    /// The version of the driver, which includes the NPU's compiler.
    fn driver(&self) -> String {
        let version = &self.runtime.version;
        match self.property("NPU_DRIVER_VERSION") {
            Some(driver) => format!("OpenVINO {version}, driver {driver}"),
            None => format!("OpenVINO {version}"),
        }
    }

    fn property(&self, key: &str) -> Option<String> {
        self.runtime.core.property(self.name, key)
    }
}

impl ondol_plugin::Device for Device {
    type Program = Program;

    fn describe(&self) -> Description {
        // Times of a CPU are not a measure of an NPU's performance.
        let (label, activations, forms) = match is_npu(self.name) {
            true => (Label::Hardware, Activations::F16, NPU_FORMS.to_vec()),
            false => (Label::Emulator, Activations::F32, OTHER_FORMS.to_vec()),
        };
        let memory = self.property("NPU_DEVICE_TOTAL_MEM_SIZE");
        Description {
            vendor: "Intel (OpenVINO)".to_owned(),
            device: self
                .property("FULL_DEVICE_NAME")
                .unwrap_or_else(|| self.name.to_owned()),
            arch: self.arch(),
            driver: self.driver(),
            firmware: "unknown".to_owned(),
            label,
            memory: memory.and_then(|bytes| bytes.parse().ok()).unwrap_or(0),
            arithmetic: Arithmetic::of(activations),
            forms,
            rows: ROWS.to_vec(),
        }
    }

    fn compile(&self, graph: &Graph) -> Result<Program> {
        Program::compile(self, graph)
    }

    fn load(&self, bytes: &[u8]) -> Result<Program> {
        Program::load(self, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_npu_is_chosen_and_nothing_else_unasked() {
        let names = |all: &[&str]| -> Vec<String> { all.iter().map(ToString::to_string).collect() };
        let chosen = |all: &[&str], wanted| choose(&names(all), wanted);
        assert_eq!(chosen(&["CPU", "NPU"], None).unwrap().unwrap(), "NPU");
        assert_eq!(chosen(&["CPU", "NPU.0"], None).unwrap().unwrap(), "NPU.0");
        assert_eq!(chosen(&["CPU", "GPU"], None).unwrap(), None);
        assert_eq!(chosen(&["CPU"], Some("CPU")).unwrap().unwrap(), "CPU");
        let failure = chosen(&["CPU"], Some("NPU")).unwrap_err();
        assert_eq!(failure.to_string(), "OpenVINO has no device NPU, but CPU");
    }
}
