//! What is shown of a runtime: histograms, stalls, traces, and where tasks are.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use herz_core::runtime::native::Native;
use herz_core::runtime::poller::now_ns;
use herz_core::runtime::queue::executor::Executor;
use herz_core::runtime::signals::Blocked;
use herz_core::runtime::task::State as TaskState;
use herz_core::runtime::trace::ring::{Event, Kind};
use herz_core::runtime::trace::stalls::{Stall, Waiting};
use herz_core::runtime::trace::track::Measure;
use pyo3::exceptions::{PyOSError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use super::core::Core;
use super::face::{Runtime, visit};
use super::task::Task;

/// What a runtime keeps for those who look at it.
#[derive(Default)]
pub struct State {
    /// Is called with a stall.
    reporter: Option<Py<PyAny>>,
    /// What a trace calls its tasks. Bound: `NAMES_MAX`.
    names: Option<HashMap<u64, String>>,
    /// Tasks that ended in a detached step, and what they were called. Bound: `DEPARTED_MAX`.
    departed: VecDeque<(u64, String)>,
    /// When the collection that is going on began, in ticks; 0 without one.
    collecting: u64,
}

/// The stall log may come to a task after its end.
const DEPARTED_MAX: usize = 32;

/// Tasks that a trace names; those that start later are called by their number.
const NAMES_MAX: usize = 1 << 18;

impl Core {
    /// Milliseconds of the runtime's clock, modulo 2³²: what a task can afford to keep.
    pub fn now_ms(&self) -> u32 {
        (self.machine.clock.now_ns() / 1_000_000) as u32
    }
}

// ---- histograms ------------------------------------------------------------------------------

fn name_of(measure: Measure) -> &'static str {
    match measure {
        Measure::StealProbe => "steal_probe",
        Measure::GlobalTake => "global_take",
        Measure::Switch => "switch",
        Measure::Step => "step",
        Measure::HandOff => "hand_off",
        Measure::Poll => "poll",
        Measure::Attach => "attach",
        Measure::Lateness => "lateness",
        Measure::Queued => "queued",
    }
}

/// What native workers measure has names of its own.
fn native_name_of(measure: Measure) -> &'static str {
    match measure {
        Measure::Switch => "native_switch",
        Measure::Step => "native_step",
        Measure::Lateness => "native_lateness",
        other => name_of(other),
    }
}

/// By name, a summary of each histogram that holds anything; nanoseconds, but for "queued".
pub fn histograms<'py>(py: Python<'py>, core: &Core) -> PyResult<Bound<'py, PyDict>> {
    let trace = &core.machine.trace;
    let scale = trace.clock.scale();
    let all = PyDict::new(py);
    let native = Measure::ALL.map(|measure| (measure, true, native_name_of(measure)));
    let others = Measure::ALL.map(|measure| (measure, false, name_of(measure)));
    for (measure, is_native, name) in others.into_iter().chain(native) {
        let merged = trace.merged(measure, is_native);
        if merged.count() == 0 {
            continue;
        }
        let in_ns = |value| {
            if measure.is_in_ticks() {
                scale.ns(value)
            } else {
                value
            }
        };
        let summary = PyDict::new(py);
        summary.set_item("count", merged.count())?;
        summary.set_item("sum", in_ns(merged.sum()))?;
        for (name, thousandths) in [("p50", 500), ("p90", 900), ("p99", 990), ("p999", 999)] {
            summary.set_item(name, in_ns(merged.quantile(thousandths)))?;
        }
        summary.set_item("max", in_ns(merged.most()))?;
        all.set_item(name, summary)?;
    }
    Ok(all)
}

/// Counts of the native processors.
pub fn native<'py>(py: Python<'py>, native: &Native) -> PyResult<Bound<'py, PyDict>> {
    let census = native.known().map(Executor::census).unwrap_or_default();
    let counted = census.counted;
    let counts = [
        ("processors", native.processors() as u64),
        ("tasks", census.alive as u64),
        ("spawned", census.spawned),
        ("steps", counted.steps()),
        ("local_hits", counted.local()),
        ("queued_local", census.queued.iter().sum::<usize>() as u64),
        ("queued_global", census.queued_global as u64),
        ("probes", counted.probes),
        ("steals", counted.stolen),
        ("stolen", counted.loot),
        ("parks", counted.parks),
        ("retakes", census.retakes),
        ("spinning", census.spinning as u64),
        ("workers", census.workers as u64),
        ("workers_idle", census.workers_idle as u64),
        ("descriptors", census.descriptors as u64),
        ("timers", census.timers as u64),
    ];
    let stats = PyDict::new(py);
    for (name, count) in counts {
        stats.set_item(name, count)?;
    }
    Ok(stats)
}

