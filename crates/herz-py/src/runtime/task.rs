//! `Task`: a coroutine or a function under way, and what became of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use herz_core::runtime::fifo::Place;
use herz_core::runtime::line::Ticket;
use herz_core::runtime::machine;
use herz_core::runtime::task::{Generation, State, Wake, Word};
use herz_core::runtime::timers::shards::{Location, Timed};
use pyo3::exceptions::PyRuntimeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use super::affinity::Bond;
use super::awaitable::{self, Wait};
use super::cell::GilCell;
use super::core::Core;
use super::current;
use super::timer_type::TimerObject;

/// What a task runs.
pub enum Payload {
    Coroutine(Py<PyAny>),
    Function(Box<(Py<PyAny>, Py<PyTuple>)>),
    /// It ended, or the payload is out being run.
    Gone,
}

impl Payload {
    pub fn drop_ref(self, py: Python<'_>) {
        match self {
            Self::Coroutine(coroutine) => coroutine.drop_ref(py),
            other => drop(other),
        }
    }
}

/// A result, or the exception that stands for it.
pub type Outcome = Result<Py<PyAny>, Py<PyAny>>;

/// A task that waits for something, and which of its waits is meant.
pub struct Waiter {
    pub task: Py<Task>,
    pub generation: Generation,
    /// Of a select: which case it waits in.
    pub case: u32,
}

/// Not of a select, or none of its cases.
pub const NO_CASE: u32 = u32::MAX;

/// The task's places in the lines where it waits.
#[derive(Default)]
pub enum Tickets {
    #[default]
    None,
    One(Ticket),
    Many(Box<CaseTickets>),
}

/// By case of a select.
pub struct CaseTickets(pub Vec<Option<Ticket>>);

/// Who awaits a task: nobody, mostly, and then this is one word.
#[derive(Default)]
pub struct Joiners(Option<Box<Joined>>);

struct Joined(Vec<Waiter>);

impl Joiners {
    pub fn push(&mut self, waiter: Waiter) {
        let joined = self.0.get_or_insert_with(|| Box::new(Joined(Vec::new())));
        joined.0.push(waiter);
    }

    pub fn take(&mut self) -> Vec<Waiter> {
        self.0.take().map_or_else(Vec::new, |joined| joined.0)
    }

    /// The task no longer waits; the caller releases what comes back.
    pub fn leave(&mut self, task: &Py<Task>) -> Vec<Waiter> {
        let (gone, kept): (Vec<_>, Vec<_>) = self
            .take()
            .into_iter()
            .partition(|waiter| waiter.task.is(task));
        if !kept.is_empty() {
            self.0 = Some(Box::new(Joined(kept)));
        }
        gone
    }

    fn iter(&self) -> impl Iterator<Item = &Waiter> {
        self.0.iter().flat_map(|joined| &joined.0)
    }
}

impl Waiter {
    /// Ends the wait and gives what comes of it. Some: that wait is over already, and the outcome
    /// is the caller's again, for the next one.
    pub fn wake(self, py: Python<'_>, outcome: Outcome) -> Option<Outcome> {
        let own = self.task.get();
        let wake = own.word.wake(self.generation);
        if wake == Wake::Stale {
            return Some(outcome);
        }
        {
            // Only this thread runs Python now: the task cannot look before it is there.
            let mut body = own.body.get_mut(py);
            body.inbox = Some(outcome);
            body.case = self.case;
        }
        if wake == Wake::Queue {
            let core = Arc::clone(&own.core);
            let worker = current::worker_of(&core);
            let queued = Runnable::Task(self.task);
            core.machine.ready(worker, queued, Place::Next);
        }
        None
    }
}

/// A text in one word instead of two: a million waiting tasks have one each.
pub type Words = &'static &'static str;

// What each step reads comes first: see `ahead`.
#[repr(C)]
pub struct Body {
    pub payload: Payload,
    pub context: Option<Py<PyAny>>,
    /// While it lives: what the next resumption gives. Afterwards: the outcome.
    pub inbox: Option<Outcome>,
    pub joiners: Joiners,
    pub name: Option<Py<PyString>>,
    /// Where it waits; which case of a select ended the wait.
    pub tickets: Tickets,
    pub case: u32,
    /// What it waits for, and since when by the worker's last look at the clock.
    pub waits_for: Words,
    pub since_ns: u64,
    /// When it was started, in milliseconds of the monotonic clock, modulo 2³².
    pub born_ms: u32,
    /// Requests to end that nobody took back, and scopes in which they are not heard.
    pub cancels: u32,
    pub shields: u32,
    pub bond: Bond,
}

