//! Loads ONNX Runtime with the chosen execution provider, and describes it to the host.

use crate::onnxruntime::{Library, Options, Processor};
use crate::program::Program;
use crate::settings::{self, Provider};
use ondol_plugin::forms::{I4_BY_32, I8_BY_ROW};
use ondol_plugin::ondol::delegate::{Arithmetic, Code, Label, Quant};
use ondol_plugin::{Description, Failure, Graph, Loaded, Result, invalid};
use std::env;
use std::path::Path;

/// The numbers of rows that graphs can have.
const ROWS: [usize; 3] = [1, 64, 256];

/// Half floats are for the many weights for which one scale per row would be too coarse. 8 bits in
/// groups would take their place, and lose more.
const FORMS: [Quant; 3] = [I4_BY_32, I8_BY_ROW, Quant::F16];

/// The loaded ONNX Runtime.
pub struct Runtime {
    /// The library.
    pub library: Library,
    /// The chosen execution provider, if there is one.
    pub provider: Option<Chosen>,
}

/// A loaded execution provider.
pub struct Chosen {
    provider: Provider,
    options: Options,
    label: Label,
}

static RUNTIME: Loaded<Runtime> = Loaded::new();

/// Loads the library and chooses a provider. Later calls return the same.
///
/// # Errors
/// UNSUPPORTED if there is no library, or if it does not have the provider that was asked for.
pub fn init() -> Result<&'static Runtime> {
    RUNTIME.load(Runtime::load)
}

/// The result of [`init`]; `None` before it.
pub fn runtime() -> Option<&'static Runtime> {
    RUNTIME.get()
}

impl Runtime {
    fn load() -> Result<Runtime> {
        let path = env::var_os(settings::LIBRARY);
        let library = Library::load(path.as_deref().map(Path::new)).map_err(|failure| Failure {
            message: format!("{failure}; {} may name the library", settings::LIBRARY),
            ..failure
        })?;
        let provider = Provider::from_environment()?;
        let provider = provider.map(|provider| Chosen::load(&library, provider));
        Ok(Runtime {
            provider: provider.transpose()?,
            library,
        })
    }
}

impl Chosen {
    /// Adds a provider to the options of its sessions. ONNX Runtime says here whether it has it.
    fn load(library: &Library, provider: Provider) -> Result<Chosen> {
        let options = library.options()?;
        for (key, value) in &provider.session {
            options.set(key, value)?;
        }
        let added = add(library, &options, &provider);
        let on_cpu = added.map_err(|failure| {
            let has = library.providers().unwrap_or_default().join(", ");
            Failure {
                code: Code::Unsupported,
                message: format!("{failure}; this library has {has}"),
                ..failure
            }
        })?;
        // Times of a CPU are not a measure of an NPU's performance.
        let label = match on_cpu || !provider.computes_all() {
            true => Label::Emulator,
            false => Label::Hardware,
        };
        Ok(Chosen {
            provider,
            options,
            label,
        })
    }
}

/// Adds a provider to options. Returns whether it is known to compute on the CPU.
fn add(library: &Library, options: &Options, provider: &Provider) -> Result<bool> {
    let Provider { name, .. } = provider;
    match &provider.library {
        Some(path) => {
            library.register(name, path)?;
            let processor = library.add_registered(options, name, &provider.options)?;
            Ok(processor == Processor::Cpu)
        }
        None if provider.is_cpu() => Ok(true),
        None => options
            .add_provider(name, &provider.options)
            .map(|()| false),
    }
}

/// An open device.
pub struct Device {
    /// The library to which it belongs.
    pub library: &'static Library,
    /// The options of its sessions.
    pub options: &'static Options,
    chosen: &'static Chosen,
}

impl Device {
    /// Opens the only device.
    ///
    /// # Errors
    /// INVALID before [`init`], or if there is no device.
    pub fn open() -> Result<Device> {
        let none = || invalid("there is no device");
        let runtime = runtime().ok_or_else(none)?;
        let chosen = runtime.provider.as_ref().ok_or_else(none)?;
        Ok(Device {
            library: &runtime.library,
            options: &chosen.options,
            chosen,
        })
    }
}

impl ondol_plugin::Device for Device {
    type Program = Program;

    fn describe(&self) -> Description {
        let Chosen {
            provider, label, ..
        } = self.chosen;
        Description {
            vendor: "ONNX Runtime".to_owned(),
            device: format!("{} execution provider", provider.name),
            arch: env::consts::ARCH.to_owned(),
            driver: format!("ONNX Runtime {}", self.library.version()),
            firmware: "unknown".to_owned(),
            label: *label,
            memory: 0,
            arithmetic: Arithmetic::of(provider.activations),
            forms: FORMS.to_vec(),
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
