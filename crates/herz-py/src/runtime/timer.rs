//! `Timer`: a call, or a value in a channel, when its time has come.
//!
//! While it is pending the wheel holds it, and the collector cannot see the wheel: it would find
//! the timer alive whatever it visits. So it is no work for the collector until it was stopped
//! or has fired, and then only if what it holds could lead back to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use herz_core::runtime::task::Wake;
use herz_core::runtime::timers::shards::Location;
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::awaitable::{self, Wait};
use super::cell::GilCell;
use super::channel::Channel;
use super::core::Core;
use super::current::{self, FORKED, forked};
use super::task::{Options, Payload, Runnable};
use super::waits::Tried;

/// Most calls have one argument at most: it needs no tuple, which the collector would track.
enum Arguments {
    None,
    One(Py<PyAny>),
    Many(Py<PyTuple>),
}

struct Ticks {
    channel: Py<Channel>,
    /// Zero: once.
    period_ns: u64,
    due_ns: u64,
}

enum Target {
    Call(Py<PyAny>, Arguments),
    Ticks(Box<Ticks>),
    /// The collector took it.
    Gone,
}

/// Calls a function, or gives a value to who receives, when its time has come.
// What `stop` reads comes first: of a million timers none is in the cache.
#[pyclass(frozen, module = "herz.runtime")]
#[repr(C)]
pub struct Timer {
    pub location: Location,
    core: Arc<Core>,
    /// It has left the wheel, and a worker will do what it is for.
    is_due: AtomicBool,
    /// Whether it calls a function, which holds nothing that could hold the timer.
    is_leaf: bool,
    target: GilCell<Target>,
}

const CENTURY: f64 = 3.2e9;

/// Seconds as Python gives them, to the nearest nanosecond: 0.1 is no binary fraction, and a tenth
/// is meant.
pub fn nanoseconds(seconds: f64, what: &str) -> PyResult<u64> {
    if seconds.is_nan() {
        return Err(PyValueError::new_err(format!(
            "{what} takes seconds, not NaN"
        )));
    }
    let ns = (seconds.clamp(0.0, CENTURY) * 1e9).round() as u64;
    Ok(if seconds > 0.0 { ns.max(1) } else { 0 })
}

/// A new timer, armed. The arguments begin with the seconds and the function.
pub fn construct<'py>(
    py: Python<'py>,
    mut arguments: impl Iterator<Item = Bound<'py, PyAny>>,
) -> PyResult<Py<Timer>> {
    let Some(seconds) = arguments.next() else {
        return Err(PyTypeError::new_err(
            "Timer takes seconds, and a function with its arguments: none were given",
        ));
    };
    let ns = nanoseconds(seconds.extract()?, "Timer")?;
    let target = match (arguments.next(), arguments.next()) {
        (None, _) => Target::tick_once(py)?,
        (Some(function), None) if function.is_none() => Target::tick_once(py)?,
        (Some(function), first) => Target::call(function, first, arguments)?,
    };
    start(py, target, ns)
}

fn start(py: Python<'_>, target: Target, ns: u64) -> PyResult<Py<Timer>> {
    let timer = Timer {
        location: Location::default(),
        core: current::core()?,
        is_due: AtomicBool::new(false),
        is_leaf: target.is_leaf(py),
        target: GilCell::new(target),
    };
    let timer = Py::new(py, timer)?;
    let due_ns = timer.get().after(ns);
    arm(timer.bind(py), due_ns)?;
    Ok(timer)
}

/// Has it come due at that time; it is not pending.
fn arm(timer: &Bound<'_, Timer>, due_ns: u64) -> PyResult<()> {
    let (py, own) = (timer.py(), timer.get());
    if own.core.register.get(py).is_left {
        return Err(PyRuntimeError::new_err("this herz runtime has ended"));
    }
    if !own.is_leaf
        && let Target::Ticks(ticks) = &mut *own.target.get_mut(py)
    {
        ticks.due_ns = due_ns;
    }
    awaitable::untrack(timer);
    let machine = &own.core.machine;
    let refused = machine.arm(due_ns, Runnable::Timer(timer.clone().unbind()));
    refused.map_err(|_| super::broken("a timer"))
}

impl Target {
    fn ticks(channel: Py<Channel>, period_ns: u64) -> Self {
        channel.get().note_timer();
        Self::Ticks(Box::new(Ticks {
            channel,
            period_ns,
            due_ns: 0,
        }))
    }

    fn tick_once(py: Python<'_>) -> PyResult<Self> {
        let channel = Py::new(py, Channel::with_capacity(Some(1)))?;
        Ok(Self::ticks(channel, 0))
    }