/// Somebody asked for its end, and no shield keeps it from being heard.
pub const CANCELLED: u8 = 1;
/// Its last step ended with a yield.
pub const YIELDED: u8 = 2;
/// Its last step ended with a wait.
pub const WAITED: u8 = 4;
/// Somebody has seen the outcome.
pub const SEEN: u8 = 8;
/// The next step throws what is in the inbox.
pub const THROWS: u8 = 16;
/// It runs a function, not a coroutine.
pub const FUNCTION: u8 = 32;
/// It runs on one worker only: see [`Bond`].
pub const BOUND: u8 = 64;
/// It is not waited for once it was cancelled.
pub const ABANDON: u8 = 128;

/// What a task is told at its start.
#[derive(Default)]
pub struct Options {
    pub name: Option<Py<PyString>>,
    pub is_pinned: bool,
    pub abandons: bool,
}

/// A coroutine or a function that runs beside the others. Made by ``go``.
#[pyclass(frozen, weakref, generic, module = "herz.runtime")]
#[repr(C)]
pub struct Task {
    pub word: Word,
    pub flags: AtomicU8,
    /// Its place in the runtime's register.
    pub place: AtomicU32,
    /// Where its timer is.
    // Invariant: pending only while the wait that it ends goes on, or has just been ended.
    pub location: Location,
    pub id: u64,
    pub body: GilCell<Body>,
    pub core: Arc<Core>,
}

/// What the core queues, and has come due.
pub enum Runnable {
    Task(Py<Task>),
    /// It is due: what it is for is to be done.
    Timer(TimerObject),
}

impl Timed for Runnable {
    fn location(&self) -> &Location {
        match self {
            Self::Task(task) => &task.get().location,
            Self::Timer(timer) => &timer.location,
        }
    }
}

impl machine::Task for Runnable {
    fn due(&self) -> Wake {
        match self {
            Self::Task(task) => {
                let word = &task.get().word;
                word.waiting()
                    .map_or(Wake::Stale, |generation| word.wake(generation))
            }
            Self::Timer(timer) => timer.due(),
        }
    }

    fn end_wait(&self, generation: Generation) -> Wake {
        match self {
            Self::Task(task) => task.get().word.wake(generation),
            Self::Timer(_) => unreachable!("only tasks wait for descriptors"),
        }
    }

    fn id(&self) -> u64 {
        match self {
            Self::Task(task) => task.get().mark(),
            Self::Timer(_) => 0,
        }
    }
}

impl Task {
    /// What names it in a trace: by its place it is found at once, and its number tells it from
    /// those that had the place before.
    pub fn mark(&self) -> u64 {
        u64::from(self.place.load(Ordering::Relaxed)) << 32 | self.id & u64::from(u32::MAX)
    }

    // Flags are changed by whoever holds the interpreter, so a load and a store are enough; an
    // atomic exchange would cost more than the rest of the bookkeeping of a step.
    #[inline]
    pub fn has(&self, flag: u8) -> bool {
        self.flags.load(Ordering::Relaxed) & flag != 0
    }

    pub fn set(&self, flag: u8) {
        let flags = self.flags.load(Ordering::Relaxed) | flag;
        self.flags.store(flags, Ordering::Relaxed);
    }

    pub fn clear(&self, flag: u8) {
        let flags = self.flags.load(Ordering::Relaxed) & !flag;
        self.flags.store(flags, Ordering::Relaxed);
    }

    /// Whether the next await raises `Cancelled`, from the requests and the shields.
    pub fn hear(&self, py: Python<'_>) {
        let is_heard = {
            let body = self.body.get(py);
            body.cancels > 0 && body.shields == 0
        };
        if is_heard {
            self.set(CANCELLED);
        } else {
            self.clear(CANCELLED);
        }
    }

    /// Its timer has nothing to end any more.
    pub fn disarm(&self) {
        if self.location.is_pending() {
            drop(self.core.machine.disarm(&self.location));
        }
    }

    pub fn is_dead(&self) -> bool {
        self.word.state() == State::Dead
    }

    /// The name that it was given, or else its number.
    pub fn label(&self, py: Python<'_>) -> String {
        match &self.body.get(py).name {
            Some(name) => name.to_string(),
            None => format!("task-{}", self.id),
        }
    }

    /// What a dead task left, marked as seen.
    pub fn outcome(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.set(SEEN);
        match &self.body.get(py).inbox {
            Some(Ok(value)) => Ok(value.clone_ref(py)),
            Some(Err(error)) => Err(PyErr::from_value(error.bind(py).clone())),
            None => Err(PyRuntimeError::new_err("the task was abandoned")),
        }
    }

