//! `select`: one of several waits, and none of the others.
//!
//! All cases wait under one generation of the task's word. Who ends the wait first has it; to the
//! others it is over, so they pass the task by with what they have. So nothing is handed to a case
//! that lost, and what one case was handed stays with it.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::awaitable::{self, Wait};
use super::describe;
use super::task::{CaseTickets, NO_CASE, Outcome, Task, Tickets, Waiter};
use super::waits::{self, Step, Tried};
use super::{Cancelled, Closed};

pub struct Select {
    /// None: never ready.
    cases: Box<[Option<Py<PyAny>>]>,
    has_default: bool,
}

/// An awaitable of ``(index, value)`` of one case that is ready.
#[pyfunction]
#[pyo3(signature = (*cases, default = false))]
pub fn select(py: Python<'_>, cases: &Bound<'_, PyTuple>, default: bool) -> PyResult<Py<PyAny>> {
    let cases: PyResult<_> = cases
        .iter()
        .enumerate()
        .map(|(at, case)| self::case(at, &case))
        .collect();
    let select = Select {
        cases: cases?,
        has_default: default,
    };
    awaitable::new(py, Wait::Select(Box::new(select)))
}

fn case(at: usize, case: &Bound<'_, PyAny>) -> PyResult<Option<Py<PyAny>>> {
    if case.is_none() {
        return Ok(None);
    }
    if let Ok(task) = case.cast::<Task>() {
        let join = Wait::Join(task.clone().unbind());
        return awaitable::new(case.py(), join).map(Some);
    }
    match awaitable::wait(case) {
        Some(Wait::Select(_)) => Err(PyTypeError::new_err(format!(
            "case {at} of select is a select: pass its cases instead"
        ))),
        Some(Wait::Socket(_) | Wait::Descriptor(_)) => Err(PyTypeError::new_err(format!(
            "case {at} of select waits for a descriptor, which cannot be withdrawn without losing \
             what came: make a task of it with go(…) and pass the task"
        ))),
        Some(_) => Ok(Some(case.clone().unbind())),
        None => {
            let kind = case.get_type().fully_qualified_name()?;
            Err(PyTypeError::new_err(format!(
                "case {at} of select is {kind}: wanted is what a channel's send or receive, sleep \
                 and the like give, a task, or None; of a coroutine make a task with go(…)"
            )))
        }
    }
}

impl Select {
    /// The cases that can become ready, each with its number.
    pub fn waits<'a>(&'a self, py: Python<'a>) -> impl Iterator<Item = (usize, &'a Wait)> {
        let numbered = self.cases.iter().enumerate();
        numbered.filter_map(move |(at, case)| Some((at, awaitable::wait(case.as_ref()?.bind(py))?)))
    }

    /// Takes a case that is ready, each of them with equal chances, or the default.
    pub fn attempt(&self, py: Python<'_>, own: &Task) -> Tried {
        let mut waits: Vec<_> = self.waits(py).collect();
        while !waits.is_empty() {
            let drawn = own.core.lot.get_mut(py).draw() as usize % waits.len();
            let (at, wait) = waits.swap_remove(drawn);
            match waits::attempt(py, own, wait) {
                Tried::Done(value) => return given(py, at, value),
                Tried::Failed(error) => return Tried::Failed(numbered(py, at, error)),
                Tried::Later => {}
            }
        }
        if !self.has_default {
            return Tried::Later;
        }
        pair(py, (py.None(), py.None()))
    }

    /// Queues the task in all cases; `waiter` makes it one of a case.
    pub fn queue(&self, py: Python<'_>, task: &Py<Task>, waiter: impl Fn(u32) -> Waiter) {
        let mut tickets = vec![None; self.cases.len()];
        let mut soonest: Option<u64> = None;
        for (at, wait) in self.waits(py) {
            if let Wait::Sleep { ns } = wait {
                soonest = Some(soonest.map_or(*ns, |soonest| soonest.min(*ns)));
            } else {
                tickets[at] = waits::queue(py, wait, waiter(at as u32)).1;
            }
        }
        {
            let mut body = task.get().body.get_mut(py);
            body.tickets = Tickets::Many(Box::new(CaseTickets(tickets)));
            body.case = NO_CASE;
        }
        if let Some(ns) = soonest {
            waits::arm(py, task, ns);
        }
    }

    /// What a task waits for in it, in words.
    pub fn describe(&self, py: Python<'_>) -> String {
        let cases = self.waits(py);
        let cases: Vec<_> = cases
            .filter_map(|(_, wait)| describe::describe(py, wait))
            .collect();
        format!("one of several: {}", cases.join("; or "))
    }

    /// The task is back: it steps out of all the other lines.
    pub fn resume(
        &self,
        py: Python<'_>,
        task: &Py<Task>,
        inbox: Option<Outcome>,
        (tickets, winner): (Tickets, u32),
        is_cancelled: bool,
    ) -> Step {
        if let Tickets::Many(tickets) = tickets {
            for (at, wait) in self.waits(py) {
                if at as u32 != winner {
                    waits::withdraw(py, wait, tickets.0[at], task);
                }
            }
        }
        let at = winner as usize;
        let outcome = match inbox {
            Some(Ok(value)) => Ok(value),
            Some(Err(error)) => Err(PyErr::from_value(error.bind(py).clone())),
            None if winner != NO_CASE => match self.waits(py).find(|(case, _)| *case == at) {
                Some((_, Wait::Join(other))) => other.get().outcome(py),
                _ => Ok(py.None()),
            },
            None if is_cancelled => {
                return Step::raise(Cancelled::new_err("the task was cancelled"));
            }
            None => return self.slept(py),
        };
        let tried = match outcome {
            Ok(value) => given(py, at, value),
            Err(error) => Tried::Failed(numbered(py, at, error)),
        };
        step(tried)
    }

    /// What woke it was its timer.
    fn slept(&self, py: Python<'_>) -> Step {
        let sleeps = self.waits(py).filter_map(|(at, wait)| match wait {
            Wait::Sleep { ns } => Some((*ns, at)),
            _ => None,
        });
        // Tie: the first of those that are over first.
        match sleeps.min() {
            Some((_, at)) => step(given(py, at, py.None())),
            None => Step::raise(super::broken("a select")),
        }
    }
}

fn step(tried: Tried) -> Step {
    match tried {
        Tried::Done(value) => Step::Give(value),
        Tried::Failed(error) => Step::raise(error),
        Tried::Later => Step::raise(super::broken("a select")),
    }
}

fn given(py: Python<'_>, at: usize, value: Py<PyAny>) -> Tried {
    pair(py, (at, value))
}

fn pair<'py>(
    py: Python<'py>,
    pair: impl IntoPyObject<'py, Target = PyTuple, Output = Bound<'py, PyTuple>, Error = PyErr>,
) -> Tried {
    match pair.into_pyobject(py) {
        Ok(pair) => Tried::Done(pair.into_any().unbind()),
        Err(error) => Tried::Failed(error),
    }
}

/// Says in a `Closed` which case it was.
fn numbered(py: Python<'_>, at: usize, error: PyErr) -> PyErr {
    if error.is_instance_of::<Closed>(py)
        && let Err(other) = error.value(py).setattr("index", at)
    {
        return other;
    }
    error
}
