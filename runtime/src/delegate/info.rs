//! What a device says of itself.

use super::error::{Code, DelegateError, Stage, text};
use super::ffi::{self, Opaque};
use super::plugin::{Result, call, check, string};
use super::quant::Quant;
use std::string::String;
use std::vec::Vec;
use std::{format, mem};

/// No device has so many forms of weights, or numbers of rows.
const MAX_LISTED: usize = 64;

/// What a device says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceInfo {
    /// Name, version and licence (SPDX) of the plug-in.
    pub plugin: [String; 3],
    /// Who made the device.
    pub vendor: String,
    /// Its name.
    pub device: String,
    /// The architecture that programs are compiled for.
    pub arch: String,
    /// Version of the driver.
    pub driver: String,
    /// Version of the firmware.
    pub firmware: String,
    /// What is behind it.
    pub label: Label,
    /// What a matmul rounds its inputs to.
    pub activations: Activations,
    /// Forms of weights that it takes and the host can make.
    pub quants: Vec<Quant>,
    /// Numbers of rows that programs can have, ascending.
    pub rows: Vec<usize>,
    /// Bytes of its memory; 0 where it does not tell.
    pub memory: u64,
    /// Whether it makes faults on request.
    pub injects_faults: bool,
}

/// What is behind a delegate. Times of anything but hardware are no performance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// A device.
    Hardware,
    /// A program that does what a device would.
    Emulator,
    /// A stand-in that was made to try the contract.
    ContractStub,
}

impl core::fmt::Display for Label {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Label::Hardware => "hardware",
            Label::Emulator => "emulator",
            Label::ContractStub => "contract stub",
        })
    }
}

/// What a matmul's inputs are rounded to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activations {
    /// Nothing.
    F32,
    /// 11 bits.
    F16,
    /// 8 bits.
    Bf16,
    /// 16-bit integers.
    I16,
    /// 8-bit integers.
    I8,
}

impl core::fmt::Display for Activations {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Activations::F32 => "f32",
            Activations::F16 => "f16",
            Activations::Bf16 => "bf16",
            Activations::I16 => "i16",
            Activations::I8 => "i8",
        })
    }
}

/// Asks a device.
///
/// # Safety
/// `device` is one of `api` that is open.
pub(super) unsafe fn read(api: &ffi::Api, device: *mut Opaque) -> Result<DeviceInfo> {
    // SAFETY: all its fields may be zero.
    let mut raw: ffi::DeviceInfo = unsafe { mem::zeroed() };
    raw.hdr = ffi::Hdr::of::<ffi::DeviceInfo>();
    // SAFETY: the struct lives during the call.
    check(Stage::Open, |error| unsafe {
        call!(api, device_info(device, &mut raw, error))
    })?;
    if raw.mem_caps & ffi::MEM_HOST == 0 {
        return Err(odd("a device that can't use the host's memory"));
    }
    // SAFETY: lists and names live as long as the device and the plug-in.
    let (quants, listed_rows, plugin) = unsafe {
        let quants = listed(raw.quants, raw.n_quants)?.iter();
        let quants = quants.filter_map(|quant| quant.as_ref());
        let names = [api.name, api.version, api.licence];
        (
            quants.filter_map(Quant::from_raw).collect(),
            listed(raw.rows, raw.n_rows)?,
            names.map(|name| string(name)),
        )
    };
    Ok(DeviceInfo {
        plugin,
        vendor: text(&raw.vendor),
        device: text(&raw.device),
        arch: text(&raw.arch),
        driver: text(&raw.driver),
        firmware: text(&raw.firmware),
        label: label(raw.flags),
        activations: activations(raw.activations)?,
        quants,
        rows: rows(listed_rows)?,
        memory: raw.mem_total,
        injects_faults: api.inject.is_some(),
    })
}

fn label(flags: u32) -> Label {
    match flags {
        flags if flags & ffi::DEVICE_STUB != 0 => Label::ContractStub,
        flags if flags & ffi::DEVICE_EMULATED != 0 => Label::Emulator,
        _ => Label::Hardware,
    }
}

fn activations(raw: u32) -> Result<Activations> {
    Ok(match raw {
        ffi::F32 => Activations::F32,
        ffi::F16 => Activations::F16,
        ffi::BF16 => Activations::Bf16,
        ffi::I16 => Activations::I16,
        ffi::I8 => Activations::I8,
        other => return Err(odd(format!("activations of the type {other}"))),
    })
}

/// Ascending, each once, at least one.
fn rows(listed: &[u32]) -> Result<Vec<usize>> {
    let mut rows: Vec<usize> = listed.iter().map(|&rows| rows as usize).collect();
    rows.retain(|&rows| rows > 0);
    rows.sort_unstable();
    rows.dedup();
    match rows.is_empty() {
        false => Ok(rows),
        true => Err(odd("a device without a number of rows for its programs")),
    }
}

fn odd(what: impl Into<String>) -> DelegateError {
    DelegateError::found(Stage::Open, Code::Unsupported, what)
}

/// What a plug-in lists.
///
/// # Safety
/// The list has that many elements and lives long enough.
unsafe fn listed<'l, T>(list: *const T, len: u32) -> Result<&'l [T]> {
    match len as usize {
        0 => Ok(&[]),
        _ if list.is_null() => Err(odd("a list that is not there")),
        len if len > MAX_LISTED => Err(odd(format!("a list of {len}"))),
        // SAFETY: passed on to the caller.
        len => Ok(unsafe { core::slice::from_raw_parts(list, len) }),
    }
}
