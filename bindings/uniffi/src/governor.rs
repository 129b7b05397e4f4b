//! The app's reports about the device.

use ondol_app as app;

/// How hot the device is, in four steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum ThermalState {
    /// Cool: all threads work.
    Nominal,
    /// Warm: three quarters of the threads work.
    Fair,
    /// Hot: half of the threads work.
    Serious,
    /// Too hot: only the calling thread works.
    Critical,
}

/// How short memory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum MemoryPressure {
    /// Memory is sufficient.
    Normal,
    /// Unused memory is released.
    Low,
    /// As for `Low`, and no conversation can be made.
    Critical,
}

/// Takes thermal state and memory pressure, and pauses answers, from any thread. It
/// changes when work is done and by how many threads, never the result.
#[derive(Debug, Default, uniffi::Object)]
pub struct Governor(pub(crate) app::Governor);

#[uniffi::export]
impl Governor {
    /// A governor for one or more models.
    #[uniffi::constructor]
    pub fn new() -> Governor {
        Governor::default()
    }

    /// Reports how hot the device is.
    pub fn set_thermal(&self, state: ThermalState) {
        self.0.set_thermal(match state {
            ThermalState::Nominal => app::ThermalState::Nominal,
            ThermalState::Fair => app::ThermalState::Fair,
            ThermalState::Serious => app::ThermalState::Serious,
            ThermalState::Critical => app::ThermalState::Critical,
        });
    }

    /// Reports how short memory is.
    pub fn set_memory_pressure(&self, pressure: MemoryPressure) {
        self.0.set_memory_pressure(match pressure {
            MemoryPressure::Normal => app::MemoryPressure::Normal,
            MemoryPressure::Low => app::MemoryPressure::Low,
            MemoryPressure::Critical => app::MemoryPressure::Critical,
        });
    }

    /// Pauses all answers after their current token or step of the prompt.
    pub fn pause(&self) {
        self.0.pause();
    }

    /// Ends the pause: the answers continue.
    pub fn resume(&self) {
        self.0.resume();
    }

    /// Whether answers are paused.
    pub fn is_paused(&self) -> bool {
        self.0.is_paused()
    }
}
