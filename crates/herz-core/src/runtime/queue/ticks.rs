//! A clock that is cheap enough to time a steal: the processor's counter where there is one.

use std::time::Instant;

/// A reading; only differences mean something, and only through [`Scale`].
#[must_use]
pub fn now() -> u64 {
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: every x86_64 processor has the instruction; it reads a counter.
        unsafe { std::arch::x86_64::_rdtsc() }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        use std::sync::OnceLock;
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed().as_nanos() as u64
    }
}

/// Ticks to nanoseconds, measured against the system's clock over the run itself.
pub struct Scale {
    ticks: u64,
    instant: Instant,
}

impl Default for Scale {
    fn default() -> Self {
        Self {
            ticks: now(),
            instant: Instant::now(),
        }
    }
}

impl Scale {
    /// Nanoseconds in a tick, as seen since the scale was made.
    #[must_use]
    pub fn nanoseconds(&self) -> f64 {
        let ticks = now().saturating_sub(self.ticks).max(1);
        self.instant.elapsed().as_nanos() as f64 / ticks as f64
    }
}
