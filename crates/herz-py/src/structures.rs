//! Run queues and timers as Python classes, for property tests, and what they cost, for benches.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};

use pyo3::exceptions::{PyIndexError, PyValueError};
use pyo3::prelude::*;

use herz_core::runtime::queue::global::Global;
use herz_core::runtime::queue::ring::{Owner, Pass, Place, Thief, queue};
use herz_core::runtime::queue::{measure as queue_measure, ring};
use herz_core::runtime::timers::measure::{self, Costs};
use herz_core::runtime::timers::shards::{SHARDS_MAX, Shards, Timed, Timer};
use herz_core::runtime::timers::slab::Handle;
use herz_core::runtime::timers::wheel::Wheel;

use crate::lock;

/// The queue that all processors share.
#[pyclass(frozen, module = "herz._native")]
pub struct GlobalQueue(Global<NonZeroUsize>);

#[pymethods]
impl GlobalQueue {
    #[new]
    fn new() -> Self {
        Self(Global::default())
    }

    fn __len__(&self) -> usize {
        self.0.len()
    }

    fn push(&self, item: NonZeroUsize) {
        self.0.push(item);
    }

    fn pop(&self) -> Option<NonZeroUsize> {
        self.0.pop()
    }

    /// A processor's share: gives the first, the others go into its ring.
    fn take(&self, into: &RunQueue, processors: usize) -> Option<NonZeroUsize> {
        self.0.take(&mut lock(&into.owner), processors)
    }
}

/// A processor's queue: 256 slots and the next one.
#[pyclass(frozen, module = "herz._native")]
pub struct RunQueue {
    owner: Mutex<Owner<NonZeroUsize>>,
    thief: Thief<NonZeroUsize>,
}

#[pymethods]
impl RunQueue {
    #[new]
    fn new() -> Self {
        let (owner, thief): (ring::Owner<_>, _) = queue();
        Self {
            owner: Mutex::new(owner),
            thief,
        }
    }

    fn __len__(&self) -> usize {
        lock(&self.owner).len() as usize
    }

    fn push(&self, item: NonZeroUsize, overflow: &GlobalQueue) {
        lock(&self.owner).push(item, &overflow.0);
    }

    fn push_next(&self, item: NonZeroUsize, overflow: &GlobalQueue) {
        lock(&self.owner).push_next(item, &overflow.0);
    }

    /// What runs next, and whether it inherits the time slice.
    fn pop(&self) -> Option<(NonZeroUsize, bool)> {
        lock(&self.owner)
            .pop()
            .map(|(item, place)| (item, place == Place::Next))
    }

    /// Moves half of this queue: gives the last of them, the others go into `into`.
    #[pyo3(signature = (into, *, is_last))]
    fn steal(&self, into: &Self, is_last: bool) -> PyResult<Option<NonZeroUsize>> {
        if std::ptr::eq(self, into) {
            return Err(PyValueError::new_err("a queue does not steal from itself"));
        }
        let pass = if is_last { Pass::Last } else { Pass::Early };
        Ok(self.thief.steal(&mut lock(&into.owner), pass))
    }
}

/// One set of timers.
#[pyclass(frozen, module = "herz._native")]
pub struct TimerWheel(Mutex<Wheel<u64>>);

#[pymethods]
impl TimerWheel {
    #[new]
    fn new(origin: u64) -> Self {
        Self(Mutex::new(Wheel::new(origin)))
    }

    fn __len__(&self) -> usize {
        lock(&self.0).len()
    }

    fn insert(&self, deadline: u64, payload: u64) -> u64 {
        lock(&self.0).insert(deadline, payload).to_bits()
    }

    fn cancel(&self, handle: u64) -> Option<u64> {
        lock(&self.0).cancel(Handle::from_bits(handle))
    }

    fn pop_due(&self, now: u64) -> Option<(u64, u64)> {
        lock(&self.0)
            .pop_due(now)
            .map(|due| (due.deadline, due.payload))
    }

    fn next_wake(&self) -> Option<u64> {
        lock(&self.0).next_wake()
    }

    fn bytes(&self) -> usize {
        lock(&self.0).bytes()
    }
}

type Payload = Arc<Timer<u64>>;

/// Timers for many threads; a payload is a number, and names its timer.
#[pyclass(frozen, module = "herz._native")]
pub struct TimerShards {
    shards: Shards<Payload>,
    timers: Mutex<HashMap<u64, Payload>>,
}

#[pymethods]
impl TimerShards {
    #[new]
    fn new(processors: usize, origin: u64) -> PyResult<Self> {
        if !(1..=SHARDS_MAX).contains(&processors) {
            return Err(PyIndexError::new_err(format!(
                "processors are 1 to {SHARDS_MAX}"
            )));
        }
        Ok(Self {
            shards: Shards::new(processors, origin),
            timers: Mutex::default(),
        })
    }

    fn __len__(&self) -> usize {
        self.shards.len()
    }

