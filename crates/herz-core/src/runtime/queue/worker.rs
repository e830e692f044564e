//! One native worker: where it looks for its next task, and what it counts.
//!
//! The order is Go's, without timers and network: every 61st time one task of the global queue; own
//! `next`, own ring; own pinned tasks; a share of the global queue; then, as a spinner, four passes
//! over the others in random order, the last of which takes `next` too; then sleep.

use std::time::Duration;

use super::executor::{Shared, Step, Task, Turn};
use super::idle::Settled;
use super::ring::{Owner, Pass, Place};
use super::victims::Random;
use crate::runtime::sync::atomic::Ordering;
use crate::runtime::sync::{Arc, spin_loop};
use crate::runtime::trace::clock::Clock;

/// Each so many tasks the global queue comes first, so that full rings do not starve it.
const GLOBAL_EVERY: u32 = 61;
/// Passes over the victims before a worker gives up.
const PASSES: u32 = 4;
/// Steps that `next` may inherit before the ring has its turn: two tasks that wake each other would
/// keep the processor for themselves. Counted, not timed: a clock read costs as much as a step.
const SLICE_STEPS: u32 = 128;
/// How long a thief waits before it takes `next` of a busy victim.
const BACK_OFF: Duration = Duration::from_micros(3);

/// What a worker counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    /// Steps of tasks that came from the own `next` slot.
    pub next: u64,
    /// From the own ring; what was stolen or taken as a share is counted where it came from first.
    pub ring: u64,
    /// Pinned to this processor.
    pub pinned: u64,
    /// From the global queue.
    pub global: u64,
    /// From another processor.
    pub stolen: u64,
    /// Looks at one victim, and the clock ticks that they took.
    pub probes: u64,
    pub probe_ticks: u64,
    /// Looks that gave a task (each is one in `stolen`), and their clock ticks.
    pub steal_ticks: u64,
    /// Tasks taken by these looks.
    pub loot: u64,
    /// Searches: four passes, or fewer where one gave a task.
    pub searches: u64,
    /// Sleeps.
    pub parks: u64,
}

pub(super) struct Worker {
    shared: Arc<Shared>,
    queue: Owner<Arc<Task>>,
    processor: usize,
    random: Random,
    is_spinning: bool,
    tick: u32,
    slice: u32,
    counters: Counters,
}

impl Worker {
    pub(super) fn new(
        shared: Arc<Shared>,
        queue: Owner<Arc<Task>>,
        processor: usize,
        seed: u64,
    ) -> Self {
        let mut seeds = Random::new(seed ^ processor as u64);
        let random = Random::new(seeds.draw());
        let counters = Counters::default();
        Self {
            shared,
            queue,
            processor,
            random,
            is_spinning: false,
            tick: 0,
            slice: 0,
            counters,
        }
    }

    pub(super) fn run(mut self) -> Counters {
        while let Some(task) = self.find() {
            let shared = Arc::clone(&self.shared);
            let (queue, processor) = (&mut self.queue, self.processor);
            let mut turn = Turn {
                shared: &shared,
                queue,
                processor,
                task: &task,
            };
            match task.step(&mut turn) {
                Step::Done => shared.task_ended(),
                Step::Wait => {}
                Step::Yield if task.pinned_to().is_some() => {
                    shared.pinned[self.processor].push(task);
                }
                Step::Yield => self.queue.push(task, &shared.global),
            }
        }
        self.counters
    }

    /// The next task; None when the executor is closed.
    fn find(&mut self) -> Option<Arc<Task>> {
        loop {
            if let Some(task) = self
                .local()
                .or_else(|| self.share())
                .or_else(|| self.search())
            {
                if self.is_spinning {
                    self.is_spinning = false;
                    if let Some(processor) = self.shared.idle.found() {
                        self.shared.parkers[processor].unpark();
                    }
                }
                return Some(task);
            }
            // ORDERING: pairs with `Executor::finish`; a token wakes whoever sleeps meanwhile.
            if self.shared.is_closed.load(Ordering::Acquire) {
                return None;
            }
            self.sleep();
        }
    }

