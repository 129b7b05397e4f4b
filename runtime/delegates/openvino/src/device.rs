//! Loads OpenVINO, chooses the device, and describes it to the host.

use crate::failure::{Failure, Result, unsupported, write_text};
use crate::graph::Form;
use crate::openvino::{self, Core};
use core::ffi::c_char;
use ondol::delegate::{Code, ffi};
use std::env;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Environment variable with the path of the C library, if it is not where OpenVINO's
/// own installers put it.
const LIBRARY: &str = "ONDOL_OPENVINO_LIB";
/// Environment variable with the name of a device other than the NPU.
const DEVICE: &str = "ONDOL_OPENVINO_DEVICE";
const NPU: &str = "NPU";

/// The numbers of rows that graphs can have.
pub static ROWS: [u32; 3] = [1, 64, 256];

const fn form(store: u32, group: u32, scale_type: u32) -> ffi::Quant {
    ffi::Quant {
        hdr: ffi::Hdr::of::<ffi::Quant>(),
        store,
        group,
        scale_type,
    }
}

static F16: ffi::Quant = form(ffi::F16, 0, 0);
static I4_BY_128: ffi::Quant = form(ffi::I4, 128, ffi::F16);
static I4_BY_32: ffi::Quant = form(ffi::I4, 32, ffi::F16);
static I4_BY_ROW: ffi::Quant = form(ffi::I4, ffi::GROUP_ROW, ffi::F16);
static I8_BY_ROW: ffi::Quant = form(ffi::I8, ffi::GROUP_ROW, ffi::F32);

/// The forms that Intel documents for its NPUs. Half floats are for the many weights
/// for which one scale per row would be too coarse.
static NPU_FORMS: [&ffi::Quant; 4] = [&I4_BY_128, &I4_BY_ROW, &I8_BY_ROW, &F16];
/// The forms that the other devices compute correctly. They also take 8 bits in groups
/// of 32, but then the host would not use half floats, and SmolLM2 would lose 4 % of
/// its likeliest tokens.
static OTHER_FORMS: [&ffi::Quant; 5] = [&I4_BY_128, &I4_BY_32, &I4_BY_ROW, &I8_BY_ROW, &F16];

/// OpenVINO, loaded. It starts threads and is never unloaded.
pub struct Runtime {
    /// Compiles models.
    pub core: Core,
    /// OpenVINO's version.
    pub version: String,
    /// The chosen device, if there is one.
    pub device: Option<String>,
}

static RUNTIME: Mutex<Option<&'static Runtime>> = Mutex::new(None);

/// Loads the library and chooses a device. Later calls return the same.
///
/// # Errors
/// UNSUPPORTED if there is no library, or if it does not have the device that was asked
/// for.
pub fn init() -> Result<&'static Runtime> {
    let mut runtime = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    match *runtime {
        Some(runtime) => Ok(runtime),
        None => Ok(runtime.insert(Box::leak(Box::new(Runtime::load()?)))),
    }
}

/// The result of [`init`]; `None` before it.
pub fn runtime() -> Option<&'static Runtime> {
    *RUNTIME.lock().unwrap_or_else(PoisonError::into_inner)
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
    /// INVALID before [`init`], or if there is no device with this index.
    pub fn open(index: u32) -> Result<Device> {
        let none = || Failure::new(Code::Invalid, format!("there is no device {index}"));
        let runtime = runtime().ok_or_else(none)?;
        match &runtime.device {
            Some(name) if index == 0 => Ok(Device { runtime, name }),
            _ => Err(none()),
        }
    }

    /// The forms of weights that the device takes.
    pub fn quants(&self) -> &'static [&'static ffi::Quant] {
        match is_npu(self.name) {
            true => &NPU_FORMS,
            false => &OTHER_FORMS,
        }
    }

    /// The same forms, as [`crate::graph::Graph`] states them.
    pub fn forms(&self) -> Vec<Form> {
        let quants = self.quants().iter();
        quants.map(|&quant| Form::of(Some(quant))).collect()
    }

    /// Everything on which a compiled program depends: device, architecture and driver.
    pub fn identity(&self) -> String {
        format!("{} {} {}", self.name, self.arch(), self.driver())
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

    /// Fills in the description of the device.
    pub fn describe(&self, info: &mut ffi::DeviceInfo) {
        let full = self.property("FULL_DEVICE_NAME");
        let texts: [(&mut [c_char], &str); 5] = [
            (&mut info.vendor, "Intel (OpenVINO)"),
            (&mut info.device, full.as_deref().unwrap_or(self.name)),
            (&mut info.arch, &self.arch()),
            (&mut info.driver, &self.driver()),
            (&mut info.firmware, "unknown"),
        ];
        texts
            .into_iter()
            .for_each(|(to, text)| write_text(to, text));
        let npu = is_npu(self.name);
        // Times of a CPU are not a measure of an NPU's performance.
        info.flags = if npu { 0 } else { ffi::DEVICE_EMULATED };
        info.mem_caps = ffi::MEM_HOST;
        let memory = self.property("NPU_DEVICE_TOTAL_MEM_SIZE");
        info.mem_total = memory.and_then(|bytes| bytes.parse().ok()).unwrap_or(0);
        info.mem_free = 0;
        info.activations = if npu { ffi::F16 } else { ffi::F32 };
        info.n_quants = self.quants().len() as u32;
        // A list of references has the layout of a list of pointers that are not null.
        info.quants = self.quants().as_ptr().cast();
        info.n_rows = ROWS.len() as u32;
        info.rows = ROWS.as_ptr();
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
