//! The governor of a system with threads.

use crate::gate;
use crate::model::Loaded;
use crate::{CancelToken, Error, Model, Result};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::vec::Vec;

/// How hot the device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum ThermalState {
    /// All threads work.
    #[default]
    Nominal,
    /// Three quarters of the threads work.
    Fair,
    /// Half of the threads work.
    Serious,
    /// Only the calling thread works.
    Critical,
}

impl ThermalState {
    const ALL: [ThermalState; 4] = [
        ThermalState::Nominal,
        ThermalState::Fair,
        ThermalState::Serious,
        ThermalState::Critical,
    ];

    /// From `PowerManager.getCurrentThermalStatus` or `AThermal_getCurrentThermalStatus`:
    /// none is nominal, light and moderate are fair, severe is serious, and what
    /// is beyond is critical. An unknown status (below 0) is nominal.
    pub fn from_android(status: i32) -> ThermalState {
        match status {
            ..=0 => ThermalState::Nominal,
            1 | 2 => ThermalState::Fair,
            3 => ThermalState::Serious,
            4.. => ThermalState::Critical,
        }
    }

    /// From the raw value of `ProcessInfo.thermalState`, which has the same four
    /// states.
    pub fn from_apple(state: isize) -> ThermalState {
        let level = state.clamp(0, 3).unsigned_abs();
        ThermalState::ALL[level]
    }

    /// How many of an engine's `threads` work in this state: at least one, rounded up.
    pub fn workers(self, threads: usize) -> usize {
        let workers = match self {
            ThermalState::Nominal => threads,
            ThermalState::Fair => threads - threads / 4,
            ThermalState::Serious => threads.div_ceil(2),
            ThermalState::Critical => 1,
        };
        workers.max(1)
    }
}

/// The memory pressure that the system reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum MemoryPressure {
    /// Memory is sufficient.
    #[default]
    Normal,
    /// Sessions release unused pages of their caches, and the weights are dropped from
    /// the process (the system may keep them in its file cache).
    Low,
    /// As for `Low`; the weights are also dropped from the file cache where the system
    /// allows it, and no session can be made.
    Critical,
}

impl MemoryPressure {
    const ALL: [MemoryPressure; 3] = [
        MemoryPressure::Normal,
        MemoryPressure::Low,
        MemoryPressure::Critical,
    ];
}

/// Reports thermal state and memory pressure to running sessions, and pauses them, from
/// any thread.
///
/// Clones refer to the same governor. An app makes one and puts it in the
/// [`SessionOptions`](crate::SessionOptions) of all its engines; otherwise each engine has its own,
/// [`Engine::governor`](crate::Engine::governor). It changes when the work is done and
/// by how many threads, never the result.
///
/// No call waits for a step, or allocates unless a logger does. None may be called from
/// a signal handler.
///
/// ```
/// use ondol::{Governor, Model, SessionOptions, ThermalState};
///
/// let governor = Governor::new();
/// let options = SessionOptions {
///     governor: governor.clone(),
///     ..SessionOptions::default()
/// };
/// let session = Model::hello()?.session(&options)?;
/// governor.set_thermal(ThermalState::Serious); // half of the threads work
/// # Ok::<(), ondol::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Governor(Arc<State>);

#[derive(Debug, Default)]
struct State {
    thermal: AtomicU8,
    pressure: AtomicU8,
    paused: AtomicBool,
    /// The number of requests to release memory.
    releases: AtomicU32,
    models: Mutex<Vec<Weak<Loaded>>>,
}

impl Governor {
    /// A governor in the normal state: nominal temperature, sufficient memory, not
    /// paused.
    pub fn new() -> Governor {
        Governor::default()
    }

    /// Sets the thermal state. From their next step on, sessions use as many threads as
    /// the state allows; the others sleep.
    pub fn set_thermal(&self, level: ThermalState) {
        let before = self.0.thermal.swap(level as u8, Relaxed);
        if before != level as u8 {
            log::debug!("governor: thermal state {level:?}");
        }
    }

    /// The state that [`Governor::set_thermal`] set last.
    pub fn thermal(&self) -> ThermalState {
        ThermalState::ALL[usize::from(self.0.thermal.load(Relaxed))]
    }

    /// Sets the memory pressure. For `Low` and `Critical`, the weights of all models
    /// that have an engine with this governor are dropped before this returns; they are
    /// read from the file again when used. With `Low` the system's file cache keeps them, but
    /// for the experts that were not used for the longest time. Running and paused sessions release unused
    /// pages at their next step, idle ones when they run next, or at once with
    /// [`Session::release_unused`](crate::Session::release_unused).
    pub fn set_memory_pressure(&self, level: MemoryPressure) {
        let before = self.0.pressure.swap(level as u8, Relaxed);
        if before != level as u8 {
            log::debug!("governor: memory pressure {level:?}");
        }
        if level == MemoryPressure::Normal {
            return;
        }
        self.0.releases.fetch_add(1, Relaxed);
        gate::wake();
        for model in self.models().iter().filter_map(Weak::upgrade) {
            model.weights.release(level == MemoryPressure::Critical);
        }
    }

