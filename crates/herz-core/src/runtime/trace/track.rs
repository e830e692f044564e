//! One worker's part of the trace, and the probe by which the worker fills it.

use super::super::processor::WorkerId;
use super::super::sync::{AtomicBool, AtomicU64, OnceLock, Ordering};
use super::clock::Clock;
use super::histogram::Histogram;
use super::ring::{Event, Kind, Ring};

/// What has a histogram. Durations are in ticks of the clock, except for lateness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Measure {
    /// A look at one victim's queue, by native processors.
    StealProbe,
    /// A native processor's visit to the global queue, from before its lock to its share.
    GlobalTake,
    /// From the end of a step to the beginning of the next.
    Switch,
    /// A step.
    Step,
    /// From the moment when the processor was taken to the one when its new owner had it.
    HandOff,
    /// A look at the clock and the timers.
    Poll,
    /// The wait for the interpreter, after a wait for the kernel or for an errand.
    Attach,
    /// Nanoseconds from a timer's time to its firing.
    Lateness,
    /// Runnable tasks at each look.
    Queued,
}

impl Measure {
    pub const ALL: [Self; 9] = [
        Self::StealProbe,
        Self::GlobalTake,
        Self::Switch,
        Self::Step,
        Self::HandOff,
        Self::Poll,
        Self::Attach,
        Self::Lateness,
        Self::Queued,
    ];

    /// Whether its values are ticks.
    #[must_use]
    pub fn is_in_ticks(self) -> bool {
        !matches!(self, Self::Lateness | Self::Queued)
    }
}

// A cache line of its own for what the worker writes at each step.
#[derive(Default)]
#[repr(align(64))]
pub struct Track {
    /// The task whose step or function the worker is in, or was in last; 0 without one.
    running: AtomicU64,
    is_on: AtomicBool,
    /// The thread, as the interpreter numbers it.
    thread: AtomicU64,
    histograms: [OnceLock<Box<Histogram>>; Measure::ALL.len()],
    ring: OnceLock<Ring>,
}

impl Track {
    /// Notes the calling worker's thread.
    pub fn sit(&self, thread: u64) {
        self.thread.store(thread, Ordering::Relaxed);
    }

    pub fn thread(&self) -> u64 {
        self.thread.load(Ordering::Relaxed)
    }

    pub fn running(&self) -> u64 {
        self.running.load(Ordering::Relaxed)
    }

    pub fn turn(&self, is_on: bool) {
        self.is_on.store(is_on, Ordering::Relaxed);
    }

    #[inline]
    pub fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// Counts a value; only the worker itself may.
    pub fn record(&self, measure: Measure, value: u64) {
        let histogram = &self.histograms[measure as usize];
        histogram.get_or_init(Box::default).record(value);
    }

    pub fn histogram(&self, measure: Measure) -> Option<&Histogram> {
        self.histograms[measure as usize]
            .get()
            .map(|found| &**found)
    }

    /// Writes an event; only the worker itself may.
    pub fn push(&self, event: Event) {
        self.ring.get_or_init(Ring::default).push(event);
    }

    pub fn ring(&self) -> Option<&Ring> {
        self.ring.get()
    }
}

/// What a worker says of its own doings. It times about one step of 64: at a fixed distance it
/// could meet the same one of 64 tasks each time.
pub struct Probe<'a> {
    track: &'a Track,
    clock: Clock,
    /// Steps until the next timed one.
    left: u32,
    random: u32,
    task: u64,
    /// When the step began; 0: nobody asks.
    began: u64,
    /// Whether that is for the histogram, not only for a trace.
    is_sampled: bool,
    /// When the sampled step ended, until the next one begins; 0 otherwise.
    ended: u64,
}

/// The distances between timed steps are evenly spread up to twice this.
const EVERY: u32 = 64;

impl<'a> Probe<'a> {
    pub fn new(track: &'a Track, clock: Clock, worker: WorkerId) -> Self {
        Self {
            track,
            clock,
            left: EVERY,
            // Anything but zero.
            random: 0x9e37_79b9 ^ u32::from(worker),
            task: 0,
            began: 0,
            is_sampled: false,
            ended: 0,
        }
    }

    /// A step of the task begins.
    #[inline]
    pub fn begin(&mut self, task: u64) {
        self.track.running.store(task, Ordering::Relaxed);
        self.left -= 1;
        if self.left == 0 || self.track.is_on() {
            self.begin_timed(task);
        }
    }

    /// It ended.
    #[inline]
    pub fn end(&mut self) {
        if self.began != 0 {
            self.end_timed(Kind::Step);
        }
    }

    /// A function ended that was begun like a step.
    pub fn end_function(&mut self) {
        if self.began != 0 {
            self.end_timed(Kind::Function);
        }
        self.leave();
    }

