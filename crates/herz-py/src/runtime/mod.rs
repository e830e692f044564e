//! The Python face of the task runtime: `herz.runtime` over `herz_core::runtime`.
//!
//! - [`face`]: `Runtime` and the functions that tasks call. [`task`]: the class `Task`.
//! - [`core`]: one runtime and the register of its tasks.
//! - [`worker`]: a worker with the processor. [`errands`]: its thread without it. [`current`]: what
//!   runs on this thread.
//! - [`awaitable`]: the native awaitables, the only file that speaks the C API.
//! - [`affinity`]: tasks that run on one worker only. [`abandon`]: tasks that nobody waits for.
//! - [`stay`]: threads that outlive the interpreter.
//! - [`waits`]: how each wait begins and ends; [`select`]: one of several. [`channel`], [`locks`],
//!   [`timer`]: what is waited for.
//! - [`connection`], [`sockets`]: connections and their waits; [`relay`]: two of them joined;
//!   [`watch`]: descriptors of others.
//! - [`seeing`]: what is shown of tasks, stalls and traces. [`describe`]: waits in words.
//! - [`cell`]: state that the interpreter's lock guards. [`interval`]: its switch interval.

mod abandon;
mod affinity;
mod ahead;
mod awaitable;
mod cell;
pub mod channel;
pub mod connection;
mod core;
mod current;
pub mod describe;
mod errands;
pub mod face;
mod interval;
pub mod locks;
pub mod relay;
pub mod seeing;
pub mod select;
mod sockets;
mod stay;
pub mod task;
mod timer;
mod timer_type;
mod waits;
pub mod watch;
mod worker;

use pyo3::create_exception;
use pyo3::exceptions::{PyBaseException, PyException, PyRuntimeError};
use pyo3::prelude::*;

create_exception!(
    herz.runtime,
    Cancelled,
    PyBaseException,
    "Raised at an await of a task that was cancelled. Let it pass, after tidying up."
);
create_exception!(
    herz.runtime,
    Deadlock,
    PyRuntimeError,
    "All tasks wait and nothing is left that could wake one; the text names each of them."
);

create_exception!(
    herz.runtime,
    Closed,
    PyException,
    "The channel, connection or listener is closed; a channel for a receiver also empty."
);

/// What the module needs beyond its definitions, before the first use.
pub fn prepare(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    timer_type::prepare(module)?;
    module.add("yield_now", awaitable::make_yield_now(module)?)?;
    // Which case of a select it was; outside of one, None.
    py.get_type::<Closed>().setattr("index", py.None())
}

/// The error for a state that must not be.
fn broken(place: &str) -> PyErr {
    PyRuntimeError::new_err(format!(
        "herz.runtime is broken in {place}: please report this"
    ))
}