// ---- tasks -------------------------------------------------------------------------------------

/// The thread that is inside the task's step or function: its number as `threading` knows it.
#[pyfunction]
pub fn task_thread(task: &Task) -> Option<u64> {
    let is_going_on = matches!(
        task.word.state(),
        TaskState::Running | TaskState::OffLoaded | TaskState::Yielding | TaskState::Parking
    );
    let found = task.core.machine.trace.runner(task.mark());
    found.filter(|_| is_going_on).map(|(_, thread)| thread)
}

/// What the task runs: a coroutine or a function; None once it has ended.
#[pyfunction]
pub fn task_target(py: Python<'_>, task: &Task) -> Option<Py<PyAny>> {
    task.target(py)
}

/// What names the task in a trace.
#[pyfunction]
pub fn task_mark(task: &Task) -> u64 {
    task.mark()
}

/// The tasks whose steps or functions go on: worker, thread, task.
#[pyfunction]
pub fn running_tasks(py: Python<'_>, runtime: &Runtime) -> Vec<(u16, u64, Py<Task>)> {
    let running = runtime.core.machine.trace.runners();
    let found = running.into_iter().filter_map(|(worker, thread, mark)| {
        let task = runtime.core.find(py, mark)?;
        // A worker that waits with the processor names the task that it ran last.
        let is_going_on = task_thread(task.get()) == Some(thread);
        is_going_on.then_some((worker, thread, task))
    });
    found.collect()
}

impl Task {
    /// Whether its step lost the processor and has not ended.
    pub fn is_detached(&self) -> bool {
        let machine = &self.core.machine;
        let runner = machine.trace.runner(self.mark());
        runner.is_some_and(|(worker, _)| {
            let seat = machine.crew.seat_of(worker);
            seat.is_detached.load(Ordering::Relaxed)
        })
    }

    /// Nanoseconds since it was started, to the millisecond.
    pub fn age_ns(&self, py: Python<'_>) -> u64 {
        let born_ms = self.body.get(py).born_ms;
        u64::from(self.core.now_ms().wrapping_sub(born_ms)) * 1_000_000
    }

    /// Nanoseconds since it began to wait, to about 0.2 ms; None when it does not wait.
    pub fn waited_ns(&self, py: Python<'_>) -> Option<u64> {
        let waits = matches!(self.word.state(), TaskState::Waiting);
        let now_ns = self.core.machine.clock.now_ns();
        waits.then(|| now_ns.saturating_sub(self.body.get(py).since_ns))
    }
}

/// Living tasks by state, of the first `most` that the register holds, and the first of each state
/// up to `wanted` in all, those that run first.
#[pyfunction]
pub fn census(
    py: Python<'_>,
    runtime: &Runtime,
    most: usize,
    wanted: usize,
) -> (HashMap<&'static str, usize>, Vec<Py<Task>>) {
    let mut counts = HashMap::new();
    let (mut running, mut others) = (Vec::new(), Vec::new());
    for task in runtime.core.living_first(py, most) {
        let (state, is_running) = match task.get().word.state() {
            TaskState::Running | TaskState::Yielding | TaskState::Parking => ("running", true),
            TaskState::OffLoaded => ("function", true),
            TaskState::Runnable | TaskState::Notified => ("runnable", false),
            TaskState::Waiting => ("waiting", false),
            TaskState::Dead => continue,
        };
        *counts.entry(state).or_insert(0) += 1;
        let list = if is_running {
            &mut running
        } else {
            &mut others
        };
        if list.len() < wanted {
            list.push(task);
        }
    }
    running.extend(others);
    let rest = running.split_off(wanted.min(running.len()));
    drop(rest);
    (counts, running)
}

/// Has a line in Go's format written to stderr every so often.
#[pyfunction]
pub fn schedtrace(runtime: &Runtime, every_ms: u64) {
    runtime.core.machine.set_schedtrace(every_ms * 1_000_000);
}

// ---- stalls ------------------------------------------------------------------------------------

