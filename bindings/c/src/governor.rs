//! What the host tells the runtime while it runs.

use crate::arguments::reference;
use crate::call::{Failure, call, quietly};
use crate::options::ondol_governor;
use crate::status::{ondol_error, ondol_status};
use runtime::{Governor, MemoryPressure, ThermalLevel};

/// How hot the device is.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ondol_thermal {
    /// All threads work.
    Nominal = 0,
    /// Three quarters of the threads.
    Fair = 1,
    /// Half of the threads.
    Serious = 2,
    /// The thread that asks.
    Critical = 3,
}

/// How much the system wants for memory.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ondol_pressure {
    /// There is enough.
    Normal = 0,
    /// Sessions give back what they do not use, and the weights leave the process.
    Low = 1,
    /// As at low; the weights leave the file cache too where the system allows it, and
    /// no session can be made: `ONDOL_STATUS_MEMORY_PRESSURE`.
    Critical = 2,
}

/// A governor that was told nothing, or NULL after a panic. It goes into
/// `ondol_session_options`. Engines keep what they need of it.
#[unsafe(no_mangle)]
pub extern "C" fn ondol_governor_new() -> *mut ondol_governor {
    let mut made = core::ptr::null_mut();
    quietly(|| {
        let governor = Governor::new();
        made = Box::into_raw(Box::new(ondol_governor { governor }));
    });
    made
}

/// Frees the handle, or does nothing for NULL. A paused governor is resumed first, since
/// nobody else could.
///
/// # Safety
/// The handle was made by this library and no call uses it any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_governor_free(governor: *mut ondol_governor) {
    if !governor.is_null() {
        // SAFETY: `ondol_governor_new` made it; nobody else uses it, by the caller.
        quietly(|| unsafe { Box::from_raw(governor) }.governor.resume());
    }
}

/// The device is so hot: a value of `ondol_thermal`. Sessions heed it from their next
/// step on. Another value is `ONDOL_STATUS_INVALID_ARGUMENT`.
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
            0 => ThermalLevel::Nominal,
            1 => ThermalLevel::Fair,
            2 => ThermalLevel::Serious,
            3 => ThermalLevel::Critical,
            _ => return Err(Failure::Argument("level is no value of ondol_thermal")),
        };
        // SAFETY: the header asks it of the caller.
        let governor = unsafe { reference(governor, "governor is NULL") }?;
        governor.governor.set_thermal(level);
        Ok(())
    };
    // SAFETY: the header asks it of the caller.
    unsafe { call(error, body) }
}

/// The level for a status of Android's `AThermal_getCurrentThermalStatus`.
#[unsafe(no_mangle)]
pub extern "C" fn ondol_thermal_from_android(status: i32) -> ondol_thermal {
    thermal(ThermalLevel::from_android(status))
}

/// The level for the raw value of Apple's `ProcessInfo.thermalState`.
#[unsafe(no_mangle)]
pub extern "C" fn ondol_thermal_from_apple(state: i32) -> ondol_thermal {
    thermal(ThermalLevel::from_apple(state as isize))
}

/// What `ondol_governor_set_thermal` said last; nominal for NULL.
///
/// # Safety
/// `governor` is NULL or was made by this library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_governor_thermal(governor: *const ondol_governor) -> ondol_thermal {
    // SAFETY: the header asks it of the caller.
    let governor = unsafe { governor.as_ref() };
    thermal(governor.map_or(ThermalLevel::Nominal, |g| g.governor.thermal()))
}

fn thermal(level: ThermalLevel) -> ondol_thermal {
    match level {
        ThermalLevel::Nominal => ondol_thermal::Nominal,
        ThermalLevel::Fair => ondol_thermal::Fair,
        ThermalLevel::Serious => ondol_thermal::Serious,
        ThermalLevel::Critical => ondol_thermal::Critical,
    }
}

/// The system wants memory: a value of `ondol_pressure`. The weights are dropped before
/// this returns, and come back from the file as they are used; running and paused
/// sessions give back what they do not use at their next step, idle ones by
/// `ondol_session_release_unused`. Another value is `ONDOL_STATUS_INVALID_ARGUMENT`.
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
            _ => return Err(Failure::Argument("level is no value of ondol_pressure")),
        };
        // SAFETY: the header asks it of the caller.
        let governor = unsafe { reference(governor, "governor is NULL") }?;
        governor.governor.set_memory_pressure(level);
        Ok(())
    };
    // SAFETY: the header asks it of the caller.
    unsafe { call(error, body) }
}

/// What `ondol_governor_set_memory_pressure` said last; normal for NULL.
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

/// Stops all sessions: prefill at its next step, a generation before its next token.
/// Their calls wait there and use no CPU until `ondol_governor_resume`. Nothing is
/// lost, and a cancel is heard meanwhile. Does nothing for NULL.
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

/// Lets the sessions go on. Does nothing for NULL.
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

/// 1 while sessions are stopped, else 0; 0 for NULL.
///
/// # Safety
/// `governor` is NULL or was made by this library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ondol_governor_is_paused(governor: *const ondol_governor) -> u32 {
    // SAFETY: the header asks it of the caller.
    let governor = unsafe { governor.as_ref() };
    governor.is_some_and(|g| g.governor.is_paused()).into()
}
