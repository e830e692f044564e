//! How each wait begins and ends.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use herz_core::runtime::heap::Key;
use herz_core::runtime::poller::now_ns;
use herz_core::runtime::task::State;
use pyo3::exceptions::{PyRuntimeError, PyStopAsyncIteration};
use pyo3::prelude::*;

use super::awaitable::Wait;
use super::core::Core;
use super::current::{BUDGET, CURRENT, Current, FORKED, Resumed, forked};
use super::task::{CANCELLED, Task, TaskRef, Waiter};
use super::{Cancelled, Closed};

/// What an awaitable does next.
pub enum Step {
    Suspend,
    Give(Py<PyAny>),
    Raise(PyErr),
}

/// Begins the wait, or ends it when the task has come back.
pub fn step(py: Python<'_>, wait: &Wait) -> Step {
    if FORKED.load(Ordering::Relaxed) {
        return Step::Raise(forked());
    }
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
            // The most frequent way through here: nothing else of the task is looked at.
            (Resumed::Yielded, Wait::Yield) => Step::Give(py.None()),
            (Resumed::Woken, _) => resume(py, task, wait),
            _ => begin(py, current, task, wait),
        }
    })
}

fn begin(py: Python<'_>, current: &Current, task: &Py<Task>, wait: &Wait) -> Step {
    let own = task.get();
    if matches!(wait, Wait::Nothing) {
        // What is over already is no point at which anything else may happen.
        return Step::Give(py.None());
    }
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
        Wait::Join(other) if other.is(task) => {
            Step::Raise(PyRuntimeError::new_err("a task cannot await itself"))
        }
        wait if !is_at_home(py, own, wait) => Step::Raise(foreign()),
        _ if must_suspend(current, own) => suspend_to_yield(own),
        wait => match attempt(py, wait) {
            Tried::Done(value) => given(py, own, wait, value),
            Tried::Failed(error) => Step::Raise(ended(wait, py, error)),
            Tried::Later => {
                let generation = own.word.prepare();
                let waiter = Waiter {
                    task: task.clone_ref(py),
                    generation,
                };
                own.body.get_mut(py).waits_for = queue(py, wait, waiter);
                Step::Suspend
            }
        },
    }
}

/// What came of asking without waiting.
pub enum Tried {
    Done(Py<PyAny>),
    Failed(PyErr),
    /// The task must wait.
    Later,
}

/// The runtime of whoever used an object first; those of another one are refused.
#[derive(Default)]
pub struct Home(Weak<Core>);

impl Home {
    pub fn takes(&mut self, task: &Task) -> bool {
        if self.0.strong_count() == 0 {
            self.0 = Arc::downgrade(&task.core);
        }
        std::ptr::eq(self.0.as_ptr(), Arc::as_ptr(&task.core))
    }

    pub fn core(&self) -> Option<Arc<Core>> {
        self.0.upgrade()
    }
}

fn is_at_home(py: Python<'_>, own: &Task, wait: &Wait) -> bool {
    match wait {
        Wait::Join(other) => Arc::ptr_eq(&other.get().core, &own.core),
        Wait::Receive(channel) | Wait::Next(channel) | Wait::Send(channel, _) => {
            channel.get().is_at_home(py, own)
        }
        Wait::Acquire(semaphore) => semaphore.get().is_at_home(py, own),
        Wait::Pass(gate) => gate.get().is_at_home(py, own),
        Wait::Yield | Wait::Sleep { .. } | Wait::Nothing => true,
    }
}

fn attempt(py: Python<'_>, wait: &Wait) -> Tried {
    match wait {
        Wait::Join(other) if !other.get().is_dead() => Tried::Later,
        Wait::Join(other) => match other.get().outcome(py) {
            Ok(value) => Tried::Done(value),
            Err(error) => Tried::Failed(error),
        },
        Wait::Receive(channel) | Wait::Next(channel) => channel.get().try_receive(py),
        Wait::Send(channel, value) => channel.get().try_send(py, value),
        Wait::Acquire(semaphore) => semaphore.get().try_acquire(py),
        Wait::Pass(gate) => gate.get().try_pass(py),
        Wait::Yield | Wait::Sleep { .. } | Wait::Nothing => Tried::Done(py.None()),
    }
}

