//! `Timer`: a call, or a value in a channel, when its time has come.
//!
//! What it calls mostly cannot lead back to it (a plain function, a number): then it is an object
//! that the collector never hears of, neither when it is made nor later. Of the others it hears
//! when they are not pending: while they are, the wheel holds them, which it cannot see, and it
//! would find them alive whatever it visits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use herz_core::runtime::task::Wake;
use herz_core::runtime::timers::shards::Location;
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::awaitable::{self, Wait};
use super::cell::GilCell;
use super::channel::Channel;
use super::core::Core;
use super::current::{self, FORKED, forked};
use super::task::{Options, Payload, Runnable};
use super::timer_type::TimerObject;
use super::waits::Tried;

/// Most calls have one argument at most: it needs no tuple, which the collector would track.
pub enum Arguments {
    None,
    One(Py<PyAny>),
    Many(Py<PyTuple>),
}

pub struct Call {
    function: Py<PyAny>,
    arguments: Arguments,
}

pub struct Ticks {
    channel: Py<Channel>,
    /// Zero: once.
    period_ns: u64,
    due_ns: u64,
}

/// What a timer is for that the collector may have to look at.
pub enum Target {
    Call(Call),
    Ticks(Ticks),
    /// The collector took it.
    Gone,
}

/// What it is for. It lies in the object, behind the timer: as an allocation of its own, and freed
/// a million times, it made the C library tidy up for 25 ms at once.
pub enum Aim {
    /// A call of what cannot hold the timer.
    Leaf(Call),
    Other(GilCell<Target>),
}

/// As `Aim`, in its place.
pub enum Aimed<'a> {
    Leaf(&'a Call),
    Other(&'a GilCell<Target>),
}

/// Calls a function, or gives a value to who receives, when its time has come.
// What `stop` reads comes first: of a million timers none is in the cache.
#[repr(C)]
pub struct Timer {
    pub location: Location,
    core: Arc<Core>,
    /// It has left the wheel, and a worker will do what it is for.
    is_due: AtomicBool,
    pub is_leaf: bool,
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
) -> PyResult<TimerObject> {
    let Some(seconds) = arguments.next() else {
        return Err(PyTypeError::new_err(
            "Timer takes seconds, and a function with its arguments: none were given",
        ));
    };
    let ns = nanoseconds(seconds.extract()?, "Timer")?;
    let aim = match (arguments.next(), arguments.next()) {
        (None, _) => Aim::tick_once(py)?,
        (Some(function), None) if function.is_none() => Aim::tick_once(py)?,
        (Some(function), first) => Aim::call(Call::new(function, first, arguments)?, py),
    };
    start(py, aim, ns)
}

/// A timer that fires again and again, into a channel; what finds no room there is dropped.
pub fn every(py: Python<'_>, seconds: f64, channel: Py<Channel>) -> PyResult<TimerObject> {
    let period_ns = nanoseconds(seconds, "Ticker")?;
    if period_ns == 0 {
        return Err(PyValueError::new_err("Ticker takes more than zero seconds"));
    }
    start(py, Aim::ticks(channel, period_ns), period_ns)
}

fn start(py: Python<'_>, aim: Aim, ns: u64) -> PyResult<TimerObject> {
    let timer = TimerObject::new(
        py,
        Timer {
            location: Location::default(),
            core: current::core()?,
            is_due: AtomicBool::new(false),
            is_leaf: matches!(aim, Aim::Leaf(_)),
        },
        aim,
    )?;
    arm(py, &timer, timer.after(ns))?;
    Ok(timer)
}

/// Has it come due at that time; it is not pending.
fn arm(py: Python<'_>, timer: &TimerObject, due_ns: u64) -> PyResult<()> {
    if timer.core.register.get(py).is_left {
        return Err(PyRuntimeError::new_err("this herz runtime has ended"));
    }
    if let Aimed::Other(target) = timer.aim() {
        if let Target::Ticks(ticks) = &mut *target.get_mut(py) {
            ticks.due_ns = due_ns;
        }
        timer.untrack(py);
    }
    let machine = &timer.core.machine;
    let refused = machine.arm(due_ns, Runnable::Timer(timer.clone_ref(py)));
    refused.map_err(|_| super::broken("a timer"))
}

impl Call {
    fn new<'py>(
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
        Ok(Self {
            function: function.unbind(),
            arguments,
        })
    }

    /// Whether nothing that it holds can hold the timer.
    fn is_leaf(&self, py: Python<'_>) -> bool {
        let is_leaf = |object: &Py<PyAny>| awaitable::is_leaf(object.bind(py));
        match &self.arguments {
            Arguments::None => is_leaf(&self.function),
            Arguments::One(one) => is_leaf(&self.function) && is_leaf(one),
            Arguments::Many(_) => false,
        }
    }

    fn clone_ref(&self, py: Python<'_>) -> Self {
        let arguments = match &self.arguments {
            Arguments::None => Arguments::None,
            Arguments::One(one) => Arguments::One(one.clone_ref(py)),
            Arguments::Many(all) => Arguments::Many(all.clone_ref(py)),
        };
        Self {
            function: self.function.clone_ref(py),
            arguments,
        }
    }

    fn make<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let function = self.function.bind(py);
        match &self.arguments {
            Arguments::None => function.call0(),
            Arguments::One(one) => function.call1((one,)),
            Arguments::Many(all) => function.call1(all.bind(py)),
        }
    }

    fn visit(&self, visit: &mut dyn FnMut(*mut ffi::PyObject)) {
        visit(self.function.as_ptr());
        match &self.arguments {
            Arguments::None => {}
            Arguments::One(one) => visit(one.as_ptr()),
            Arguments::Many(all) => visit(all.as_ptr()),
        }
    }
}

