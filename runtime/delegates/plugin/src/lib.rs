//! Writes an NPU plug-in in Rust: the C ABI of `ondol_npu.h` over three traits,
//! [`Plugin`], [`Device`] and [`Program`].
//!
//! The traits have what differs from vendor to vendor. This crate does the rest: the table of
//! functions with its handles, errors and caught panics; reading and checking graphs;
//! the header and checksum of saved programs; buffers; sessions, each with a thread
//! that runs its jobs, with deadlines and cancelling.
//!
//! [`export!`] makes a shared library of a plug-in. Without it, a plug-in can be linked
//! into a program: `Delegate::open(get_api::<MyPlugin>)`.

mod bytes;
mod container;
mod device;
mod failure;
pub mod forms;
mod graph;
mod handle;
mod loaded;
mod program;
mod session;
mod stored;
mod strings;
mod table;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod traits;

pub use device::Description;
pub use failure::{Failure, Result, invalid, unsupported};
pub use graph::{Graph, Node, Role, Tensor, Verdict};
pub use loaded::Loaded;
pub use ondol;
pub use session::Values;
pub use table::Log;
pub use traits::get_api;

use core::ffi::CStr;

/// The table of functions and its parts, for a plug-in that must see the host's calls as
/// they are.
pub mod raw {
    pub use crate::device::Lists;
    pub use crate::failure::entry;
    pub use crate::handle::{given, list, put};
    pub use crate::strings::{c_string, text};
    pub use crate::table::{Binding, Objects, Optional, api};
}

/// The version of this crate, and of all plug-ins that are released with it.
const VERSION: &CStr = {
    let text = concat!(env!("CARGO_PKG_VERSION"), "\0");
    match CStr::from_bytes_with_nul(text.as_bytes()) {
        Ok(version) => version,
        Err(_) => panic!("a version with a zero in it"),
    }
};

/// A plug-in: finds devices and opens them.
pub trait Plugin: 'static {
    /// The kind of devices.
    type Device: Device;

    /// Name of the plug-in.
    const NAME: &'static CStr;
    /// Version of the plug-in. Programs that another version saved are not loaded.
    const VERSION: &'static CStr = VERSION;
    /// Licence of the plug-in (SPDX).
    const LICENCE: &'static CStr;

    /// Loads what the plug-in needs. Called before everything else, and again by any
    /// other host in the process.
    ///
    /// # Errors
    /// If the plug-in can't be used on this machine.
    fn init(log: &Log) -> Result<()>;

    /// The number of devices.
    fn device_count() -> u32;

    /// Opens the device at `index`, which is below [`Plugin::device_count`].
    ///
    /// # Errors
    /// If the device can't be used.
    fn open(index: u32) -> Result<Self::Device>;
}

/// An open device. Several threads may use it at the same time.
pub trait Device: Send + Sync + Sized + 'static {
    /// What the device compiles graphs to.
    type Program: Program;

    /// Arms a fault ([`Inject`]); docs/add-a-delegate.md lists the names. UNSUPPORTED for an
    /// unknown name. `None` if the plug-in has no faults.
    const INJECT: Option<Inject<Self>> = None;

    /// Resets the device after a loss; its programs stay valid.
    const RESET: Option<Reset<Self>> = None;

    /// Describes the device. Called once, when it is opened.
    fn describe(&self) -> Description;

    /// Whether the device takes a node; the error is the reason why not. It is asked
    /// only for nodes whose op is known, whose matrix has one of the device's forms,
    /// and in graphs of one of the device's numbers of rows.
    fn claim(&self, _graph: &Graph, _node: &Node) -> Verdict {
        Ok(())
    }

    /// Compiles a graph. The device has claimed all of its nodes, and all weights have
    /// their data.
    ///
    /// # Errors
    /// If the device or its compiler fails.
    fn compile(&self, graph: &Graph) -> Result<Self::Program>;

    /// Loads the bytes that [`Program::save`] returned. They are undamaged, and come
    /// from the same version of the plug-in and from a device of the same description.
    ///
    /// # Errors
    /// INCOMPATIBLE if the graph must be compiled again.
    fn load(&self, bytes: &[u8]) -> Result<Self::Program>;
}

/// Arms a fault of a device. The arguments are the device, the fault's name, and the number of
/// submits that still succeed before one fails; the fault may also be one of another call.
pub type Inject<D> = fn(&D, &str, u32) -> Result<()>;

/// [`Device::RESET`].
pub type Reset<D> = fn(&D) -> Result<()>;

/// A compiled graph. Several sessions may run it at the same time.
pub trait Program: Send + Sync + 'static {
    /// What one session needs to run the program: a request of the driver, or working
    /// memory. Only the session's thread uses it.
    type Request: Send + 'static;

    /// Makes what a new session needs.
    ///
    /// # Errors
    /// If there is not enough memory, or the driver refuses.
    fn request(&self) -> Result<Self::Request>;

    /// Computes the outputs from the inputs. Calls `go_on` every few milliseconds: if
    /// it fails, the job was cancelled or is past its deadline, and must end with this
    /// failure. Nothing may use the values after the return.
    ///
    /// # Errors
    /// The failure of `go_on`; a failure of the device.
    fn run(
        &self,
        request: &mut Self::Request,
        values: Values,
        go_on: &dyn Fn() -> Result<()>,
    ) -> Result<()>;

    /// The program as bytes for [`Device::load`].
    ///
    /// # Errors
    /// If the driver can't export the program.
    fn save(&self) -> Result<Vec<u8>>;
}

/// Exports `ondol_npu_get_api` for a [`Plugin`], for a crate of type `cdylib`.
#[macro_export]
macro_rules! export {
    ($plugin:ty) => {
        /// The exported symbol.
        ///
        /// # Safety
        /// `out` is null, or a valid place for a pointer.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn ondol_npu_get_api(
            host_major: u32,
            host_minor: u32,
            out: *mut *const $crate::ondol::delegate::ffi::Api,
        ) -> $crate::ondol::delegate::ffi::Status {
            // SAFETY: passed on to the caller.
            unsafe { $crate::get_api::<$plugin>(host_major, host_minor, out) }
        }
    };
}