    fn call<'py>(
        function: Bound<'py, PyAny>,
        first: Option<Bound<'py, PyAny>>,
        rest: impl Iterator<Item = Bound<'py, PyAny>>,
    ) -> PyResult<Self> {
        let py = function.py();
        if !function.is_callable() {
            let kind = function.get_type().fully_qualified_name()?;
            return Err(PyTypeError::new_err(format!(
                "a timer calls a function, not {kind}"
            )));
        }
        let mut rest = rest.peekable();
        let arguments = match first {
            None => Arguments::None,
            Some(one) if rest.peek().is_none() => Arguments::One(one.unbind()),
            Some(one) => {
                let all: Vec<_> = std::iter::once(one).chain(rest).collect();
                Arguments::Many(PyTuple::new(py, all)?.unbind())
            }
        };
        Ok(Self::Call(function.unbind(), arguments))
    }

    /// Whether nothing that it holds can hold the timer.
    fn is_leaf(&self, py: Python<'_>) -> bool {
        match self {
            Self::Call(function, Arguments::None) => awaitable::is_leaf(function.bind(py)),
            Self::Call(function, Arguments::One(one)) => {
                awaitable::is_leaf(function.bind(py)) && awaitable::is_leaf(one.bind(py))
            }
            Self::Call(_, Arguments::Many(_)) | Self::Ticks(_) | Self::Gone => false,
        }
    }
}

/// What a timer that is due has to do, out of its borrow.
enum Act {
    Call(Py<PyAny>, Option<Py<PyAny>>, Option<Py<PyTuple>>),
    Tick(Py<Channel>),
}

impl Timer {
    /// It left the wheel; a worker must call `fire`.
    pub fn due(&self) -> Wake {
        // ORDERING: Relaxed: all who look hold the interpreter.
        self.is_due.store(true, Ordering::Relaxed);
        Wake::Queue
    }

    /// So many nanoseconds from now.
    fn after(&self, ns: u64) -> u64 {
        self.core.machine.clock.now_ns().saturating_add(ns)
    }

    /// Whether it is due, and from here on is not.
    fn take_due(&self) -> bool {
        // ORDERING: as in `due`; so a load and a store are enough, and an exchange would have to
        // wait for all stores before it.
        let is_due = self.is_due.load(Ordering::Relaxed);
        if is_due {
            self.is_due.store(false, Ordering::Relaxed);
        }
        is_due
    }

    /// Out of the wheel, and out of what is due: whether it would have come.
    fn withdraw(&self, py: Python<'_>) -> PyResult<bool> {
        if FORKED.load(Ordering::Relaxed) {
            return Err(forked());
        }
        let was_due = self.take_due();
        let (was_pending, dead) = self.core.machine.retire(&self.location);
        drop(dead);
        if self.is_leaf {
            return Ok(was_due || was_pending);
        }
        let channel = match &*self.target.get(py) {
            Target::Ticks(ticks) => Some(ticks.channel.clone_ref(py)),
            _ => None,
        };
        let was_unseen = channel.is_some_and(|channel| channel.get().drain(py));
        Ok(was_due || was_pending || was_unseen)
    }

    fn act(timer: &Bound<'_, Self>) -> PyResult<Option<Act>> {
        let (py, own) = (timer.py(), timer.get());
        if !own.take_due() {
            return Ok(None);
        }
        let (act, again_ns) = match &*own.target.get(py) {
            Target::Call(function, arguments) => {
                let function = function.clone_ref(py);
                let act = match arguments {
                    Arguments::None => Act::Call(function, None, None),
                    Arguments::One(one) => Act::Call(function, Some(one.clone_ref(py)), None),
                    Arguments::Many(all) => Act::Call(function, None, Some(all.clone_ref(py))),
                };
                (act, None)
            }
            Target::Ticks(ticks) => {
                let act = Act::Tick(ticks.channel.clone_ref(py));
                let now_ns = own.core.machine.clock.now_ns();
                let late_ns = now_ns.saturating_sub(ticks.due_ns);
                // The next of its times that is to come: it never drifts, and skips what is over.
                let skipped = late_ns.checked_div(ticks.period_ns);
                let again_ns = skipped.map(|skipped| {
                    let periods_ns = ticks.period_ns.saturating_mul(skipped + 1);
                    ticks.due_ns.saturating_add(periods_ns)
                });
                (act, again_ns)
            }
            Target::Gone => return Ok(None),
        };
        if let Some(again_ns) = again_ns
            && !own.core.register.get(py).is_left
        {
            arm(timer, again_ns)?;
        }
        Ok(Some(act))
    }

