//! Waits for descriptors that are not the runtime's: it only asks whether they are ready.

use std::cell::Cell;
use std::sync::Arc;

use herz_core::runtime::descriptors::{Key, Readiness, Refusal, Side};
use herz_core::runtime::stream;
use herz_core::runtime::task::Generation;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use super::Closed;
use super::awaitable::{self, Wait};
use super::core::Core;
use super::current;
use super::sockets::os_error;
use super::task::{Runnable, Task};
use super::waits::Step;

/// One wait.
pub struct Watch {
    number: u32,
    side: Side,
    /// The share in the descriptor's slot, while the task waits, and of which runtime.
    held: Cell<Option<Box<Share>>>,
}

struct Share {
    core: Arc<Core>,
    key: Key,
    armed: Option<Generation>,
}

/// The error for a second task at the same side of a descriptor.
pub fn busy() -> PyErr {
    PyRuntimeError::new_err("another task waits for this descriptor")
}

impl Watch {
    /// Asks, and has the task wait where it is not ready.
    pub fn advance(&self, py: Python<'_>, task: &Py<Task>) -> Step {
        match self.ask_or_arm(py, task) {
            Ok(true) => {
                self.forget(py);
                Step::Give(py.None())
            }
            Ok(false) => Step::Suspend,
            Err(error) => {
                self.forget(py);
                Step::raise(error)
            }
        }
    }

    /// True: it is ready. False: the task is armed.
    fn ask_or_arm(&self, py: Python<'_>, task: &Py<Task>) -> PyResult<bool> {
        let own = task.get();
        let machine = &own.core.machine;
        let descriptors = &machine.descriptors;
        let mut share = self.held.take();
        // Bound: each further turn is for an event that came during the last one.
        loop {
            if let Some(share) = &share {
                if !descriptors.stands(share.key) {
                    return Err(Closed::new_err("the descriptor was closed"));
                }
                descriptors.clear(share.key, self.side);
            }
            let is_ready = stream::is_ready(awaitable::borrow(self.number), self.side);
            let is_ready = is_ready.map_err(|error| os_error(py, "wait", &error))?;
            if is_ready {
                if let Some(share) = share {
                    // What was cleared may be news for a connection with the same descriptor.
                    let what = Readiness {
                        read: self.side == Side::Read,
                        write: self.side == Side::Write,
                        is_odd: false,
                    };
                    machine.note_ready(current::worker_of(&own.core), share.key, what);
                    self.held.set(Some(share));
                }
                return Ok(true);
            }
            let mut held = match share.take() {
                Some(share) => share,
                None => self.share(py, &own.core)?,
            };
            let generation = own.word.prepare();
            let waiter = Runnable::Task(task.clone_ref(py));
            let armed = machine.arm_descriptor(held.key, self.side, waiter, generation, false);
            let Err((refusal, waiter)) = armed else {
                held.armed = Some(generation);
                self.held.set(Some(held));
                own.body.get_mut(py).waits_for = &"a descriptor";
                return Ok(false);
            };
            own.word.call_off();
            drop(waiter);
            if refusal == Refusal::Busy {
                self.held.set(Some(held));
                return Err(busy());
            }
            share = Some(held);
        }
    }

    fn share(&self, py: Python<'_>, core: &Arc<Core>) -> PyResult<Box<Share>> {
        let key = core.machine.share_descriptor(self.number);
        let key = key.map_err(|error| os_error(py, "watch a descriptor", &error))?;
        Ok(Box::new(Share {
            core: Arc::clone(core),
            key,
            armed: None,
        }))
    }

    /// What a task waits for in it, in words.
    pub fn describe(&self) -> String {
        let what = match self.side {
            Side::Read => "readable",
            Side::Write => "writable",
        };
        format!("a descriptor ({}, to be {what})", self.number)
    }

    /// The wait ended, or will never be resumed.
    pub fn forget(&self, _py: Python<'_>) {
        let Some(share) = self.held.take() else {
            return;
        };
        let machine = &share.core.machine;
        if let Some(generation) = share.armed {
            drop(machine.descriptors.disarm(share.key, self.side, generation));
        }
        machine.release_descriptor(current::worker_of(&share.core), share.key);
    }
}

fn wait(py: Python<'_>, descriptor: &Bound<'_, PyAny>, side: Side) -> PyResult<Py<PyAny>> {
    let watch = Watch {
        number: awaitable::descriptor_of(descriptor)?,
        side,
        held: Cell::new(None),
    };
    awaitable::new(py, Wait::Descriptor(watch))
}

/// An awaitable that ends once a read would not block: the descriptor of a file that is not the
/// runtime's, or an object with ``fileno()``.
#[pyfunction]
#[pyo3(signature = (descriptor, /))]
pub fn wait_readable(py: Python<'_>, descriptor: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
    wait(py, descriptor, Side::Read)
}

/// An awaitable that ends once a write would not block.
#[pyfunction]
#[pyo3(signature = (descriptor, /))]
pub fn wait_writable(py: Python<'_>, descriptor: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
    wait(py, descriptor, Side::Write)
}

/// The descriptor is about to be closed: tasks that wait for it get `Closed`.
#[pyfunction]
#[pyo3(signature = (descriptor, /))]
pub fn notify_closing(descriptor: &Bound<'_, PyAny>) -> PyResult<()> {
    let number = awaitable::descriptor_of(descriptor)?;
    let core = current::core()?;
    let worker = current::worker_of(&core);
    core.machine.close_number(worker, number);
    Ok(())
}
