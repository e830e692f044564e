//! Tasks that run on one worker only: those that locked their thread, those of the thread of `run`,
//! and those under a trace function, which belongs to a thread.

use herz_core::runtime::processor::WorkerId;
use pyo3::prelude::*;

use super::awaitable::Uncollected;
use super::current::{CURRENT, Current};
use super::task::{BOUND, Task};

/// Why and where a task is bound.
#[derive(Default)]
pub struct Bond {
    pub worker: WorkerId,
    pub is_pinned: bool,
    /// Scopes of `lock_thread` that it is in.
    locks: u32,
    is_traced: bool,
}

impl Bond {
    pub fn new(is_pinned: bool) -> Self {
        Self {
            is_pinned,
            ..Self::default()
        }
    }
}

impl Task {
    /// The worker on which it must run, if there is one.
    #[inline]
    pub fn worker(&self, py: Python<'_>) -> Option<WorkerId> {
        self.has(BOUND).then(|| self.body.get(py).bond.worker)
    }

    /// Begins (1) or ends (-1) a scope in which nothing else runs on its thread. A function has a
    /// thread of its own in any case.
    pub fn lock(&self, py: Python<'_>, change: i32) {
        let Some(here) = CURRENT.with(Current::worker) else {
            return;
        };
        if self.core.machine.clock.is_virtual() {
            // There is one thread, and all tasks run on it.
            return;
        }
        let changes = {
            let bond = &mut self.body.get_mut(py).bond;
            if !self.has(BOUND) {
                bond.worker = here;
            }
            let before = bond.locks;
            bond.locks = before.saturating_add_signed(change);
            (before == 0) != (bond.locks == 0)
        };
        self.bind(py);
        if changes {
            let worker = self.body.get(py).bond.worker;
            self.core.machine.crew.lock(worker, change);
        }
    }

    /// Notes at an await whether a trace function is set on this thread.
    pub fn trace(&self, py: Python<'_>, here: Option<WorkerId>, is_traced: bool) {
        let Some(here) = here else { return };
        {
            let bond = &mut self.body.get_mut(py).bond;
            if is_traced && !self.has(BOUND) {
                bond.worker = here;
            }
            bond.is_traced = is_traced && bond.worker == here;
        }
        self.bind(py);
    }

    /// It ended: its thread is anybody's again.
    pub fn unbind(&self, py: Python<'_>) {
        if !self.has(BOUND) {
            return;
        }
        let bond = std::mem::take(&mut self.body.get_mut(py).bond);
        self.clear(BOUND);
        if bond.locks > 0 {
            self.core.machine.crew.lock(bond.worker, -1);
        }
    }

    fn bind(&self, py: Python<'_>) {
        let is_bound = {
            let bond = &self.body.get(py).bond;
            bond.is_pinned || bond.locks > 0 || bond.is_traced
        };
        if is_bound {
            self.set(BOUND);
        } else {
            self.clear(BOUND);
        }
    }
}

/// Whether the thread is inside a frame that is traced line by line: a debugger, coverage.
pub fn is_traced(py: Python<'_>, thread: u64) -> PyResult<bool> {
    // The interpreter looks at all threads under a lock of its own, and makes objects meanwhile: a
    // collection there could give the interpreter to a thread that wants that lock.
    let uncollected = Uncollected::begin(py);
    let found = find_trace(py, thread);
    uncollected.end(py);
    found
}

fn find_trace(py: Python<'_>, thread: u64) -> PyResult<bool> {
    let frames = py.import("sys")?.call_method0("_current_frames")?;
    let mut frame = frames.call_method1("get", (thread,))?;
    while !frame.is_none() {
        if !frame.getattr("f_trace")?.is_none() {
            return Ok(true);
        }
        frame = frame.getattr("f_back")?;
    }
    Ok(false)
}
