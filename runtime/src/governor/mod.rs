//! What the app reports to the runtime while it runs: thermal state, memory pressure,
//! and that the app is in the background.
//!
//! A phone's system reports these to the app on some thread while another thread runs a
//! prefill. So the app keeps one handle, [`Governor`], and gives it to every session.
//! Reporting is an atomic store; sessions read it between steps, about once per
//! millisecond. `docs/phones.md` lists the events of Android and iOS to connect.
//!
//! Without `std` there is no other thread to report anything. The handle then only has
//! a function that is called between two steps, for a watchdog.

#[cfg(feature = "std")]
mod hosted;

#[cfg(feature = "std")]
pub use hosted::{Governor, MemoryPressure, ThermalState};

#[cfg(not(feature = "std"))]
pub use alone::Governor;

#[cfg(not(feature = "std"))]
mod alone {
    use crate::{CancelToken, Model, Result};

    /// The handle in builds without threads: it only calls a function between steps.
    #[derive(Debug, Clone, Default)]
    pub struct Governor(Option<fn()>);

    impl Governor {
        /// A governor whose sessions call `between_steps` before each step of a pass,
        /// many times per layer: to feed a watchdog, for example.
        pub fn calling(between_steps: fn()) -> Governor {
            Governor(Some(between_steps))
        }

        pub(crate) fn call_between_steps(&self) {
            if let Some(call) = self.0 {
                call();
            }
        }

        pub(crate) fn admit(&self, _model: &Model) -> Result<()> {
            Ok(())
        }

        pub(crate) fn workers(&self, threads: usize) -> usize {
            threads
        }

        pub(crate) fn releases(&self) -> u32 {
            0
        }

        pub(crate) fn is_paused(&self) -> bool {
            false
        }

        pub(crate) fn wait_while_paused(&self, _cancel: &CancelToken, _seen: u32) -> Result<()> {
            Ok(())
        }
    }
}
