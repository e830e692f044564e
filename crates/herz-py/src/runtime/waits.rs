//! How each wait begins and ends.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use herz_core::runtime::line::Ticket;
use herz_core::runtime::task::State;
use pyo3::exceptions::{PyRuntimeError, PyStopAsyncIteration};
use pyo3::prelude::*;

use super::awaitable::Wait;
use super::core::Core;
use super::current::{BUDGET, CURRENT, Current, FORKED, Resumed, forked};
use super::task::{BOUND, CANCELLED, NO_CASE, Runnable, Task, Tickets, Waiter, Words};
use super::{Cancelled, Closed};

/// What an awaitable does next.
pub enum Step {
    Suspend,
    Give(Py<PyAny>),
    /// On the heap: so that all else comes back in registers.
    Raise(Box<PyErr>),
}

impl Step {
    pub fn raise(error: PyErr) -> Self {
        Self::Raise(Box::new(error))
    }
}

/// Begins the wait, or ends it when the task has come back.
pub fn step(py: Python<'_>, wait: &Wait, is_traced: bool) -> Step {
    if FORKED.load(Ordering::Relaxed) {
        return Step::raise(forked());
    }
    CURRENT.with(|current| {
        let slot = current.task.borrow();
        let Some(task) = slot.as_ref() else {
            return Step::raise(PyRuntimeError::new_err(
                "await outside a task: start it with herz.runtime.run(…) or go(…)",
            ));
        };
        let own = task.get();
        match own.word.state() {
            State::Running => {}
            State::Dead => {
                return Step::raise(Cancelled::new_err("the task was left inside a call"));
            }
            _ => {
                return Step::raise(PyRuntimeError::new_err(
                    "a function or a suspended task cannot await",
                ));
            }
        }
        if is_traced || own.has(BOUND) {
            own.trace(py, current.worker(), is_traced);
        }
        match (current.resumed.replace(Resumed::Not), wait) {
            // The two most frequent ways through here; what is rarer is not inlined beside them.
            (Resumed::Yielded, Wait::Yield) => Step::Give(py.None()),
            (Resumed::Not, Wait::Yield) if !own.has(CANCELLED) => {
                own.disarm();
                suspend_to_yield(own)
            }
            (Resumed::Woken, _) => resume(py, task, wait),
            _ => begin(py, current, task, wait),
        }
    })
}

#[inline(never)]
fn begin(py: Python<'_>, current: &Current, task: &Py<Task>, wait: &Wait) -> Step {
    let own = task.get();
    match wait {
        // What is over already is no point at which anything else may happen.
        Wait::Nothing => return Step::Give(py.None()),
        Wait::Given(value) => return Step::Give(value.clone_ref(py)),
        _ => {}
    }
    if own.has(CANCELLED) {
        return Step::raise(Cancelled::new_err("the task was cancelled"));
    }
    // Of a wait that was begun by hand and never suspended.
    own.disarm();
    match wait {
        Wait::Yield => suspend_to_yield(own),
        Wait::Sleep { ns } => {
            own.word.prepare();
            arm(py, task, *ns);
            own.body.get_mut(py).waits_for = &"a timer";
            Step::Suspend
        }
        Wait::Join(other) if other.is(task) => {
            Step::raise(PyRuntimeError::new_err("a task cannot await itself"))
        }
        wait if !is_at_home(py, own, wait) => Step::raise(foreign()),
        _ if must_suspend(current, own) => suspend_to_yield(own),
        Wait::Select(select) => match select.attempt(py, own) {
            Tried::Done(value) => Step::Give(value),
            Tried::Failed(error) => Step::raise(error),
            Tried::Later => {
                let generation = own.word.prepare();
                own.body.get_mut(py).waits_for = &"one of several";
                select.queue(py, task, |case| Waiter {
                    task: task.clone_ref(py),
                    generation,
                    case,
                });
                Step::Suspend
            }
        },
        Wait::Socket(operation) => operation.advance(py, task),
        Wait::Descriptor(watch) => watch.advance(py, task),
        wait => match attempt(py, own, wait) {
            Tried::Done(value) => Step::Give(value),
            Tried::Failed(error) => Step::raise(ended(wait, py, error)),
            Tried::Later => {
                let generation = own.word.prepare();
                let waiter = Waiter {
                    task: task.clone_ref(py),
                    generation,
                    case: NO_CASE,
                };
                let (waits_for, ticket) = queue(py, wait, waiter);
                let mut body = own.body.get_mut(py);
                body.waits_for = waits_for;
                body.tickets = ticket.map_or(Tickets::None, Tickets::One);
                Step::Suspend
            }
        },
    }
}

/// Has the wait that was prepared end after so many nanoseconds.
pub fn arm(py: Python<'_>, task: &Py<Task>, ns: u64) {
    let machine = &task.get().core.machine;
    let when_ns = machine.clock.now_ns().saturating_add(ns);
    let refused = machine.arm(when_ns, Runnable::Task(task.clone_ref(py)));
    assert!(refused.is_ok(), "a task has one timer");
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
        Wait::Select(select) => select.waits(py).all(|(_, case)| is_at_home(py, own, case)),
        Wait::Socket(operation) => operation.is_at_home(own),
        _ => true,
    }
}

