//! The times of a generation's steps.

use core::time::Duration;

/// The times of a generation; all zero without a clock.
pub struct Clock {
    #[cfg(feature = "std")]
    start: std::time::Instant,
    /// From the start to the end of prefill.
    pub prefill: Duration,
    /// From the start to the first sampled token.
    pub first: Duration,
    last: Duration,
}

impl Clock {
    pub fn start() -> Clock {
        Clock {
            #[cfg(feature = "std")]
            start: std::time::Instant::now(),
            prefill: Duration::ZERO,
            first: Duration::ZERO,
            last: Duration::ZERO,
        }
    }

    pub fn elapsed(&self) -> Duration {
        #[cfg(feature = "std")]
        return self.start.elapsed();
        #[cfg(not(feature = "std"))]
        Duration::ZERO
    }

    /// Records the end of prefill.
    pub fn prefilled(&mut self) {
        self.prefill = self.elapsed();
    }

    /// Records that a token was sampled.
    pub fn token(&mut self) {
        self.last = self.elapsed();
        if self.first.is_zero() {
            self.first = self.last;
        }
    }

    /// From the first token to the last.
    pub fn decode(&self) -> Duration {
        self.last.saturating_sub(self.first)
    }
}
