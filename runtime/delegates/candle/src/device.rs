//! Chooses the device and describes it to the host.

use crate::program::Program;
use candle_core::DType;
use ondol_plugin::forms::{I4_BY_32, I8_BY_ROW};
use ondol_plugin::ondol::delegate::{Activations, Arithmetic, Code, Label, Quant};
use ondol_plugin::{Description, Failure, Graph, Result, invalid, unsupported};
use std::env;

/// Environment variable that names the device: `cpu`, `cuda`, `cuda:1`, `metal`, `metal:1`.
pub const VARIABLE: &str = "ONDOL_CANDLE_DEVICE";

/// The numbers of rows that graphs can have.
const ROWS: [usize; 4] = [1, 16, 64, 256];

/// The forms of matrices; each becomes floats when a program is made.
pub const FORMS: [Quant; 3] = [I4_BY_32, I8_BY_ROW, Quant::F16];

/// Where candle computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The CPU, in the place of a GPU.
    Cpu,
    /// The NVIDIA GPU of this number.
    Cuda(usize),
    /// The Apple GPU of this number.
    Metal(usize),
}

impl Place {
    /// The place that [`VARIABLE`] names, or else the GPU that this build has.
    ///
    /// # Errors
    /// INVALID for an unknown name.
    pub fn chosen() -> Result<Option<Place>> {
        match env::var(VARIABLE) {
            Ok(name) if !name.is_empty() => Place::named(&name).map(Some),
            _ if cfg!(feature = "cuda") => Ok(Some(Place::Cuda(0))),
            _ if cfg!(feature = "metal") => Ok(Some(Place::Metal(0))),
            _ => Ok(None),
        }
    }

    fn named(name: &str) -> Result<Place> {
        let unknown = || invalid(format!("{VARIABLE}: {name} is not cpu, cuda:N or metal:N"));
        let (kind, number) = name.split_once(':').unwrap_or((name, "0"));
        let number = number.parse().map_err(|_| unknown())?;
        match kind {
            "cpu" if number == 0 => Ok(Place::Cpu),
            "cuda" => Ok(Place::Cuda(number)),
            "metal" => Ok(Place::Metal(number)),
            _ => Err(unknown()),
        }
    }

    fn name(self) -> String {
        match self {
            Place::Cpu => "cpu".to_owned(),
            Place::Cuda(number) => format!("cuda:{number}"),
            Place::Metal(number) => format!("metal:{number}"),
        }
    }

    fn open(self) -> Result<candle_core::Device> {
        let opened = match self {
            Place::Cpu => Ok(candle_core::Device::Cpu),
            Place::Cuda(_) if !cfg!(feature = "cuda") => return Err(not_built("cuda")),
            // A stream of the device's own: by default each thread of the host has its own, and a
            // job could run before the weights that another thread sent have arrived.
            Place::Cuda(number) => candle_core::Device::new_cuda_with_stream(number),
            Place::Metal(_) if !cfg!(feature = "metal") => return Err(not_built("metal")),
            Place::Metal(number) => candle_core::Device::new_metal(number),
        };
        opened.map_err(failure)
    }

    /// The type of matrices and of the inputs of matmuls: half floats halve what a GPU
    /// reads, and candle's CPU computes exactly.
    pub fn dtype(self) -> DType {
        match self {
            Place::Cpu => DType::F32,
            Place::Cuda(_) | Place::Metal(_) => DType::F16,
        }
    }
}

fn not_built(feature: &str) -> Failure {
    unsupported(format!(
        "the plug-in was built without the feature {feature}"
    ))
}

/// A failure of candle. It does not say whether memory was short.
pub fn failure(error: candle_core::Error) -> Failure {
    Failure::new(Code::Internal, error.to_string())
}

/// An open device.
pub struct Device {
    /// Where it computes.
    pub place: Place,
    /// candle's device.
    pub device: candle_core::Device,
}

impl Device {
    /// Opens the device.
    ///
    /// # Errors
    /// UNSUPPORTED for a GPU that the build does not have; INTERNAL if candle can't use it.
    pub fn open(place: Place) -> Result<Device> {
        let device = place.open()?;
        Ok(Device { place, device })
    }
}

impl ondol_plugin::Device for Device {
    type Program = Program;

    fn describe(&self) -> Description {
        let (label, activations) = match self.place {
            Place::Cpu => (Label::Emulator, Activations::F32),
            Place::Cuda(_) | Place::Metal(_) => (Label::Hardware, Activations::F16),
        };
        Description {
            vendor: "candle".to_owned(),
            device: self.place.name(),
            arch: self.place.name(),
            driver: "candle 0.11".to_owned(),
            firmware: "unknown".to_owned(),
            label,
            memory: 0,
            arithmetic: Arithmetic::of(activations),
            forms: FORMS.to_vec(),
            rows: ROWS.to_vec(),
        }
    }

    fn compile(&self, graph: &Graph) -> Result<Program> {
        Program::of(self, graph, graph.to_bytes())
    }

    fn load(&self, bytes: &[u8]) -> Result<Program> {
        let graph = Graph::from_bytes(bytes, &FORMS)?;
        Program::of(self, &graph, bytes.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_a_name() {
        assert_eq!(Place::named("cpu").unwrap(), Place::Cpu);
        assert_eq!(Place::named("cuda").unwrap(), Place::Cuda(0));
        assert_eq!(Place::named("metal:2").unwrap(), Place::Metal(2));
        for place in [Place::Cpu, Place::Cuda(1), Place::Metal(0)] {
            assert_eq!(Place::named(&place.name()).unwrap(), place);
        }
        for name in ["gpu", "cuda:", "cuda:-1", "cpu:1", "cuda:x"] {
            assert_eq!(
                Place::named(name).unwrap_err().code,
                Code::Invalid,
                "{name}"
            );
        }
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_gpu_that_the_build_lacks_is_unsupported() {
        let failure = Device::open(Place::Cuda(0)).err().unwrap();
        assert_eq!(failure.code, Code::Unsupported);
        assert!(failure.to_string().contains("feature cuda"), "{failure}");
    }
}