/// Who was kept from the interpreter for so long reports the stall itself: the step that kept it
/// may be over before the reporter has its turn.
pub const KEPT: Duration = Duration::from_millis(20);

/// Who is told of steps that last too long; see `herz.runtime._stalls`.
#[pyfunction]
pub fn on_stall(py: Python<'_>, runtime: &Runtime, reporter: Option<Py<PyAny>>) {
    let before = std::mem::replace(
        &mut runtime.core.register.get_mut(py).seeing.reporter,
        reporter,
    );
    drop(before);
}

/// The monitor has a thread started for its notes.
pub fn report_stalls_of(core: &Arc<Core>) {
    let weak = Arc::downgrade(core);
    core.machine.trace.stalls.set_report(Some(Arc::new(move || {
        let has_begun = visit(&weak, "herz-reporter", move |py, core, waited_ns| {
            while core.report_stalls(py, waited_ns) {}
        });
        if let (false, Some(core)) = (has_begun, weak.upgrade()) {
            core.machine.trace.stalls.give_up();
        }
    })));
}

/// A worker that was given the processor has the interpreter, for which it waited.
pub fn attached(py: Python<'_>, core: &Core, waiting: Waiting) {
    let waited_ns = waiting.lasted_ns();
    if waited_ns >= KEPT.as_nanos() as u64 {
        core.report_stalls(py, waited_ns);
    }
}

impl Core {
    /// Tells the reporter of each stall that was noted; false when none was. `waited_ns`: for so
    /// long the interpreter was not to be had.
    pub fn report_stalls(&self, py: Python<'_>, waited_ns: u64) -> bool {
        let (stalls, mut skipped) = self.machine.trace.stalls.take();
        let has_any = !stalls.is_empty();
        let reporter = {
            let register = self.register.get(py);
            let reporter = register.seeing.reporter.as_ref();
            reporter.map(|reporter| reporter.clone_ref(py))
        };
        let Some(reporter) = reporter else {
            return has_any;
        };
        for stall in stalls {
            let told = self.told(py, &stall, waited_ns, std::mem::take(&mut skipped));
            let told = told.and_then(|told| reporter.call1(py, (told,)));
            if let Err(error) = told {
                error.write_unraisable(py, None);
            }
        }
        has_any
    }

    /// The task has ended.
    pub fn note_departure(&self, py: Python<'_>, task: &Task) {
        let has_any = self.machine.crew.detached.load(Ordering::Relaxed) > 0;
        if !has_any || task.is_dead() || !task.is_detached() {
            return;
        }
        let entry = (task.mark(), full_name(py, task));
        let mut register = self.register.get_mut(py);
        let departed = &mut register.seeing.departed;
        departed.truncate(DEPARTED_MAX - 1);
        departed.push_front(entry);
    }

    /// What a task that has ended was called, as far as it is remembered.
    fn departed(&self, py: Python<'_>, mark: u64) -> String {
        if mark == 0 {
            return "the call of a timer".to_owned();
        }
        let register = self.register.get(py);
        let mut departed = register.seeing.departed.iter();
        let found = departed.find(|(other, _)| *other == mark);
        found.map_or_else(
            || format!("task-{}", mark & u64::from(u32::MAX)),
            |(_, name)| name.clone(),
        )
    }

    fn told<'py>(
        &self,
        py: Python<'py>,
        stall: &Stall,
        waited_ns: u64,
        skipped: u64,
    ) -> PyResult<Bound<'py, PyDict>> {
        let track = self.machine.trace.track(stall.worker);
        let told = PyDict::new(py);
        told.set_item("task", self.find(py, stall.task))?;
        told.set_item("name", self.departed(py, stall.task))?;
        told.set_item("thread", track.thread())?;
        // The worker may have begun another step of the same task: its stack is as good.
        told.set_item("is_going_on", track.running() == stall.task)?;
        told.set_item("is_detached", stall.is_detached)?;
        told.set_item("is_off_cpu", stall.is_off_cpu)?;
        told.set_item("is_paused", stall.is_paused)?;
        let since_ns = now_ns().saturating_sub(stall.at_ns);
        told.set_item("lasted_ns", stall.lasted_ns + since_ns)?;
        told.set_item("waited_ns", waited_ns)?;
        told.set_item("skipped", skipped)?;
        Ok(told)
    }
}

// ---- traces ------------------------------------------------------------------------------------

