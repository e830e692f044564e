//! A clock that is cheap enough to time a step: the processor's counter where that is sound.
//!
//! The counter is used when it runs at one rate in all power states (the processor says so) and the
//! kernel itself keeps time by it, which means that it found the counters of all CPUs in step.
//! Otherwise ticks are nanoseconds of the monotonic clock.

use super::super::poller::now_ns;
use super::super::sync::OnceLock;

/// A scale is measured over at least this long: reading two clocks one after the other may err by
/// a hundred nanoseconds.
const SCALE_NS: u64 = 1_000_000;

#[derive(Clone, Copy, Debug)]
pub struct Clock {
    is_counter: bool,
    /// Both clocks at one moment, when the process first asked.
    base_ticks: u64,
    base_ns: u64,
}

impl Clock {
    /// The process's clock.
    pub fn get() -> Self {
        static CLOCK: OnceLock<Clock> = OnceLock::new();
        *CLOCK.get_or_init(|| Self::start(is_counter_sound()))
    }

    fn start(is_counter: bool) -> Self {
        let clock = Self {
            is_counter,
            base_ticks: 0,
            base_ns: now_ns(),
        };
        Self {
            base_ticks: clock.now(),
            ..clock
        }
    }

    /// A reading in ticks.
    #[inline]
    #[must_use]
    pub fn now(self) -> u64 {
        #[cfg(target_arch = "x86_64")]
        if self.is_counter {
            // SAFETY: every x86_64 processor has the instruction; it reads a counter.
            return unsafe { std::arch::x86_64::_rdtsc() };
        }
        now_ns()
    }

    /// Whether ticks are the processor's.
    #[must_use]
    pub fn is_counter(self) -> bool {
        self.is_counter
    }

    /// What a tick is now; waits until a millisecond has passed since the first reading.
    #[must_use]
    pub fn scale(self) -> Scale {
        if !self.is_counter {
            return Scale {
                clock: self,
                ns_per_tick: 1.0,
            };
        }
        loop {
            let (ticks, ns) = (self.now(), now_ns());
            let passed_ns = ns.saturating_sub(self.base_ns);
            if passed_ns >= SCALE_NS {
                let passed = ticks.saturating_sub(self.base_ticks).max(1);
                return Scale {
                    clock: self,
                    ns_per_tick: passed_ns as f64 / passed as f64,
                };
            }
            std::hint::spin_loop();
        }
    }
}

/// Ticks to nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    clock: Clock,
    ns_per_tick: f64,
}

impl Scale {
    #[must_use]
    pub fn ns_per_tick(self) -> f64 {
        self.ns_per_tick
    }

    /// A length of time.
    #[must_use]
    pub fn ns(self, ticks: u64) -> u64 {
        (ticks as f64 * self.ns_per_tick) as u64
    }

    /// A reading, as nanoseconds of the monotonic clock. A later reading never gives less.
    #[must_use]
    pub fn at_ns(self, ticks: u64) -> u64 {
        if !self.clock.is_counter {
            return ticks;
        }
        let passed = ticks.saturating_sub(self.clock.base_ticks);
        self.clock.base_ns + self.ns(passed)
    }
}

#[cfg(target_arch = "x86_64")]
fn is_counter_sound() -> bool {
    const POWER_LEAF: u32 = 0x8000_0007;
    const INVARIANT: u32 = 1 << 8;
    let highest = std::arch::x86_64::__cpuid(0x8000_0000).eax;
    if highest < POWER_LEAF || std::arch::x86_64::__cpuid(POWER_LEAF).edx & INVARIANT == 0 {
        return false;
    }
    let source = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    std::fs::read_to_string(source).is_ok_and(|source| source.trim() == "tsc")
}

#[cfg(not(target_arch = "x86_64"))]
fn is_counter_sound() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_agree_with_the_monotonic_clock() {
        for clock in [Clock::get(), Clock::start(false)] {
            let before = now_ns();
            let reading = clock.now();
            let after = now_ns();
            let at = clock.scale().at_ns(reading);
            // Two readings that are apart by a pre-emption still bracket the one between them.
            let slack = 20_000 + (after - clock.base_ns) / 1_000;
            assert!(at + slack >= before && at <= after + slack, "{clock:?}");
        }
    }

    #[test]
    fn a_later_reading_is_never_earlier() {
        let clock = Clock::get();
        let scale = clock.scale();
        let mut last = 0;
        for _ in 0..1_000 {
            let at = scale.at_ns(clock.now());
            assert!(at >= last);
            last = at;
        }
    }
}
