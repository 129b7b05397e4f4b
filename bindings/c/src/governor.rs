//! The functions through which an app reports the state of the device.

use crate::arguments::reference;
use crate::call::{Failure, call, quietly};
use crate::options::ondol_governor;
use crate::status::{ondol_error, ondol_status};
use runtime::{Governor, MemoryPressure, ThermalState};

/// The thermal state of the device.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ondol_thermal {
    /// All threads work.
    Nominal = 0,
    /// Three quarters of the threads work.
    Fair = 1,
    /// Half of the threads work.
    Serious = 2,
    /// Only the calling thread works.
    Critical = 3,
}

/// The memory pressure that the system reports.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ondol_pressure {
    /// Memory is sufficient.
    Normal = 0,
    /// Sessions release unused memory, and the weights are dropped from the process.
    Low = 1,
    /// As for low; the weights are also dropped from the file cache where the system
    /// allows it, and no session can be made: `ONDOL_STATUS_MEMORY_PRESSURE`.
    Critical = 2,
}

/// Makes a governor in the normal state; NULL after a panic. Put it in
/// `ondol_session_options`. The handle may be freed while engines use the governor.
#[unsafe(no_mangle)]
pub extern "C" fn ondol_governor_new() -> *mut ondol_governor {
    let mut made = core::ptr::null_mut();
    quietly(|| {
        let governor = Governor::new();
        made = Box::into_raw(Box::new(ondol_governor { governor }));
    });
    made
}

/// Frees the handle, or does nothing for NULL. A paused governor is resumed first.
///
/// # Safety
/// The handle was made by this library and no call uses it any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_governor_free(governor: *mut ondol_governor) {
    if !governor.is_null() {
        // SAFETY: `ondol_governor_new` made it; by contract the caller has no other use
        // of it.
        quietly(|| unsafe { Box::from_raw(governor) }.governor.resume());
    }
}

/// Sets the thermal state, a value of `ondol_thermal`. Sessions follow it from their
/// next step on. Any other value is `ONDOL_STATUS_INVALID_ARGUMENT`.
///
/// # Safety
/// The pointers are NULL or point to what their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_governor_set_thermal(
    governor: *const ondol_governor,
    level: i32,
    error: *mut ondol_error,
) -> ondol_status {
    let body = || {
        let level = match level {
            0 => ThermalState::Nominal,
            1 => ThermalState::Fair,
            2 => ThermalState::Serious,
            3 => ThermalState::Critical,
            _ => return Err(Failure::Argument("level is not a value of ondol_thermal")),
        };
        // SAFETY: the header asks it of the caller.
        let governor = unsafe { reference(governor, "governor is NULL") }?;
        governor.governor.set_thermal(level);
        Ok(())
    };
    // SAFETY: the header asks it of the caller.
    unsafe { call(error, body) }
}

/// The state for a status of Android's `AThermal_getCurrentThermalStatus`.
#[unsafe(no_mangle)]
pub extern "C" fn ondol_thermal_from_android(status: i32) -> ondol_thermal {
    thermal(ThermalState::from_android(status))
}

/// The state for the raw value of Apple's `ProcessInfo.thermalState`.
#[unsafe(no_mangle)]
pub extern "C" fn ondol_thermal_from_apple(state: i32) -> ondol_thermal {
    thermal(ThermalState::from_apple(state as isize))
}

/// The state that `ondol_governor_set_thermal` set last; nominal for NULL.
///
/// # Safety
/// `governor` is NULL or was made by this library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_governor_thermal(governor: *const ondol_governor) -> ondol_thermal {
    // SAFETY: the header asks it of the caller.
    let governor = unsafe { governor.as_ref() };
    thermal(governor.map_or(ThermalState::Nominal, |g| g.governor.thermal()))
}

fn thermal(level: ThermalState) -> ondol_thermal {
    match level {
        ThermalState::Nominal => ondol_thermal::Nominal,
        ThermalState::Fair => ondol_thermal::Fair,
        ThermalState::Serious => ondol_thermal::Serious,
        ThermalState::Critical => ondol_thermal::Critical,
    }
}

/// Sets the memory pressure, a value of `ondol_pressure`. For low and critical, the
/// weights are dropped before this returns, and read from the file again when used;
/// running and paused sessions release unused memory at their next step, idle ones with
/// `ondol_session_release_unused`. Any other value is `ONDOL_STATUS_INVALID_ARGUMENT`.
///
/// # Safety
/// The pointers are NULL or point to what their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_governor_set_memory_pressure(
    governor: *const ondol_governor,
    level: i32,
    error: *mut ondol_error,
) -> ondol_status {
    let body = || {
        let level = match level {
            0 => MemoryPressure::Normal,
            1 => MemoryPressure::Low,
            2 => MemoryPressure::Critical,
            _ => return Err(Failure::Argument("level is not a value of ondol_pressure")),
        };
        // SAFETY: the header asks it of the caller.
        let governor = unsafe { reference(governor, "governor is NULL") }?;
        governor.governor.set_memory_pressure(level);
        Ok(())
    };
    // SAFETY: the header asks it of the caller.
    unsafe { call(error, body) }
}

/// The pressure that `ondol_governor_set_memory_pressure` set last; normal for NULL.
///
/// # Safety
/// `governor` is NULL or was made by this library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_governor_memory_pressure(
    governor: *const ondol_governor,
) -> ondol_pressure {
    // SAFETY: the header asks it of the caller.
    let level = unsafe { governor.as_ref() }.map(|g| g.governor.memory_pressure());
    match level {
        None | Some(MemoryPressure::Normal) => ondol_pressure::Normal,
        Some(MemoryPressure::Low) => ondol_pressure::Low,
        Some(MemoryPressure::Critical) => ondol_pressure::Critical,
    }
}

/// Pauses all sessions: prefill at its next step, a generation before its next token.
/// Their calls wait there without using the CPU until `ondol_governor_resume`, then
/// continue. A cancel ends the wait. Does nothing for NULL.
///
/// # Safety
/// `governor` is NULL or was made by this library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_governor_pause(governor: *const ondol_governor) {
    // SAFETY: the header asks it of the caller.
    if let Some(governor) = unsafe { governor.as_ref() } {
        governor.governor.pause();
    }
}

/// Ends the pause; the sessions continue. Does nothing for NULL.
///
/// # Safety
/// `governor` is NULL or was made by this library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_governor_resume(governor: *const ondol_governor) {
    // SAFETY: the header asks it of the caller.
    if let Some(governor) = unsafe { governor.as_ref() } {
        governor.governor.resume();
    }
}

/// 1 while sessions are paused, else 0; 0 for NULL.
///
/// # Safety
/// `governor` is NULL or was made by this library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_governor_is_paused(governor: *const ondol_governor) -> u32 {
    // SAFETY: the header asks it of the caller.
    let governor = unsafe { governor.as_ref() };
    governor.is_some_and(|g| g.governor.is_paused()).into()
}
