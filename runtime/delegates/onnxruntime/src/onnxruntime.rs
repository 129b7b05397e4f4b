//! A safe interface to the part of ONNX Runtime's C API that the plug-in uses. Every function that
//! returns a `Result` fails with ONNX Runtime's own message.
//!
//! The SAFETY comments here rely on the documentation of `onnxruntime_c_api.h`. Several threads
//! may make sessions with the same options and run the same session; strings, lists and options
//! are copied; a session owns what it read of a model.

use core::error::Error;
use core::ffi::{CStr, c_char, c_int};
use core::ptr;
use ondol_plugin::ondol::delegate::Code;
use ondol_plugin::raw::{c_string, text};
use ondol_plugin::{Failure, Result, Values, unsupported};
use ort_sys as ort;
use ort_sys::{GraphOptimizationLevel, ONNXTensorElementDataType, OrtAllocatorType, OrtMemType};
use std::ffi::{CString, OsString};
use std::path::Path;

/// The name under which ONNX Runtime logs.
const LOG_ID: &CStr = c"ondol";

/// The functions of the loaded library.
type Api = &'static ort::OrtApi;

/// Declares a type for an object that ONNX Runtime frees.
macro_rules! object {
    ($(#[$doc:meta])* $name:ident, $raw:ident, $release:ident) => {
        $(#[$doc])*
        pub struct $name {
            raw: *mut ort::$raw,
            api: Api,
        }

        // SAFETY: ONNX Runtime's objects are not bound to a thread,
        unsafe impl Send for $name {}
        // SAFETY: and are not changed through a shared reference, except that another thread may
        // terminate a run.
        unsafe impl Sync for $name {}

        impl Drop for $name {
            fn drop(&mut self) {
                // SAFETY: the object was made once and is freed once.
                unsafe { (self.api.$release)(self.raw) }
            }
        }
    };
}

object!(
    /// The process's ONNX Runtime: its log, and the threads that all sessions share.
    Environment, OrtEnv, ReleaseEnv
);
object!(
    /// What sizes and limits threads.
    Threading, OrtThreadingOptions, ReleaseThreadingOptions
);
object!(
    /// Where the host's memory is.
    Memory, OrtMemoryInfo, ReleaseMemoryInfo
);
object!(
    /// Options of sessions.
    Options, OrtSessionOptions, ReleaseSessionOptions
);
object!(
    /// Options of a run, by which it can be ended early.
    RunOptions, OrtRunOptions, ReleaseRunOptions
);
object!(
    /// A compiled model.
    Compiled, OrtSession, ReleaseSession
);
object!(
    /// Numbers in memory of the host.
    Tensor, OrtValue, ReleaseValue
);

/// Calls a function that makes an object.
fn make<T>(
    api: Api,
    what: &str,
    create: impl FnOnce(&mut *mut T) -> ort::OrtStatusPtr,
) -> Result<*mut T> {
    let mut raw = ptr::null_mut();
    check(api, what, create(&mut raw))?;
    Ok(raw)
}

/// Turns a status into a failure with ONNX Runtime's message.
fn check(api: Api, what: &str, status: ort::OrtStatusPtr) -> Result<()> {
    if status.0.is_null() {
        return Ok(());
    }
    // SAFETY: an enum of C is an `int`; a later library may have codes that the enum of `ort_sys`
    // does not.
    let code: unsafe extern "system" fn(*const ort::OrtStatus) -> c_int =
        unsafe { core::mem::transmute(api.GetErrorCode) };
    // SAFETY: the status is not null, and is freed after its message was copied.
    let (code, message) = unsafe {
        let said = (code(status.0), text((api.GetErrorMessage)(status.0)));
        (api.ReleaseStatus)(status.0);
        said
    };
    Err(Failure {
        vendor_code: code,
        ..Failure::new(kind(code), format!("{what}: {}", message.trim()))
    })
}

fn kind(code: c_int) -> Code {
    let unsupported = [
        ort::OrtErrorCode::ORT_NOT_IMPLEMENTED,
        ort::OrtErrorCode::ORT_INVALID_GRAPH,
    ];
    match unsupported.iter().any(|&known| known as c_int == code) {
        true => Code::Unsupported,
        false => Code::Internal,
    }
}

/// What a provider computes on, the best last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Processor {
    /// The host's CPU, or something that this build does not know.
    Cpu,
    /// A GPU.
    Gpu,
    /// An NPU.
    Npu,
}

impl Processor {
    fn of(kind: c_int) -> Processor {
        let is = |known: ort::OrtHardwareDeviceType| known as c_int == kind;
        if is(ort::OrtHardwareDeviceType::OrtHardwareDeviceType_NPU) {
            Processor::Npu
        } else if is(ort::OrtHardwareDeviceType::OrtHardwareDeviceType_GPU) {
            Processor::Gpu
        } else {
            Processor::Cpu
        }
    }
}

/// The loaded library.
pub struct Library {
    api: Api,
    version: String,
    environment: Environment,
    memory: Memory,
}

impl Library {
    /// Loads the library from `path`, or from where the system looks for it.
    ///
    /// # Errors
    /// UNSUPPORTED if there is none, or an older one than the plug-in's table.
    pub fn load(path: Option<&Path>) -> Result<Library> {
        let (api, version) = table(path)?;
        // SAFETY: the pointer lives during the call; so below.
        let raw = make(api, "threads", |raw| unsafe {
            (api.CreateThreadingOptions)(raw)
        })?;
        let threading = Threading { raw, api };
        // Threads that wait for work would slow down the host's, which compute attention.
        // SAFETY: the object lives.
        check(api, "threads", unsafe {
            (api.SetGlobalSpinControl)(threading.raw, 0)
        })?;
        let level = ort::OrtLoggingLevel::ORT_LOGGING_LEVEL_WARNING;
        // SAFETY: the name and the object live during the call.
        let raw = make(api, "the environment", |raw| unsafe {
            (api.CreateEnvWithGlobalThreadPools)(level, LOG_ID.as_ptr(), threading.raw, raw)
        })?;
        let environment = Environment { raw, api };
        let (allocator, kind) = (
            OrtAllocatorType::OrtDeviceAllocator,
            OrtMemType::OrtMemTypeDefault,
        );
        // SAFETY: as above.
        let raw = make(api, "memory", |raw| unsafe {
            (api.CreateCpuMemoryInfo)(allocator, kind, raw)
        })?;
        Ok(Library {
            api,
            version,
            environment,
            memory: Memory { raw, api },
        })
    }

    /// The library's version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Names of the execution providers that the library has.
    pub fn providers(&self) -> Result<Vec<String>> {
        let (mut raw, mut len) = (ptr::null_mut(), 0);
        // SAFETY: the pointers live during the call.
        check(self.api, "the providers", unsafe {
            (self.api.GetAvailableProviders)(&mut raw, &mut len)
        })?;
        let names = 0..usize::try_from(len).unwrap_or(0);
        // SAFETY: the list has `len` strings.
        let names = names.map(|i| unsafe { text(*raw.add(i)) }).collect();
        // SAFETY: the list was made above, and its strings were copied.
        check(self.api, "the providers", unsafe {
            (self.api.ReleaseAvailableProviders)(raw, len)
        })?;
        Ok(names)
    }

    /// Options of sessions that share the library's threads and optimize all they can.
    pub fn options(&self) -> Result<Options> {
        let api = self.api;
        // SAFETY: the pointer lives during the call.
        let raw = make(api, "options", |raw| unsafe {
            (api.CreateSessionOptions)(raw)
        })?;
        let options = Options { raw, api };
        // SAFETY: the object lives; so below.
        check(api, "options", unsafe {
            (api.DisablePerSessionThreads)(options.raw)
        })?;
        let all = GraphOptimizationLevel::ORT_ENABLE_ALL;
        // SAFETY: as above.
        check(api, "options", unsafe {
            (api.SetSessionGraphOptimizationLevel)(options.raw, all)
        })?;
        Ok(options)
    }

    /// Loads a provider that is a library of its own.
    pub fn register(&self, name: &str, path: &Path) -> Result<()> {
        let (api, c_name, path) = (self.api, c_string(name), os_string(path));
        // SAFETY: the strings live during the call, and end in zero.
        check(api, name, unsafe {
            (api.RegisterExecutionProviderLibrary)(
                self.environment.raw,
                c_name.as_ptr(),
                path.as_ptr(),
            )
        })
    }

    /// Adds a registered provider to options, with the best processor that it has here. Returns
    /// the processor.
    pub fn add_registered(
        &self,
        options: &Options,
        name: &str,
        provider: &[(String, String)],
    ) -> Result<Processor> {
        let full = format!("{name}ExecutionProvider");
        let devices = self.devices()?.into_iter();
        let devices = devices.filter(|(found, ..)| *found == name || *found == full);
        let best = devices.max_by_key(|(_, processor, _)| *processor);
        let (_, processor, device) =
            best.ok_or_else(|| unsupported(format!("{name} finds no device")))?;
        let (keys, values) = keys_and_values(provider);
        let (keys, values) = (pointers(&keys), pointers(&values));
        // SAFETY: the strings and lists live during the call, the device with the environment.
        check(self.api, name, unsafe {
            (self.api.SessionOptionsAppendExecutionProvider_V2)(
                options.raw,
                self.environment.raw,
                &device,
                1,
                keys.as_ptr(),
                values.as_ptr(),
                keys.len(),
            )
        })?;
        Ok(processor)
    }

    /// The devices of all providers: the provider's name, and what the device is.
    fn devices(&self) -> Result<Vec<(String, Processor, *const ort::OrtEpDevice)>> {
        let (api, mut list, mut len) = (self.api, ptr::null(), 0);
        // SAFETY: the places live during the call.
        check(api, "the devices", unsafe {
            (api.GetEpDevices)(self.environment.raw, &mut list, &mut len)
        })?;
        // SAFETY: an enum of C is an `int`, of which a later library may have more values.
        let kind: unsafe extern "system" fn(*const ort::OrtHardwareDevice) -> c_int =
            unsafe { core::mem::transmute(api.HardwareDevice_Type) };
        // SAFETY: the list has `len` devices, which live as long as the environment.
        let devices = (0..len).map(|i| unsafe {
            let device = *list.add(i);
            let name = text((api.EpDevice_EpName)(device));
            let processor = Processor::of(kind((api.EpDevice_Device)(device)));
            (name, processor, device)
        });
        Ok(devices.collect())
    }

    /// Compiles an ONNX file.
    pub fn session(&'static self, model: &[u8], options: &Options) -> Result<Session> {
        let api = self.api;
        // SAFETY: the bytes live during the call, which copies what it keeps.
        let raw = make(api, "compiling", |raw| unsafe {
            let (start, len) = (model.as_ptr().cast(), model.len());
            (api.CreateSessionFromArray)(self.environment.raw, start, len, options.raw, raw)
        })?;
        let compiled = Compiled { raw, api };
        Ok(Session {
            inputs: names(
                ondol_onnx::Side::Input,
                compiled.count(api.SessionGetInputCount)?,
            ),
            outputs: names(
                ondol_onnx::Side::Output,
                compiled.count(api.SessionGetOutputCount)?,
            ),
            compiled,
            library: self,
        })
    }

    /// A tensor of `rows` rows of floats in the host's memory.
    ///
    /// # Safety
    /// The floats stay there as long as a run uses the tensor.
    unsafe fn tensor(&self, floats: *mut f32, len: usize, rows: usize) -> Result<Tensor> {
        let api = self.api;
        let shape = [rows as i64, (len / rows) as i64];
        let float = ONNXTensorElementDataType::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
        // SAFETY: the shape lives during the call, the floats by the caller.
        let raw = make(api, "binding memory", |raw| unsafe {
            (api.CreateTensorWithDataAsOrtValue)(
                self.memory.raw,
                floats.cast(),
                len * size_of::<f32>(),
                shape.as_ptr(),
                shape.len(),
                float,
                raw,
            )
        })?;
        Ok(Tensor { raw, api })
    }
}

/// Loads the library, which stays loaded until the process ends. Returns its table and version.
fn table(path: Option<&Path>) -> Result<(Api, String)> {
    let name = path.map_or_else(
        || libloading::library_filename("onnxruntime"),
        OsString::from,
    );
    let missing = |error: libloading::Error| {
        // The error itself only says which function of the system failed.
        let reason = error.source().map(ToString::to_string).unwrap_or_default();
        unsupported(format!("no ONNX Runtime: {error}: {reason}"))
    };
    // SAFETY: the user named this library, or the system has it under ONNX Runtime's name; its
    // initializers are as trusted as the library.
    let library = unsafe { libloading::Library::new(name) }.map_err(missing)?;
    type Base = unsafe extern "system" fn() -> *const ort::OrtApiBase;
    // SAFETY: the type is that of the header.
    let base = unsafe { library.get::<Base>("OrtGetApiBase") }.map_err(missing)?;
    // SAFETY: the function takes nothing; its result is null or lives as long as the library.
    let base = unsafe { base().as_ref() };
    let base = base.ok_or_else(|| unsupported("ONNX Runtime has no table"))?;
    // SAFETY: the base's functions are always there; a version is a string that ends in zero.
    let (version, api) = unsafe {
        let version = text((base.GetVersionString)());
        (version, (base.GetApi)(ort::ORT_API_VERSION).as_ref())
    };
    let api = api.ok_or_else(|| {
        unsupported(format!(
            "ONNX Runtime {version} is older than 1.{}",
            ort::ORT_API_VERSION
        ))
    })?;
    // Its threads and the table are used until the process ends.
    core::mem::forget(library);
    Ok((api, version))
}

/// A path as ONNX Runtime takes it, with a zero at its end.
fn os_string(path: &Path) -> Vec<ort::os_char> {
    #[cfg(windows)]
    let chars = std::os::windows::ffi::OsStrExt::encode_wide(path.as_os_str());
    #[cfg(not(windows))]
    let chars = {
        let bytes = path.as_os_str().as_encoded_bytes().iter();
        bytes.map(|&byte| c_char::from_ne_bytes([byte]))
    };
    chars.chain([0]).collect()
}

fn keys_and_values(options: &[(String, String)]) -> (Vec<CString>, Vec<CString>) {
    let pairs = options.iter();
    pairs
        .map(|(key, value)| (c_string(key), c_string(value)))
        .unzip()
}

fn names(side: ondol_onnx::Side, count: usize) -> Vec<CString> {
    let names = (0..count).map(|index| ondol_onnx::name(side, index));
    names.map(|name| c_string(&name)).collect()
}

impl Options {
    /// Sets an option of a session.
    pub fn set(&self, key: &str, value: &str) -> Result<()> {
        let (c_key, value) = (c_string(key), c_string(value));
        // SAFETY: the strings live during the call.
        check(self.api, key, unsafe {
            (self.api.AddSessionConfigEntry)(self.raw, c_key.as_ptr(), value.as_ptr())
        })
    }

    /// Adds an execution provider, which takes what it can of each model.
    pub fn add_provider(&self, name: &str, options: &[(String, String)]) -> Result<()> {
        let c_name = c_string(name);
        let (keys, values) = keys_and_values(options);
        let (keys, values) = (pointers(&keys), pointers(&values));
        // SAFETY: the strings and lists live during the call.
        check(self.api, name, unsafe {
            (self.api.SessionOptionsAppendExecutionProvider)(
                self.raw,
                c_name.as_ptr(),
                keys.as_ptr(),
                values.as_ptr(),
                keys.len(),
            )
        })
    }
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ptr()).collect()
}

