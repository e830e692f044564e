//! What can be seen of a runtime from outside: how long things take, what happened last, and which
//! step lasts too long.
//!
//! - [`clock`]: the clock that durations are measured with.
//! - [`histogram`]: how often each duration was seen. [`ring`]: the last events of a worker.
//! - [`track`]: one worker's histograms and ring, and the probe by which the worker fills them.
//! - [`stalls`]: steps that the monitor saw last too long, until somebody reports them.
//! - [`schedtrace`]: a line now and then, as Go's.
//! - [`measure`]: what all this costs.
//!
//! Counts are always kept. Of every 64 steps about one is timed. Events are written only while
//! somebody traces.

pub mod clock;
pub mod histogram;
pub mod measure;
pub mod ring;
pub mod schedtrace;
pub mod stalls;
pub mod track;

use std::collections::VecDeque;
use std::thread::JoinHandle;
use std::time::Duration;

use super::processor::WorkerId;
use super::sync::{Arc, AtomicBool, AtomicU64, Bell, Lock, OnceLock, Ordering};
use clock::Clock;
use histogram::Merged;
use ring::{Event, Kind, Ring};
use stalls::Stalls;
use track::{Measure, Probe, Track};

/// Everything that is noted of one runtime.
pub struct Trace {
    pub clock: Clock,
    pub stalls: Stalls,
    tracks: Box<[OnceLock<Box<Track>>]>,
    /// Tracks from here on are native workers'.
    first_native: usize,
    is_on: AtomicBool,
    /// When the monitor gave the processor away, in ticks, until its new owner has taken it.
    granted: AtomicU64,
    /// Events of threads that are no workers; its owner is whoever holds the lock.
    outside: Lock<Option<Ring>>,
    collected: Lock<Collected>,
    collector: Lock<Option<JoinHandle<()>>>,
    /// Rung with true when the collector must end.
    ended: Bell<bool>,
}

/// So often a trace takes the events out of the rings: a ring holds what happens in this time at
/// three million events a second.
const COLLECT_EVERY: Duration = Duration::from_millis(20);

/// Above all numbers of workers.
pub const NATIVE_TRACKS: u32 = 1 << 17;

#[derive(Default)]
struct Collected {
    // Bound: `most`.
    events: VecDeque<(Option<WorkerId>, Event)>,
    most: usize,
    lost: u64,
    /// How far each worker's ring was read, and at the end the one of the others.
    seen: Vec<u64>,
}

impl Collected {
    fn keep(&mut self, worker: Option<WorkerId>, event: Event) {
        if self.events.len() == self.most {
            self.events.pop_front();
            self.lost += 1;
        }
        self.events.push_back((worker, event));
    }
}

/// What a trace has caught: by worker, and None for threads that are none; and how many events
/// were too many.
pub type Caught = (Vec<(Option<WorkerId>, Event)>, u64);

impl Trace {
    #[must_use]
    pub fn new(workers_max: usize, native_max: usize) -> Self {
        let tracks = workers_max + native_max;
        Self {
            clock: Clock::get(),
            stalls: Stalls::default(),
            tracks: (0..tracks).map(|_| OnceLock::new()).collect(),
            first_native: workers_max,
            is_on: AtomicBool::new(false),
            granted: AtomicU64::new(0),
            outside: Lock::default(),
            collected: Lock::default(),
            collector: Lock::default(),
            ended: Bell::default(),
        }
    }

    /// The worker's track, made when it is first asked for.
    ///
    /// # Panics
    /// There is no such worker.
    pub fn track(&self, worker: WorkerId) -> &Track {
        self.tracks[worker as usize].get_or_init(|| {
            let track = Box::<Track>::default();
            track.turn(self.is_on());
            track
        })
    }

    /// How a trace numbers a worker's track: native ones from `NATIVE_TRACKS` on.
    #[must_use]
    pub fn track_number(&self, worker: WorkerId) -> u32 {
        let number = u32::from(worker);
        let first_native = self.first_native as u32;
        let native = number.checked_sub(first_native);
        native.map_or(number, |native| NATIVE_TRACKS + native)
    }

