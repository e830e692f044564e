//! What a task waits for, in words: read off the awaitable at the end of its await chain, so that
//! a wait itself notes nothing for it.

use herz_core::runtime::task::State;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

use super::awaitable::{self, Wait};
use super::task::{Payload, Task};

/// Bound: links of an await chain that are followed.
const CHAIN_MAX: usize = 10_000;

/// The attributes under which coroutines, generators and asynchronous generators name what they
/// await.
const AWAITED: [&str; 3] = ["cr_await", "gi_yieldfrom", "ag_await"];

/// The interpreter's wrappers, which do not say what they wrap but to the collector.
const WRAPPERS: [&str; 4] = [
    "coroutine_wrapper",
    "async_generator_asend",
    "async_generator_athrow",
    "anext_awaitable",
];

impl Task {
    /// What it runs, unless it has ended.
    pub fn target(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        match &self.body.get(py).payload {
            Payload::Coroutine(coroutine) => Some(coroutine.clone_ref(py)),
            Payload::Function(call) => Some(call.0.clone_ref(py)),
            Payload::Gone => None,
        }
    }

    /// Its await chain, from the outermost coroutine to what the innermost awaits.
    pub fn chain<'py>(&self, py: Python<'py>) -> Vec<Bound<'py, PyAny>> {
        let mut chain = Vec::new();
        let mut link = match &self.body.get(py).payload {
            Payload::Coroutine(coroutine) => Some(coroutine.clone_ref(py).into_bound(py)),
            Payload::Function(_) | Payload::Gone => None,
        };
        while let Some(found) = link.take() {
            link = next(&found).ok().flatten();
            chain.push(found);
            if chain.len() == CHAIN_MAX {
                break;
            }
        }
        chain
    }

    /// What it waits for; None when it does not wait.
    pub fn waits_for(&self, py: Python<'_>) -> Option<String> {
        if !matches!(self.word.state(), State::Waiting | State::Parking) {
            return None;
        }
        let chain = self.chain(py);
        let wait = chain.last().and_then(awaitable::wait);
        let described = wait.and_then(|wait| describe(py, wait));
        // A chain that something foreign interrupts says at least what kind of wait it is.
        Some(described.unwrap_or_else(|| self.body.get(py).waits_for.to_string()))
    }
}

fn next<'py>(link: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    if awaitable::wait(link).is_some() {
        return Ok(None);
    }
    let kind = link.get_type();
    let kind = kind.name()?;
    if WRAPPERS.contains(&kind.to_str()?) {
        let gc = link.py().import("gc")?;
        let inside = gc.call_method1("get_referents", (link,))?;
        let inside = inside.cast_into::<PyList>()?;
        return Ok(inside.iter().find(is_suspendable));
    }
    for name in AWAITED {
        if let Some(awaited) = link.getattr_opt(name)? {
            return Ok((!awaited.is_none()).then_some(awaited));
        }
    }
    Ok(None)
}

fn is_suspendable(object: &Bound<'_, PyAny>) -> bool {
    let mut names = AWAITED.into_iter();
    names.any(|name| object.hasattr(name).unwrap_or(false)) || awaitable::wait(object).is_some()
}

pub fn describe(py: Python<'_>, wait: &Wait) -> Option<String> {
    let text = match wait {
        Wait::Sleep { ns } => format!("a timer of {} s", *ns as f64 / 1e9),
        Wait::Join(other) => format!("the task {}", other.get().label(py)),
        Wait::Receive(channel) | Wait::Next(channel) => channel.get().awaited(channel.as_ptr()),
        Wait::Send(channel, _) => {
            format!("a receiver of {}", channel.get().label(channel.as_ptr()))
        }
        Wait::Acquire(semaphore) => {
            let kind = semaphore.bind(py).get_type();
            let kind = kind.name().ok()?;
            let at = semaphore.as_ptr();
            match semaphore.get().holder(py) {
                Some(holder) => format!("{kind} at {at:p}, held by {holder}"),
                None => format!("a permit of {kind} at {at:p}"),
            }
        }
        Wait::Pass(gate) => format!("an event or a wait group ({} missing)", gate.get().left(py)),
        Wait::Select(select) => select.describe(py),
        Wait::Socket(operation) => operation.describe(py),
        Wait::Descriptor(watch) => watch.describe(),
        Wait::Yield | Wait::Nothing | Wait::Given(_) => return None,
    };
    Some(text)
}

/// For `herz.runtime`: a task's await chain, outermost first.
#[pyfunction]
pub fn task_chain<'py>(py: Python<'py>, task: &Task) -> PyResult<Bound<'py, PyTuple>> {
    PyTuple::new(py, task.chain(py))
}