    pub fn describe(&self, py: Python<'_>) -> String {
        match self.word.state() {
            State::Waiting | State::Parking => {
                format!("waits for {}", self.waits_for(py).unwrap_or_default())
            }
            State::Runnable | State::Notified => "runnable".to_owned(),
            State::Running | State::Yielding if self.is_detached() => "detached".to_owned(),
            State::Running | State::Yielding => "running".to_owned(),
            State::OffLoaded => "runs a function".to_owned(),
            State::Dead => "done".to_owned(),
        }
    }
}

#[pymethods]
impl Task {
    fn __await__(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        awaitable::new(slf.py(), Wait::Join(slf.clone().unbind()))
    }

    /// Asks for its end: `Cancelled` is raised at its next await, and at each one after it.
    fn cancel(slf: &Bound<'_, Self>) {
        slf.get().core.cancel(slf.py(), slf);
    }

    /// Takes one request to end back, after it did its work: for scopes.
    fn uncancel(&self, py: Python<'_>) {
        {
            let mut body = self.body.get_mut(py);
            body.cancels = body.cancels.saturating_sub(1);
        }
        self.hear(py);
    }

    /// Requests to end that nobody took back.
    fn cancelling(&self, py: Python<'_>) -> u32 {
        self.body.get(py).cancels
    }

    /// Begins (1) or ends (-1) a scope in which requests to end are not heard.
    fn shield(&self, py: Python<'_>, change: i32) {
        {
            let mut body = self.body.get_mut(py);
            body.shields = body.shields.saturating_add_signed(change);
        }
        self.hear(py);
    }

    /// Begins (1) or ends (-1) a scope in which it keeps its thread.
    fn lock_thread(&self, py: Python<'_>, change: i32) {
        self.lock(py, change);
    }

    /// Whether it ended.
    fn done(&self) -> bool {
        self.is_dead()
    }

    /// What it returned; raises what it raised, and `RuntimeError` while it goes on.
    fn result(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        if self.is_dead() {
            return self.outcome(py);
        }
        Err(PyRuntimeError::new_err("the task goes on: await it"))
    }

    #[getter]
    fn id(&self) -> u64 {
        self.id
    }

    #[getter]
    fn name(&self, py: Python<'_>) -> String {
        self.label(py)
    }

    /// What it does now, in words.
    #[getter]
    fn state(&self, py: Python<'_>) -> String {
        self.describe(py)
    }

    /// What it waits for, in words; None when it does not wait.
    #[getter(waits_for)]
    fn get_waits_for(&self, py: Python<'_>) -> Option<String> {
        self.waits_for(py)
    }

    /// Nanoseconds since it was started, to the millisecond.
    #[getter(age_ns)]
    fn get_age_ns(&self, py: Python<'_>) -> u64 {
        self.age_ns(py)
    }

    /// Nanoseconds since it began to wait, to about 0.2 ms; None when it does not wait.
    #[getter(waited_ns)]
    fn get_waited_ns(&self, py: Python<'_>) -> Option<u64> {
        self.waited_ns(py)
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        format!("<Task {} {}>", self.label(py), self.describe(py))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: the collector visits with the interpreter's lock.
        let Some(body) = (unsafe { self.body.visited() }) else {
            return Ok(());
        };
        match &body.payload {
            Payload::Coroutine(coroutine) => {
                visit.call(coroutine)?;
            }
            Payload::Function(call) => {
                visit.call(&call.0)?;
                visit.call(&call.1)?;
            }
            Payload::Gone => {}
        }
        visit.call(&body.context)?;
        if let Some(Ok(object) | Err(object)) = &body.inbox {
            visit.call(object)?;
        }
        for waiter in body.joiners.iter() {
            visit.call(&waiter.task)?;
        }
        Ok(())
    }

    fn __clear__(&self, py: Python<'_>) {
        let (payload, context, inbox, joiners);
        {
            let mut body = self.body.get_mut(py);
            payload = std::mem::replace(&mut body.payload, Payload::Gone);
            context = body.context.take();
            inbox = body.inbox.take();
            joiners = body.joiners.take();
        }
        // Released outside the borrow: what they release may look at this task.
        drop((payload, context, inbox, joiners));
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if self.has(SEEN) || !self.is_dead() {
            return;
        }
        // Without the interpreter nobody could be told.
        Python::try_attach(|py| {
            let left = self.body.get_mut(py).inbox.take();
            if let Some(Err(error)) = left {
                super::core::report_unseen(py, &self.label(py), error);
            }
        });
    }
}
