//! A safe interface to the part of OpenVINO's C API that the plug-in uses. Every function that
//! returns a `Result` fails with OpenVINO's own message.
//!
//! The SAFETY comments here rely on OpenVINO's documentation of its objects. They count
//! references, so a model may be freed once it is compiled, and a compiled model while
//! it has requests. Several threads may use a core and compiled models at the same
//! time; a request is used by one thread at a time.

use core::ptr;
use core::time::Duration;
use ondol_plugin::ondol::delegate::Code;
use ondol_plugin::raw::{c_string, text};
use ondol_plugin::{Failure, Result};
use openvino_sys as ov;
use std::path::Path;

/// Loads the library from `path`, or from where OpenVINO is usually installed.
pub fn load(path: Option<&Path>) -> Result<()> {
    let loaded = match path {
        Some(path) => ov::library::load_from(path),
        None => ov::library::load(),
    };
    loaded.map_err(|reason| Failure::new(Code::Unsupported, format!("no OpenVINO: {reason}")))
}

/// The library's version.
pub fn version() -> Result<String> {
    let mut raw = ov::ov_version {
        buildNumber: ptr::null(),
        description: ptr::null(),
    };
    // SAFETY: the struct lives during the call.
    check("the version", unsafe {
        ov::ov_get_openvino_version(&mut raw)
    })?;
    // SAFETY: a string that ends in zero, or null.
    let version = unsafe { text(raw.buildNumber) };
    // SAFETY: filled in above.
    unsafe { ov::ov_version_free(&mut raw) };
    Ok(version)
}

/// Turns a status of OpenVINO into a failure with OpenVINO's message.
fn check(what: &str, status: ov::ov_status_e) -> Result<()> {
    let code = match status {
        ov::ov_status_e::OK => return Ok(()),
        ov::ov_status_e::NOT_ALLOCATED => Code::NoMemory,
        ov::ov_status_e::REQUEST_BUSY => Code::Busy,
        ov::ov_status_e::INFER_CANCELLED => Code::Cancelled,
        ov::ov_status_e::RESULT_NOT_READY => Code::Timeout,
        ov::ov_status_e::NOT_IMPLEMENTED | ov::ov_status_e::NOT_IMPLEMENT_C_METHOD => {
            Code::Unsupported
        }
        _ => Code::Internal,
    };
    let words = last_words();
    Err(Failure {
        vendor_code: status as i32,
        ..Failure::new(code, format!("{what}: {status:?} {}", last_line(&words)))
    })
}

/// OpenVINO's last error message, from any thread. OpenVINO returns a copy.
fn last_words() -> String {
    // SAFETY: a string for the caller to free, or null.
    unsafe {
        let raw = ov::ov_get_last_err_msg();
        let words = text(raw);
        ov::ov_free(raw);
        words
    }
}

/// The last line of a message: OpenVINO puts source locations first, and the reason
/// last.
fn last_line(words: &str) -> &str {
    let lines = words.lines().map(str::trim);
    lines.rev().find(|line| !line.is_empty()).unwrap_or("")
}

