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
pub enum ThermalLevel {
    /// All workers.
    #[default]
    Nominal,
    /// Three quarters of the workers.
    Fair,
    /// Half of the workers.
    Serious,
    /// One worker: the thread that asks.
    Critical,
}

impl ThermalLevel {
    const ALL: [ThermalLevel; 4] = [
        ThermalLevel::Nominal,
        ThermalLevel::Fair,
        ThermalLevel::Serious,
        ThermalLevel::Critical,
    ];

    /// From `PowerManager.getCurrentThermalStatus` or `AThermal_getCurrentThermalStatus`:
    /// none is nominal, light and moderate are fair, severe is serious, and what
    /// is beyond is critical. An unknown status (below 0) is nominal.
    pub fn from_android(status: i32) -> ThermalLevel {
        match status {
            ..=0 => ThermalLevel::Nominal,
            1 | 2 => ThermalLevel::Fair,
            3 => ThermalLevel::Serious,
            4.. => ThermalLevel::Critical,
        }
    }

    /// From the raw value of `ProcessInfo.thermalState`, which has the same four levels.
    pub fn from_apple(state: isize) -> ThermalLevel {
        let level = state.clamp(0, 3).unsigned_abs();
        ThermalLevel::ALL[level]
    }

    /// How many of a session's `threads` work at this level: a share, rounded
    /// up, of at least one.
    pub fn workers(self, threads: usize) -> usize {
        let workers = match self {
            ThermalLevel::Nominal => threads,
            ThermalLevel::Fair => threads - threads / 4,
            ThermalLevel::Serious => threads.div_ceil(2),
            ThermalLevel::Critical => 1,
        };
        workers.max(1)
    }
}

/// How much the system wants for memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum MemoryPressure {
    /// There is enough.
    #[default]
    Normal,
    /// Sessions give back the pages of the cache that they do not use, and the
    /// weights leave the process (the system may keep them in its file cache).
    Low,
    /// As at low; the weights leave the file cache too where the system allows
    /// it, and no session can be made.
    Critical,
}

impl MemoryPressure {
    const ALL: [MemoryPressure; 3] = [
        MemoryPressure::Normal,
        MemoryPressure::Low,
        MemoryPressure::Critical,
    ];
}

/// Tells sessions how the device is doing, from any thread, while they run.
///
/// Clones are one handle. An app makes one and puts it in the
/// [`Options`](crate::Options) of all its sessions; a session that was given
/// none has one of its own, [`Engine::governor`](crate::Engine::governor).
/// What it is told changes when and by how many threads the work is done, never
/// the result.
///
/// No call allocates or waits for a session's step. None is for signal handlers.
#[derive(Debug, Clone, Default)]
pub struct Governor(Arc<State>);

#[derive(Debug, Default)]
struct State {
    thermal: AtomicU8,
    pressure: AtomicU8,
    paused: AtomicBool,
    /// How often sessions were asked to give memory back.
    releases: AtomicU32,
    models: Mutex<Vec<Weak<Loaded>>>,
}

impl Governor {
    /// A governor that was told nothing: not hot, enough memory, not paused.
    pub fn new() -> Governor {
        Governor::default()
    }

    /// The device is so hot. Sessions use as many workers as the level says from
    /// their next step on; the others sleep.
    pub fn set_thermal(&self, level: ThermalLevel) {
        self.0.thermal.store(level as u8, Relaxed);
    }

    /// What [`Governor::set_thermal`] said last.
    pub fn thermal(&self) -> ThermalLevel {
        ThermalLevel::ALL[usize::from(self.0.thermal.load(Relaxed))]
    }

