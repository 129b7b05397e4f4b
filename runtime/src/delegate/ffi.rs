//! The declarations of `runtime/delegates/ondol_npu.h` in Rust, with the same names.
//! The header has the documentation.
//!
//! `runtime/delegates/sample/tests/layout.c` asserts the sizes below in C.

#![allow(missing_docs)] // The header has them.

use core::ffi::{c_char, c_int, c_void};

pub const ABI_MAJOR: u16 = 1;
pub const ABI_MINOR: u16 = 1;
/// The symbol that a plug-in exports.
pub const GET_API: &[u8] = b"ondol_npu_get_api\0";

pub type Status = i32;
pub const OK: Status = 0;

pub const ERROR_RETRYABLE: u32 = 1;
pub const ERROR_NEEDS_RESET: u32 = 2;

pub const F32: u32 = 1;
pub const F16: u32 = 2;
pub const BF16: u32 = 3;
pub const I8: u32 = 4;
pub const I4: u32 = 5;
pub const I16: u32 = 6;
pub const GROUP_ROW: u32 = u32::MAX;

pub const MEM_HOST: u32 = 1;
pub const HOST_READ: u32 = 1;
pub const HOST_WRITE: u32 = 2;
pub const DEVICE_READ: u32 = 4;
pub const DEVICE_WRITE: u32 = 8;

pub const INTERMEDIATE: u32 = 0;
pub const INPUT: u32 = 1;
pub const OUTPUT: u32 = 2;
pub const WEIGHT: u32 = 3;

pub const MATMUL: u32 = 1;
pub const RMSNORM: u32 = 2;
pub const ADD: u32 = 3;
pub const SCALE: u32 = 4;
pub const SILU_MUL: u32 = 5;
pub const GELU_MUL: u32 = 6;
pub const SOFTCAP: u32 = 7;

pub const ROUND_NEAREST_EVEN: u32 = 1;
pub const ROUND_NEAREST_AWAY: u32 = 2;
pub const ROUND_TOWARD_ZERO: u32 = 3;

pub const DEVICE_EMULATED: u32 = 1;
pub const DEVICE_STUB: u32 = 2;

pub const MEASURED_TIME: u32 = 1;
pub const MEASURED_ENERGY: u32 = 2;
pub const MEASURED_TEMPERATURE: u32 = 4;
pub const MEASURED_THROTTLING: u32 = 8;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Hdr {
    pub struct_size: u32,
    pub abi_major: u16,
    pub abi_minor: u16,
}