impl Compiled {
    fn count(
        &self,
        of: unsafe extern "system" fn(*const ort::OrtSession, *mut usize) -> ort::OrtStatusPtr,
    ) -> Result<usize> {
        let mut count = 0;
        // SAFETY: the session and the place for the number live during the call.
        check(self.api, "the values", unsafe { of(self.raw, &mut count) })?;
        Ok(count)
    }
}

/// A compiled model with the names of its values.
pub struct Session {
    compiled: Compiled,
    inputs: Vec<CString>,
    outputs: Vec<CString>,
    library: &'static Library,
}

impl Session {
    /// Options of a run.
    pub fn run_options(&self) -> Result<RunOptions> {
        let api = self.library.api;
        // SAFETY: the pointer lives during the call.
        let raw = make(api, "options", |raw| unsafe { (api.CreateRunOptions)(raw) })?;
        Ok(RunOptions { raw, api })
    }

    /// Tensors in the host's memory, for a run.
    ///
    /// # Safety
    /// The values live until the run has ended.
    pub unsafe fn bind(&self, values: Values) -> Result<Bound> {
        let (library, rows) = (self.library, values.rows);
        if (self.inputs.len(), self.outputs.len()) != (values.inputs.len(), values.outputs.len()) {
            return Err(Failure::new(Code::Corrupt, "a model of other values"));
        }
        let inputs = values.inputs.into_iter();
        let outputs = values.outputs.into_iter();
        // SAFETY: passed on to the caller; inputs are only read.
        unsafe {
            let inputs = inputs.map(|x| library.tensor(x.as_ptr().cast_mut(), x.len(), rows));
            let outputs = outputs.map(|y| library.tensor(y.as_mut_ptr(), y.len(), rows));
            Ok(Bound {
                inputs: inputs.collect::<Result<_>>()?,
                outputs: outputs.collect::<Result<_>>()?,
            })
        }
    }

