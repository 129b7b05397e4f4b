//! Reads the description of a device.

use super::error::{Code, DelegateError, Stage, text};
use super::ffi::{self, Opaque};
use super::plugin::{Result, call, check, string};
use super::quant::Quant;
use std::string::String;
use std::vec::Vec;
use std::{format, mem};

/// Largest number of weight forms, and of numbers of rows, that a device may list.
const MAX_LISTED: usize = 64;

/// The description of a device, as its plug-in gives it.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceInfo {
    /// Name, version and licence (SPDX) of the plug-in.
    pub plugin: [String; 3],
    /// Vendor of the device.
    pub vendor: String,
    /// Name of the device.
    pub device: String,
    /// Architecture for which programs are compiled.
    pub arch: String,
    /// Version of the driver.
    pub driver: String,
    /// Version of the firmware.
    pub firmware: String,
    /// Whether it is hardware, an emulator or a stub.
    pub label: Label,
    /// The type to which a matmul rounds its inputs.
    pub activations: Activations,
    /// Forms of weights that the device takes and the host can make.
    pub quants: Vec<Quant>,
    /// Numbers of rows that programs can have, in ascending order; at least one.
    pub rows: Vec<usize>,
    /// Bytes of the device's memory; 0 if unknown.
    pub memory: u64,
    /// Whether the plug-in can inject faults ([`super::Delegate::inject`]).
    pub injects_faults: bool,
}

/// Whether a delegate is hardware. Times are a measure of performance for hardware
/// only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// A device.
    Hardware,
    /// A program that computes the same as a device.
    Emulator,
    /// A plug-in that was made to test the contract.
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

/// The type to which a matmul rounds its inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activations {
    /// No rounding.
    F32,
    /// Floats with 11 significant bits.
    F16,
    /// Floats with 8 significant bits.
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

/// Reads the description of a device.
///
/// # Safety
/// `device` is an open device of `api`.
pub(super) unsafe fn read(api: &ffi::Api, device: *mut Opaque) -> Result<DeviceInfo> {
    // SAFETY: all fields may be zero.
    let mut raw: ffi::DeviceInfo = unsafe { mem::zeroed() };
    raw.hdr = ffi::Hdr::of::<ffi::DeviceInfo>();
    // SAFETY: the struct lives during the call.
    check(Stage::Open, |error| unsafe {
        call!(api, device_info(device, &mut raw, error))
    })?;
    if raw.mem_caps & ffi::MEM_HOST == 0 {
        return Err(odd("the device can't use the host's memory"));
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
        other => {
            return Err(odd(format!(
                "the device has activations of the unknown type {other}"
            )));
        }
    })
}

/// Sorts the numbers of rows, and removes zeros and duplicates.
///
/// # Errors
/// If none is left.
fn rows(listed: &[u32]) -> Result<Vec<usize>> {
    let mut rows: Vec<usize> = listed.iter().map(|&rows| rows as usize).collect();
    rows.retain(|&rows| rows > 0);
    rows.sort_unstable();
    rows.dedup();
    match rows.is_empty() {
        false => Ok(rows),
        true => Err(odd("the device lists no number of rows for programs")),
    }
}

fn odd(what: impl Into<String>) -> DelegateError {
    DelegateError::found(Stage::Open, Code::Unsupported, what)
}

/// A list of a plug-in as a slice.
///
/// # Safety
/// The list has that many elements and lives long enough.
unsafe fn listed<'l, T>(list: *const T, len: u32) -> Result<&'l [T]> {
    match len as usize {
        0 => Ok(&[]),
        _ if list.is_null() => Err(odd("a list of the device is missing")),
        len if len > MAX_LISTED => Err(odd(format!(
            "a list of the device has {len} elements; at most {MAX_LISTED} are supported"
        ))),
        // SAFETY: passed on to the caller.
        len => Ok(unsafe { core::slice::from_raw_parts(list, len) }),
    }
}
