//! `relay`: two connections joined by tasks on native processors, and the Python task that waits
//! for their end.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use herz_core::runtime::relay::{Cause, Outcome, Relay};
use herz_core::runtime::sync::Lock;
use pyo3::exceptions::{PyTimeoutError, PyValueError};
use pyo3::prelude::*;

use super::awaitable::{self, Wait};
use super::cell::GilCell;
use super::connection::Connection;
use super::core::Core;
use super::current::FORKED;
use super::sockets::os_error;
use super::task::{NO_CASE, Task, Waiter};
use super::timer::nanoseconds;
use super::waits::Step;

/// What the native tasks leave for the Python one, under a lock that is held for some words.
#[derive(Default)]
struct Desk {
    waiter: Option<Waiter>,
    outcome: Option<Outcome>,
}

struct Running {
    relay: Arc<Relay>,
    desk: Arc<Lock<Desk>>,
}

/// What a task waits for in it, in words.
pub const WAITS_FOR: &str = "the end of a relay";

/// One wait for a relay.
pub struct Joined {
    /// The objects, not only their sockets: one that is dropped open is closed.
    ends: [Py<Connection>; 2],
    limit_ns: Option<u64>,
    running: GilCell<Option<Running>>,
}

impl Joined {
    pub fn is_at_home(&self, task: &Task) -> bool {
        self.ends
            .iter()
            .all(|end| Arc::ptr_eq(&end.get().socket().core, &task.core))
    }

    /// Takes the connections over, and has the task wait for their end.
    pub fn begin(&self, py: Python<'_>, task: &Py<Task>) -> Step {
        let own = task.get();
        let core = Arc::clone(&own.core);
        let generation = own.word.prepare();
        let desk = Arc::new(Lock::new(Desk {
            waiter: Some(Waiter {
                task: task.clone_ref(py),
                generation,
                case: NO_CASE,
            }),
            outcome: None,
        }));
        match self.start(py, &core, &desk) {
            Ok(relay) => {
                *self.running.get_mut(py) = Some(Running { relay, desk });
                own.body.get_mut(py).waits_for = &WAITS_FOR;
                Step::Suspend
            }
            Err(error) => {
                own.word.call_off();
                let waiter = desk.lock().waiter.take();
                drop(waiter);
                Step::raise(error)
            }
        }
    }

    fn start(
        &self,
        py: Python<'_>,
        core: &Arc<Core>,
        desk: &Arc<Lock<Desk>>,
    ) -> PyResult<Arc<Relay>> {
        let machine = &core.machine;
        let failed = |error| os_error(py, "relay", &error);
        let executor = machine.native.get().map_err(failed)?;
        for end in &self.ends {
            end.get().socket().refuse_used(py)?;
        }
        let [first, second] = &self.ends;
        let ends = [first, second].map(|end| end.get().socket().surrender(py));
        let [first, second] = ends;
        let ends = [first?, second?];
        // As long as it runs, no wait is a deadlock: what ends it comes from outside.
        machine.outside.fetch_add(1, Ordering::Relaxed);
        let (desk, told) = (Arc::clone(desk), Arc::clone(core));
        let ended = Box::new(move |outcome| tell(&told, &desk, outcome));
        let begun = Relay::start(executor, ends, self.limit_ns, ended);
        begun.map_err(|error| {
            machine.outside.fetch_sub(1, Ordering::Relaxed);
            failed(error)
        })
    }

    /// What came of it; None: it goes on.
    pub fn outcome(&self, py: Python<'_>) -> Option<PyResult<Py<PyAny>>> {
        let outcome = {
            let running = self.running.get(py);
            running.as_ref()?.desk.lock().outcome.take()?
        };
        let running = self.running.get_mut(py).take();
        drop(running);
        let (bytes, cause) = outcome;
        let text = format!("after {} and {} bytes", bytes[0], bytes[1]);
        Some(match cause {
            None => (bytes[0], bytes[1])
                .into_pyobject(py)
                .map(|pair| pair.into_any().unbind()),
            Some(Cause::Failed(error)) => Err(os_error(py, "relay", &error)),
            Some(Cause::Silent) => Err(PyTimeoutError::new_err(format!(
                "nothing came for idle_seconds, {text}"
            ))),
            // Whoever stops one does not wait for it any more.
            Some(Cause::Stopped) => Err(super::broken("a relay")),
        })
    }

    /// The wait ended, or will never be resumed: so does the relay.
    pub fn forget(&self, py: Python<'_>) {
        if FORKED.load(Ordering::Relaxed) {
            return;
        }
        let running = self.running.get_mut(py).take();
        if let Some(running) = running {
            let waiter = running.desk.lock().waiter.take();
            drop(waiter);
            running.relay.stop();
        }
    }
}

/// Called by a native worker, which knows no interpreter, when both connections are closed.
fn tell(core: &Arc<Core>, desk: &Lock<Desk>, outcome: Outcome) {
    let waiter = {
        let mut desk = desk.lock();
        desk.outcome = Some(outcome);
        desk.waiter.take()
    };
    core.wake(None, waiter.into_iter().collect());
    let machine = &core.machine;
    // ORDERING: Release: who sees the count without this one sees the task in its queue.
    machine.outside.fetch_sub(1, Ordering::Release);
    machine.tell_news();
}

/// An awaitable that joins two connections: all that comes from one is sent to the other, both
/// ways, by native threads, until both sides have ended. It gives the bytes that went from the
/// first to the second and back. It takes both connections over, and closes them at its end; with
/// `idle_seconds`, when nothing came for so long, with `TimeoutError`.
#[pyfunction]
#[pyo3(signature = (first, second, /, *, idle_seconds = None))]
pub fn relay(
    first: &Bound<'_, Connection>,
    second: &Bound<'_, Connection>,
    idle_seconds: Option<f64>,
) -> PyResult<Py<PyAny>> {
    let py = first.py();
    if first.is(second) {
        return Err(PyValueError::new_err(
            "relay joins two connections: these are the same one",
        ));
    }
    let limit_ns = match idle_seconds {
        None => None,
        Some(seconds) => match nanoseconds(seconds, "idle_seconds")? {
            0 => return Err(PyValueError::new_err("idle_seconds must be above zero")),
            ns => Some(ns),
        },
    };
    let joined = Joined {
        ends: [first.clone().unbind(), second.clone().unbind()],
        limit_ns,
        running: GilCell::new(None),
    };
    awaitable::new(py, Wait::Relay(Box::new(joined)))
}