/// Declares a type for an object that OpenVINO frees.
macro_rules! object {
    ($(#[$doc:meta])* $name:ident, $raw:ident, $free:ident) => {
        $(#[$doc])*
        pub struct $name(*mut ov::$raw);

        // SAFETY: OpenVINO's objects are not bound to a thread.
        unsafe impl Send for $name {}

        impl Drop for $name {
            fn drop(&mut self) {
                // SAFETY: the object was made once and is freed once.
                unsafe { ov::$free(self.0) }
            }
        }
    };
}

object!(
    /// Lists the devices and compiles for them.
    Core, ov_core_t, ov_core_free
);
object!(
    /// A model that was read but not compiled.
    Model, ov_model_t, ov_model_free
);
object!(
    /// Runs a compiled model, one run at a time.
    Request, ov_infer_request_t, ov_infer_request_free
);
object!(
    /// Numbers in memory of OpenVINO or of the host.
    Tensor, ov_tensor_t, ov_tensor_free
);

/// A model that is compiled for a device.
pub struct Compiled {
    raw: *mut ov::ov_compiled_model_t,
    /// The imported bytes, if any; freed after the model.
    _memory: Option<Tensor>,
}

// SAFETY: as for the objects above: OpenVINO's objects are not bound to a thread.
unsafe impl Send for Compiled {}

impl Drop for Compiled {
    fn drop(&mut self) {
        // SAFETY: the object was made once and is freed once.
        unsafe { ov::ov_compiled_model_free(self.raw) }
    }
}

// SAFETY: OpenVINO lets several threads use a core,
unsafe impl Sync for Core {}
// SAFETY: and make requests of a compiled model.
unsafe impl Sync for Compiled {}

impl Core {
    /// Makes a core, which looks for devices beside the library.
    pub fn new() -> Result<Core> {
        let mut raw = ptr::null_mut();
        // SAFETY: the pointer lives during the call; so below.
        check("a core", unsafe { ov::ov_core_create(&mut raw) })?;
        Ok(Core(raw))
    }

    /// Names of the devices: `CPU`, `NPU`, `GPU.0`.
    pub fn devices(&self) -> Result<Vec<String>> {
        let mut raw = ov::ov_available_devices_t {
            devices: ptr::null_mut(),
            size: 0,
        };
        // SAFETY: as above.
        check("the devices", unsafe {
            ov::ov_core_get_available_devices(self.0, &mut raw)
        })?;
        // SAFETY: the list has `raw.size` strings.
        let names = (0..raw.size).map(|i| unsafe { text(*raw.devices.add(i)) });
        let names = names.collect();
        // SAFETY: filled in above.
        unsafe { ov::ov_available_devices_free(&mut raw) };
        Ok(names)
    }

    /// A property of a device; `None` if the device does not have it.
    pub fn property(&self, device: &str, key: &str) -> Option<String> {
        let (device, key) = (c_string(device), c_string(key));
        let mut raw = ptr::null_mut();
        // SAFETY: the strings live during the call.
        let status =
            unsafe { ov::ov_core_get_property(self.0, device.as_ptr(), key.as_ptr(), &mut raw) };
        if status != ov::ov_status_e::OK {
            return None;
        }
        // SAFETY: a string that was made for the caller.
        let value = unsafe { text(raw) };
        // SAFETY: as above.
        unsafe { ov::ov_free(raw) };
        Some(value)
    }

    /// Sets a property for all models that are later compiled for a device.
    pub fn set_property(&self, device: &str, key: &str, value: &str) -> Result<()> {
        let [device, c_key, value] = [device, key, value].map(c_string);
        // SAFETY: the strings live during the call.
        check(key, unsafe {
            ov::ov_core_set_property(self.0, device.as_ptr(), c_key.as_ptr(), value.as_ptr())
        })
    }

    /// Reads an IR. The model keeps the weights that it needs alive.
    pub fn read(&self, xml: &str, weights: &Tensor) -> Result<Model> {
        let mut raw = ptr::null_mut();
        // SAFETY: the bytes live during the call.
        check("the IR", unsafe {
            let text = xml.as_ptr().cast();
            ov::ov_core_read_model_from_memory_buffer(self.0, text, xml.len(), weights.0, &mut raw)
        })?;
        Ok(Model(raw))
    }

    /// Compiles a model for a device.
    pub fn compile(&self, model: &Model, device: &str) -> Result<Compiled> {
        let device = c_string(device);
        let mut raw = ptr::null_mut();
        // SAFETY: the name lives during the call; there are no properties.
        check("compiling", unsafe {
            ov::ov_core_compile_model(self.0, model.0, device.as_ptr(), 0, &mut raw)
        })?;
        Ok(Compiled { raw, _memory: None })
    }

    /// Makes a compiled model from the bytes that [`Compiled::export`] wrote. OpenVINO
    /// may use the bytes in place, so the result keeps them.
    pub fn import(&self, exported: Tensor, device: &str) -> Result<Compiled> {
        let device = c_string(device);
        let bytes = exported.bytes()?;
        let mut raw = ptr::null_mut();
        // SAFETY: the bytes live as long as the compiled model.
        check("importing", unsafe {
            let content = bytes.as_ptr().cast();
            ov::ov_core_import_model(self.0, content, bytes.len(), device.as_ptr(), &mut raw)
        })?;
        Ok(Compiled {
            raw,
            _memory: Some(exported),
        })
    }
}

impl Compiled {
    /// Writes the compiled model to a file: the C API has no other way.
    pub fn export(&self, path: &Path) -> Result<()> {
        let path = c_string(&path.to_string_lossy());
        // SAFETY: the path lives during the call.
        check("exporting", unsafe {
            ov::ov_compiled_model_export_model(self.raw, path.as_ptr())
        })
    }

    /// Makes a request of the compiled model.
    pub fn request(&self) -> Result<Request> {
        let mut raw = ptr::null_mut();
        // SAFETY: the pointer lives during the call.
        check("a request", unsafe {
            ov::ov_compiled_model_create_infer_request(self.raw, &mut raw)
        })?;
        Ok(Request(raw))
    }
}

impl Request {
    /// Binds memory to an input; `index` counts inputs in the order of the IR.
    pub fn bind_input(&mut self, index: usize, tensor: &Tensor) -> Result<()> {
        // SAFETY: both objects live; the request counts the tensor's references.
        check("binding an input", unsafe {
            ov::ov_infer_request_set_input_tensor_by_index(self.0, index, tensor.0)
        })
    }

    /// Binds memory to an output; `index` counts outputs in the order of the IR.
    pub fn bind_output(&mut self, index: usize, tensor: &Tensor) -> Result<()> {
        // SAFETY: as above.
        check("binding an output", unsafe {
            ov::ov_infer_request_set_output_tensor_by_index(self.0, index, tensor.0)
        })
    }

    /// Starts the request. The bound memory is in use until it has ended.
    pub fn start(&mut self) -> Result<()> {
        // SAFETY: the request lives.
        check("starting", unsafe {
            ov::ov_infer_request_start_async(self.0)
        })
    }

    /// Waits for at most `timeout`. Returns whether the request has ended.
    pub fn wait(&mut self, timeout: Duration) -> Result<bool> {
        let milliseconds = i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX);
        // SAFETY: the request lives.
        match unsafe { ov::ov_infer_request_wait_for(self.0, milliseconds) } {
            ov::ov_status_e::RESULT_NOT_READY => Ok(false),
            status => check("running", status).map(|()| true),
        }
    }

    /// Asks the request to end soon.
    pub fn cancel(&mut self) -> Result<()> {
        // SAFETY: the request lives.
        check("cancelling", unsafe { ov::ov_infer_request_cancel(self.0) })
    }
}

impl Tensor {
    /// Copies bytes into memory of OpenVINO.
    pub fn of_bytes(bytes: &[u8]) -> Result<Tensor> {
        let mut dims = [bytes.len().max(1) as i64];
        let mut raw = ptr::null_mut();
        // SAFETY: the shape lives during the call.
        check("memory", unsafe {
            ov::ov_tensor_create(ov::ov_element_type_e::U8, shape(&mut dims), &mut raw)
        })?;
        let tensor = Tensor(raw);
        // SAFETY: the tensor has room for the bytes, and nothing else uses it yet.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), tensor.data()?, bytes.len()) };
        Ok(tensor)
    }

    fn data(&self) -> Result<*mut u8> {
        let mut data = ptr::null_mut();
        // SAFETY: the tensor lives.
        check("memory", unsafe { ov::ov_tensor_data(self.0, &mut data) })?;
        Ok(data.cast())
    }

    fn bytes(&self) -> Result<&[u8]> {
        let mut size = 0;
        // SAFETY: the tensor lives,
        check("memory", unsafe {
            ov::ov_tensor_get_byte_size(self.0, &mut size)
        })?;
        // SAFETY: and it has `size` bytes, which are not written any more.
        Ok(unsafe { core::slice::from_raw_parts(self.data()?, size) })
    }

    /// A tensor of floats in the host's memory: `rows x cols`.
    ///
    /// # Safety
    /// The floats stay there as long as a request uses the tensor.
    pub unsafe fn of_host(floats: *mut f32, rows: usize, cols: usize) -> Result<Tensor> {
        let mut dims = [rows as i64, cols as i64];
        let mut raw = ptr::null_mut();
        // SAFETY: the shape lives during the call, the floats by the caller.
        check("binding memory", unsafe {
            let float = ov::ov_element_type_e::F32;
            ov::ov_tensor_create_from_host_ptr(float, shape(&mut dims), floats.cast(), &mut raw)
        })?;
        Ok(Tensor(raw))
    }
}

fn shape(dims: &mut [i64]) -> ov::ov_shape_t {
    ov::ov_shape_t {
        rank: dims.len() as i64,
        dims: dims.as_mut_ptr(),
    }
}
