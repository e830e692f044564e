//! One native worker: where it looks for its next task, and what it counts.
//!
//! The order is Go's: timers that are due; every 61st time one task of the global queue; own
//! `next`, own ring; own pinned tasks; a share of the global queue; descriptors, where nobody waits
//! for them; then, as a spinner, four passes over the others in random order, the last of which
//! takes `next` too; then sleep, one worker in the poller. Timers are not stolen in a pass: each
//! worker's first look takes them from all shards.

use std::time::Duration;

use super::executor::{Grant, Local, Place, Shared, Step, Task, Turn};
use super::idle::{Asked, Settled};
use super::outside::Room;
use super::ring::{self, Pass};
use super::victims::Random;
use crate::runtime::processor::{Claim, WorkerId};
use crate::runtime::sync::atomic::{AtomicU64, Ordering};
use crate::runtime::sync::{Arc, assert_none_held, spin_loop};
use crate::runtime::thread::{self, Slack};
use crate::runtime::trace::clock::Clock;
use crate::runtime::trace::track::{Measure, Probe, Track};

/// Each so many tasks the global queue comes first, so that full rings do not starve it.
const GLOBAL_EVERY: u32 = 61;
/// Passes over the victims before a worker gives up.
const PASSES: u32 = 4;
/// Steps that `next` may inherit before the ring has its turn: two tasks that wake each other would
/// keep the processor for themselves. Counted, not timed: a clock read costs as much as a step.
const SLICE_STEPS: u32 = 128;
/// How long a thief waits before it takes `next` of a busy victim.
const BACK_OFF: Duration = Duration::from_micros(3);