impl Ticks {
    /// The next of its times that is to come: it never drifts, and skips what is over.
    fn next_ns(&self, now_ns: u64) -> Option<u64> {
        let late_ns = now_ns.saturating_sub(self.due_ns);
        let skipped = late_ns.checked_div(self.period_ns)?;
        let periods_ns = self.period_ns.saturating_mul(skipped + 1);
        Some(self.due_ns.saturating_add(periods_ns))
    }
}

impl Aim {
    fn call(call: Call, py: Python<'_>) -> Self {
        if call.is_leaf(py) {
            Self::Leaf(call)
        } else {
            Self::Other(GilCell::new(Target::Call(call)))
        }
    }

    fn ticks(channel: Py<Channel>, period_ns: u64) -> Self {
        channel.get().note_timer();
        Self::Other(GilCell::new(Target::Ticks(Ticks {
            channel,
            period_ns,
            due_ns: 0,
        })))
    }

    fn tick_once(py: Python<'_>) -> PyResult<Self> {
        let channel = Py::new(py, Channel::with_capacity(Some(1)))?;
        Ok(Self::ticks(channel, 0))
    }
}

impl Aimed<'_> {
    /// Shows the collector what it holds.
    ///
    /// # Safety
    /// The calling thread holds the interpreter's lock.
    // SAFETY: the caller keeps the rule above.
    pub unsafe fn visit(&self, visit: &mut dyn FnMut(*mut ffi::PyObject)) {
        let Self::Other(target) = self else {
            return;
        };
        // SAFETY: as the caller promises.
        match unsafe { target.visited() }.as_deref() {
            Some(Target::Call(call)) => call.visit(visit),
            Some(Target::Ticks(ticks)) => visit(ticks.channel.as_ptr()),
            Some(Target::Gone) | None => {}
        }
    }

    /// Lets go of what it holds, for the collector.
    pub fn clear(&self, py: Python<'_>) {
        if let Self::Other(target) = self {
            let held = std::mem::replace(&mut *target.get_mut(py), Target::Gone);
            // Released outside the borrow.
            drop(held);
        }
    }

    /// The channel that it ticks into.
    fn channel(&self, py: Python<'_>) -> Option<Py<Channel>> {
        let Self::Other(target) = self else {
            return None;
        };
        match &*target.get(py) {
            Target::Ticks(ticks) => Some(ticks.channel.clone_ref(py)),
            Target::Call(_) | Target::Gone => None,
        }
    }
}

/// What a timer that is due has to do, out of its borrow.
enum Act {
    Call(Call),
    Tick(Py<Channel>, Option<u64>),
}

impl Timer {
    /// It left the wheel; a worker must call `fire`.
    pub fn due(&self) -> Wake {
        // ORDERING: Relaxed: all who look hold the interpreter.
        self.is_due.store(true, Ordering::Relaxed);
        Wake::Queue
    }

