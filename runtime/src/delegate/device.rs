//! Opens a device of a plug-in, claims segments and compiles them.

use super::blob::{self, Hash};
use super::error::{Code, DelegateError, Stage, text};
use super::ffi::{self, Opaque};
use super::info::{self, DeviceInfo};
use super::plugin::{Result, call, check, host, not_null, table};
use super::program::{Program, ProgramHandle};
use super::segment::Segment;
use core::ffi::CStr;
use core::ptr;
use std::path::{Path, PathBuf};
use std::string::{String, ToString};
use std::sync::{Arc, OnceLock};
use std::vec::Vec;
use std::{format, fs, mem};

/// An open device. Cheap to clone. It is closed when the last clone, and everything
/// that was made from it, is dropped.
#[derive(Clone)]
pub struct Delegate(pub(super) Arc<Device>);

pub(super) struct Device {
    pub api: ffi::Api,
    pub raw: *mut Opaque,
    info: DeviceInfo,
    /// The plug-in's file, if it is known.
    file: Option<PathBuf>,
    /// SHA-256 of the file, once it was asked for.
    file_hash: OnceLock<Option<Hash>>,
}

// SAFETY: the contract lets any thread use a device.
unsafe impl Send for Device {}
// SAFETY: the contract lets several threads use a device at the same time.
unsafe impl Sync for Device {}

impl core::fmt::Debug for Delegate {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.info.fmt(f)
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: the device was opened once, and nothing that was made from it is
        // left.
        unsafe { call!(self.api, device_close(self.raw)) }
    }
}

impl Delegate {
    /// Loads a plug-in and opens its first device. The library stays loaded until
    /// the process ends.
    ///
    /// # Safety
    /// The caller trusts the library to keep the contract of `ondol_npu.h`.
    ///
    /// # Errors
    /// Those of [`Stage::Load`] and [`Stage::Open`].
    pub unsafe fn load(path: &Path) -> Result<Delegate> {
        // SAFETY: passed on to the caller.
        unsafe { Delegate::load_device(path, 0) }
    }

    /// As [`Delegate::load`], but opens the device `index` of several, from 0.
    ///
    /// # Safety
    /// As for [`Delegate::load`].
    ///
    /// # Errors
    /// As for [`Delegate::load`]; [`Code::Invalid`] if there is no such device.
    pub unsafe fn load_device(path: &Path, index: u32) -> Result<Delegate> {
        let refused = |e: libloading::Error| {
            let message = format!("{}: {e}", path.display());
            DelegateError::found(Stage::Load, Code::Invalid, message)
        };
        // SAFETY: the caller trusts the library.
        let library = unsafe { libloading::Library::new(path) }.map_err(refused)?;
        // SAFETY: the symbol has this type, by the contract.
        let get_api = unsafe { library.get::<ffi::GetApi>(ffi::GET_API) };
        let get_api = *get_api.map_err(refused)?;
        // Drivers start threads and keep state, and are not made to be unloaded.
        mem::forget(library);
        // The system searches for a name without a folder, so the file is not known.
        let is_path = path.components().nth(1).is_some();
        let file = is_path.then(|| std::path::absolute(path).ok()).flatten();
        // SAFETY: passed on to the caller.
        unsafe { Delegate::open_device(get_api, file, index) }
    }

    /// Opens the first device of a plug-in that is linked into the program.
    ///
    /// # Safety
    /// `get_api` is the `ondol_npu_get_api` of a plug-in that keeps the contract.
    ///
    /// # Errors
    /// As for [`Delegate::load`].
    pub unsafe fn open(get_api: ffi::GetApi) -> Result<Delegate> {
        // SAFETY: passed on to the caller.
        unsafe { Delegate::open_device(get_api, None, 0) }
    }

    /// Opens the first device of a plug-in that runs elsewhere, such as in another
    /// process: `get_api` passes the calls on. Stored programs belong to `file`, the file
    /// of the plug-in itself.
    ///
    /// # Safety
    /// As for [`Delegate::open`].
    ///
    /// # Errors
    /// As for [`Delegate::load`].
    pub unsafe fn open_for(get_api: ffi::GetApi, file: &Path) -> Result<Delegate> {
        let file = std::path::absolute(file).ok();
        // SAFETY: passed on to the caller.
        unsafe { Delegate::open_device(get_api, file, 0) }
    }

    /// Opens a device. `file` is the plug-in's file, if it is known.
    ///
    /// # Safety
    /// As for [`Delegate::open`].
    unsafe fn open_device(
        get_api: ffi::GetApi,
        file: Option<PathBuf>,
        index: u32,
    ) -> Result<Delegate> {
        // SAFETY: passed on to the caller.
        let api = unsafe { table(get_api)? };
        let mut raw = ptr::null_mut();
        // SAFETY: the host's table and all pointers are valid by the contract.
        unsafe {
            check(Stage::Load, |error| call!(api, init(host(), error)))?;
            there_is(index, call!(api, device_count()))?;
            check(Stage::Open, |error| {
                call!(api, device_open(index, &mut raw, error))
            })?;
        }
        let raw = not_null(Stage::Open, raw)?;
        // SAFETY: the device is open. If it can't be used, it is closed again.
        let info = unsafe { info::read(&api, raw).inspect_err(|_| call!(api, device_close(raw)))? };
        Ok(Delegate(Arc::new(Device {
            api,
            raw,
            info,
            file,
            file_hash: OnceLock::new(),
        })))
    }

    /// The description of the device when it was opened.
    pub fn info(&self) -> &DeviceInfo {
        &self.0.info
    }