impl Hdr {
    /// Makes the header of a struct, with this build's size and version.
    pub const fn of<T>() -> Hdr {
        Hdr {
            struct_size: size_of::<T>() as u32,
            abi_major: ABI_MAJOR,
            abi_minor: ABI_MINOR,
        }
    }
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Error {
    pub hdr: Hdr,
    pub code: Status,
    pub vendor_code: i32,
    pub flags: u32,
    pub message: [c_char; 236],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Quant {
    pub hdr: Hdr,
    pub store: u32,
    pub group: u32,
    pub scale_type: u32,
}

#[repr(C)]
pub struct Mem {
    pub hdr: Hdr,
    pub kind: u32,
    pub access: u32,
    pub ptr: *mut c_void,
    pub fd: i64,
    pub offset: u64,
    pub size: u64,
    pub align: u64,
}

/// The type of all handles of a plug-in.
#[repr(C)]
pub struct Opaque {
    _private: [u8; 0],
}

#[repr(C)]
pub struct Tensor {
    pub hdr: Hdr,
    pub id: u32,
    pub role: u32,
    pub rows: u32,
    pub cols: u32,
    pub quant: *const Quant,
    pub data: *const c_void,
    pub data_size: u64,
    pub scales: *const c_void,
    pub scales_size: u64,
}

#[repr(C)]
pub struct Node {
    pub hdr: Hdr,
    pub op: u32,
    pub n_in: u32,
    pub inputs: [u32; 4],
    pub out: u32,
    pub eps: f32,
    pub group: u32,
    pub factor: f32,
}

impl Node {
    /// A node without an operation.
    pub const EMPTY: Node = Node {
        hdr: Hdr::of::<Node>(),
        op: 0,
        n_in: 0,
        inputs: [0; 4],
        out: 0,
        eps: 0.0,
        group: 0,
        factor: 0.0,
    };
}

#[repr(C)]
pub struct Graph {
    pub hdr: Hdr,
    pub name: *const c_char,
    pub rows: u32,
    pub n_tensors: u32,
    pub n_nodes: u32,
    pub tensors: *const *const Tensor,
    pub nodes: *const *const Node,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct DeviceInfo {
    pub hdr: Hdr,
    pub vendor: [c_char; 64],
    pub device: [c_char; 64],
    pub arch: [c_char; 32],
    pub driver: [c_char; 64],
    pub firmware: [c_char; 64],
    pub flags: u32,
    pub mem_caps: u32,
    pub mem_total: u64,
    pub mem_free: u64,
    pub activations: u32,
    pub n_quants: u32,
    pub quants: *const *const Quant,
    pub n_rows: u32,
    pub rows: *const u32,
    pub activation_group: u32,
    pub accumulator_bits: u32,
    pub rounding: u32,
    pub mem_limit: u64,
}

impl DeviceInfo {
    /// The size of the struct in version 1.0.
    pub const SIZE_1_0: usize = core::mem::offset_of!(DeviceInfo, activation_group);
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Claim {
    pub hdr: Hdr,
    pub claimed: u32,
    pub reason: [c_char; 120],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Metrics {
    pub hdr: Hdr,
    pub measured: u32,
    pub throttled: u32,
    pub exec_ns: u64,
    pub energy_uj: u64,
    pub temperature_mc: i32,
}

#[repr(C)]
pub struct Binding {
    pub hdr: Hdr,
    pub tensor: u32,
    pub buffer: *mut Opaque,
    pub offset: u64,
}

#[repr(C)]
pub struct Host {
    pub hdr: Hdr,
    pub context: *mut c_void,
    pub log: unsafe extern "C" fn(*mut c_void, c_int, *const c_char),
}

/// The plug-in's table. Every function is an `Option`, because a plug-in may leave a
/// null pointer.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Api {
    pub hdr: Hdr,
    pub name: *const c_char,
    pub version: *const c_char,
    pub licence: *const c_char,
    pub init: Option<unsafe extern "C" fn(*const Host, *mut Error) -> Status>,
    pub device_count: Option<unsafe extern "C" fn() -> u32>,
    pub device_open: Option<unsafe extern "C" fn(u32, *mut *mut Opaque, *mut Error) -> Status>,
    pub device_close: Option<unsafe extern "C" fn(*mut Opaque)>,
    pub device_info:
        Option<unsafe extern "C" fn(*mut Opaque, *mut DeviceInfo, *mut Error) -> Status>,
    pub claim: Option<
        unsafe extern "C" fn(*mut Opaque, *const Graph, *const *mut Claim, *mut Error) -> Status,
    >,
    pub compile: Option<
        unsafe extern "C" fn(*mut Opaque, *const Graph, *mut *mut Opaque, *mut Error) -> Status,
    >,
    pub program_save:
        Option<unsafe extern "C" fn(*mut Opaque, *mut c_void, *mut usize, *mut Error) -> Status>,
    pub program_load: Option<
        unsafe extern "C" fn(
            *mut Opaque,
            *const c_void,
            usize,
            *mut *mut Opaque,
            *mut Error,
        ) -> Status,
    >,
    pub program_free: Option<unsafe extern "C" fn(*mut Opaque)>,
    pub session_new: Option<
        unsafe extern "C" fn(*const *mut Opaque, u32, *mut *mut Opaque, *mut Error) -> Status,
    >,
    pub session_free: Option<unsafe extern "C" fn(*mut Opaque)>,
    pub buffer_import: Option<
        unsafe extern "C" fn(*mut Opaque, *const Mem, *mut *mut Opaque, *mut Error) -> Status,
    >,
    pub buffer_release: Option<unsafe extern "C" fn(*mut Opaque)>,
    pub submit: Option<
        unsafe extern "C" fn(
            *mut Opaque,
            u32,
            *const *const Binding,
            u32,
            u64,
            *mut *mut Opaque,
            *mut Error,
        ) -> Status,
    >,
    pub job_wait: Option<
        unsafe extern "C" fn(*mut Opaque, u64, *mut u32, *mut Metrics, *mut Error) -> Status,
    >,
    pub job_cancel: Option<unsafe extern "C" fn(*mut Opaque, *mut Error) -> Status>,
    pub job_free: Option<unsafe extern "C" fn(*mut Opaque)>,
    pub inject: Option<unsafe extern "C" fn(*mut Opaque, *const c_char, u32, *mut Error) -> Status>,
    pub reset: Option<unsafe extern "C" fn(*mut Opaque, *mut Error) -> Status>,
}

pub type GetApi = unsafe extern "C" fn(u32, u32, *mut *const Api) -> Status;

/// The sizes on which both sides rely, with pointers of 64 bits.
#[cfg(target_pointer_width = "64")]
const _: () = {
    use core::mem::offset_of;
    assert!(size_of::<Hdr>() == 8);
    assert!(size_of::<Error>() == 256 && offset_of!(Error, message) == 20);
    assert!(size_of::<Quant>() == 20);
    assert!(size_of::<Mem>() == 56 && offset_of!(Mem, fd) == 24);
    assert!(size_of::<Tensor>() == 64 && offset_of!(Tensor, data) == 32);
    assert!(size_of::<Node>() == 48 && offset_of!(Node, out) == 32);
    assert!(size_of::<Graph>() == 48 && offset_of!(Graph, tensors) == 32);
    assert!(size_of::<DeviceInfo>() == 376 && offset_of!(DeviceInfo, quants) == 328);
    assert!(DeviceInfo::SIZE_1_0 == 352);
    assert!(size_of::<Claim>() == 132);
    assert!(size_of::<Metrics>() == 40 && offset_of!(Metrics, exec_ns) == 16);
    assert!(size_of::<Binding>() == 32 && offset_of!(Binding, buffer) == 16);
    assert!(size_of::<Host>() == 24);
    assert!(size_of::<Api>() == 192 && offset_of!(Api, submit) == 144);
};