    /// Whether it will fire.
    pub fn is_pending(&self) -> bool {
        self.location.is_pending() || self.is_due.load(Ordering::Relaxed)
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

    fn call(&self, py: Python<'_>, call: &Call) -> PyResult<()> {
        let result = call.make(py)?;
        if awaitable::is_exact_coroutine(&result) {
            let payload = Payload::Coroutine(result.unbind());
            self.core.spawn(py, payload, Options::default())?;
        }
        Ok(())
    }

    fn tick(&self, py: Python<'_>, channel: &Py<Channel>) -> PyResult<()> {
        let now_ns = self.core.machine.clock.now_ns();
        let now = now_ns.into_pyobject(py)?.into_any().unbind();
        // A tick that nobody took yet stands for this one, too.
        let (Tried::Done(_) | Tried::Later | Tried::Failed(_)) = channel.get().try_send(py, &now);
        Ok(())
    }
}

fn act(py: Python<'_>, timer: &TimerObject) -> PyResult<()> {
    let target = match timer.aim() {
        Aimed::Leaf(call) => return timer.call(py, call),
        Aimed::Other(target) => target,
    };
    let act = match &*target.get(py) {
        Target::Call(call) => Act::Call(call.clone_ref(py)),
        Target::Ticks(ticks) => {
            let again_ns = ticks.next_ns(timer.core.machine.clock.now_ns());
            Act::Tick(ticks.channel.clone_ref(py), again_ns)
        }
        Target::Gone => return Ok(()),
    };
    match act {
        Act::Call(call) => timer.call(py, &call),
        Act::Tick(channel, again_ns) => {
            if let Some(again_ns) = again_ns
                && !timer.core.register.get(py).is_left
            {
                arm(py, timer, again_ns)?;
            }
            timer.tick(py, &channel)
        }
    }
}

/// Does what it is for; a worker calls it, outside all tasks.
pub fn fire(py: Python<'_>, timer: &TimerObject) -> PyResult<()> {
    let done = if timer.take_due() {
        act(py, timer)
    } else {
        Ok(())
    };
    if timer.is_shared(py) {
        release(py, timer);
    }
    done
}

/// Out of the wheel, and out of what is due: whether it would have come.
fn withdraw(py: Python<'_>, timer: &TimerObject) -> PyResult<bool> {
    if FORKED.load(Ordering::Relaxed) {
        return Err(forked());
    }
    let was_due = timer.take_due();
    let (was_pending, dead) = timer.core.machine.retire(&timer.location);
    drop(dead);
    let channel = timer.aim().channel(py);
    let was_unseen = channel.is_some_and(|channel| channel.get().drain(py));
    Ok(was_due || was_pending || was_unseen)
}

/// Where it is not pending, the collector may have to look at it from here on.
fn release(py: Python<'_>, timer: &TimerObject) {
    if !timer.is_leaf && !timer.location.is_pending() {
        timer.track(py);
    }
}

/// Keeps it from firing: True where it would have.
pub fn stop(py: Python<'_>, timer: &TimerObject) -> PyResult<bool> {
    let was_active = withdraw(py, timer)?;
    release(py, timer);
    Ok(was_active)
}

/// Fires so many seconds from now instead: True where it had been going to.
pub fn reset(py: Python<'_>, timer: &TimerObject, seconds: f64) -> PyResult<bool> {
    let ns = nanoseconds(seconds, "reset")?;
    if let Aimed::Other(target) = timer.aim()
        && let Target::Ticks(ticks) = &mut *target.get_mut(py)
        && ticks.period_ns > 0
    {
        if ns == 0 {
            return Err(PyValueError::new_err("reset takes more than zero seconds"));
        }
        ticks.period_ns = ns;
    }
    let was_active = withdraw(py, timer)?;
    arm(py, timer, timer.after(ns))?;
    Ok(was_active)
}

/// An awaitable of the time at which it fired, in nanoseconds of the runtime's clock.
pub fn receive(py: Python<'_>, timer: &TimerObject) -> PyResult<Py<PyAny>> {
    let Some(channel) = timer.aim().channel(py) else {
        return Err(PyTypeError::new_err(
            "a timer that calls a function has nothing to receive",
        ));
    };
    awaitable::new(py, Wait::Receive(channel))
}