    /// True where the timer may be the earliest.
    fn insert(&self, processor: usize, deadline: u64, payload: u64) -> PyResult<bool> {
        let timer = Timer::new(payload);
        let mut timers = lock(&self.timers);
        if timers.contains_key(&payload) {
            return Err(PyValueError::new_err(format!("{payload} is pending")));
        }
        timers.insert(payload, Arc::clone(&timer));
        let inserted = self.shards.insert(processor, deadline, timer);
        inserted.map_err(|_| PyValueError::new_err(format!("{payload} is pending")))
    }

    fn cancel(&self, payload: u64) -> bool {
        let timer = lock(&self.timers).remove(&payload);
        timer.is_some_and(|timer| self.shards.cancel(timer.location()).is_some())
    }

    fn poll(&self, now: u64, limit: usize) -> Vec<(u64, u64)> {
        let mut due = Vec::new();
        self.shards.poll(now, limit, &mut due);
        let mut timers = lock(&self.timers);
        for timer in &due {
            timers.remove(&timer.payload.value);
        }
        due.into_iter()
            .map(|timer| (timer.deadline, timer.payload.value))
            .collect()
    }

    fn next_wake(&self) -> Option<u64> {
        self.shards.next_wake()
    }

    fn active(&self) -> usize {
        self.shards.active()
    }

    fn bytes(&self) -> usize {
        self.shards.bytes()
    }
}

/// Nanoseconds to insert, to cancel and to fire; the longest step; bytes at three moments.
type CostTuple = (f64, f64, f64, f64, [usize; 3]);

fn tuple(costs: Costs) -> CostTuple {
    (
        costs.insert,
        costs.cancel,
        costs.fire,
        costs.step_max,
        costs.bytes,
    )
}

/// What a wheel costs.
#[pyfunction]
pub fn measure_wheel(py: Python<'_>, count: usize, seed: u64) -> CostTuple {
    tuple(py.detach(|| measure::wheel(count, seed)))
}

/// What a plain heap costs.
#[pyfunction]
pub fn measure_heap(py: Python<'_>, count: usize, seed: u64) -> CostTuple {
    tuple(py.detach(|| measure::heap(count, seed)))
}

/// Nanoseconds to insert and to cancel in shards, and the number of shards.
#[pyfunction]
pub fn measure_shards(
    py: Python<'_>,
    count: usize,
    threads: usize,
    is_shared: bool,
    seed: u64,
) -> (f64, f64, usize) {
    py.detach(|| measure::shards(count, threads, is_shared, seed))
}

/// A load of Rust tasks: figures by name, and the steps of each processor.
#[pyfunction]
pub fn measure_load(
    py: Python<'_>,
    processors: usize,
    tasks: u64,
    work: u32,
    share: u64,
    seed: u64,
) -> PyResult<(HashMap<&'static str, f64>, Vec<u64>)> {
    if processors == 0 || share > 100 {
        return Err(PyValueError::new_err(
            "there is no processor, or a share above 100",
        ));
    }
    let load = py.detach(|| queue_measure::load(processors, tasks, work, share, seed));
    let figures = HashMap::from([
        ("seconds", load.seconds),
        ("local_hits", load.local_hits),
        ("probe_ns", load.probe_ns),
        ("steal_ns", load.steal_ns),
        ("probes", load.probes as f64),
        ("steals", load.steals as f64),
        ("loot", load.loot as f64),
        ("parks", load.parks as f64),
    ]);
    Ok((figures, load.steps))
}

/// A crowd of workers at the global queue: figures by name.
#[pyfunction]
pub fn measure_crowd(
    py: Python<'_>,
    processors: usize,
    tasks: u64,
    work: u32,
    seed: u64,
) -> PyResult<HashMap<&'static str, f64>> {
    if processors == 0 {
        return Err(PyValueError::new_err("there is no processor"));
    }
    let (crowd, hold_ns) = py.detach(|| {
        (
            queue_measure::crowd(processors, tasks, work, seed),
            queue_measure::hold_ns(tasks),
        )
    });
    Ok(HashMap::from([
        ("seconds", crowd.seconds),
        ("visits", crowd.visits as f64),
        ("p50_ns", crowd.p50_ns),
        ("p99_ns", crowd.p99_ns),
        ("pushes", crowd.pushes as f64),
        ("hold_ns", hold_ns),
    ]))
}

/// Microseconds of three switches of threads: woken, taken and back, blocked and another's turn.
#[pyfunction]
pub fn measure_switches(py: Python<'_>, rounds: usize) -> PyResult<[f64; 3]> {
    if rounds == 0 {
        return Err(PyValueError::new_err("at least one round"));
    }
    Ok(py.detach(|| queue_measure::switches(rounds)))
}

/// Nanoseconds of a step of a Rust task that yields.
#[pyfunction]
pub fn measure_switch(py: Python<'_>, tasks: usize, steps: u64) -> PyResult<f64> {
    if tasks == 0 || steps < tasks as u64 {
        return Err(PyValueError::new_err("each task takes at least one step"));
    }
    Ok(py.detach(|| queue_measure::switch(tasks, steps)))
}
