//! Thermal state, memory pressure and pause: they concern the device, so all models share
//! one governor.

use crate::call::Result;
use jni::Env;
use jni::objects::JClass;
use jni::sys::{jboolean, jint};
use ondol_app::{Governor, MemoryPressure, ThermalState};
use std::sync::LazyLock;

/// The governor of all models.
pub static GOVERNOR: LazyLock<Governor> = LazyLock::new(Governor::new);

/// The states in the order of the Kotlin enum `ThermalState`.
const THERMAL: [ThermalState; 4] = [
    ThermalState::Nominal,
    ThermalState::Fair,
    ThermalState::Serious,
    ThermalState::Critical,
];

/// The states in the order of the Kotlin enum `MemoryPressure`.
const PRESSURE: [MemoryPressure; 3] = [
    MemoryPressure::Normal,
    MemoryPressure::Low,
    MemoryPressure::Critical,
];

pub fn set_thermal(_: &mut Env, _: JClass, state: jint) -> Result<()> {
    GOVERNOR.set_thermal(THERMAL[state as usize]);
    Ok(())
}

pub fn thermal(_: &mut Env, _: JClass) -> Result<jint> {
    Ok(GOVERNOR.thermal() as jint)
}

/// The state for a status of Android's `PowerManager`.
pub fn thermal_from_android(_: &mut Env, _: JClass, status: jint) -> Result<jint> {
    Ok(ThermalState::from_android(status) as jint)
}

pub fn set_memory_pressure(_: &mut Env, _: JClass, state: jint) -> Result<()> {
    GOVERNOR.set_memory_pressure(PRESSURE[state as usize]);
    Ok(())
}

pub fn memory_pressure(_: &mut Env, _: JClass) -> Result<jint> {
    Ok(GOVERNOR.memory_pressure() as jint)
}

pub fn set_paused(_: &mut Env, _: JClass, paused: jboolean) -> Result<()> {
    match paused {
        true => GOVERNOR.pause(),
        false => GOVERNOR.resume(),
    }
    Ok(())
}

pub fn is_paused(_: &mut Env, _: JClass) -> Result<jboolean> {
    Ok(GOVERNOR.is_paused())
}
