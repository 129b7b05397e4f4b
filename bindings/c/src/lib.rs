//! The C binding: `ondol.h` over the crate `ondol`.
//!
//! It has no logic of its own: every function checks its pointers, calls the runtime,
//! and turns errors into a status. Names are those of C, so that a name of the header
//! can be found here.
//!
//! Rules of the whole interface:
//! - No panic crosses it. With `std` a panic becomes
//!   [`ondol_status::Panicked`](status::ondol_status::Panicked). Firmware can't unwind,
//!   and a panic calls the function that `ondol_init` was given.
//! - Structs that may grow start with `struct_size` ([`sized`]).
//! - Handles are made and freed here; text and structs belong to the caller.
#![cfg_attr(not(any(feature = "std", test)), no_std)]
#![allow(non_camel_case_types)]

extern crate alloc;

mod arguments;
#[cfg(feature = "std")]
mod batch;
mod call;
mod cancel;
#[cfg(feature = "std")]
mod chat;
#[cfg(feature = "std")]
mod engine;
#[cfg(any(target_os = "none", test))]
mod firmware;
mod generate;
#[cfg(feature = "std")]
mod generation;
#[cfg(feature = "std")]
mod governor;
#[cfg(test)]
mod header;
#[cfg(feature = "std")]
mod info;
#[cfg(feature = "std")]
mod logging;
mod model;
#[cfg(feature = "std")]
mod offload;
mod options;
mod session;
mod sized;
mod slot;
#[cfg(feature = "std")]
mod state;
mod status;
#[cfg(feature = "std")]
mod store;

use core::ffi::{CStr, c_char};

/// The library's version ("0.1.0"), a string that is valid as long as the program runs.
#[unsafe(no_mangle)]
pub extern "C" fn ondol_version() -> *const c_char {
    const VERSION: &CStr =
        match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
            Ok(version) => version,
            Err(_) => c"",
        };
    VERSION.as_ptr()
}
