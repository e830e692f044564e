//! What a worker does while it has the processor: run tasks.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use herz_core::runtime::fifo::{Local, Place};
use herz_core::runtime::machine::Pace;
use herz_core::runtime::processor::{Claim, WorkerId};
use herz_core::runtime::sync::assert_none_held;
use herz_core::runtime::task::Settled;
use herz_core::runtime::trace::ring::Kind;
use herz_core::runtime::trace::track::Probe;
use pyo3::exceptions::{PyStopIteration, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::ahead;
use super::awaitable::{self, Entered, Sent};
use super::core::Core;
use super::current::{BUDGET, CURRENT, Current, FORKED, Resumed, forked};
use super::task::{ABANDON, CANCELLED, Payload, Runnable, THROWS, Task, WAITED, YIELDED};
use super::timer;
use super::timer_type::TimerObject;
use super::{Cancelled, interval};

/// Why a worker stopped running tasks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// Its processor went to another worker.
    Moved,
    /// The run is over.
    Over,
}

/// So long a look at whether a thread that was started has come may take.
const COMING_NS: u64 = 100_000;

type Held<'a> = Claim<'a, Local<Runnable>>;
type Seat<'a> = Option<Held<'a>>;

struct Worker<'a> {
    core: &'a Arc<Core>,
    id: WorkerId,
    entered: Entered,
    pace: Pace<Runnable>,
    probe: Probe<'a>,
    current: &'a Current,
}

/// Runs tasks until the processor, which was granted to this worker, is gone or all is over.
pub fn drive(py: Python<'_>, core: &Arc<Core>, id: WorkerId) -> Left {
    CURRENT.with(|current| drive_as(py, current, core, id))
}

fn drive_as(py: Python<'_>, current: &Current, core: &Arc<Core>, id: WorkerId) -> Left {
    let mut worker = Worker {
        core,
        id,
        current,
        entered: Entered::default(),
        pace: Pace::new(core.machine.clock.now_ns()),
        probe: core.machine.trace.probe(id),
    };
    let machine = &core.machine;
    let mut seat = machine.processor.accept(id);
    if seat.is_some() {
        machine.trace.accepted(id);
    }
    while let Some(mut claim) = seat {
        worker.probe.end();
        if worker.pace.is_over() || machine.is_overdue() {
            machine.look(&mut claim, &mut worker.pace, &mut worker.probe);
            seat = worker.look_around(py, claim);
            let Some(back) = seat else { break };
            claim = back;
        }
        if machine.crew.is_locked(id) {
            seat = worker.stand_aside(py, claim);
            let Some(back) = seat else { break };
            claim = back;
        }
        seat = match machine.find(&mut claim) {
            Some(Runnable::Task(task)) => worker.start(py, claim, task),
            Some(Runnable::Timer(timer)) => {
                // A step of no task.
                worker.probe.begin(0);
                claim.begin_step();
                worker.fire(py, timer)
            }
            None => match worker.idle(py, claim) {
                Ok(seat) => seat,
                Err(Left::Over) => return Left::Over,
                Err(Left::Moved) => break,
            },
        };
    }
    worker.probe.end();
    worker.probe.leave();
    worker.entered.leave(py);
    if FORKED.load(Ordering::Relaxed) {
        return Left::Over;
    }
    if machine.return_detached(id) {
        interval::restore(py, machine);
    }
    Left::Moved
}

