//! What runs on this thread: the runtime, the worker's number and the task inside its step.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use herz_core::runtime::processor::WorkerId;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use super::core::Core;
use super::task::Task;

/// Set in the child of a fork of a process in which a runtime ran.
pub static FORKED: AtomicBool = AtomicBool::new(false);

/// The error for using a runtime after a fork.
pub fn forked() -> PyErr {
    PyRuntimeError::new_err(
        "this process was forked while a herz runtime ran: its copy is dead; use another process",
    )
}

/// So many awaits may complete at once before the task must let others run.
pub const BUDGET: u32 = 128;

/// How the task that now runs came back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Resumed {
    /// It begins, or has been resumed and runs.
    Not,
    /// It had yielded.
    Yielded,
    /// What it waited for has come.
    Woken,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It owns, or owned, the processor.
    Worker(WorkerId),
    /// It runs a plain function.
    Helper,
}

pub struct Current {
    pub core: RefCell<Option<Arc<Core>>>,
    pub task: RefCell<Option<Py<Task>>>,
    pub role: Cell<Role>,
    pub resumed: Cell<Resumed>,
    pub budget: Cell<u32>,
}

thread_local! {
    pub static CURRENT: Current = const {
        Current {
            core: RefCell::new(None),
            task: RefCell::new(None),
            role: Cell::new(Role::Helper),
            resumed: Cell::new(Resumed::Not),
            budget: Cell::new(BUDGET),
        }
    };
}

impl Current {
    /// The task whose step or function has just ended.
    pub fn take(&self) -> Py<Task> {
        let task = self.task.borrow_mut().take();
        task.expect("the step's task stays in its place")
    }

    /// The calling worker's number, when it runs tasks.
    pub fn worker(&self) -> Option<WorkerId> {
        match self.role.get() {
            Role::Worker(worker) => Some(worker),
            Role::Helper => None,
        }
    }
}

/// The runtime of this thread.
pub fn core() -> PyResult<Arc<Core>> {
    if FORKED.load(Ordering::Relaxed) {
        return Err(forked());
    }
    CURRENT
        .with(|current| current.core.borrow().clone())
        .ok_or_else(|| {
            PyRuntimeError::new_err("no herz runtime runs on this thread: call herz.runtime.run(…)")
        })
}

/// The task whose step, or function, runs on this thread.
pub fn task(py: Python<'_>) -> Option<Py<Task>> {
    CURRENT.with(|current| {
        current
            .task
            .borrow()
            .as_ref()
            .map(|task| task.clone_ref(py))
    })
}

/// The number of the calling worker of that runtime; None on any other thread.
pub fn worker_of(core: &Core) -> Option<WorkerId> {
    CURRENT.with(|current| {
        let own = current.core.borrow();
        let is_same = own
            .as_ref()
            .is_some_and(|own| std::ptr::eq(Arc::as_ptr(own), core));
        if is_same { current.worker() } else { None }
    })
}