/// Queues the task where it waits, and names that.
fn queue(py: Python<'_>, wait: &Wait, waiter: Waiter) -> &'static str {
    match wait {
        Wait::Join(other) => {
            other.get().body.get_mut(py).joiners.push(waiter);
            "a task"
        }
        Wait::Receive(channel) | Wait::Next(channel) => {
            channel.get().queue_receiver(py, waiter);
            "a value of a channel"
        }
        Wait::Send(channel, value) => {
            channel.get().queue_sender(py, waiter, value.clone_ref(py));
            "a receiver of a channel"
        }
        Wait::Acquire(semaphore) => {
            semaphore.get().queue_task(py, waiter);
            "a permit"
        }
        Wait::Pass(gate) => {
            gate.get().queue_task(py, waiter);
            "an event"
        }
        Wait::Yield | Wait::Sleep { .. } | Wait::Nothing => unreachable!("waits for nobody"),
    }
}

/// The wait gave the task what it wanted.
fn given(py: Python<'_>, own: &Task, wait: &Wait, value: Py<PyAny>) -> Step {
    if let Wait::Acquire(semaphore) = wait {
        semaphore.get().note_holder(py, own);
    }
    Step::Give(value)
}

/// Takes a cancelled task out of where it waits.
fn withdraw(py: Python<'_>, wait: &Wait, task: &Py<Task>, timer: Option<Key>) {
    match wait {
        Wait::Join(other) => {
            let gone: Vec<Waiter>;
            {
                let mut body = other.get().body.get_mut(py);
                let all = std::mem::take(&mut body.joiners);
                (gone, body.joiners) = all.into_iter().partition(|waiter| waiter.task.is(task));
            }
            drop(gone);
        }
        Wait::Receive(channel) | Wait::Next(channel) | Wait::Send(channel, _) => {
            channel.get().withdraw(py, task);
        }
        Wait::Acquire(semaphore) => semaphore.get().withdraw(py, task),
        Wait::Pass(gate) => gate.get().withdraw(py, task),
        Wait::Sleep { .. } => {
            drop(timer.and_then(|key| task.get().core.machine.disarm(key)));
        }
        Wait::Yield | Wait::Nothing => {}
    }
}

/// `async for` ends where a receiver is told that the channel is closed.
fn ended(wait: &Wait, py: Python<'_>, error: PyErr) -> PyErr {
    match wait {
        Wait::Next(_) if error.is_instance_of::<Closed>(py) => PyStopAsyncIteration::new_err(()),
        _ => error,
    }
}

fn resume(py: Python<'_>, task: &Py<Task>, wait: &Wait) -> Step {
    let own = task.get();
    let (timer, inbox) = {
        let mut body = own.body.get_mut(py);
        (body.timer.take(), body.inbox.take())
    };
    match (inbox, wait) {
        (Some(Ok(value)), wait) => given(py, own, wait, value),
        (Some(Err(error)), wait) => {
            let error = PyErr::from_value(error.bind(py).clone());
            Step::Raise(ended(wait, py, error))
        }
        (None, Wait::Join(other)) if other.get().is_dead() => match other.get().outcome(py) {
            Ok(value) => Step::Give(value),
            Err(error) => Step::Raise(error),
        },
        // Cancelled while it waited, and nothing was on its way.
        (None, wait) if own.has(CANCELLED) => {
            withdraw(py, wait, task, timer);
            Step::Raise(Cancelled::new_err("the task was cancelled"))
        }
        (None, _) => Step::Give(py.None()),
    }
}

fn suspend_to_yield(own: &Task) -> Step {
    own.word.prepare_yield();
    Step::Suspend
}

/// Whether the task must let others run before its wait is looked at: after `BUDGET` waits that
/// completed at once, or when the processor was taken. The wait then begins again.
fn must_suspend(current: &Current, own: &Task) -> bool {
    let left = current.budget.get();
    let is_detached = current
        .worker()
        .is_some_and(|worker| own.core.machine.processor.seen().owner != worker);
    if left == 0 || is_detached {
        current.budget.set(BUDGET);
        return true;
    }
    current.budget.set(left - 1);
    false
}

/// The error for an object of another runtime.
fn foreign() -> PyErr {
    PyRuntimeError::new_err(
        "this object belongs to another herz runtime: pass values between them, not objects",
    )
}