    fn known(&self) -> impl Iterator<Item = (WorkerId, &Track)> {
        let numbered = self.tracks.iter().enumerate();
        numbered.filter_map(|(worker, track)| Some((worker as WorkerId, &**track.get()?)))
    }

    /// The means by which a worker says what it does.
    pub fn probe(&self, worker: WorkerId) -> Probe<'_> {
        Probe::new(self.track(worker), self.clock, worker)
    }

    /// The worker that is inside that task's step or function, and its thread.
    pub fn runner(&self, task: u64) -> Option<(WorkerId, u64)> {
        let mut running = self.known().filter(|(_, track)| track.running() == task);
        running
            .next()
            .map(|(worker, track)| (worker, track.thread()))
    }

    /// By worker: its thread, and the task that it is in, or was in last.
    #[must_use]
    pub fn runners(&self) -> Vec<(WorkerId, u64, u64)> {
        let all = self.known();
        let all = all.map(|(worker, track)| (worker, track.thread(), track.running()));
        all.filter(|&(_, _, task)| task != 0).collect()
    }

    /// The values of one kind, of all native workers or of all others. Durations are in ticks.
    #[must_use]
    pub fn merged(&self, measure: Measure, is_native: bool) -> Merged {
        let mut merged = Merged::default();
        let tracks = self.known();
        for (_, track) in
            tracks.filter(|(worker, _)| (*worker as usize >= self.first_native) == is_native)
        {
            if let Some(histogram) = track.histogram(measure) {
                merged.add(histogram);
            }
        }
        merged
    }

    // ---- events --------------------------------------------------------------------------------

    /// Whether events are written.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// Begins to write events, of which the last `most` are kept; false when they are already. The
    /// thread that collects them inherits the caller's signal mask.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(self: &Arc<Self>, most: usize) -> std::io::Result<bool> {
        if !self.turn_on(most) {
            return Ok(false);
        }
        self.ended.ring(|ended| *ended = false);
        let trace = Arc::clone(self);
        let thread = std::thread::Builder::new().name("herz-tracer".to_owned());
        let started = thread.spawn(move || {
            let is_over = |ended: &mut bool| ended.then_some(());
            while trace.ended.wait(Some(COLLECT_EVERY), is_over).is_none() {
                trace.collect();
            }
        });
        match started {
            Ok(thread) => {
                *self.collector.lock() = Some(thread);
                Ok(true)
            }
            Err(error) => {
                self.turn_off();
                Err(error)
            }
        }
    }

    fn turn_on(&self, most: usize) -> bool {
        let mut collected = self.collected.lock();
        if self.is_on.swap(true, Ordering::Relaxed) {
            return false;
        }
        *collected = Collected {
            most: most.max(1),
            seen: vec![0; self.tracks.len() + 1],
            ..Collected::default()
        };
        for (worker, track) in self.known() {
            // What an earlier trace left is none of this one's.
            collected.seen[worker as usize] = track.ring().map_or(0, Ring::written);
            track.turn(true);
        }
        drop(collected);
        *self.outside.lock() = Some(Ring::default());
        true
    }

    /// Moves what the rings hold to where it is kept: often enough, and nothing is lost.
    pub fn collect(&self) {
        let mut collected = self.collected.lock();
        for (worker, track) in self.known() {
            if let Some(ring) = track.ring() {
                collected.take(Some(worker), worker as usize, ring);
            }
        }
        if let Some(ring) = &*self.outside.lock() {
            let place = self.tracks.len();
            collected.take(None, place, ring);
        }
    }

    /// Ends the trace and gives what it caught, in the order of each ring.
    pub fn stop(&self) -> Caught {
        self.ended.ring(|ended| *ended = true);
        let collector = self.collector.lock().take();
        if let Some(collector) = collector {
            // A collector that panicked has left what it had.
            let _ = collector.join();
        }
        self.turn_off()
    }

    fn turn_off(&self) -> Caught {
        for (_, track) in self.known() {
            track.turn(false);
        }
        self.is_on.store(false, Ordering::Relaxed);
        self.collect();
        *self.outside.lock() = None;
        let caught = std::mem::take(&mut *self.collected.lock());
        (caught.events.into(), caught.lost)
    }

    /// Notes an event; `worker` is the caller's number when it is a worker.
    pub fn note(&self, worker: Option<WorkerId>, event: Event) {
        match worker {
            Some(worker) => self.track(worker).push(event),
            None => {
                if let Some(ring) = &*self.outside.lock() {
                    ring.push(event);
                }
            }
        }
    }

    /// A task became runnable.
    #[inline]
    pub fn ready(&self, worker: Option<WorkerId>, task: u64) {
        if self.is_on() {
            self.note(worker, self.event(Kind::Ready, task, 0, 0));
        }
    }

    /// A timer fired, so late, and made a task runnable.
    pub fn fired(&self, worker: WorkerId, task: u64, late_ns: u64) {
        let track = self.track(worker);
        track.record(Measure::Lateness, late_ns);
        if track.is_on() {
            track.push(self.event(Kind::Fire, task, late_ns, 0));
        }
    }

    /// The processor was taken out of a step.
    pub fn handed_off(&self, task: u64, from: WorkerId, to: WorkerId) {
        let workers = u32::from(from) << WorkerId::BITS | u32::from(to);
        let event = self.event(Kind::HandOff, task, 0, workers);
        self.granted.store(event.at, Ordering::Relaxed);
        if self.is_on() {
            self.note(None, event);
        }
    }

    /// It was given back: nobody else has accepted it.
    pub fn handed_back(&self) {
        self.granted.store(0, Ordering::Relaxed);
    }

    /// The worker has accepted a processor that the monitor gave it.
    pub fn accepted(&self, worker: WorkerId) {
        let granted = self.granted.swap(0, Ordering::Relaxed);
        if granted != 0 {
            let lasted = self.clock.now().saturating_sub(granted);
            self.track(worker).record(Measure::HandOff, lasted);
        }
    }

    fn event(&self, kind: Kind, task: u64, length: u64, other: u32) -> Event {
        Event {
            kind,
            at: self.clock.now(),
            length,
            task,
            other,
        }
    }
}