    /// The pressure that [`Governor::set_memory_pressure`] set last.
    pub fn memory_pressure(&self) -> MemoryPressure {
        MemoryPressure::ALL[usize::from(self.0.pressure.load(Relaxed))]
    }

    /// Pauses all sessions: prefill at its next step, a generation before its next
    /// token. Their calls block there without using the CPU until [`Governor::resume`],
    /// then continue. A cancel ends the wait. A loop over
    /// [`Session::decode`](crate::Session::decode) pauses where it calls
    /// [`Session::wait_while_paused`](crate::Session::wait_while_paused).
    pub fn pause(&self) {
        if !self.0.paused.swap(true, Relaxed) {
            log::debug!("governor: paused");
        }
    }

    /// Ends the pause; the sessions continue.
    pub fn resume(&self) {
        let was_paused = self.0.paused.swap(false, Relaxed);
        gate::wake();
        if was_paused {
            log::debug!("governor: resumed");
        }
    }

    /// Whether sessions are paused.
    pub fn is_paused(&self) -> bool {
        self.0.paused.load(Relaxed)
    }

    /// Registers the model of a new engine or session, unless memory pressure is
    /// critical.
    pub(crate) fn admit(&self, model: &Model) -> Result<()> {
        if self.memory_pressure() == MemoryPressure::Critical {
            return Err(Error::MemoryPressure);
        }
        let mut models = self.models();
        models.retain(|known| known.strong_count() > 0 && known.as_ptr() != Arc::as_ptr(&model.0));
        models.push(Arc::downgrade(&model.0));
        Ok(())
    }

    /// How many of an engine's `threads` may work now.
    pub(crate) fn workers(&self, threads: usize) -> usize {
        self.thermal().workers(threads)
    }

    /// The number of requests to release memory so far.
    pub(crate) fn releases(&self) -> u32 {
        self.0.releases.load(Relaxed)
    }

    /// Sleeps until the governor is resumed, or has more than `seen` requests to
    /// release memory.
    ///
    /// # Errors
    /// [`Error::Cancelled`] if the token is cancelled first.
    pub(crate) fn wait_while_paused(&self, cancel: &CancelToken, seen: u32) -> Result<()> {
        gate::wait_while(|| self.is_paused() && self.releases() == seen && !cancel.is_cancelled());
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        Ok(())
    }

    fn models(&self) -> std::sync::MutexGuard<'_, Vec<Weak<Loaded>>> {
        self.0.models.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hot_device_has_fewer_workers() {
        let table = |threads| ThermalState::ALL.map(|level| level.workers(threads));
        assert_eq!(table(1), [1, 1, 1, 1]);
        assert_eq!(table(2), [2, 2, 1, 1]);
        assert_eq!(table(4), [4, 3, 2, 1]);
        assert_eq!(table(5), [5, 4, 3, 1]);
        assert_eq!(table(8), [8, 6, 4, 1]);
    }

    #[test]
    fn levels_of_the_systems() {
        use ThermalState::{Critical, Fair, Nominal, Serious};
        let android = [-1, 0, 1, 2, 3, 4, 5, 6].map(ThermalState::from_android);
        let expected = [
            Nominal, Nominal, Fair, Fair, Serious, Critical, Critical, Critical,
        ];
        assert_eq!(android, expected);
        let apple = [-1, 0, 1, 2, 3, 9].map(ThermalState::from_apple);
        assert_eq!(apple, [Nominal, Nominal, Fair, Serious, Critical, Critical]);
    }

    #[test]
    fn no_session_while_memory_is_critical() {
        let model = Model::hello().unwrap();
        let governor = Governor::new();
        let options = crate::SessionOptions {
            governor: governor.clone(),
            ..crate::SessionOptions::default()
        };
        governor.set_memory_pressure(MemoryPressure::Critical);
        assert!(matches!(
            model.session(&options),
            Err(Error::MemoryPressure)
        ));
        governor.set_memory_pressure(MemoryPressure::Low);
        assert!(model.session(&options).is_ok());
    }

    /// The list of models has each model once, and drops those that were freed.
    #[test]
    fn models_are_not_kept_alive() {
        let governor = Governor::new();
        let model = Model::hello().unwrap();
        governor.admit(&model).unwrap();
        governor.admit(&model).unwrap();
        assert_eq!(governor.models().len(), 1);
        drop(model);
        governor.set_memory_pressure(MemoryPressure::Low);
        governor.admit(&Model::hello().unwrap()).unwrap();
        assert_eq!(governor.models().len(), 1);
    }
}
