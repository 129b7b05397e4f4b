//! An open device and its description.

use crate::Device;
use crate::failure::write_text;
use core::ffi::{CStr, c_char};
use ondol::delegate::{Arithmetic, Group, Label, Quant, ffi};

/// The description of a device.
#[derive(Debug, Clone)]
pub struct Description {
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
    /// Bytes of the device's memory; 0 if unknown.
    pub memory: u64,
    /// How its matmuls compute.
    pub arithmetic: Arithmetic,
    /// Forms of matrices that the device takes.
    pub forms: Vec<Quant>,
    /// Numbers of rows that graphs can have, in ascending order.
    pub rows: Vec<usize>,
}

/// An open device, with its description as C structs.
pub struct Opened<D> {
    /// Name of the plug-in.
    pub plugin: String,
    /// The vendor's device.
    pub device: D,
    /// Its description.
    pub description: Description,
    /// Everything on which a saved program depends: the plug-in, the device and its
    /// software.
    pub identity: String,
    lists: Lists,
}

/// The lists to which a [`ffi::DeviceInfo`] points: they live as long as the device.
pub struct Lists {
    _forms: Vec<ffi::Quant>,
    form_list: Vec<*const ffi::Quant>,
    row_list: Vec<u32>,
}

// SAFETY: the pointers lead to a list of the struct's own, which is never written.
unsafe impl Send for Lists {}
// SAFETY: as above.
unsafe impl Sync for Lists {}

impl Lists {
    /// Makes the lists of forms of matrices and of numbers of rows.
    pub fn new(forms: Vec<ffi::Quant>, rows: Vec<u32>) -> Lists {
        Lists {
            form_list: forms.iter().map(core::ptr::from_ref).collect(),
            _forms: forms,
            row_list: rows,
        }
    }

    /// A description with these lists, the host's memory, and the names of vendor,
    /// device, architecture, driver and firmware; the rest is zero.
    pub fn info(&self, names: [&str; 5]) -> ffi::DeviceInfo {
        let mut info = ffi::DeviceInfo {
            hdr: ffi::Hdr::of::<ffi::DeviceInfo>(),
            vendor: [0; _],
            device: [0; _],
            arch: [0; _],
            driver: [0; _],
            firmware: [0; _],
            flags: 0,
            mem_caps: ffi::MEM_HOST,
            mem_total: 0,
            mem_free: 0,
            activations: 0,
            n_quants: self.form_list.len() as u32,
            quants: self.form_list.as_ptr(),
            n_rows: self.row_list.len() as u32,
            rows: self.row_list.as_ptr(),
            activation_group: 0,
            accumulator_bits: 0,
            rounding: 0,
            mem_limit: 0,
        };
        let texts: [&mut [c_char]; 5] = [
            &mut info.vendor,
            &mut info.device,
            &mut info.arch,
            &mut info.driver,
            &mut info.firmware,
        ];
        for (to, name) in texts.into_iter().zip(names) {
            write_text(to, name);
        }
        info
    }
}

impl<D: Device> Opened<D> {
    /// Asks a device of the plug-in with this name and version for its description.
    pub fn new(device: D, plugin: &CStr, version: &CStr) -> Opened<D> {
        let plugin = plugin.to_string_lossy().into_owned();
        let description = device.describe();
        let identity = [
            &plugin,
            &version.to_string_lossy().into_owned(),
            &description.device,
            &description.arch,
            &description.driver,
            &description.firmware,
        ];
        let identity = identity.map(String::as_str).join(", ");
        let forms = description.forms.iter().map(Quant::raw);
        let rows = description.rows.iter().map(|&rows| rows as u32);
        let lists = Lists::new(forms.collect(), rows.collect());
        Opened {
            plugin,
            device,
            identity,
            lists,
            description,
        }
    }

    /// The description for the host. Its lists live as long as the device.
    pub fn info(&self) -> ffi::DeviceInfo {
        let described = &self.description;
        let arithmetic = &described.arithmetic;
        let names = [
            &described.vendor,
            &described.device,
            &described.arch,
            &described.driver,
            &described.firmware,
        ];
        ffi::DeviceInfo {
            flags: match described.label {
                Label::Hardware => 0,
                Label::Emulator => ffi::DEVICE_EMULATED,
                Label::ContractStub => ffi::DEVICE_STUB,
            },
            mem_total: described.memory,
            activations: arithmetic.activations.raw(),
            activation_group: match arithmetic.group {
                Group::Row => ffi::GROUP_ROW,
                Group::Of(group) => group as u32,
            },
            accumulator_bits: arithmetic.accumulator_bits,
            rounding: arithmetic.rounding.raw(),
            ..self.lists.info(names.map(String::as_str))
        }
    }
}