/// Asks without waiting, for that task.
pub fn attempt(py: Python<'_>, own: &Task, wait: &Wait) -> Tried {
    match wait {
        Wait::Join(other) if !other.get().is_dead() => Tried::Later,
        Wait::Join(other) => match other.get().outcome(py) {
            Ok(value) => Tried::Done(value),
            Err(error) => Tried::Failed(error),
        },
        Wait::Receive(channel) | Wait::Next(channel) => channel.get().try_receive(py),
        Wait::Send(channel, value) => channel.get().try_send(py, value),
        Wait::Acquire(semaphore) => semaphore.get().try_acquire(py, own),
        Wait::Pass(gate) => gate.get().try_pass(py),
        Wait::Sleep { .. } | Wait::Select(_) => Tried::Later,
        Wait::Yield | Wait::Nothing => Tried::Done(py.None()),
        Wait::Given(value) => Tried::Done(value.clone_ref(py)),
        Wait::Socket(_) | Wait::Descriptor(_) => unreachable!("has a way of its own"),
    }
}

/// Queues the task where it waits, and names that.
pub fn queue(py: Python<'_>, wait: &Wait, waiter: Waiter) -> (Words, Option<Ticket>) {
    match wait {
        Wait::Join(other) => {
            other.get().body.get_mut(py).joiners.push(waiter);
            (&"a task", None)
        }
        Wait::Receive(channel) | Wait::Next(channel) => {
            let ticket = channel.get().queue_receiver(py, waiter);
            (&"a value of a channel", Some(ticket))
        }
        Wait::Send(channel, value) => {
            let value = value.clone_ref(py);
            let ticket = channel.get().queue_sender(py, waiter, value);
            (&"a receiver of a channel", Some(ticket))
        }
        Wait::Acquire(semaphore) => (&"a permit", Some(semaphore.get().queue_task(py, waiter))),
        Wait::Pass(gate) => (&"an event", Some(gate.get().queue_task(py, waiter))),
        _ => unreachable!("waits for nobody"),
    }
}

/// Takes a task whose wait is over out of where it waited.
pub fn withdraw(py: Python<'_>, wait: &Wait, ticket: Option<Ticket>, task: &Py<Task>) {
    match (wait, ticket) {
        (Wait::Join(other), _) => {
            let gone = other.get().body.get_mut(py).joiners.leave(task);
            drop(gone);
        }
        (Wait::Receive(channel) | Wait::Next(channel), Some(ticket)) => {
            channel.get().withdraw_receiver(py, ticket);
        }
        (Wait::Send(channel, _), Some(ticket)) => channel.get().withdraw_sender(py, ticket),
        (Wait::Acquire(semaphore), Some(ticket)) => semaphore.get().withdraw(py, ticket),
        (Wait::Pass(gate), Some(ticket)) => gate.get().withdraw(py, ticket),
        (Wait::Socket(_) | Wait::Descriptor(_), _) => forget(py, wait),
        _ => {}
    }
}

/// The wait is over, or is dropped: nothing must name it any more.
pub fn forget(py: Python<'_>, wait: &Wait) {
    match wait {
        Wait::Socket(operation) => operation.forget(py),
        Wait::Descriptor(watch) => watch.forget(py),
        _ => {}
    }
}

/// `async for` ends where a receiver is told that the channel is closed.
fn ended(wait: &Wait, py: Python<'_>, error: PyErr) -> PyErr {
    match wait {
        Wait::Next(_) if error.is_instance_of::<Closed>(py) => PyStopAsyncIteration::new_err(()),
        _ => error,
    }
}

#[inline(never)]
fn resume(py: Python<'_>, task: &Py<Task>, wait: &Wait) -> Step {
    let own = task.get();
    own.disarm();
    let (inbox, tickets, case) = {
        let mut body = own.body.get_mut(py);
        let case = std::mem::replace(&mut body.case, NO_CASE);
        (body.inbox.take(), std::mem::take(&mut body.tickets), case)
    };
    match (inbox, wait) {
        (inbox, Wait::Select(select)) => {
            let is_cancelled = own.has(CANCELLED);
            select.resume(py, task, inbox, (tickets, case), is_cancelled)
        }
        (Some(Ok(value)), _) => Step::Give(value),
        (Some(Err(error)), wait) => {
            let error = PyErr::from_value(error.bind(py).clone());
            Step::raise(ended(wait, py, error))
        }
        (None, Wait::Join(other)) if other.get().is_dead() => match other.get().outcome(py) {
            Ok(value) => Step::Give(value),
            Err(error) => Step::raise(error),
        },
        // Cancelled while it waited, and nothing was on its way.
        (None, wait) if own.has(CANCELLED) => {
            let ticket = match tickets {
                Tickets::One(ticket) => Some(ticket),
                Tickets::None | Tickets::Many(_) => None,
            };
            withdraw(py, wait, ticket, task);
            Step::raise(Cancelled::new_err("the task was cancelled"))
        }
        // An event only says that it is worth trying.
        (None, Wait::Socket(operation)) => operation.advance(py, task),
        (None, Wait::Descriptor(watch)) => watch.advance(py, task),
        (None, _) => Step::Give(py.None()),
    }
}

pub fn suspend_to_yield(own: &Task) -> Step {
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
