//! Tasks that nobody waits for once they were cancelled, though they are still inside a call.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use herz_core::runtime::processor::WorkerId;
use herz_core::runtime::task::State;
use pyo3::prelude::*;

use super::Cancelled;
use super::core::Core;
use super::current;
use super::task::{ABANDON, CANCELLED, FUNCTION, Task};

/// Such tasks of one runtime.
#[derive(Default)]
pub struct Abandoned {
    // Bound: tasks that live and were started with `abandon=True`.
    living: HashMap<u64, (Py<Task>, Option<WorkerId>)>,
    /// Threads that are still inside a call that nobody waits for.
    threads: Vec<u64>,
}

impl Core {
    pub fn note_abandonable(&self, py: Python<'_>, task: &Py<Task>) {
        let entry = (task.clone_ref(py), None);
        let living = &mut self.abandoned.get_mut(py).living;
        living.insert(task.get().id, entry);
    }

    /// The task's step, or function, begins on that worker.
    pub fn note_worker(&self, py: Python<'_>, task: &Py<Task>, worker: WorkerId) {
        if !task.get().has(ABANDON) {
            return;
        }
        let living = &mut self.abandoned.get_mut(py).living;
        if let Some(entry) = living.get_mut(&task.get().id) {
            entry.1 = Some(worker);
        }
    }

    /// It ended, by itself or by being left.
    pub fn forget_abandonable(&self, py: Python<'_>, task: &Py<Task>) {
        if !task.get().has(ABANDON) {
            return;
        }
        let gone = self.abandoned.get_mut(py).living.remove(&task.get().id);
        drop(gone);
    }

    /// Leaves the task if it was cancelled inside a call: whoever awaits it goes on at once.
    pub fn abandon(self: &Arc<Self>, py: Python<'_>, task: &Py<Task>) {
        let own = task.get();
        if !own.has(ABANDON) || !own.has(CANCELLED) {
            return;
        }
        // Made first: Python runs here, and what is looked at below would change.
        let outcome = Cancelled::new_err("the task was left inside a call");
        let _ = outcome.value(py);
        let worker = {
            let living = &self.abandoned.get(py).living;
            living.get(&own.id).and_then(|entry| entry.1)
        };
        let is_left = match own.word.state() {
            State::OffLoaded => true,
            State::Runnable => own.has(FUNCTION) && worker.is_none(),
            State::Running | State::Parking | State::Yielding => worker.is_some_and(|worker| {
                let seat = self.machine.crew.seat_of(worker);
                seat.is_detached.load(Ordering::Relaxed)
            }),
            _ => false,
        };
        if !is_left {
            return;
        }
        if let Some(worker) = worker {
            let thread = self.threads.get(py)[worker as usize];
            self.abandoned.get_mut(py).threads.push(thread);
        }
        let joiners = self.finish(py, task, Err(outcome));
        self.wake(current::worker_of(self), joiners);
    }

    /// A step was detached: if it was cancelled before, it may be left now.
    pub fn abandon_detached(self: &Arc<Self>, py: Python<'_>) {
        let living: Vec<_> = {
            let living = &self.abandoned.get(py).living;
            let tasks = living.values().map(|entry| entry.0.clone_ref(py));
            tasks.collect()
        };
        for task in living {
            self.abandon(py, &task);
        }
    }

    /// The call ended that nobody waited for.
    pub fn forget_thread(&self, py: Python<'_>, thread: u64) {
        self.abandoned
            .get_mut(py)
            .threads
            .retain(|&left| left != thread);
    }

    /// The run is over.
    pub fn leave_abandonable(&self, py: Python<'_>) {
        let living = std::mem::take(&mut self.abandoned.get_mut(py).living);
        drop(living);
    }

    /// Threads that nobody waits for.
    pub fn abandoned_threads(&self, py: Python<'_>) -> Vec<u64> {
        self.abandoned.get(py).threads.clone()
    }
}
