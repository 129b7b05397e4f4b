//! Loads ONNX Runtime with the chosen execution provider, and describes it to the host.

use crate::onnxruntime::{Library, Options};
use crate::program::Program;
use crate::settings::{self, Provider};
use ondol_plugin::ondol::delegate::{Arithmetic, Code, Group, Label, Quant, Store};
use ondol_plugin::{Description, Failure, Graph, Result, invalid};
use std::env;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// The numbers of rows that graphs can have.
const ROWS: [usize; 3] = [1, 64, 256];

/// Half floats are for the many weights for which one scale per row would be too coarse. 8 bits in
/// groups would take their place, and lose more.
const FORMS: [Quant; 3] = [
    Quant {
        store: Store::I4,
        group: Group::Of(32),
        wide_scales: false,
    },
    Quant {
        store: Store::I8,
        group: Group::Row,
        wide_scales: true,
    },
    Quant::F16,
];

/// The loaded ONNX Runtime. It starts threads and is never unloaded.
pub struct Runtime {
    /// The library.
    pub library: Library,
    /// The chosen execution provider, if there is one, and the options of its sessions.
    pub provider: Option<(Provider, Options)>,
}

static RUNTIME: Mutex<Option<&'static Runtime>> = Mutex::new(None);

/// Loads the library and chooses a provider. Later calls return the same.
///
/// # Errors
/// UNSUPPORTED if there is no library, or if it does not have the provider that was asked for.
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
        let path = env::var_os(settings::LIBRARY);
        let library = Library::load(path.as_deref().map(Path::new)).map_err(|failure| Failure {
            message: format!("{failure}; {} may name the library", settings::LIBRARY),
            ..failure
        })?;
        let provider = Provider::from_environment()?;
        let provider = provider.map(|provider| {
            let options = options(&library, &provider)?;
            Ok((provider, options))
        });
        Ok(Runtime {
            provider: provider.transpose()?,
            library,
        })
    }
}

/// The options of a provider's sessions. ONNX Runtime says here whether it has the provider.
fn options(library: &Library, provider: &Provider) -> Result<Options> {
    let options = library.options()?;
    for (key, value) in &provider.session {
        options.set(key, value)?;
    }
    if !provider.is_cpu() {
        let added = options.add_provider(&provider.name, &provider.options);
        added.map_err(|failure| {
            let has = library.providers().unwrap_or_default().join(", ");
            Failure {
                code: Code::Unsupported,
                message: format!("{failure}; this library has {has}"),
                ..failure
            }
        })?;
    }
    Ok(options)
}

/// An open device.
pub struct Device {
    /// The library to which it belongs.
    pub library: &'static Library,
    /// The options of its sessions.
    pub options: &'static Options,
    provider: &'static Provider,
}

impl Device {
    /// Opens the only device.
    ///
    /// # Errors
    /// INVALID before [`init`], or if there is no device.
    pub fn open() -> Result<Device> {
        let none = || invalid("there is no device");
        let runtime = runtime().ok_or_else(none)?;
        let (provider, options) = runtime.provider.as_ref().ok_or_else(none)?;
        Ok(Device {
            library: &runtime.library,
            options,
            provider,
        })
    }
}

impl ondol_plugin::Device for Device {
    type Program = Program;

    fn describe(&self) -> Description {
        let provider = self.provider;
        Description {
            vendor: "ONNX Runtime".to_owned(),
            device: format!("{} execution provider", provider.name),
            arch: env::consts::ARCH.to_owned(),
            driver: format!("ONNX Runtime {}", self.library.version()),
            firmware: "unknown".to_owned(),
            label: match provider.is_hardware() {
                true => Label::Hardware,
                false => Label::Emulator,
            },
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