impl<'a> Worker<'a> {
    /// What has to be done now and then, and may run Python: so it counts as a step.
    #[cold]
    fn look_around(&mut self, py: Python<'_>, claim: Held<'a>) -> Seat<'a> {
        let machine = &self.core.machine;
        let dead = machine.exhume();
        let is_reclaimed = machine.is_reclaimed();
        if dead.is_empty() && self.id != 0 && !is_reclaimed {
            return Some(claim);
        }
        claim.begin_step();
        assert_none_held();
        drop(dead);
        if self.id == 0
            && let Err(error) = py.check_signals()
        {
            self.core.register.get_mut(py).failure.get_or_insert(error);
            self.core.close(py);
        }
        let claim = machine.processor.enter(self.id)?;
        if is_reclaimed {
            self.entered.leave(py);
        }
        machine.hand_back(self.id, claim)
    }

    /// A task has locked this thread, and it is not its turn: another worker has the processor
    /// meanwhile. Where `max_workers` leaves none, the thread is not left idle for it.
    #[cold]
    fn stand_aside(&mut self, py: Python<'_>, claim: Held<'a>) -> Seat<'a> {
        let core = self.core;
        let machine = &core.machine;
        let crew = &machine.crew;
        self.entered.leave(py);
        let mut claim = claim;
        while crew.is_locked(self.id) && !crew.has_bound(self.id) && !self.core.is_over(py) {
            claim = machine.pass(claim, crew.pick())?;
            claim.begin_step();
            if let Err(error) = self.core.start_worker_if_short(py, 1) {
                error.write_unraisable(py, None);
            }
            claim = machine.processor.enter(self.id)?;
            if !crew.is_one_coming() {
                // It has come just now, or there is none.
                return machine.pass(claim, crew.pick());
            }
            let until_ns = machine.clock.now_ns() + COMING_NS;
            claim = self.rest(py, claim, Some(until_ns));
        }
        Some(claim)
    }

    /// Nothing is runnable: end, report a deadlock, or wait.
    #[cold]
    fn idle(&mut self, py: Python<'_>, mut claim: Held<'a>) -> Result<Seat<'a>, Left> {
        let core = self.core;
        let machine = &core.machine;
        self.probe.rest();
        machine.look(&mut claim, &mut self.pace, &mut self.probe);
        if !claim.local().is_empty() {
            return Ok(Some(claim));
        }
        self.entered.leave(py);
        if self.id == 0 && core.is_over(py) {
            claim.begin_step();
            assert_none_held();
            let has_more = core.call_at_end(py);
            let Some(entered) = machine.processor.enter(self.id) else {
                return Err(Left::Moved);
            };
            if has_more {
                return Ok(Some(entered));
            }
            // The claim is never given up: whoever is still detached finds no processor.
            return Err(Left::Over);
        }
        if machine.is_stuck() && core.register.get(py).closes_ns.is_none() {
            claim.begin_step();
            core.report_deadlock(py);
            return Ok(machine.processor.enter(self.id));
        }
        let Some(claim) = self.look_around(py, claim) else {
            return Err(Left::Moved);
        };
        let mut until_ns = core.register.get(py).closes_ns;
        if core.register.get(py).alive == 0 {
            // Only worker 0 is missing, and rings when it comes.
            until_ns = None;
        }
        let claim = if self.id != 0 && core.waits_for_first(py) {
            // Worker 0 is what is missing: it is interrupted, and will take the processor.
            claim.begin_step();
            core.nudge(py);
            until_ns = None;
            let Some(claim) = machine.processor.enter(self.id) else {
                return Err(Left::Moved);
            };
            claim
        } else {
            claim
        };
        let claim = self.rest(py, claim, until_ns);
        Ok(self.look_around(py, claim))
    }

    /// Waits for something to do, and looks what it is.
    fn rest(&mut self, py: Python<'_>, claim: Held<'a>, until_ns: Option<u64>) -> Held<'a> {
        let core = self.core;
        let machine = &core.machine;
        claim.park();
        assert_none_held();
        self.probe.rest();
        let from = self.probe.now();
        let woke = py.detach(|| {
            machine.rest(until_ns, &mut self.pace);
            machine.trace.clock.now()
        });
        self.probe.waited(Kind::Park, from, woke);
        let mut claim = machine.unpark(self.id);
        machine.look_after_rest(&mut claim, &mut self.pace, &mut self.probe);
        claim
    }

    /// One step of a task, here or on the worker that it is bound to.
    fn start(&mut self, py: Python<'_>, mut claim: Held<'a>, task: Py<Task>) -> Seat<'a> {
        let bound = task.get().worker(py);
        if let Some(other) = bound.filter(|&worker| worker != self.id) {
            self.entered.leave(py);
            let queued = Runnable::Task(task);
            return self.core.machine.divert(claim, queued, other);
        }
        self.probe.begin(task.get().mark());
        ahead::fetch(py, claim.local().upcoming());
        claim.begin_step();
        self.run(py, task)
    }

    #[inline]
    fn run(&mut self, py: Python<'_>, task: Py<Task>) -> Seat<'a> {
        let own = task.get();
        own.word.start();
        if own.has(ABANDON) {
            self.core.note_worker(py, &task, self.id);
        }
        let (payload, context) = {
            let mut body = own.body.get_mut(py);
            let payload = match &body.payload {
                Payload::Coroutine(coroutine) => Payload::Coroutine(coroutine.clone_ref(py)),
                _ => std::mem::replace(&mut body.payload, Payload::Gone),
            };
            let context = body.context.as_ref();
            (payload, context.map(|context| context.clone_ref(py)))
        };
        let Some(context) = context else {
            unreachable!("a dead task was queued");
        };
        if let Err(error) = self.entered.change(py, context) {
            // Another step has this context entered: the task is told at its await.
            own.set(THROWS);
            own.body.get_mut(py).inbox = Some(Err(error.into_value(py).into_any()));
        }
        let sent = as_current(py, self.current, task, &payload);
        let task = self.current.take();
        let own = task.get();
        if FORKED.load(Ordering::Relaxed) {
            // Nothing of the copy is touched any more, not even to release it.
            std::mem::forget((task, payload));
            self.core.register.get_mut(py).failure = Some(forked());
            return None;
        }
        if own.has(ABANDON) && own.is_dead() {
            return self.leave(py, task, payload);
        }
        match sent {
            Sent::Suspended => {
                let claim = self.settle(py, task, &payload);
                payload.drop_ref(py);
                return claim;
            }
            Sent::Foreign(object) => refuse(py, own, &object),
            Sent::Returned(value) => self.finish(py, &task, Ok(value)),
            Sent::Raised(error) => self.finish(py, &task, Err(*error)),
        }
        if own.is_dead() {
            drop((task, payload));
            return self.core.machine.processor.enter(self.id);
        }
        self.settle(py, task, &payload)
    }

    /// The task was left while its step was detached: what came of it is nobody's.
    #[cold]
    fn leave(&mut self, py: Python<'_>, task: Py<Task>, payload: Payload) -> Seat<'a> {
        // With the last reference the coroutine is closed: its `finally` blocks run here.
        drop((task, payload));
        let thread = self.core.threads.get(py)[self.id as usize];
        self.core.forget_thread(py, thread);
        self.core.machine.processor.enter(self.id)
    }

    #[inline(never)]
    fn finish(&self, py: Python<'_>, task: &Py<Task>, outcome: PyResult<Py<PyAny>>) {
        let joiners = self.core.finish(py, task, outcome);
        self.core.wake(Some(self.id), joiners);
    }

    /// A timer is due: a step that is no task's.
    #[inline(never)]
    fn fire(&mut self, py: Python<'_>, due: TimerObject) -> Seat<'a> {
        let fired = self
            .core
            .calls(py, &mut self.entered)
            .and_then(|()| timer::fire(py, &due));
        if FORKED.load(Ordering::Relaxed) {
            std::mem::forget(due);
            self.core.register.get_mut(py).failure = Some(forked());
            return None;
        }
        if let Err(error) = fired {
            self.core.report_call(py, error);
        }
        drop(due);
        let claim = self.core.machine.processor.enter(self.id);
        if claim.is_none() {
            self.entered.leave(py);
        }
        claim
    }

    /// The step suspended: the task waits, or is queued again.
    #[inline]
    fn settle(&mut self, py: Python<'_>, task: Py<Task>, payload: &Payload) -> Seat<'a> {
        let machine = &self.core.machine;
        let own = task.get();
        let claim = machine.processor.enter(self.id);
        if claim.is_none() {
            // Before the task can run elsewhere.
            self.entered.leave(py);
        }
        let is_again = match own.word.settle() {
            Settled::Waiting => {
                own.note(WAITED);
                own.body.get_mut(py).since_ns = self.pace.looked_ns();
                false
            }
            Settled::Runnable { yielded } => {
                own.note(if yielded { YIELDED } else { WAITED });
                true
            }
            Settled::Unknown => {
                if let Payload::Coroutine(coroutine) = payload
                    && !own.has(THROWS)
                {
                    refuse(py, own, coroutine);
                }
                true
            }
        };
        match (claim, is_again) {
            (Some(mut claim), true) => {
                claim.local().push(Runnable::Task(task), Place::Tail);
                Some(claim)
            }
            (None, true) => {
                if self.core.register.get(py).is_left {
                    drop(task);
                } else {
                    machine.inject(Runnable::Task(task));
                }
                None
            }
            (claim, false) => claim,
        }
    }
}

/// One step of a coroutine, or the call of a function, as this thread's task, which stays it: the
/// caller takes it back.
#[inline]
pub fn as_current(py: Python<'_>, current: &Current, task: Py<Task>, payload: &Payload) -> Sent {
    let own = task.get();
    let thrown = if own.has(THROWS) {
        own.clear(THROWS);
        own.body.get_mut(py).inbox.take().and_then(Result::err)
    } else {
        None
    };
    let resumed = if thrown.is_some() {
        Resumed::Not
    } else if own.has(WAITED) {
        Resumed::Woken
    } else if own.has(YIELDED) {
        Resumed::Yielded
    } else {
        Resumed::Not
    };
    let is_cancelled = own.has(CANCELLED);
    current.resumed.set(resumed);
    current.budget.set(BUDGET);
    *current.task.borrow_mut() = Some(task);
    match (payload, thrown) {
        (Payload::Coroutine(coroutine), None) => awaitable::send(py, coroutine.bind(py)),
        (Payload::Coroutine(coroutine), Some(error)) => throw(py, coroutine.bind(py), error),
        (Payload::Function(_), Some(error)) => {
            Sent::raised(PyErr::from_value(error.into_bound(py)))
        }
        (Payload::Function(call), None) => perform(py, call, is_cancelled),
        (Payload::Gone, _) => unreachable!("a dead task was queued"),
    }
}

/// Calls a function, unless it was cancelled before it began.
#[inline(never)]
fn perform(py: Python<'_>, call: &(Py<PyAny>, Py<PyTuple>), is_cancelled: bool) -> Sent {
    let outcome = if is_cancelled {
        Err(Cancelled::new_err(
            "the function was cancelled before it began",
        ))
    } else {
        call.0.bind(py).call1(call.1.bind(py))
    };
    match outcome {
        Ok(value) => Sent::Returned(value.unbind()),
        Err(error) => Sent::raised(error),
    }
}

#[cold]
fn throw(py: Python<'_>, coroutine: &Bound<'_, PyAny>, error: Py<PyAny>) -> Sent {
    match coroutine.call_method1("throw", (error,)) {
        Ok(yielded) => awaitable::suspended(py, yielded),
        Err(error) if error.is_instance_of::<PyStopIteration>(py) => {
            match error.value(py).getattr("value") {
                Ok(value) => Sent::Returned(value.unbind()),
                Err(error) => Sent::raised(error),
            }
        }
        Err(error) => Sent::raised(error),
    }
}

/// The task awaited something that is not ours: it is told so where it did.
#[cold]
fn refuse(py: Python<'_>, own: &Task, object: &Py<PyAny>) {
    let kind = object.bind(py).get_type();
    let kind = kind.fully_qualified_name();
    let kind = kind
        .as_ref()
        .map_or("an unknown object".to_owned(), ToString::to_string);
    let error = PyTypeError::new_err(format!(
        "a herz task awaited {kind}, which only an asyncio loop can wake: \
         await herz.runtime.run_asyncio(coroutine) instead"
    ));
    own.word.call_off();
    own.set(THROWS);
    let left = own
        .body
        .get_mut(py)
        .inbox
        .replace(Err(error.into_value(py).into_any()));
    drop(left);
}
