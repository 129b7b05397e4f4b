//! Reads the description of a device.

use super::error::{Code, DelegateError, Stage, text};
use super::ffi::{self, Opaque};
use super::plugin::{Result, call, check, string};
use super::quant::{Group, Quant};
use std::string::String;
use std::vec::Vec;
use std::{format, mem};

/// Largest number of weight forms, and of numbers of rows, that a device may list.
const MAX_LISTED: usize = 64;

/// The fewest and the most bits that sums may have.
const MIN_SUM: u32 = 8;
const MAX_SUM: u32 = 64;

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
    /// How its matmuls compute.
    pub arithmetic: Arithmetic,
    /// Forms of weights that the device takes and the host can make.
    pub quants: Vec<Quant>,
    /// Numbers of rows that programs can have, in ascending order; at least one.
    pub rows: Vec<usize>,
    /// Bytes of the device's memory; 0 if unknown.
    pub memory: u64,
    /// Bytes of the device's memory that were free when the description was read; 0 if
    /// unknown.
    pub memory_free: u64,
    /// The most bytes of weights that programs can have at a time; 0 is no limit.
    pub memory_limit: u64,
    /// Whether the plug-in can inject faults ([`super::Delegate::inject`]).
    pub injects_faults: bool,
    /// Whether the plug-in can reset the device ([`super::Delegate::reset`]).
    pub resets: bool,
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

/// How a device's matmuls compute: the type to which they round their inputs, and
/// their sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arithmetic {
    /// The type to which inputs are rounded.
    pub activations: Activations,
    /// The numbers in a row of inputs that share a scale. Meaningless for floats.
    pub group: Group,
    /// Significant bits of sums, the sign included for integers: sums of integers
    /// saturate at them, sums of floats are rounded to them.
    pub accumulator_bits: u32,
    /// How inputs are rounded.
    pub rounding: Rounding,
}

impl Arithmetic {
    /// The arithmetic of a device that says only the type of its activations.
    pub fn of(activations: Activations) -> Arithmetic {
        Arithmetic {
            activations,
            group: Group::Row,
            accumulator_bits: if activations.are_integers() { 32 } else { 24 },
            rounding: Rounding::NearestEven,
        }
    }
}

impl core::fmt::Display for Arithmetic {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let (bits, rounding) = (self.accumulator_bits, self.rounding);
        match (self.activations.are_integers(), self.group) {
            (true, Group::Of(group)) => write!(f, "a scale for {group} numbers, ")?,
            (true, Group::Row) => f.write_str("a scale for a row, ")?,
            (false, _) => {}
        }
        write!(f, "sums of {bits} bits, rounded to the {rounding}")
    }
}

/// How a number is rounded to a type that has fewer values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// To the nearest; from the middle of two to the even one.
    NearestEven,
    /// To the nearest; from the middle of two to the one of larger magnitude.
    NearestAway,
    /// To the nearest of smaller or the same magnitude.
    TowardZero,
}

impl Rounding {
    const ALL: [Rounding; 3] = [
        Rounding::NearestEven,
        Rounding::NearestAway,
        Rounding::TowardZero,
    ];

    /// The rounding in the C ABI.
    pub fn raw(self) -> u32 {
        match self {
            Rounding::NearestEven => ffi::ROUND_NEAREST_EVEN,
            Rounding::NearestAway => ffi::ROUND_NEAREST_AWAY,
            Rounding::TowardZero => ffi::ROUND_TOWARD_ZERO,
        }
    }
}

impl core::fmt::Display for Rounding {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Rounding::NearestEven => "nearest even",
            Rounding::NearestAway => "nearest away from zero",
            Rounding::TowardZero => "one toward zero",
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

impl Activations {
    const ALL: [Activations; 5] = [
        Activations::F32,
        Activations::F16,
        Activations::Bf16,
        Activations::I16,
        Activations::I8,
    ];

    /// Whether they are integers with scales.
    pub fn are_integers(self) -> bool {
        matches!(self, Activations::I16 | Activations::I8)
    }

    /// The type in the C ABI.
    pub fn raw(self) -> u32 {
        match self {
            Activations::F32 => ffi::F32,
            Activations::F16 => ffi::F16,
            Activations::Bf16 => ffi::BF16,
            Activations::I16 => ffi::I16,
            Activations::I8 => ffi::I8,
        }
    }
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
        arithmetic: arithmetic(&raw)?,
        quants,
        rows: rows(listed_rows)?,
        memory: raw.mem_total,
        memory_free: raw.mem_free,
        memory_limit: raw.mem_limit,
        injects_faults: api.inject.is_some(),
        resets: api.reset.is_some(),
    })
}

fn label(flags: u32) -> Label {
    match flags {
        flags if flags & ffi::DEVICE_STUB != 0 => Label::ContractStub,
        flags if flags & ffi::DEVICE_EMULATED != 0 => Label::Emulator,
        _ => Label::Hardware,
    }
}

/// Reads the arithmetic. What a plug-in of version 1.0 does not say is zero.
fn arithmetic(raw: &ffi::DeviceInfo) -> Result<Arithmetic> {
    let unsaid = Arithmetic::of(activations(raw.activations)?);
    let group = match raw.activation_group {
        0 | ffi::GROUP_ROW => Group::Row,
        _ if !unsaid.activations.are_integers() => Group::Row,
        group => Group::Of(group as usize),
    };
    let accumulator_bits = match raw.accumulator_bits {
        0 => unsaid.accumulator_bits,
        bits @ MIN_SUM..=MAX_SUM => bits,
        bits => return Err(odd(format!("the device has sums of {bits} bits"))),
    };
    let rounding = match raw.rounding {
        0 => unsaid.rounding,
        raw => {
            let known = Rounding::ALL.into_iter().find(|r| r.raw() == raw);
            known.ok_or_else(|| odd(format!("the device has the unknown rounding {raw}")))?
        }
    };
    Ok(Arithmetic {
        group,
        accumulator_bits,
        rounding,
        ..unsaid
    })
}

fn activations(raw: u32) -> Result<Activations> {
    let known = Activations::ALL.into_iter().find(|a| a.raw() == raw);
    known.ok_or_else(|| {
        odd(format!(
            "the device has activations of the unknown type {raw}"
        ))
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
/// The list is null, or has `len` elements and lives for `'l`.
unsafe fn listed<'l, T>(list: *const T, len: u32) -> Result<&'l [T]> {
    match len as usize {
        0 => Ok(&[]),
        _ if list.is_null() => Err(odd("the device announced a list, but its pointer is null")),
        len if len > MAX_LISTED => Err(odd(format!(
            "a list of the device has {len} elements; at most {MAX_LISTED} are supported"
        ))),
        // SAFETY: passed on to the caller.
        len => Ok(unsafe { core::slice::from_raw_parts(list, len) }),
    }
}