    /// The worker waits now: what lies before its next step is no switch.
    pub fn rest(&mut self) {
        if self.ended != 0 {
            self.ended = 0;
            self.left = self.gap();
        }
    }

    /// It runs nothing any more.
    pub fn leave(&mut self) {
        self.rest();
        self.track.running.store(0, Ordering::Relaxed);
    }

    /// The worker waited, for the kernel (`Park`) or for an errand (`Idle`), from reading `from`
    /// to `woke`, and then for the interpreter until now.
    pub fn waited(&mut self, what: Kind, from: u64, woke: u64) {
        let length = self.clock.now().saturating_sub(woke);
        self.track.record(Measure::Attach, length);
        if self.track.is_on() {
            let (task, other) = (0, 0);
            for (kind, at, length) in [
                (what, from, woke.saturating_sub(from)),
                (Kind::Attach, woke, length),
            ] {
                self.track.push(Event {
                    kind,
                    at,
                    length,
                    task,
                    other,
                });
            }
        }
    }

    /// The worker looked at clock and timers since the reading `from`, and found so many tasks.
    pub fn looked(&mut self, from: u64, queued: usize) {
        let length = self.clock.now().saturating_sub(from);
        self.track.record(Measure::Poll, length);
        self.track.record(Measure::Queued, queued as u64);
    }

    #[must_use]
    pub fn now(&self) -> u64 {
        self.clock.now()
    }

    #[cold]
    fn begin_timed(&mut self, task: u64) {
        let now = self.clock.now();
        let is_due = self.left == 0;
        let ends_switch = is_due && self.ended != 0;
        self.is_sampled = is_due && !ends_switch;
        if ends_switch {
            let switch = now.saturating_sub(self.ended);
            self.track.record(Measure::Switch, switch);
            self.ended = 0;
            self.left = self.gap();
        } else if is_due {
            // The beginning of the next one is looked at, too: what lies between is a switch.
            self.left = 1;
        }
        if self.is_sampled || self.track.is_on() {
            self.began = now;
            self.task = task;
        }
    }

    #[cold]
    fn end_timed(&mut self, kind: Kind) {
        let now = self.clock.now();
        let length = now.saturating_sub(self.began);
        if self.is_sampled && kind == Kind::Step {
            self.track.record(Measure::Step, length);
            self.ended = now;
        }
        if self.track.is_on() {
            self.track.push(Event {
                kind,
                at: self.began,
                length,
                task: self.task,
                other: 0,
            });
        }
        self.began = 0;
    }

    fn gap(&mut self) -> u32 {
        // Marsaglia's xorshift.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        1 + self.random % (2 * EVERY - 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(track: &Track, measure: Measure) -> u64 {
        let mut merged = super::super::histogram::Merged::default();
        if let Some(histogram) = track.histogram(measure) {
            merged.add(histogram);
        }
        merged.count()
    }

    #[test]
    fn about_one_step_of_64_is_timed_and_a_switch_after_each() {
        let track = Track::default();
        let mut probe = Probe::new(&track, Clock::get(), 0);
        for task in 1..=64_000 {
            probe.begin(task);
            probe.end();
        }
        let steps = count(&track, Measure::Step);
        assert!((900..1_100).contains(&steps), "{steps}");
        assert!(steps - count(&track, Measure::Switch) <= 1);
        assert!(track.ring().is_none(), "nobody traces");
    }

    #[test]
    fn tasks_that_take_turns_in_a_fixed_order_are_all_timed() {
        let track = Track::default();
        let mut probe = Probe::new(&track, Clock::get(), 3);
        let mut timed = [false; 64];
        for step in 0..64 * 64 * 20 {
            probe.begin(step % 64 + 1);
            timed[step as usize % 64] |= probe.is_sampled && probe.began != 0;
            probe.end();
        }
        assert_eq!(timed, [true; 64]);
    }

    #[test]
    fn a_wait_is_no_switch() {
        let track = Track::default();
        let mut probe = Probe::new(&track, Clock::get(), 0);
        for task in 1..=64_000 {
            probe.begin(task);
            probe.end();
            probe.rest();
        }
        assert!(count(&track, Measure::Step) > 0);
        assert_eq!(count(&track, Measure::Switch), 0);
    }

    #[test]
    fn while_traced_each_step_is_an_event_and_the_histogram_is_as_before() {
        let track = Track::default();
        track.turn(true);
        let mut probe = Probe::new(&track, Clock::get(), 0);
        for task in 1..=6_400 {
            probe.begin(task);
            probe.end();
        }
        assert_eq!(track.ring().unwrap().written(), 6_400);
        assert!((60..140).contains(&count(&track, Measure::Step)));
    }
}
