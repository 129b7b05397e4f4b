//! What the host tells the runtime while it runs: heat, want of memory, and
//! that the app is out of sight.
//!
//! A phone's system tells these things to the app, on a thread of the app's
//! choosing, while another thread is deep in a prefill. So there is one handle,
//! [`Governor`], that the app keeps and gives to every session. Telling it
//! something is a store; sessions look at it between steps, which take a
//! millisecond or so. `docs/phones.md` says which calls of Android and iOS
//! belong where.
//!
//! Without `std` there is no other thread that could tell anything. The handle then
//! has a function that is called between two steps, for a watchdog.

#[cfg(feature = "std")]
mod hosted;

#[cfg(feature = "std")]
pub use hosted::{Governor, MemoryPressure, ThermalLevel};

#[cfg(not(feature = "std"))]
pub use alone::Governor;

#[cfg(not(feature = "std"))]
mod alone {
    use crate::{CancelToken, Model, Result};

    /// The handle of a system without threads: nobody tells it anything.
    #[derive(Debug, Clone, Default)]
    pub struct Governor(Option<fn()>);

    impl Governor {
        /// One whose sessions call `between_steps` before each step of a pass: many
        /// times a layer, for a watchdog that wants to be fed.
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