    /// Computes the outputs. Returns when that has ended.
    pub fn run(&self, options: &RunOptions, bound: &Bound) -> Result<()> {
        let api = self.library.api;
        let (given, taken) = (pointers(&self.inputs), pointers(&self.outputs));
        let inputs = bound.inputs.iter().map(|x| x.raw.cast_const());
        let inputs: Vec<*const ort::OrtValue> = inputs.collect();
        let mut outputs: Vec<*mut ort::OrtValue> = bound.outputs.iter().map(|y| y.raw).collect();
        // SAFETY: the lists live during the call and are as long as those of names. ONNX Runtime
        // checks types and shapes, and writes into outputs that are given.
        check(api, "running", unsafe {
            (api.Run)(
                self.compiled.raw,
                options.raw,
                given.as_ptr(),
                inputs.as_ptr(),
                inputs.len(),
                taken.as_ptr(),
                taken.len(),
                outputs.as_mut_ptr(),
            )
        })
    }
}

/// The memory of a run's values.
pub struct Bound {
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
}

impl RunOptions {
    /// Ends the run that uses these options, as soon as the provider allows it.
    pub fn terminate(&self) -> Result<()> {
        // SAFETY: the object lives, and this is for other threads than the one that runs.
        check(self.api, "ending a run", unsafe {
            (self.api.RunOptionsSetTerminate)(self.raw)
        })
    }

    /// Lets the next run go on after [`RunOptions::terminate`].
    pub fn reset(&self) -> Result<()> {
        // SAFETY: the object lives.
        check(self.api, "options", unsafe {
            (self.api.RunOptionsUnsetTerminate)(self.raw)
        })
    }
}
