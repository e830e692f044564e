//! What native processors cost, by the executor that runs tasks in every runtime.
//!
//! `python -m bench.micro.bench_run_queue` and `python -m bench.runtime` print it.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use super::executor::{Executor, Step, Turn};
use super::global::Global;
use super::ring::queue;
use super::worker::Counters;
use crate::runtime::poller::now_ns;
use crate::runtime::signals::Blocked;
use crate::runtime::sync::atomic::{AtomicU64, Ordering};
use crate::runtime::sync::{Arc, Weak};
use crate::runtime::sysmon::{self, Pulse, Watched};
use crate::runtime::trace::clock::Clock;
use crate::runtime::trace::track::Measure;

/// Tasks that a spawner starts in one step.
const BATCH: u64 = 50;

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

/// Visits to the global queue by workers that find little in it: every task comes from outside.
#[derive(Clone, Copy, Debug)]
pub struct Crowd {
    pub seconds: f64,
    /// Visits by workers, of which each takes some nanoseconds, in the median and at the 99th
    /// percentile; and pushes, by one thread.
    pub visits: u64,
    pub p50_ns: f64,
    pub p99_ns: f64,
    pub pushes: u64,
}

/// `tasks` tasks of `work` rounds each, of which few wait at any time.
///
/// # Panics
///
/// Where there is no processor.
#[must_use]
pub fn crowd(processors: usize, tasks: u64, work: u32, seed: u64) -> Crowd {
    let count = NonZeroUsize::new(processors).expect("there is a processor");
    let executor = Executor::alone(count, seed);
    let trace = Arc::clone(&executor.shared.trace);
    let ended = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    for started in 0..tasks {
        // ORDERING: a window; nothing is read behind it.
        while started - ended.load(Ordering::Relaxed) >= 4 * processors as u64 {
            std::thread::yield_now();
        }
        let ended = Arc::clone(&ended);
        executor.spawn(move |_| {
            std::hint::black_box((0..work).fold(u64::from(work), spin));
            ended.fetch_add(1, Ordering::Relaxed);
            Step::Done
        });
    }
    drop(executor.finish());
    let scale = Clock::get().scale();
    let visits = trace.merged(Measure::GlobalTake, true);
    Crowd {
        seconds: start.elapsed().as_secs_f64(),
        visits: visits.count(),
        p50_ns: scale.ns(visits.quantile(500)) as f64,
        p99_ns: scale.ns(visits.quantile(990)) as f64,
        pushes: tasks,
    }
}

/// Nanoseconds for which the global queue's lock is needed, by the mean of a push and a visit
/// without anybody else.
///
/// # Panics
///
/// Never: what was pushed is there.
#[must_use]
pub fn hold_ns(rounds: u64) -> f64 {
    let (global, (mut owner, _thief)) = (Global::default(), queue());
    let start = Instant::now();
    for _ in 0..rounds {
        global.push(NonZeroUsize::MIN);
        std::hint::black_box(global.take(&mut owner, 1).expect("it was pushed"));
    }
    start.elapsed().as_nanos() as f64 / (2 * rounds.max(1)) as f64
}

// ---- switches of threads -----------------------------------------------------------------------

impl Watched for Executor {
    fn look(&self, now_ns: u64) -> Pulse {
        self.look_after(now_ns)
    }
}

/// How long a thread in a call is left there before it is freed: the monitor comes first.
const HELD: Duration = Duration::from_millis(6);

/// Microseconds, each the median of so many rounds: a worker that sleeps is woken for a task from
/// outside; a task whose processor was taken comes back from its call, to its next step; a step
/// blocks, to the next task's step on another thread.
///
/// # Panics
///
/// Where the system refuses a thread or a descriptor.
#[must_use]
pub fn switches(rounds: usize) -> [f64; 3] {
    let executor = Arc::new(Executor::alone(NonZeroUsize::MIN, 0));
    let weak: Weak<Executor> = Arc::downgrade(&executor);
    let watched: Weak<dyn Watched> = weak;
    {
        let _blocked = Blocked::all();
        sysmon::watch(watched.clone());
    }
    let rows = [free, taken, blocked].map(|row| {
        let mut all: Vec<f64> = (0..rounds).map(|_| row(&executor) / 1e3).collect();
        all.sort_by(f64::total_cmp);
        all[rounds / 2]
    });
    executor.stop(Duration::from_secs(1));
    sysmon::unwatch(&watched);
    rows
}

fn free(executor: &Executor) -> f64 {
    // Until the worker sleeps.
    std::thread::sleep(Duration::from_millis(1));
    let (tell, told) = std::sync::mpsc::channel();
    let freed = now_ns();
    executor.spawn(move |_| {
        let _ = tell.send(now_ns());
        Step::Done
    });
    told.recv().map_or(f64::NAN, |now| (now - freed) as f64)
}

/// A task that blocks in its first step, beside one that is next on its processor: gives when the
/// first came to its second step, and how long the other waited for its own.
fn held(executor: &Executor, frees: impl FnOnce(&dyn Fn())) -> [u64; 2] {
    let (free, blocks) = std::sync::mpsc::channel::<()>();
    let (tell, told) = std::sync::mpsc::channel();
    let (tell_next, told_next) = std::sync::mpsc::channel();
    let mut has_begun = false;
    executor.spawn(move |turn: &mut Turn<'_>| {
        if has_begun {
            let _ = tell.send(now_ns());
            return Step::Done;
        }
        has_begun = true;
        let tell_next = tell_next.clone();
        let began = now_ns();
        turn.spawn(move |_| {
            let _ = tell_next.send(now_ns() - began);
            Step::Done
        });
        let _ = blocks.recv();
        Step::Yield
    });
    let next = told_next.recv().unwrap_or(0);
    frees(&|| {
        let _ = free.send(());
    });
    [told.recv().unwrap_or(0), next]
}

fn taken(executor: &Executor) -> f64 {
    let mut freed = 0;
    let free = |free: &dyn Fn()| {
        std::thread::sleep(HELD);
        freed = now_ns();
        free();
    };
    let [back, _] = held(executor, free);
    back.saturating_sub(freed) as f64
}

fn blocked(executor: &Executor) -> f64 {
    let [_, next] = held(executor, |free| free());
    next as f64
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
