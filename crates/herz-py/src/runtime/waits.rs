//! How each wait begins and ends.

use herz_core::runtime::poller::now_ns;
use herz_core::runtime::task::State;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use super::Cancelled;
use super::awaitable::Wait;
use super::current::{BUDGET, CURRENT, Current, Resumed};
use super::task::{CANCELLED, Task, TaskRef, Waiter};

/// What an awaitable does next.
pub enum Step {
    Suspend,
    Give(Py<PyAny>),
    Raise(PyErr),
}

/// Begins the wait, or ends it when the task has come back.
pub fn step(py: Python<'_>, wait: &Wait) -> Step {
    CURRENT.with(|current| {
        let slot = current.task.borrow();
        let Some(task) = slot.as_ref() else {
            return Step::Raise(PyRuntimeError::new_err(
                "await outside a task: start it with herz.runtime.run(…) or go(…)",
            ));
        };
        let state = task.get().word.state();
        if state != State::Running {
            return Step::Raise(PyRuntimeError::new_err(
                "a function or a suspended task cannot await",
            ));
        }
        match (current.resumed.replace(Resumed::Not), wait) {
            (Resumed::Woken, _) | (Resumed::Yielded, Wait::Yield) => resume(py, task, wait),
            _ => begin(py, current, task, wait),
        }
    })
}

fn begin(py: Python<'_>, current: &Current, task: &Py<Task>, wait: &Wait) -> Step {
    let own = task.get();
    if own.has(CANCELLED) {
        return Step::Raise(Cancelled::new_err("the task was cancelled"));
    }
    match wait {
        Wait::Yield => suspend_to_yield(own),
        Wait::Sleep { ns } => {
            let generation = own.word.prepare();
            let when_ns = now_ns().saturating_add(*ns);
            let queued = TaskRef(task.clone_ref(py));
            let key = own.core.machine.arm(when_ns, queued, generation);
            let mut body = own.body.get_mut(py);
            body.timer = Some(key);
            body.waits_for = "a timer";
            Step::Suspend
        }
        Wait::Join(other) => {
            if !std::ptr::eq(&raw const *other.get().core, &raw const *own.core) {
                return Step::Raise(foreign("Task"));
            }
            if other.is(task) {
                return Step::Raise(PyRuntimeError::new_err("a task cannot await itself"));
            }
            if other.get().is_dead() {
                return at_once(current, own, || given(other.get().outcome(py)));
            }
            let generation = own.word.prepare();
            own.body.get_mut(py).waits_for = "a task";
            other.get().body.get_mut(py).joiners.push(Waiter {
                task: task.clone_ref(py),
                generation,
            });
            Step::Suspend
        }
    }
}

fn resume(py: Python<'_>, task: &Py<Task>, wait: &Wait) -> Step {
    let own = task.get();
    let (timer, inbox) = {
        let mut body = own.body.get_mut(py);
        (body.timer.take(), body.inbox.take())
    };
    if let Some(inbox) = inbox {
        return given(inbox.map_err(|error| PyErr::from_value(error.bind(py).clone())));
    }
    match wait {
        // Cancelled while it waited: whatever still names the task is taken back.
        Wait::Sleep { .. } if own.has(CANCELLED) => {
            drop(timer.and_then(|key| own.core.machine.disarm(key)));
            Step::Raise(Cancelled::new_err("the task was cancelled"))
        }
        Wait::Join(other) if !other.get().is_dead() => {
            let mut joiners = other.get().body.get_mut(py);
            let at = joiners
                .joiners
                .iter()
                .position(|waiter| waiter.task.is(task));
            let left = at.map(|at| joiners.joiners.remove(at));
            drop(joiners);
            drop(left);
            Step::Raise(Cancelled::new_err("the task was cancelled"))
        }
        Wait::Join(other) => given(other.get().outcome(py)),
        Wait::Yield | Wait::Sleep { .. } => Step::Give(py.None()),
    }
}

fn suspend_to_yield(own: &Task) -> Step {
    own.word.prepare_yield();
    Step::Suspend
}

/// Completes without suspending, unless others must get their turn: after `BUDGET` of these, or
/// when the processor was taken. The wait then begins again.
fn at_once(current: &Current, own: &Task, complete: impl FnOnce() -> Step) -> Step {
    let left = current.budget.get();
    let is_detached = current
        .worker()
        .is_some_and(|worker| own.core.machine.processor.seen().owner != worker);
    if left == 0 || is_detached {
        current.budget.set(BUDGET);
        return suspend_to_yield(own);
    }
    current.budget.set(left - 1);
    complete()
}

fn given(result: PyResult<Py<PyAny>>) -> Step {
    match result {
        Ok(value) => Step::Give(value),
        Err(error) => Step::Raise(error),
    }
}

/// The error for an object of another runtime.
pub fn foreign(what: &str) -> PyErr {
    PyRuntimeError::new_err(format!(
        "this {what} belongs to another herz runtime: pass values between them, not its objects"
    ))
}