impl Collected {
    fn take(&mut self, worker: Option<WorkerId>, place: usize, ring: &Ring) {
        let Some(&seen) = self.seen.get(place) else {
            return;
        };
        let (lost, seen) = ring.read(seen, |event| self.keep(worker, event));
        self.lost += lost;
        self.seen[place] = seen;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_holds_its_own_events_and_the_last_ones() {
        let trace = Trace::new(2, 0);
        trace.ready(Some(0), 1);
        assert!(trace.turn_on(3));
        assert!(!trace.turn_on(3), "one trace at a time");
        for task in 2..6 {
            trace.ready((task % 2 == 0).then_some(1), task);
            trace.collect();
        }
        let (events, lost) = trace.turn_off();
        let tasks: Vec<_> = events
            .iter()
            .map(|(worker, event)| (*worker, event.task))
            .collect();
        assert_eq!(tasks, [(None, 3), (Some(1), 4), (None, 5)]);
        assert_eq!(lost, 1);
        trace.ready(Some(1), 7);
        assert!(trace.turn_on(3));
        assert_eq!(trace.turn_off().0, []);
    }

    #[test]
    fn a_collector_loses_nothing_that_a_ring_cannot_hold() {
        let trace = Arc::new(Trace::new(1, 0));
        assert!(trace.start(1_000).unwrap());
        for task in 1..=3 * ring::EVENTS as u64 {
            trace.ready(Some(0), task);
            if task.is_multiple_of(ring::EVENTS as u64) {
                // The collector's own time has not come: what it would do is done here.
                trace.collect();
            }
        }
        let (events, lost) = trace.stop();
        assert_eq!((events.len(), lost), (3 * ring::EVENTS, 0));
        assert!(!trace.is_on());
    }

    #[test]
    fn who_runs_a_task_is_found_by_its_number() {
        let trace = Trace::new(2, 1);
        trace.track(2).sit(77);
        let mut probe = trace.probe(2);
        assert_eq!(trace.runner(9), None);
        probe.begin(9);
        assert_eq!(trace.runner(9), Some((2, 77)));
        probe.end();
        probe.leave();
        assert_eq!(trace.runner(9), None);
    }
}
