//! `Runtime` and the functions that tasks call.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use herz_core::runtime::machine::{Machine, Settings};
use herz_core::runtime::poller::now_ns;
use herz_core::runtime::queue::victims::Random;
use herz_core::runtime::signals::Blocked;
use herz_core::runtime::sysmon::{self, Watched};
use herz_core::runtime::trace::stalls::Waiting;
use pyo3::exceptions::{PyRuntimeError, PySystemExit, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use super::abandon::Abandoned;
use super::awaitable::{self, Wait};
use super::cell::GilCell;
use super::core::{Core, Register};
use super::current::{self, CURRENT, FORKED, Role, forked};
use super::stay::Stay;
use super::task::{Options, Payload, Task};
use super::timer::nanoseconds;
use super::{errands, seeing};

/// At most so long the end of a run waits for threads that log a stall or start a worker.
const VISIT_LIMIT: Duration = Duration::from_secs(1);
/// The same for native workers to end their steps: one that stays in a call is left behind, and
/// never enters the interpreter.
const NATIVE_LIMIT: Duration = Duration::from_secs(1);
const PROCESSORS_MAX: usize = 1024;

/// As many as the process may use CPUs.
fn default_processors() -> usize {
    let found = std::thread::available_parallelism();
    found.map_or(1, std::num::NonZero::get).min(PROCESSORS_MAX)
}

/// One runtime: its workers, queues and timers. Private: `herz.runtime.run` makes it.
#[pyclass(frozen, module = "herz._native")]
pub struct Runtime {
    pub(super) core: Arc<Core>,
}

#[pymethods]
impl Runtime {
    /// `start_worker` starts a thread that calls `work`.
    #[new]
    #[pyo3(signature = (
        start_worker, *, hand_off, stall_ns, workers_max, grace_ns, short_interval, is_virtual,
        processors = None, seed = None
    ))]
    fn new(
        start_worker: Py<PyAny>,
        hand_off: bool,
        stall_ns: u64,
        workers_max: usize,
        grace_ns: u64,
        short_interval: bool,
        is_virtual: bool,
        processors: Option<usize>,
        seed: Option<u64>,
    ) -> PyResult<Self> {
        let processors = processors.unwrap_or_else(default_processors);
        if !(1..=PROCESSORS_MAX).contains(&processors) {
            let text = format!("processors must be from 1 to {PROCESSORS_MAX}");
            return Err(PyValueError::new_err(text));
        }
        if !(1..=4096).contains(&workers_max) {
            return Err(PyValueError::new_err("max_workers must be from 1 to 4096"));
        }
        if stall_ns < 1_000_000 {
            return Err(PyValueError::new_err("stall_ns must be at least 1000000"));
        }
        let settings = Settings {
            stall_ns,
            hand_off,
            workers_max,
            processors,
            short_interval,
            is_virtual,
            seed,
        };
        let machine = Machine::new(settings).map_err(PyErr::from)?;
        let core = Core {
            machine,
            register: GilCell::new(Register::default()),
            abandoned: GilCell::new(Abandoned::default()),
            threads: GilCell::new(Vec::new()),
            lot: GilCell::new(Random::new(seed.unwrap_or_else(now_ns))),
            context: GilCell::new(None),
            start_worker,
            grace_ns,
        };
        Ok(Self {
            core: Arc::new(core),
        })
    }

    /// Starts the monitor.
    fn watch(&self) {
        let _blocked = Blocked::all();
        let starter = Arc::downgrade(&self.core);
        self.core.machine.set_recruit(Arc::new(move |count| {
            visit(&starter, "herz-recruiter", move |py, core, _| {
                start_workers(py, core, count);
            });
        }));
        seeing::report_stalls_of(&self.core);
        sysmon::watch(self.watched());
    }

    /// Waits end when something is written to this pipe, which is duplicated. `nudge` interrupts
    /// the call that the thread of `run` is in. -1: only the nudge changes.
    fn listen(&self, py: Python<'_>, descriptor: i32, nudge: Option<Py<PyAny>>) -> PyResult<()> {
        let before = std::mem::replace(&mut self.core.register.get_mut(py).nudge, nudge);
        drop(before);
        if descriptor < 0 {
            return Ok(());
        }
        let pipe = awaitable::duplicate(descriptor)?;
        Ok(self.core.machine.poller.listen(pipe)?)
    }

    /// Runs main, a coroutine or a function, until it and all other tasks have ended.
    fn run(&self, py: Python<'_>, main: Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let core = &self.core;
        CURRENT.with(|current| {
            *current.core.borrow_mut() = Some(Arc::clone(core));
            current.role.set(Role::Worker(0));
        });
        errands::sit(py, core, 0);
        let result = start(py, core, main).and_then(|()| {
            errands::preside(py, core);
            core.result(py)
        });
        CURRENT.with(|current| {
            current.role.set(Role::Helper);
            current.core.borrow_mut().take();
        });
        if FORKED.swap(false, Ordering::Relaxed) {
            // Locks of the copy may be held by threads that this process does not have.
            return Err(forked());
        }
        let unbegun = core.machine.crew.stop();
        core.machine.trace.stalls.set_report(None);
        // From here on nobody starts a task: it would never run.
        core.register.get_mut(py).is_left = true;
        py.detach(|| {
            // What nobody stopped has nobody to read it.
            drop(core.machine.trace.stop());
            core.machine.native.stop(NATIVE_LIMIT);
            core.machine.crew.wait_for_visitors(VISIT_LIMIT);
        });
        let left = core.leave(py);
        let armed = (core.machine.disarm_all(), core.context.get_mut(py).take());
        sysmon::unwatch(&self.watched());
        drop((unbegun, left, armed));
        result
    }

    /// A worker's thread.
    fn work(&self, py: Python<'_>) {
        errands::work(py, &self.core);
    }

    /// Whether the call that the calling thread is in is what the end of the run still waits for.
    fn was_nudged(&self, py: Python<'_>) -> bool {
        self.core.was_nudged(py)
    }

    /// Ctrl-C came. "cancel": main has been; "raise": raise it here.
    fn interrupt(&self, py: Python<'_>) -> &'static str {
        self.core.interrupt(py)
    }

    /// Threads that are still in a call of a task that nobody waits for.
    fn abandoned_threads(&self, py: Python<'_>) -> Vec<u64> {
        self.core.abandoned_threads(py)
    }

    /// The process exits: main and all other tasks are cancelled, and `run` raises `SystemExit`,
    /// which ends its thread without a word.
    fn stop(&self, py: Python<'_>) {
        let exit = PySystemExit::new_err(());
        let is_first = {
            let mut register = self.core.register.get_mut(py);
            let is_first = register.failure.is_none();
            if is_first {
                register.failure = Some(exit);
            }
            is_first
        };
        if is_first {
            self.core.close(py);
        }
        self.core.machine.poller.wake();
    }

    /// `hook` is called once, when all tasks have ended: it may start some more.
    fn at_end(&self, py: Python<'_>, hook: Py<PyAny>) {
        let before = self.core.register.get_mut(py).at_end.replace(hook);
        drop(before);
    }

    /// The run has ended, and this thread is still inside a step: bytecode that it runs ends with
    /// `Cancelled`.
    fn abandon(&self, py: Python<'_>, thread: u64) {
        if self.core.threads.get(py).contains(&thread) {
            let cancelled = py.get_type::<super::Cancelled>();
            awaitable::raise_in_thread(py, thread, &cancelled);
        }
    }

    /// Hand-off rests (+1) or may go on (-1).
    fn pause(&self, change: i32) {
        let pauses = &self.core.machine.pauses;
        if change > 0 {
            pauses.fetch_add(1, Ordering::Relaxed);
        } else {
            pauses.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// A garbage collection begins (true) or has ended: hand-off rests meanwhile.
    fn collecting(&self, py: Python<'_>, is_start: bool) {
        seeing::note_collection(py, &self.core, is_start);
        self.pause(if is_start { 1 } else { -1 });
    }

    /// Starts a task from any thread.
    fn spawn(&self, py: Python<'_>, coroutine: Bound<'_, PyAny>) -> PyResult<Py<Task>> {
        let payload = payload(coroutine, PyTuple::empty(py))?;
        self.core.spawn(py, payload, Options::default())
    }

    /// Somebody outside may still wake tasks (+1), or no longer (-1).
    fn hold(&self, change: i32) -> PyResult<()> {
        if self.core.machine.clock.is_virtual() {
            return Err(PyRuntimeError::new_err(
                "under a virtual clock nothing comes from outside: no portal can be opened",
            ));
        }
        let outside = &self.core.machine.outside;
        if change > 0 {
            outside.fetch_add(1, Ordering::Relaxed);
        } else {
            outside.fetch_sub(1, Ordering::Relaxed);
            // The owner looks again whether anything is left that could wake its tasks.
            self.core.machine.tell_news();
        }
        Ok(())
    }

    /// Tasks that live.
    fn tasks(&self, py: Python<'_>) -> Vec<Py<Task>> {
        self.core.living(py)
    }

    /// Counts since the start, by name.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let machine = &self.core.machine;
        let counters = &machine.counters;
        let (workers, idle, functions) = machine.crew.counts();
        let (local, global) = machine.queued();
        let stats = PyDict::new(py);
        let (alive, spawned) = {
            let register = self.core.register.get(py);
            (register.alive, register.spawned)
        };
        stats.set_item("tasks", alive)?;
        stats.set_item("spawned", spawned)?;
        stats.set_item("steps", machine.processor.seen().steps)?;
        stats.set_item("queued_local", local)?;
        stats.set_item("queued_global", global)?;
        stats.set_item("descriptors", machine.descriptors.waiting())?;
        stats.set_item("timers", machine.timers_len())?;
        stats.set_item("timers_fired", counters.fired.load(Ordering::Relaxed))?;
        stats.set_item("hand_offs", counters.hand_offs.load(Ordering::Relaxed))?;
        stats.set_item("stalls", counters.stalls.load(Ordering::Relaxed))?;
        stats.set_item("detached", machine.crew.detached.load(Ordering::Relaxed))?;
        stats.set_item("polls", counters.polls.load(Ordering::Relaxed))?;
        stats.set_item("parks", counters.parks.load(Ordering::Relaxed))?;
        stats.set_item("workers", workers)?;
        stats.set_item("workers_idle", idle)?;
        stats.set_item("functions_queued", functions)?;
        stats.set_item("native", seeing::native(py, &machine.native)?)?;
        stats.set_item("histograms", seeing::histograms(py, &self.core)?)?;
        Ok(stats)
    }
}

impl Runtime {
    /// As the monitor knows it.
    fn watched(&self) -> Weak<dyn Watched> {
        let core: Weak<Core> = Arc::downgrade(&self.core);
        core
    }
}

impl Watched for Core {
    fn look(&self, now_ns: u64) -> sysmon::Pulse {
        self.machine.look_after(now_ns)
    }
}

fn start(py: Python<'_>, core: &Arc<Core>, main: Bound<'_, PyAny>) -> PyResult<()> {
    let payload = payload(main, PyTuple::empty(py))?;
    core.spawn(py, payload, Options::default())?;
    core.start_worker_if_short(py, core.spares())
}

/// Has a thread of its own enter the interpreter: the monitor must never wait for it. False: there
/// is no such thread to be had, or the runtime is gone. `work` is told how long it waited.
pub fn visit(
    core: &Weak<Core>,
    name: &str,
    work: impl FnOnce(Python<'_>, &Core, u64) + Send + 'static,
) -> bool {
    let weak = Weak::clone(core);
    let Some(visit) = core.upgrade().map(|core| core.machine.crew.admit()) else {
        return false;
    };
    let visitor = std::thread::Builder::new().name(name.to_owned());
    let spawned = visitor.spawn(move || {
        // Dropped last: it has left the interpreter by then.
        let _visit = visit;
        let (_stay, _blocked) = (Stay::new(), Blocked::all());
        let waiting = Waiting::begin();
        // None: the interpreter is shutting down, and nobody needs what it came for.
        let _ = Python::try_attach(|py| {
            if let Some(core) = weak.upgrade() {
                seeing::attached(py, &core, waiting);
                work(py, &core, waiting.lasted_ns());
            }
        });
    });
    spawned.is_ok()
}

fn start_workers(py: Python<'_>, core: &Core, count: usize) {
    for _ in 0..count {
        if let Err(error) = core.start_worker.call0(py) {
            core.machine.crew.dismiss();
            error.write_unraisable(py, None);
        }
    }
}

/// What `go` and `run` were given: a coroutine, or a function with its arguments.
fn payload(target: Bound<'_, PyAny>, args: Bound<'_, PyTuple>) -> PyResult<Payload> {
    let is_coroutine = awaitable::is_coroutine(&target);
    if is_coroutine && args.is_empty() {
        return Ok(Payload::Coroutine(target.unbind()));
    }
    if is_coroutine {
        return Err(PyTypeError::new_err(
            "a coroutine takes no arguments: it has them already",
        ));
    }
    if !target.is_callable() {
        let kind = target.get_type().fully_qualified_name()?;
        return Err(PyTypeError::new_err(format!(
            "a coroutine or a function is wanted, not {kind}"
        )));
    }
    if awaitable::is_coroutine_function(&target) {
        return Ok(Payload::Coroutine(target.call1(args)?.unbind()));
    }
    Ok(Payload::Function(Box::new((
        target.unbind(),
        args.unbind(),
    ))))
}

/// Starts a coroutine, or a function on a thread of its own, and returns its task at once. Pinned,
/// it runs on the thread of `run`. With `abandon` a call that it is in is not waited for once it
/// was cancelled.
#[pyfunction]
#[pyo3(signature = (target, /, *args, name = None, pinned = false, abandon = false))]
pub fn go(
    py: Python<'_>,
    target: Bound<'_, PyAny>,
    args: Bound<'_, PyTuple>,
    name: Option<Bound<'_, PyString>>,
    pinned: bool,
    abandon: bool,
) -> PyResult<Py<Task>> {
    let core = current::core()?;
    let options = Options {
        name: name.map(Bound::unbind),
        is_pinned: pinned,
        abandons: abandon,
    };
    core.spawn(py, payload(target, args)?, options)
}

/// An awaitable that waits so many seconds; never ends early.
#[pyfunction]
#[pyo3(signature = (seconds, /))]
pub fn sleep(py: Python<'_>, seconds: f64) -> PyResult<Py<PyAny>> {
    match nanoseconds(seconds, "sleep")? {
        0 => awaitable::new(py, Wait::Yield),
        ns => awaitable::new(py, Wait::Sleep { ns }),
    }
}

/// Nanoseconds of this runtime's clock: `time.monotonic_ns()`, or the virtual clock's.
#[pyfunction(name = "now_ns")]
pub fn clock_ns() -> PyResult<u64> {
    Ok(current::core()?.machine.clock.now_ns())
}

/// The task whose step or function calls; `RuntimeError` outside one.
#[pyfunction]
pub fn current_task(py: Python<'_>) -> PyResult<Py<Task>> {
    current::task(py).ok_or_else(|| PyRuntimeError::new_err("no herz task runs here"))
}

/// The runtime of this thread; `RuntimeError` without one.
#[pyfunction]
pub fn current_runtime() -> PyResult<Runtime> {
    current::core().map(|core| Runtime { core })
}

/// The process has been forked: if this thread ran a runtime, the child's copy of it is dead.
#[pyfunction]
pub fn after_fork() {
    CURRENT.with(|current| {
        if current.core.borrow().is_some() {
            FORKED.store(true, Ordering::Relaxed);
            current.role.set(Role::Helper);
        }
    });
}

/// Whether this thread belongs to a runtime.
#[pyfunction]
pub fn in_runtime() -> bool {
    current::core().is_ok()
}

/// What `breakpoint()` calls while a runtime runs: hand-off rests until the debugger has set its
/// trace function, by which a step that is debugged is known.
#[pyfunction]
#[pyo3(signature = (*args, **keywords))]
pub fn breakpointhook<'py>(
    py: Python<'py>,
    args: Bound<'py, PyTuple>,
    keywords: Option<Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let hook = py.import("sys")?.getattr("__breakpointhook__")?;
    let core = current::core().ok();
    let pauses = core.as_ref().map(|core| &core.machine.pauses);
    pauses.inspect(|pauses| {
        pauses.fetch_add(1, Ordering::Relaxed);
    });
    let outcome = hook.call(args, keywords.as_ref());
    pauses.inspect(|pauses| {
        pauses.fetch_sub(1, Ordering::Relaxed);
    });
    outcome
}