/// A garbage collection begins or has ended.
pub fn note_collection(py: Python<'_>, core: &Core, is_start: bool) {
    let trace = &core.machine.trace;
    if !trace.is_on() {
        return;
    }
    let now = trace.clock.now();
    let from = {
        let seeing = &mut core.register.get_mut(py).seeing;
        std::mem::replace(&mut seeing.collecting, if is_start { now } else { 0 })
    };
    if !is_start && from != 0 {
        let event = Event {
            kind: Kind::Collection,
            at: from,
            length: now.saturating_sub(from),
            task: 0,
            other: 0,
        };
        trace.note(None, event);
    }
}

impl Core {
    /// While it traces: what the task is called.
    pub fn name_for_trace(&self, py: Python<'_>, task: &Py<Task>) {
        let own = task.get();
        let name = full_name(py, own);
        let mut register = self.register.get_mut(py);
        if let Some(names) = &mut register.seeing.names
            && names.len() < NAMES_MAX
        {
            names.insert(own.mark(), name);
        }
    }
}

/// Its own name, or what it runs and its number.
fn full_name(py: Python<'_>, task: &Task) -> String {
    let label = task.label(py);
    if task.body.get(py).name.is_some() {
        return label;
    }
    let target = task.target(py);
    let name = target.and_then(|target| target.getattr(py, "__qualname__").ok());
    name.map_or(label.clone(), |name| format!("{name} ({label})"))
}

/// Begins a trace of at most so many events, the last ones; `RuntimeError` when one is under way.
#[pyfunction]
pub fn trace_start(py: Python<'_>, runtime: &Runtime, most: usize) -> PyResult<()> {
    let core = &runtime.core;
    let _blocked = Blocked::all();
    let has_begun = core.machine.trace.start(most).map_err(PyOSError::new_err)?;
    if !has_begun {
        return Err(PyRuntimeError::new_err("this runtime is traced already"));
    }
    core.register.get_mut(py).seeing.names = Some(HashMap::new());
    for task in core.living_first(py, NAMES_MAX) {
        core.name_for_trace(py, &task);
    }
    Ok(())
}

/// Rows of six numbers: kind, worker (-1: none), when and for how long in nanoseconds of the
/// monotonic clock, the task's mark, another worker.
const ROW: usize = 6;

/// Ends the trace: its events as rows of 64-bit numbers, the names of tasks by their marks, and
/// how many events were lost.
#[pyfunction]
pub fn trace_stop<'py>(
    py: Python<'py>,
    runtime: &Runtime,
) -> PyResult<(Bound<'py, PyBytes>, HashMap<u64, String>, u64)> {
    let core = &runtime.core;
    let trace = Arc::clone(&core.machine.trace);
    let (events, lost) = py.detach(|| trace.stop());
    let scale = trace.clock.scale();
    let size = events.len() * ROW * size_of::<i64>();
    let rows = PyBytes::new_with(py, size, |bytes| {
        for (row, (worker, event)) in bytes.chunks_mut(ROW * size_of::<i64>()).zip(&events) {
            let at_ns = scale.at_ns(event.at);
            // From the two ends, so that what touches in ticks touches in nanoseconds.
            let length_ns = match event.kind {
                Kind::Fire => event.length,
                _ => scale.at_ns(event.at + event.length) - at_ns,
            };
            let numbers: [i64; ROW] = [
                event.kind as i64,
                worker.map_or(-1, |worker| i64::from(trace.track_number(worker))),
                at_ns as i64,
                length_ns as i64,
                event.task as i64,
                i64::from(event.other),
            ];
            for (place, number) in row.chunks_mut(size_of::<i64>()).zip(numbers) {
                place.copy_from_slice(&number.to_ne_bytes());
            }
        }
        Ok(())
    })?;
    let names = core.register.get_mut(py).seeing.names.take();
    Ok((rows, names.unwrap_or_default(), lost))
}

/// What timing costs: nanoseconds to read the clock, the system's clock, and a step's probe with
/// and without a trace; and whether the clock is the processor's counter.
#[pyfunction]
pub fn measure_trace(rounds: u64) -> (f64, f64, f64, f64, bool) {
    let costs = herz_core::runtime::trace::measure::costs(rounds);
    let clocks = (costs.clock, costs.system_clock);
    (clocks.0, clocks.1, costs.off, costs.on, costs.is_counter)
}
