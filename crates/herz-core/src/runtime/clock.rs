//! What time it is: the kernel's monotonic clock, or one that a test has of its own.

use super::poller::now_ns;
use super::sync::{AtomicU64, Ordering};

/// The clock of one runtime, in nanoseconds.
pub enum Clock {
    Kernel,
    /// Begins at zero and stands still but for [`Clock::jump`].
    Virtual(AtomicU64),
}

impl Clock {
    #[must_use]
    pub fn new(is_virtual: bool) -> Self {
        if is_virtual {
            Self::Virtual(AtomicU64::new(0))
        } else {
            Self::Kernel
        }
    }

    #[must_use]
    pub fn now_ns(&self) -> u64 {
        match self {
            Self::Kernel => now_ns(),
            // ORDERING: Relaxed: one thread runs a runtime with a clock of its own.
            Self::Virtual(now) => now.load(Ordering::Relaxed),
        }
    }

    /// A virtual clock is set forward; false: this one cannot be.
    pub fn jump(&self, to_ns: u64) -> bool {
        match self {
            Self::Kernel => false,
            Self::Virtual(now) => {
                // ORDERING: as in `now_ns`.
                now.fetch_max(to_ns, Ordering::Relaxed);
                true
            }
        }
    }

    #[must_use]
    pub fn is_virtual(&self) -> bool {
        matches!(self, Self::Virtual(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_virtual_clock_only_goes_forward_and_only_when_told() {
        let clock = Clock::new(true);
        assert_eq!(clock.now_ns(), 0);
        assert!(clock.jump(7) && clock.jump(5));
        assert_eq!(clock.now_ns(), 7);
    }

    #[test]
    fn the_kernels_clock_cannot_be_set() {
        let clock = Clock::new(false);
        let before = clock.now_ns();
        assert!(!clock.jump(u64::MAX));
        assert!((before..before + 60_000_000_000).contains(&clock.now_ns()));
    }
}
