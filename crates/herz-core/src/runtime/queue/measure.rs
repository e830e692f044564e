//! What stealing costs and how often it is needed, on two loads.
//!
//! `python -m bench.micro.bench_run_queue` prints it.

use std::num::NonZeroUsize;
use std::time::Instant;

use super::executor::{Executor, Step};
use super::worker::Counters;
use crate::runtime::sync::Arc;
use crate::runtime::sync::atomic::{AtomicU64, Ordering};
use crate::runtime::trace::clock::Clock;

/// Tasks that a spawner starts in one step.
const BATCH: u64 = 200;

/// A load's figures, of all processors together.
#[derive(Clone, Debug, Default)]
pub struct Load {
    pub seconds: f64,
    /// Steps run by each processor.
    pub steps: Vec<u64>,
    /// Of all steps, those whose task came from the own queue.
    pub local_hits: f64,
    /// Nanoseconds of a look at one victim, whatever it gave, and of those that gave a task: of the
    /// looks that were timed.
    pub probe_ns: f64,
    pub steal_ns: f64,
    pub probes: u64,
    pub steals: u64,
    pub loot: u64,
    pub parks: u64,
}

/// `tasks` tasks of `work` rounds each, started on the processors by pinned spawners; processor 0
/// starts `share` per cent of them, the others the rest.
///
/// # Panics
///
/// Where there is no processor.
#[must_use]
pub fn load(processors: usize, tasks: u64, work: u32, share: u64, seed: u64) -> Load {
    let count = NonZeroUsize::new(processors).expect("there is a processor");
    let executor = Executor::alone(count, seed);
    let start = Instant::now();
    let sum = Arc::new(AtomicU64::new(0));
    for processor in 0..processors {
        let others = processors as u64 - 1;
        let mut left = match (processor, others) {
            (_, 0) => tasks,
            (0, _) => tasks * share / 100,
            _ => tasks * (100 - share) / 100 / others,
        };
        let sum = Arc::clone(&sum);
        executor.spawn_pinned(processor, move |turn| {
            for _ in 0..left.min(BATCH) {
                let sum = Arc::clone(&sum);
                turn.spawn(move |_| {
                    let result = (0..work).fold(u64::from(work), spin);
                    // ORDERING: a count that keeps the work alive.
                    sum.fetch_add(result & 1, Ordering::Relaxed);
                    Step::Done
                });
            }
            left -= left.min(BATCH);
            if left == 0 { Step::Done } else { Step::Yield }
        });
    }
    let counters = executor.finish();
    summary(
        &counters,
        start.elapsed().as_secs_f64(),
        Clock::get().scale().ns_per_tick(),
    )
}

/// Nanoseconds of one step of a task that yields, among `tasks` on one processor.
#[must_use]
pub fn switch(tasks: usize, steps: u64) -> f64 {
    let executor = Executor::alone(NonZeroUsize::MIN, 0);
    let each = steps / tasks as u64;
    let start = Instant::now();
    for _ in 0..tasks {
        let mut left = each;
        executor.spawn(move |_| {
            left -= 1;
            if left == 0 { Step::Done } else { Step::Yield }
        });
    }
    drop(executor.finish());
    start.elapsed().as_nanos() as f64 / (each * tasks as u64) as f64
}

fn spin(a: u64, b: u32) -> u64 {
    std::hint::black_box(a.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(b & 31))
}

fn summary(counters: &[Counters], seconds: f64, tick_ns: f64) -> Load {
    let all = counters
        .iter()
        .copied()
        .fold(Counters::default(), Counters::plus);
    let mean = |ticks: u64, count: u64| tick_ns * ticks as f64 / count.max(1) as f64;
    Load {
        seconds,
        local_hits: all.local() as f64 / all.steps().max(1) as f64,
        probe_ns: mean(all.probe_ticks, all.probes_timed),
        steal_ns: mean(all.steal_ticks, all.steals_timed),
        probes: all.probes,
        steals: all.stolen,
        loot: all.loot,
        parks: all.parks,
        steps: counters.iter().map(Counters::steps).collect(),
    }
}