    /// The system wants memory. The weights of all models with a session under
    /// this governor are dropped before this returns, and come back from the
    /// file as they are used. Running and paused sessions give back unused pages
    /// at their next step, idle ones when they run next, or at once by
    /// [`Session::release_unused`](crate::Session::release_unused).
    pub fn set_memory_pressure(&self, level: MemoryPressure) {
        self.0.pressure.store(level as u8, Relaxed);
        if level == MemoryPressure::Normal {
            return;
        }
        self.0.releases.fetch_add(1, Relaxed);
        gate::wake();
        for model in self.models().iter().filter_map(Weak::upgrade) {
            model.weights.release(level == MemoryPressure::Critical);
        }
    }

    /// What [`Governor::set_memory_pressure`] said last.
    pub fn memory_pressure(&self) -> MemoryPressure {
        MemoryPressure::ALL[usize::from(self.0.pressure.load(Relaxed))]
    }

    /// Stops all sessions: prefill at its next step, a generation before its next
    /// token. The call blocks there, the workers sleep, and no CPU is used until
    /// [`Governor::resume`]. Nothing is lost. A cancel is heard while paused. A
    /// loop over [`Session::decode`](crate::Session::decode) stops where it calls
    /// [`Session::wait_while_paused`](crate::Session::wait_while_paused).
    pub fn pause(&self) {
        self.0.paused.store(true, Relaxed);
    }

    /// Lets the sessions go on.
    pub fn resume(&self) {
        self.0.paused.store(false, Relaxed);
        gate::wake();
    }

    /// Whether sessions are stopped.
    pub fn is_paused(&self) -> bool {
        self.0.paused.load(Relaxed)
    }

    /// Takes note of a model that gets a session, unless memory is too short for one.
    pub(crate) fn admit(&self, model: &Model) -> Result<()> {
        if self.memory_pressure() == MemoryPressure::Critical {
            return Err(Error::MemoryPressure);
        }
        let mut models = self.models();
        models.retain(|known| known.strong_count() > 0 && known.as_ptr() != Arc::as_ptr(&model.0));
        models.push(Arc::downgrade(&model.0));
        Ok(())
    }

    /// How many of a session's threads may work.
    pub(crate) fn workers(&self, threads: usize) -> usize {
        self.thermal().workers(threads)
    }

    /// Counts the calls to give memory back.
    pub(crate) fn releases(&self) -> u32 {
        self.0.releases.load(Relaxed)
    }

    /// Sleeps until the governor is resumed, or has asked for memory more often
    /// than `seen`.
    ///
    /// # Errors
    /// [`Error::Cancelled`] if that comes first.
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
        let table = |threads| ThermalLevel::ALL.map(|level| level.workers(threads));
        assert_eq!(table(1), [1, 1, 1, 1]);
        assert_eq!(table(2), [2, 2, 1, 1]);
        assert_eq!(table(4), [4, 3, 2, 1]);
        assert_eq!(table(5), [5, 4, 3, 1]);
        assert_eq!(table(8), [8, 6, 4, 1]);
    }

    #[test]
    fn levels_of_the_systems() {
        use ThermalLevel::{Critical, Fair, Nominal, Serious};
        let android = [-1, 0, 1, 2, 3, 4, 5, 6].map(ThermalLevel::from_android);
        let expected = [
            Nominal, Nominal, Fair, Fair, Serious, Critical, Critical, Critical,
        ];
        assert_eq!(android, expected);
        let apple = [-1, 0, 1, 2, 3, 9].map(ThermalLevel::from_apple);
        assert_eq!(apple, [Nominal, Nominal, Fair, Serious, Critical, Critical]);
    }

    #[test]
    fn no_session_while_memory_is_critical() {
        let model = Model::hello().unwrap();
        let governor = Governor::new();
        let options = crate::Options {
            governor: governor.clone(),
            ..crate::Options::default()
        };
        governor.set_memory_pressure(MemoryPressure::Critical);
        assert!(matches!(
            model.session(&options),
            Err(Error::MemoryPressure)
        ));
        governor.set_memory_pressure(MemoryPressure::Low);
        assert!(model.session(&options).is_ok());
    }

    /// The list of models holds each once, and forgets those that are gone.
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
