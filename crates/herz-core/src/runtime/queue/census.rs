//! What can be told of native processors at one moment.

use super::executor::Executor;
use super::worker::Counters;
use crate::runtime::sync::Ordering;

/// Readings, one after the other.
#[derive(Clone, Debug, Default)]
pub struct Census {
    /// Tasks that live, and that were ever started.
    pub alive: usize,
    pub spawned: u64,
    /// Runnable tasks and steps begun, by processor.
    pub queued: Vec<usize>,
    pub ticks: Vec<u64>,
    pub queued_global: usize,
    /// Of all processors together.
    pub counted: Counters,
    /// Processors without work, and workers that look for some.
    pub idle: usize,
    pub spinning: usize,
    /// Threads, and those of them that wait.
    pub workers: usize,
    pub workers_idle: usize,
    /// Processors that were taken out of a blocked step.
    pub retakes: u64,
    /// Tasks that wait for descriptors, and for timers.
    pub descriptors: usize,
    pub timers: usize,
}

impl Executor {
    /// What can be told of it now.
    #[must_use]
    pub fn census(&self) -> Census {
        let shared = &self.shared;
        let counts = shared.places.iter().map(|place| place.counts.read());
        let (workers, workers_idle) = shared.idle.workers();
        let (descriptors, timers) = shared.outside.counts();
        Census {
            alive: self.alive(),
            spawned: shared.spawned.load(Ordering::Relaxed),
            queued: (0..shared.places.len())
                .map(|at| shared.thieves[at].len() as usize + shared.places[at].pinned.len())
                .collect(),
            queued_global: shared.global.len(),
            ticks: (shared.places.iter())
                .map(|place| place.processor.seen().steps)
                .collect(),
            counted: counts.fold(Counters::default(), Counters::plus),
            idle: shared.idle.idle() as usize,
            spinning: shared.idle.spinning() as usize,
            workers,
            workers_idle,
            retakes: shared.retakes.load(Ordering::Relaxed),
            descriptors,
            timers,
        }
    }
}
