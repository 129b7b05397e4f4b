//! Compiled segments.

use super::device::Delegate;
use super::error::{Code, DelegateError, Stage};
use super::ffi::Opaque;
use super::plugin::{Result, call, check};
use core::ptr;
use std::format;
use std::sync::Arc;
use std::vec::Vec;

/// A compiled segment. Cheap to clone.
#[derive(Clone)]
pub struct Program(pub(super) Arc<ProgramHandle>);

pub(super) struct ProgramHandle {
    pub device: Delegate,
    pub raw: *mut Opaque,
}

// SAFETY: the contract lets any thread use a program.
unsafe impl Send for ProgramHandle {}
// SAFETY: the contract lets several threads use a program at the same time.
unsafe impl Sync for ProgramHandle {}

impl Drop for ProgramHandle {
    fn drop(&mut self) {
        // SAFETY: the handle was made once, and no session holds it.
        unsafe { call!(self.device.0.api, program_free(self.raw)) }
    }
}

impl Program {
    /// The program as bytes, for [`Delegate::load_program`].
    ///
    /// # Errors
    /// Those of [`Stage::Save`].
    pub fn save(&self) -> Result<Vec<u8>> {
        let api = &self.0.device.0.api;
        let mut size = 0;
        // SAFETY: without a blob, the plug-in writes only the length.
        check(Stage::Save, |error| unsafe {
            call!(
                api,
                program_save(self.0.raw, ptr::null_mut(), &mut size, error)
            )
        })?;
        let mut blob = Vec::new();
        if blob.try_reserve_exact(size).is_err() {
            let message = format!("can't allocate {size} bytes for a program");
            return Err(DelegateError::found(Stage::Save, Code::NoMemory, message));
        }
        blob.resize(size, 0);
        // SAFETY: the blob has `size` bytes.
        check(Stage::Save, |error| unsafe {
            call!(
                api,
                program_save(self.0.raw, blob.as_mut_ptr().cast(), &mut size, error)
            )
        })?;
        blob.truncate(size);
        Ok(blob)
    }
}