macro_rules! counts {
    ($($(#[$text:meta])* $name:ident,)*) => {
        /// What a processor's owners counted; only the owner of the moment writes.
        #[derive(Default)]
        pub struct Counts { $($name: AtomicU64,)* }

        /// A reading of it.
        #[derive(Clone, Copy, Debug, Default)]
        pub struct Counters { $($(#[$text])* pub $name: u64,)* }

        impl Counts {
            pub(super) fn read(&self) -> Counters {
                // ORDERING: counts are read one by one, and order nothing.
                Counters { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }

        impl Counters {
            /// Both together.
            #[must_use]
            pub fn plus(self, other: Self) -> Self {
                Self { $($name: self.$name + other.$name,)* }
            }
        }
    };
}

counts! {
    /// Steps of tasks that came from the own `next` slot.
    next,
    /// From the own ring; what was stolen or taken as a share is counted where it came from first.
    ring,
    /// Pinned to this processor.
    pinned,
    /// From the global queue.
    global,
    /// From another processor.
    stolen,
    /// From descriptors and timers.
    outside,
    /// Looks at one victim.
    probes,
    /// Those that were timed, and their clock ticks.
    probes_timed,
    probe_ticks,
    /// Those of them that gave a task, likewise.
    steals_timed,
    steal_ticks,
    /// Tasks taken by all looks.
    loot,
    /// Searches: four passes, or fewer where one gave a task.
    searches,
    /// Times that the processor became idle.
    parks,
}

impl Counters {
    /// Steps of tasks that came from the processor's own queues.
    #[must_use]
    pub fn local(&self) -> u64 {
        self.next + self.ring + self.pinned
    }

    /// All steps.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.local() + self.global + self.stolen + self.outside
    }
}

fn add(counter: &AtomicU64, by: u64) {
    // ORDERING: Relaxed: one writer at a time, which the processor's word orders.
    counter.store(counter.load(Ordering::Relaxed) + by, Ordering::Relaxed);
}

type Held<'a> = Claim<'a, Local>;

pub(super) struct Worker<'a> {
    shared: &'a Arc<Shared>,
    number: WorkerId,
    is_spinning: bool,
    track: &'a Track,
    probe: Probe<'a>,
    /// Looks at victims, and visits to the global queue, until one is timed.
    probe_in: u32,
    visit_in: u32,
    room: Room,
    ready: Vec<Arc<Task>>,
}

impl<'a> Worker<'a> {
    pub(super) fn new(shared: &'a Arc<Shared>, number: WorkerId) -> Self {
        let track = shared.first_track + number;
        Self {
            shared,
            number,
            is_spinning: false,
            track: shared.trace.track(track),
            probe: shared.trace.probe(track),
            probe_in: shared.timed_every,
            visit_in: shared.timed_every,
            room: Room::default(),
            ready: Vec::new(),
        }
    }

    /// A worker's whole life.
    pub(super) fn run(mut self) {
        let _slack = Slack::least();
        let seat = &self.shared.seats[self.number as usize];
        seat.thread.store(thread::number(), Ordering::Relaxed);
        // SAFETY: it takes nothing and always succeeds.
        self.track.sit(unsafe { libc::pthread_self() } as u64);
        while let Some(grant) = self.rest() {
            self.is_spinning = grant.is_spinning;
            self.drive(grant.processor);
            self.probe.leave();
        }
    }

    fn place(&self, at: usize) -> &'a Place {
        &self.shared.places[at]
    }

    /// Runs tasks until the processor, which was granted to this worker, is gone.
    fn drive(&mut self, at: usize) {
        let shared = self.shared;
        let (mut at, mut seat) = (at, self.place(at).processor.accept(self.number));
        assert!(seat.is_some(), "a processor was granted to somebody else");
        while let Some(mut claim) = seat {
            if shared.is_closed() {
                return drain(shared, claim);
            }
            let Some(task) = self.find(at, &mut claim) else {
                seat = self.settle(at, claim);
                continue;
            };
            if self.is_spinning {
                self.is_spinning = false;
                shared.rouse(shared.idle.found());
            }
            claim.begin_step();
            assert_none_held();
            self.probe.begin(0);
            let step = task.step(&mut Turn {
                shared,
                worker: self.number,
                processor: at,
                task: &task,
            });
            self.probe.end();
            seat = self.place(at).processor.enter(self.number);
            if seat.is_none() {
                // It was taken while the step was blocked.
                if let Some(other) = shared.idle.enlist(self.number) {
                    at = other;
                    self.place(at).processor.assign(self.number);
                    seat = self.place(at).processor.accept(self.number);
                }
            }
            match (step, &mut seat) {
                (Step::Done, _) => shared.task_ended(),
                (Step::Wait, _) => {}
                (Step::Yield, Some(claim)) if task.pinned_to().is_none() => {
                    claim.local().queue.push(task, &shared.global);
                }
                (Step::Yield, Some(_)) if task.pinned_to() == Some(at) => {
                    self.place(at).pinned.push(task);
                }
                (Step::Yield, _) => shared.submit(task),
            }
        }
    }

    /// The next task.
    fn find(&mut self, at: usize, claim: &mut Held<'a>) -> Option<Arc<Task>> {
        let track = self.track;
        let late = |ns| track.record(Measure::Lateness, ns);
        let outside = &self.shared.outside;
        outside.fire(&mut self.room, &mut self.ready, late);
        self.queue_ready(claim);
        self.local(at, claim)
            .or_else(|| self.share(at, claim))
            .or_else(|| self.events(at, claim))
            .or_else(|| self.search(at, claim))
    }

    /// What came from outside goes behind what is there.
    fn queue_ready(&mut self, claim: &mut Held<'a>) {
        if self.ready.is_empty() {
            return;
        }
        for task in self.ready.drain(..) {
            if task.pinned_to().is_some() {
                self.shared.submit(task);
            } else {
                claim.local().queue.push(task, &self.shared.global);
            }
        }
    }

    fn local(&mut self, at: usize, claim: &mut Held<'a>) -> Option<Arc<Task>> {
        let (place, global) = (self.place(at), &self.shared.global);
        let local = claim.local();
        local.tick = local.tick.wrapping_add(1);
        if local.tick.is_multiple_of(GLOBAL_EVERY) {
            if let Some(task) = place.pinned.pop() {
                add(&place.counts.pinned, 1);
                return Some(task);
            }
            if let Some(task) = global.pop() {
                add(&place.counts.global, 1);
                return Some(task);
            }
        }
        let task = match local.queue.pop()? {
            (task, ring::Place::Next) if local.slice > 0 => {
                local.slice -= 1;
                add(&place.counts.next, 1);
                return Some(task);
            }
            (task, ring::Place::Next) => {
                local.queue.push(task, global);
                local.queue.pop_ring()
            }
            (task, ring::Place::Ring) => Some(task),
        };
        local.slice = SLICE_STEPS;
        add(&place.counts.ring, u64::from(task.is_some()));
        task
    }

    fn share(&mut self, at: usize, claim: &mut Held<'a>) -> Option<Arc<Task>> {
        let (shared, place) = (self.shared, self.place(at));
        claim.local().slice = SLICE_STEPS;
        if let Some(task) = place.pinned.pop() {
            add(&place.counts.pinned, 1);
            return Some(task);
        }
        if shared.global.is_empty() {
            return None;
        }
        let local = claim.local();
        let is_timed = is_due(&mut self.visit_in, shared.timed_every, &mut local.random);
        let take = || shared.global.take(&mut local.queue, shared.places.len());
        let (task, _) = self.timed(is_timed.then_some(Measure::GlobalTake), take);
        add(&place.counts.global, u64::from(task.is_some()));
        task
    }

    fn events(&mut self, at: usize, claim: &mut Held<'a>) -> Option<Arc<Task>> {
        self.shared.outside.glance(&mut self.room, &mut self.ready);
        self.queue_ready(claim);
        let task = claim.local().queue.pop_ring()?;
        add(&self.place(at).counts.outside, 1);
        if !claim.local().queue.is_empty() {
            self.shared.wake_one();
        }
        Some(task)
    }

    fn search(&mut self, at: usize, claim: &mut Held<'a>) -> Option<Arc<Task>> {
        if !self.is_spinning {
            if !self.shared.idle.try_spin() {
                return None;
            }
            self.is_spinning = true;
        }
        add(&self.place(at).counts.searches, 1);
        (0..PASSES).find_map(|pass| self.pass(at, claim, pass + 1 == PASSES))
    }

    fn pass(&mut self, at: usize, claim: &mut Held<'a>, is_last: bool) -> Option<Arc<Task>> {
        let shared = self.shared;
        let counts = &self.place(at).counts;
        let pass = if is_last { Pass::Last } else { Pass::Early };
        let walk = shared.victims.walk(&mut claim.local().random);
        for victim in walk.filter(|victim| *victim != at) {
            let thief = &shared.thieves[victim];
            add(&counts.probes, 1);
            if is_last && thief.has_next() {
                back_off();
            }
            let local = claim.local();
            let is_timed = is_due(&mut self.probe_in, shared.timed_every, &mut local.random);
            let steal = || thief.steal(&mut local.queue, pass);
            let (stolen, ticks) = self.timed(is_timed.then_some(Measure::StealProbe), steal);
            add(&counts.probes_timed, u64::from(is_timed));
            add(&counts.probe_ticks, ticks);
            if let Some(task) = stolen {
                add(&counts.steals_timed, u64::from(is_timed));
                add(&counts.steal_ticks, ticks);
                add(&counts.stolen, 1);
                add(&counts.loot, 1 + u64::from(claim.local().queue.len()));
                return Some(task);
            }
        }
        None
    }

    /// What the call gives, and the ticks that it took, or 0 where nothing is measured.
    fn timed<R>(&self, measure: Option<Measure>, call: impl FnOnce() -> R) -> (R, u64) {
        let Some(measure) = measure else {
            return (call(), 0);
        };
        let clock = Clock::get();
        let start = clock.now();
        let given = call();
        let ticks = clock.now().saturating_sub(start);
        self.track.record(measure, ticks);
        (given, ticks)
    }

    /// Gives the processor up; Some: there may be work again, and this worker spins.
    fn settle(&mut self, at: usize, claim: Held<'a>) -> Option<Held<'a>> {
        let (shared, place) = (self.shared, self.place(at));
        add(&place.counts.parks, 1);
        self.probe.rest();
        claim.park();
        let was_spinning = std::mem::replace(&mut self.is_spinning, false);
        let settled = shared.idle.settle(at, self.number, was_spinning);
        // A spinner looks for us at everything but at what only this processor may run.
        let sees_work =
            !place.pinned.is_empty() || (settled == Settled::LookAgain && self.sees_work());
        if sees_work && shared.idle.reclaim(at, self.number) {
            self.is_spinning = true;
            return place.processor.unpark(self.number);
        }
        None
    }

    fn sees_work(&self) -> bool {
        let shared = self.shared;
        !shared.global.is_empty() || shared.thieves.iter().any(|thief| !thief.is_empty())
    }

    /// Waits for a processor; None: the executor is closed.
    fn rest(&mut self) -> Option<Grant> {
        let shared = self.shared;
        let bell = &shared.seats[self.number as usize].bell;
        let told = |slot: &mut Option<Grant>| match slot.take() {
            None if shared.is_closed() => Some(None),
            grant => grant.map(Some),
        };
        loop {
            if let Some(told) = bell.look(told) {
                return told;
            }
            if !(shared.outside.has_any() && shared.outside.begin_wait(self.number)) {
                return bell.wait(None, told).flatten();
            }
            shared.idle.defer(self.number);
            let is_told =
                |slot: &mut Option<Grant>| (slot.is_some() || shared.is_closed()).then_some(());
            let outside = &shared.outside;
            outside.wait(&mut self.room, &mut self.ready, || {
                bell.look(is_told).is_some()
            });
            let track = self.track;
            let late = |ns| track.record(Measure::Lateness, ns);
            outside.fire(&mut self.room, &mut self.ready, late);
            if let Some(processor) = self.pass_on() {
                return Some(Grant {
                    processor,
                    is_spinning: true,
                });
            }
        }
    }

    /// Queues what came from outside for whoever has a processor: this worker, if one is idle.
    fn pass_on(&mut self) -> Option<usize> {
        let shared = self.shared;
        if self.ready.is_empty() {
            return None;
        }
        let pinned = self.ready.extract_if(.., |task| task.pinned_to().is_some());
        pinned.for_each(|task| shared.submit(task));
        shared.global.push_batch(self.ready.drain(..));
        let Asked::Given(processor) = shared.idle.ask(self.number) else {
            // Somebody has told it; or all processors have work, and will come to this.
            return None;
        };
        shared.places[processor].processor.assign(self.number);
        crate::runtime::sysmon::wake();
        Some(processor)
    }
}

/// Counts down to the one that is timed, at distances that no pattern of loads follows.
fn is_due(left: &mut u32, every: u32, random: &mut Random) -> bool {
    *left -= 1;
    if *left > 0 {
        return false;
    }
    *left = 1 + (random.draw() % (2 * u64::from(every) - 1)) as u32;
    true
}

/// The executor is closed: nobody runs what is left.
fn drain(shared: &Shared, mut claim: Held<'_>) {
    while let Some((task, _)) = claim.local().queue.pop() {
        shared.discard(&task);
    }
    claim.park();
}

/// Waits for some microseconds: a sleep would take fifty.
fn back_off() {
    let start = std::time::Instant::now();
    while start.elapsed() < BACK_OFF {
        spin_loop();
    }
}
