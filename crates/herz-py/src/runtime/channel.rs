//! `Channel`: values from one task to another, in order, each to exactly one.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};

use herz_core::runtime::line::{Line, Ticket};
use pyo3::exceptions::PyValueError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use super::Closed;
use super::awaitable::{self, Wait};
use super::cell::GilCell;
use super::task::{Task, Waiter};
use super::waits::{Home, Tried};

#[derive(Default)]
struct State {
    home: Home,
    // Bound: `capacity`, where there is one.
    values: VecDeque<Py<PyAny>>,
    // Bound for both: the number of tasks; a task waits in one place.
    receivers: Line<Waiter>,
    senders: Line<(Waiter, Py<PyAny>)>,
    is_closed: bool,
}

/// Values from one task to another, in order. Capacity 0: a send waits for its receive; None: a
/// send never waits.
#[pyclass(frozen, generic, weakref, module = "herz.runtime")]
pub struct Channel {
    capacity: Option<usize>,
    /// Its values are the ticks of a timer: what a receiver waits for is that.
    is_of_timer: AtomicBool,
    state: GilCell<State>,
}

fn closed() -> PyErr {
    Closed::new_err("the channel is closed")
}

impl Channel {
    pub fn try_receive(&self, py: Python<'_>) -> Tried {
        let (first, is_closed) = {
            let mut state = self.state.get_mut(py);
            (state.values.pop_front(), state.is_closed)
        };
        let sent = self.first_sent(py);
        match (first, sent) {
            (Some(first), sent) => {
                self.state.get_mut(py).values.extend(sent);
                Tried::Done(first)
            }
            (None, Some(sent)) => Tried::Done(sent),
            (None, None) if is_closed => Tried::Failed(closed()),
            (None, None) => Tried::Later,
        }
    }

    /// What the first sender that still waits brought; it goes on.
    fn first_sent(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        loop {
            let (waiter, value) = self.state.get_mut(py).senders.pop()?;
            if waiter.wake(py, Ok(py.None())).is_none() {
                return Some(value);
            }
        }
    }

    pub fn try_send(&self, py: Python<'_>, value: &Py<PyAny>) -> Tried {
        if self.state.get(py).is_closed {
            return Tried::Failed(closed());
        }
        let mut value = Ok(value.clone_ref(py));
        loop {
            let receiver = self.state.get_mut(py).receivers.pop();
            let Some(receiver) = receiver else { break };
            match receiver.wake(py, value) {
                None => return Tried::Done(py.None()),
                Some(back) => value = back,
            }
        }
        let mut state = self.state.get_mut(py);
        match value {
            Ok(value) if self.capacity.is_none_or(|most| state.values.len() < most) => {
                state.values.push_back(value);
                Tried::Done(py.None())
            }
            _ => Tried::Later,
        }
    }

    pub fn queue_receiver(&self, py: Python<'_>, waiter: Waiter) -> Ticket {
        self.state.get_mut(py).receivers.push(waiter)
    }

    pub fn queue_sender(&self, py: Python<'_>, waiter: Waiter, value: Py<PyAny>) -> Ticket {
        self.state.get_mut(py).senders.push((waiter, value))
    }

    /// A receiver no longer waits here.
    pub fn withdraw_receiver(&self, py: Python<'_>, ticket: Ticket) {
        let gone = self.state.get_mut(py).receivers.leave(ticket);
        // Released outside the borrow.
        drop(gone);
    }

    /// A sender no longer waits here.
    pub fn withdraw_sender(&self, py: Python<'_>, ticket: Ticket) {
        let gone = self.state.get_mut(py).senders.leave(ticket);
        // Released outside the borrow.
        drop(gone);
    }

    /// Forgets what nobody has received: a timer that was stopped has nothing to say.
    pub fn drain(&self, py: Python<'_>) -> bool {
        let values = std::mem::take(&mut self.state.get_mut(py).values);
        !values.is_empty()
    }

    /// A channel of that capacity.
    pub fn with_capacity(capacity: Option<usize>) -> Self {
        Self {
            capacity,
            is_of_timer: AtomicBool::new(false),
            state: GilCell::new(State::default()),
        }
    }

    /// A timer sends its ticks here.
    pub fn note_timer(&self) {
        self.is_of_timer.store(true, Ordering::Relaxed);
    }

    /// What a receiver waits for, in words.
    pub fn awaited(&self, at: *mut pyo3::ffi::PyObject) -> String {
        let label = self.label(at);
        if self.is_of_timer.load(Ordering::Relaxed) {
            format!("a tick of a timer ({label})")
        } else {
            format!("a value of {label}")
        }
    }

    /// Its capacity and where it is.
    pub fn label(&self, at: *mut pyo3::ffi::PyObject) -> String {
        match self.capacity {
            Some(capacity) => format!("Channel({capacity}) at {at:p}"),
            None => format!("Channel(None) at {at:p}"),
        }
    }

    pub fn is_at_home(&self, py: Python<'_>, task: &Task) -> bool {
        self.state.get_mut(py).home.takes(task)
    }
}

#[pymethods]
impl Channel {
    #[new]
    #[pyo3(signature = (capacity = Some(0)), text_signature = "(capacity=0)")]
    fn new(capacity: Option<isize>) -> PyResult<Self> {
        let capacity = capacity.map(usize::try_from).transpose();
        let refused = |_| PyValueError::new_err("capacity must not be negative");
        Ok(Self::with_capacity(capacity.map_err(refused)?))
    }

    /// An awaitable that sends; raises `Closed` when the channel is, or becomes, closed.
    fn send(slf: &Bound<'_, Self>, value: Py<PyAny>) -> PyResult<Py<PyAny>> {
        awaitable::new(slf.py(), Wait::Send(slf.clone().unbind(), value))
    }

    /// An awaitable of the next value; raises `Closed` when the channel is closed and empty.
    fn receive(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        awaitable::new(slf.py(), Wait::Receive(slf.clone().unbind()))
    }

    /// No more values: who sends or waits for one gets `Closed`. Values that were sent stay.
    pub fn close(&self, py: Python<'_>) {
        let (receivers, senders);
        {
            let mut state = self.state.get_mut(py);
            state.is_closed = true;
            receivers = std::mem::take(&mut state.receivers);
            senders = std::mem::take(&mut state.senders);
        }
        let (mut receivers, mut senders): (Line<_>, Line<_>) = (receivers, senders);
        let mut next = || receivers.pop().or_else(|| Some(senders.pop()?.0));
        while let Some(waiter) = next() {
            let error = closed().into_value(py).into_any();
            drop(waiter.wake(py, Err(error)));
        }
    }

    #[getter]
    fn is_closed(&self, py: Python<'_>) -> bool {
        self.state.get(py).is_closed
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        self.state.get(py).values.len()
    }

    fn __aiter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __anext__(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        awaitable::new(slf.py(), Wait::Next(slf.clone().unbind()))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: the collector visits with the interpreter's lock.
        let Some(state) = (unsafe { self.state.visited() }) else {
            return Ok(());
        };
        for value in &state.values {
            visit.call(value)?;
        }
        for waiter in state.receivers.iter() {
            visit.call(&waiter.task)?;
        }
        for (waiter, value) in state.senders.iter() {
            visit.call(&waiter.task)?;
            visit.call(value)?;
        }
        Ok(())
    }

    fn __clear__(&self, py: Python<'_>) {
        let state = std::mem::take(&mut *self.state.get_mut(py));
        drop(state);
    }
}