    /// Does what it is for; a worker calls it, outside all tasks.
    pub fn fire(timer: &Bound<'_, Self>) -> PyResult<()> {
        let (py, own) = (timer.py(), timer.get());
        match Self::act(timer)? {
            None => {}
            Some(Act::Tick(channel)) => {
                let now_ns = own.core.machine.clock.now_ns();
                let now = now_ns.into_pyobject(py)?.into_any().unbind();
                // A tick that nobody took yet stands for this one, too.
                let (Tried::Done(_) | Tried::Later | Tried::Failed(_)) =
                    channel.get().try_send(py, &now);
            }
            Some(Act::Call(function, one, all)) => {
                let function = function.bind(py);
                let result = match (one, all) {
                    (Some(one), _) => function.call1((one,)),
                    (None, Some(all)) => function.call1(all.into_bound(py)),
                    (None, None) => function.call0(),
                }?;
                if awaitable::is_exact_coroutine(&result) {
                    let payload = Payload::Coroutine(result.unbind());
                    own.core.spawn(py, payload, Options::default())?;
                }
            }
        }
        if awaitable::is_shared(timer) {
            Self::release(timer);
        }
        Ok(())
    }

    /// It is not pending: from here on the collector may have to look at it.
    fn release(timer: &Bound<'_, Self>) {
        let own = timer.get();
        if !own.is_leaf && !own.location.is_pending() {
            awaitable::track(timer);
        }
    }
}

#[pymethods]
impl Timer {
    #[new]
    #[pyo3(signature = (seconds, callback = None, /, *args))]
    fn new(
        seconds: &Bound<'_, PyAny>,
        callback: Option<&Bound<'_, PyAny>>,
        args: &Bound<'_, PyTuple>,
    ) -> PyResult<Py<Self>> {
        let first = [Some(seconds), callback].into_iter().flatten();
        construct(seconds.py(), first.cloned().chain(args.iter()))
    }

    /// A timer that fires again and again, into a channel; what finds no room there is dropped.
    #[staticmethod]
    fn every(py: Python<'_>, seconds: f64, channel: Py<Channel>) -> PyResult<Py<Self>> {
        let period_ns = nanoseconds(seconds, "Ticker")?;
        if period_ns == 0 {
            return Err(PyValueError::new_err("Ticker takes more than zero seconds"));
        }
        start(py, Target::ticks(channel, period_ns), period_ns)
    }

    /// Keeps it from firing: True where it would have.
    fn stop(slf: &Bound<'_, Self>) -> PyResult<bool> {
        let was_active = slf.get().withdraw(slf.py())?;
        Self::release(slf);
        Ok(was_active)
    }

    /// Fires so many seconds from now instead: True where it had been going to.
    fn reset(slf: &Bound<'_, Self>, seconds: f64) -> PyResult<bool> {
        let (py, own) = (slf.py(), slf.get());
        let ns = nanoseconds(seconds, "reset")?;
        if let Target::Ticks(ticks) = &mut *own.target.get_mut(py)
            && ticks.period_ns > 0
        {
            if ns == 0 {
                return Err(PyValueError::new_err("reset takes more than zero seconds"));
            }
            ticks.period_ns = ns;
        }
        let was_active = own.withdraw(py)?;
        arm(slf, own.after(ns))?;
        Ok(was_active)
    }

    /// An awaitable of the time at which it fired, in nanoseconds of the runtime's clock.
    fn receive(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let channel = match &*self.target.get(py) {
            Target::Ticks(ticks) => ticks.channel.clone_ref(py),
            _ => {
                return Err(PyTypeError::new_err(
                    "a timer that calls a function has nothing to receive",
                ));
            }
        };
        awaitable::new(py, Wait::Receive(channel))
    }

    /// Whether it will fire.
    #[getter]
    fn is_pending(&self) -> bool {
        self.location.is_pending() || self.is_due.load(Ordering::Relaxed)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: the collector visits with the interpreter's lock.
        let Some(target) = (unsafe { self.target.visited() }) else {
            return Ok(());
        };
        match &*target {
            Target::Call(function, arguments) => {
                visit.call(function)?;
                match arguments {
                    Arguments::None => Ok(()),
                    Arguments::One(one) => visit.call(one),
                    Arguments::Many(all) => visit.call(all),
                }
            }
            Target::Ticks(ticks) => visit.call(&ticks.channel),
            Target::Gone => Ok(()),
        }
    }

    fn __clear__(&self, py: Python<'_>) {
        let target = std::mem::replace(&mut *self.target.get_mut(py), Target::Gone);
        // Released outside the borrow.
        drop(target);
    }
}
