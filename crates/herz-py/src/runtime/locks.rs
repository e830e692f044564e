//! `Semaphore` (and `Mutex` over it), `Event`, `WaitGroup`: what tasks wait for without a value.

use herz_core::runtime::line::{Line, Ticket};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use super::awaitable::{self, Wait};
use super::cell::GilCell;
use super::task::{Task, Waiter};
use super::waits::{Home, Tried};

#[derive(Default)]
struct State {
    home: Home,
    /// A semaphore's permits, or what is still missing for a gate to open.
    count: i64,
    /// Of a semaphore with one permit: the task that has it, by its mark; 0 when nobody has.
    holder: u64,
    // Bound: the number of tasks; a task waits in one place.
    waiters: Line<Waiter>,
}

/// A count and the tasks that wait for it.
struct Queue(GilCell<State>);

impl Queue {
    fn new(count: i64) -> Self {
        Self(GilCell::new(State {
            count,
            ..State::default()
        }))
    }

    fn is_at_home(&self, py: Python<'_>, task: &Task) -> bool {
        self.0.get_mut(py).home.takes(task)
    }

    fn push(&self, py: Python<'_>, waiter: Waiter) -> Ticket {
        self.0.get_mut(py).waiters.push(waiter)
    }

    fn withdraw(&self, py: Python<'_>, ticket: Ticket) {
        let gone = self.0.get_mut(py).waiters.leave(ticket);
        // Released outside the borrow.
        drop(gone);
    }

    /// Wakes the first task that still waits, and gives its mark; None without one.
    fn wake_one(&self, py: Python<'_>) -> Option<u64> {
        loop {
            let waiter = self.0.get_mut(py).waiters.pop()?;
            let mark = waiter.task.get().mark();
            if waiter.wake(py, Ok(py.None())).is_none() {
                return Some(mark);
            }
        }
    }

    fn wake_all(&self, py: Python<'_>) {
        let mut waiters = std::mem::take(&mut self.0.get_mut(py).waiters);
        while let Some(waiter) = waiters.pop() {
            drop(waiter.wake(py, Ok(py.None())));
        }
    }

    fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: the collector visits with the interpreter's lock.
        let Some(state) = (unsafe { self.0.visited() }) else {
            return Ok(());
        };
        for waiter in state.waiters.iter() {
            visit.call(&waiter.task)?;
        }
        Ok(())
    }

    fn clear(&self, py: Python<'_>) {
        let waiters = std::mem::take(&mut self.0.get_mut(py).waiters);
        drop(waiters);
    }
}

/// Lets a number of tasks in at once, the others in the order in which they came.
#[pyclass(frozen, subclass, weakref, module = "herz.runtime")]
pub struct Semaphore {
    queue: Queue,
    most: i64,
}

impl Semaphore {
    pub fn try_acquire(&self, py: Python<'_>, task: &Task) -> Tried {
        let mut state = self.queue.0.get_mut(py);
        // Who waits already comes first.
        if state.count > 0 && state.waiters.is_empty() {
            state.count -= 1;
            if self.most == 1 {
                state.holder = task.mark();
            }
            return Tried::Done(py.None());
        }
        Tried::Later
    }

    /// The name of the task that has the only permit, if it is known.
    pub fn holder(&self, py: Python<'_>) -> Option<String> {
        let (holder, core) = {
            let state = self.queue.0.get(py);
            (state.holder, state.home.core()?)
        };
        Some(core.find(py, holder)?.get().label(py))
    }

    pub fn queue_task(&self, py: Python<'_>, waiter: Waiter) -> Ticket {
        self.queue.push(py, waiter)
    }

    pub fn withdraw(&self, py: Python<'_>, ticket: Ticket) {
        self.queue.withdraw(py, ticket);
    }

    pub fn is_at_home(&self, py: Python<'_>, task: &Task) -> bool {
        self.queue.is_at_home(py, task)
    }
}

#[pymethods]
impl Semaphore {
    #[new]
    fn new(permits: i64) -> PyResult<Self> {
        if permits < 1 {
            return Err(PyValueError::new_err("a semaphore has at least one permit"));
        }
        Ok(Self {
            queue: Queue::new(permits),
            most: permits,
        })
    }

    /// An awaitable of a permit.
    fn acquire(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        awaitable::new(slf.py(), Wait::Acquire(slf.clone().unbind()))
    }

    /// Gives a permit to the first task that waits, or keeps it; from any thread.
    fn release(&self, py: Python<'_>) -> PyResult<()> {
        if self.queue.0.get(py).count >= self.most {
            return Err(PyRuntimeError::new_err("released more often than acquired"));
        }
        let woken = self.queue.wake_one(py);
        let mut state = self.queue.0.get_mut(py);
        if woken.is_none() {
            state.count += 1;
        }
        // The task has the permit from now on, also before it runs.
        state.holder = woken.filter(|_| self.most == 1).unwrap_or(0);
        Ok(())
    }

    /// Whether no permit is left.
    fn locked(&self, py: Python<'_>) -> bool {
        self.queue.0.get(py).count == 0
    }

    fn __aenter__(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        Self::acquire(slf)
    }

    fn __aexit__(
        &self,
        py: Python<'_>,
        _kind: &Bound<'_, PyAny>,
        _error: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) -> PyResult<Py<PyAny>> {
        self.release(py)?;
        awaitable::new(py, Wait::Nothing)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.queue.visit(&visit)
    }

    fn __clear__(&self, py: Python<'_>) {
        self.queue.clear(py);
    }
}

/// Opens when a count reaches zero; tasks wait until it is open.
#[pyclass(frozen, weakref, module = "herz._native")]
pub struct Gate {
    queue: Queue,
}

impl Gate {
    pub fn left(&self, py: Python<'_>) -> i64 {
        self.queue.0.get(py).count
    }

    pub fn try_pass(&self, py: Python<'_>) -> Tried {
        match self.queue.0.get(py).count {
            0 => Tried::Done(py.None()),
            _ => Tried::Later,
        }
    }

    pub fn queue_task(&self, py: Python<'_>, waiter: Waiter) -> Ticket {
        self.queue.push(py, waiter)
    }

    pub fn withdraw(&self, py: Python<'_>, ticket: Ticket) {
        self.queue.withdraw(py, ticket);
    }

    pub fn is_at_home(&self, py: Python<'_>, task: &Task) -> bool {
        self.queue.is_at_home(py, task)
    }
}

#[pymethods]
impl Gate {
    #[new]
    fn new(missing: i64) -> Self {
        Self {
            queue: Queue::new(missing),
        }
    }

    /// An awaitable that ends once the gate is open.
    fn wait(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        awaitable::new(slf.py(), Wait::Pass(slf.clone().unbind()))
    }

    /// Changes what is missing; opens at zero, below it `ValueError`. From any thread.
    fn change(&self, py: Python<'_>, by: i64) -> PyResult<()> {
        let left = {
            let mut state = self.queue.0.get_mut(py);
            let left = state.count.checked_add(by).filter(|&left| left >= 0);
            let left = left.ok_or_else(|| PyValueError::new_err("the count fell below zero"))?;
            state.count = left;
            left
        };
        if left == 0 {
            self.queue.wake_all(py);
        }
        Ok(())
    }

    /// What is missing.
    #[getter]
    fn missing(&self, py: Python<'_>) -> i64 {
        self.left(py)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.queue.visit(&visit)
    }

    fn __clear__(&self, py: Python<'_>) {
        self.queue.clear(py);
    }
}
