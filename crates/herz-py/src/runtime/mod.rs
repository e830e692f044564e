//! The Python face of the task runtime: `herz.runtime` over `herz_core::runtime`.
//!
//! - [`face`]: `Runtime` and the functions that tasks call. [`task`]: the class `Task`.
//! - [`core`]: one runtime and the register of its tasks.
//! - [`worker`]: the loops of the workers. [`current`]: what runs on this thread.
//! - [`awaitable`]: the native awaitables, the only file that speaks the C API.
//! - [`waits`]: how each wait begins and ends. [`channel`], [`locks`]: what is waited for.
//! - [`seeing`]: what is shown of tasks, stalls and traces. [`describe`]: waits in words.
//! - [`cell`]: state that the interpreter's lock guards. [`interval`]: its switch interval.

mod awaitable;
mod cell;
pub mod channel;
mod core;
mod current;
pub mod describe;
pub mod face;
mod interval;
pub mod locks;
pub mod seeing;
pub mod task;
mod waits;
mod worker;

use pyo3::exceptions::{PyBaseException, PyException, PyRuntimeError};
use pyo3::{PyErr, create_exception};

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
    "The channel is closed, and for a receiver also empty."
);

/// The error for a state that must not be.
fn broken(place: &str) -> PyErr {
    PyRuntimeError::new_err(format!(
        "herz.runtime is broken in {place}: please report this"
    ))
}