    /// Everything by which the plug-in, the device and its software are known.
    pub(crate) fn identity(&self) -> impl core::fmt::Debug {
        let info = self.info();
        let plugin = (&info.plugin, self.file_hash());
        let by = [
            &info.arch,
            &info.driver,
            &info.firmware,
            &info.vendor,
            &info.device,
        ];
        (plugin, by)
    }

    /// SHA-256 of the plug-in's file; `None` if the file is not known or can't be read.
    fn file_hash(&self) -> Option<Hash> {
        let hash = || Some(blob::hash(&fs::read(self.0.file.as_ref()?).ok()?));
        *self.0.file_hash.get_or_init(hash)
    }

    /// Asks the device for its description again: its free memory changes.
    ///
    /// # Errors
    /// Those of [`Stage::Open`].
    pub fn read_info(&self) -> Result<DeviceInfo> {
        // SAFETY: the device is open.
        unsafe { info::read(&self.0.api, self.0.raw) }
    }

    /// Asks which nodes of a segment the device takes. Returns for each node `None` if
    /// the device takes it, or else the reason why not.
    ///
    /// # Errors
    /// Those of [`Stage::Claim`].
    pub fn claim(&self, segment: &Segment) -> Result<Vec<Option<String>>> {
        let refused = ffi::Claim {
            hdr: ffi::Hdr::of::<ffi::Claim>(),
            claimed: 0,
            reason: [0; 120],
        };
        let mut claims = std::vec![refused; segment.nodes.len()];
        let list: Vec<*mut ffi::Claim> = claims.iter_mut().map(ptr::from_mut).collect();
        segment.with_raw(|graph| {
            // SAFETY: graph and claims live during the call.
            check(Stage::Claim, |error| unsafe {
                call!(self.0.api, claim(self.0.raw, graph, list.as_ptr(), error))
            })
        })?;
        let reason = |claim: &ffi::Claim| match (claim.claimed, text(&claim.reason)) {
            (0, silent) if silent.is_empty() => Some("no reason given".to_string()),
            (0, reason) => Some(reason),
            _ => None,
        };
        Ok(claims.iter().map(reason).collect())
    }

    /// Compiles a segment.
    ///
    /// # Errors
    /// Those of [`Stage::Compile`].
    pub fn compile(&self, segment: &Segment) -> Result<Program> {
        self.program(Stage::Compile, |out, error| {
            // SAFETY: the graph lives during the call.
            segment.with_raw(|graph| unsafe {
                call!(self.0.api, compile(self.0.raw, graph, out, error))
            })
        })
    }

    /// Loads the bytes that [`Program::save`] returned.
    ///
    /// # Errors
    /// Those of [`Stage::LoadProgram`]: [`Code::Corrupt`] for damaged bytes, and
    /// [`Code::Incompatible`] for a program of another device or version.
    pub fn load_program(&self, blob: &[u8]) -> Result<Program> {
        // SAFETY: the bytes live during the call.
        self.program(Stage::LoadProgram, |out, error| unsafe {
            let (blob, size) = (blob.as_ptr().cast(), blob.len());
            call!(self.0.api, program_load(self.0.raw, blob, size, out, error))
        })
    }

    /// Resets the device after an error that says it must be reset. Its programs and
    /// sessions stay valid; jobs that run end.
    ///
    /// # Errors
    /// Those of [`Stage::Reset`]: [`Code::Unsupported`] if the plug-in can't.
    pub fn reset(&self) -> Result<()> {
        let Some(reset) = self.0.api.reset else {
            let message = "the plug-in can't reset the device";
            return Err(DelegateError::found(
                Stage::Reset,
                Code::Unsupported,
                message,
            ));
        };
        // SAFETY: the device is open.
        check(Stage::Reset, |error| unsafe { reset(self.0.raw, error) })
    }

    fn program(
        &self,
        stage: Stage,
        make: impl FnOnce(*mut *mut Opaque, *mut ffi::Error) -> ffi::Status,
    ) -> Result<Program> {
        let mut raw = ptr::null_mut();
        check(stage, |error| make(&mut raw, error))?;
        let raw = not_null(stage, raw)?;
        let device = self.clone();
        Ok(Program(Arc::new(ProgramHandle { device, raw })))
    }

    /// Injects a fault into the submit that follows `after` other submits, or into
    /// another call, as the fault says. `docs/add-a-delegate.md` lists the faults; the
    /// fault `none` ends all others.
    ///
    /// # Errors
    /// Those of [`Stage::Inject`]: [`Code::Unsupported`] if the plug-in does not have
    /// this fault.
    pub fn inject(&self, fault: &CStr, after: u32) -> Result<()> {
        let Some(inject) = self.0.api.inject else {
            let message = "the plug-in can't inject faults";
            return Err(DelegateError::found(
                Stage::Inject,
                Code::Unsupported,
                message,
            ));
        };
        // SAFETY: the name lives during the call.
        check(Stage::Inject, |error| unsafe {
            inject(self.0.raw, fault.as_ptr(), after, error)
        })
    }
}

/// Whether a plug-in with `count` devices has the device `index`.
fn there_is(index: u32, count: u32) -> Result<()> {
    let (code, message) = match count {
        0 => (Code::Unsupported, "the plug-in finds no device".to_string()),
        _ if index < count => return Ok(()),
        1 => (
            Code::Invalid,
            format!("there is no device {index}: the plug-in has one, device 0"),
        ),
        _ => (
            Code::Invalid,
            format!(
                "there is no device {index}: the plug-in has devices 0 to {}",
                count - 1
            ),
        ),
    };
    Err(DelegateError::found(Stage::Open, code, message))
}