    fn local(&mut self) -> Option<Arc<Task>> {
        self.tick = self.tick.wrapping_add(1);
        if self.tick.is_multiple_of(GLOBAL_EVERY) {
            let pinned = self.shared.pinned[self.processor].pop();
            if let Some(task) = pinned {
                self.counters.pinned += 1;
                return Some(task);
            }
            if let Some(task) = self.shared.global.pop() {
                self.counters.global += 1;
                return Some(task);
            }
        }
        let task = match self.queue.pop()? {
            (task, Place::Next) if self.slice > 0 => {
                self.slice -= 1;
                self.counters.next += 1;
                return Some(task);
            }
            (task, Place::Next) => {
                self.queue.push(task, &self.shared.global);
                self.queue.pop_ring()
            }
            (task, Place::Ring) => Some(task),
        };
        self.slice = SLICE_STEPS;
        self.counters.ring += u64::from(task.is_some());
        task
    }

    fn share(&mut self) -> Option<Arc<Task>> {
        let shared = &*self.shared;
        self.slice = SLICE_STEPS;
        if let Some(task) = shared.pinned[self.processor].pop() {
            self.counters.pinned += 1;
            return Some(task);
        }
        let task = shared.global.take(&mut self.queue, shared.thieves.len());
        self.counters.global += u64::from(task.is_some());
        task
    }

    fn search(&mut self) -> Option<Arc<Task>> {
        if !self.is_spinning {
            if !self.shared.idle.try_spin() {
                return None;
            }
            self.is_spinning = true;
        }
        self.counters.searches += 1;
        (0..PASSES).find_map(|pass| self.pass(pass + 1 == PASSES))
    }

    fn pass(&mut self, is_last: bool) -> Option<Arc<Task>> {
        let shared = Arc::clone(&self.shared);
        let clock = Clock::get();
        let pass = if is_last { Pass::Last } else { Pass::Early };
        let walk = shared.victims.walk(&mut self.random);
        for victim in walk.filter(|victim| *victim != self.processor) {
            let thief = &shared.thieves[victim];
            self.counters.probes += 1;
            if is_last && thief.has_next() {
                back_off();
            }
            let start = clock.now();
            let stolen = thief.steal(&mut self.queue, pass);
            let spent = clock.now().saturating_sub(start);
            self.counters.probe_ticks += spent;
            if let Some(task) = stolen {
                self.counters.steal_ticks += spent;
                self.counters.stolen += 1;
                self.counters.loot += 1 + u64::from(self.queue.len());
                return Some(task);
            }
        }
        None
    }

    /// Gives the processor up; returns when there may be work again, as a spinner.
    fn sleep(&mut self) {
        let shared = &*self.shared;
        let settled = shared.idle.settle(self.processor, self.is_spinning);
        // A spinner looks for us at everything but at what only we may run.
        let sees_work = !shared.pinned[self.processor].is_empty()
            || (settled == Settled::LookAgain && self.sees_work());
        if !(sees_work && shared.idle.reclaim(self.processor)) {
            self.counters.parks += 1;
            shared.parkers[self.processor].park();
            // ORDERING: the parker's lock. The token of `finish` comes with no count of a spinner.
            if shared.is_closed.load(Ordering::Acquire) {
                let _ = shared.idle.reclaim(self.processor);
            }
        }
        self.is_spinning = true;
    }

    fn sees_work(&self) -> bool {
        let shared = &*self.shared;
        !shared.global.is_empty() || shared.thieves.iter().any(|thief| !thief.is_empty())
    }
}

/// Waits for some microseconds: a sleep would take fifty.
fn back_off() {
    let start = std::time::Instant::now();
    while start.elapsed() < BACK_OFF {
        spin_loop();
    }
}
