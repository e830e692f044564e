//! What a worker does: run tasks while it has the processor, functions when it has not.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use herz_core::runtime::crew::Errand;
use herz_core::runtime::fifo::Place;
use herz_core::runtime::machine::Pace;
use herz_core::runtime::poller::Slack;
use herz_core::runtime::processor::{Claim, WorkerId};
use herz_core::runtime::sync::assert_none_held;
use herz_core::runtime::task::Settled;
use herz_core::runtime::trace::ring::Kind;
use herz_core::runtime::trace::stalls::Waiting;
use herz_core::runtime::trace::track::Probe;
use pyo3::exceptions::{PyStopIteration, PyTypeError};
use pyo3::prelude::*;

use super::awaitable::{self, Entered, Sent};
use super::core::Core;
use super::current::{BUDGET, CURRENT, FORKED, Resumed, Role, forked};
use super::task::{CANCELLED, Payload, THROWS, Task, TaskRef, WAITED, YIELDED};
use super::{Cancelled, interval, seeing};

/// Why a worker stopped running tasks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// Its processor went to another worker.
    Moved,
    /// The run is over.
    Over,
}

/// At most so long the thread that called `run` waits without looking at signals.
const SIGNALS_EVERY: Duration = Duration::from_millis(50);

type Seat<'a> = Option<Claim<'a, TaskRef>>;

struct Worker<'a> {
    core: &'a Arc<Core>,
    id: WorkerId,
    entered: Entered,
    pace: Pace,
    probe: Probe<'a>,
}

/// Runs tasks until the processor, which was granted to this worker, is gone or all is over.
pub fn drive(py: Python<'_>, core: &Arc<Core>, id: WorkerId) -> Left {
    let mut worker = Worker {
        core,
        id,
        entered: Entered::default(),
        pace: Pace::default(),
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
        seat = match machine.find(&mut claim) {
            Some(task) => {
                worker.probe.begin(task.0.get().mark());
                claim.begin_step();
                worker.run(py, task)
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
    fn look_around(&mut self, py: Python<'_>, claim: Claim<'a, TaskRef>) -> Seat<'a> {
        let machine = &self.core.machine;
        let dead = machine.exhume();
        if dead.is_empty() && self.id != 0 && !machine.is_reclaimed() {
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
        if self.id != 0 && machine.is_reclaimed() {
            self.entered.leave(py);
        }
        machine.hand_back(self.id, claim)
    }

    /// Nothing is runnable: end, report a deadlock, or wait.
    fn idle(&mut self, py: Python<'_>, mut claim: Claim<'a, TaskRef>) -> Result<Seat<'a>, Left> {
        let core = self.core;
        let machine = &core.machine;
        self.probe.rest();
        machine.look(&mut claim, &mut self.pace, &mut self.probe);
        if !claim.local().is_empty() {
            return Ok(Some(claim));
        }
        self.entered.leave(py);
        if self.id == 0 && core.is_over(py) {
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
        let claim = if self.id != 0 && core.is_past_grace(py) {
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
        claim.park();
        assert_none_held();
        machine.poller.prepare();
        // What ends beside this worker does so with the interpreter: it ended before this look, or
        // it ends after `prepare`, and rings.
        let is_over = self.id == 0 && core.is_over(py);
        if is_over || machine.is_stuck() && core.register.get(py).closes_ns.is_none() {
            machine.poller.call_off();
            return Ok(Some(machine.unpark(self.id)));
        }
        let from = self.probe.now();
        let woke = py.detach(|| {
            machine.rest(until_ns);
            machine.trace.clock.now()
        });
        self.probe.waited(Kind::Park, from, woke);
        let mut claim = machine.unpark(self.id);
        machine.look(&mut claim, &mut self.pace, &mut self.probe);
        Ok(self.look_around(py, claim))
    }

    /// One step of a coroutine task.
    fn run(&mut self, py: Python<'_>, task: TaskRef) -> Seat<'a> {
        let own = task.0.get();
        own.word.start();
        let (coroutine, context) = {
            let body = own.body.get(py);
            let coroutine = match &body.payload {
                Payload::Coroutine(coroutine) => Some(coroutine.clone_ref(py)),
                Payload::Function(_) | Payload::Gone => None,
            };
            (
                coroutine,
                body.context.as_ref().map(|context| context.clone_ref(py)),
            )
        };
        let (Some(coroutine), Some(context)) = (coroutine, context) else {
            unreachable!("a dead task was queued");
        };
        let coroutine = coroutine.into_bound(py);
        if let Err(error) = self.entered.change(py, &context) {
            // Another step has this context entered: the task is told at its await.
            own.set(THROWS);
            own.body.get_mut(py).inbox = Some(Err(error.into_value(py).into_any()));
        }
        let (task, sent) = step(py, task, &coroutine);
        let own = task.0.get();
        if FORKED.load(Ordering::Relaxed) {
            // Nothing of the copy is touched any more, not even to release it.
            std::mem::forget((task, coroutine));
            self.core.register.get_mut(py).failure = Some(forked());
            return None;
        }
        match sent {
            Sent::Suspended => return self.settle(py, task, &coroutine),
            Sent::Foreign(object) => refuse(py, own, &object),
            Sent::Returned(value) => self.core.finish(py, &task.0, Ok(value)),
            Sent::Raised(error) => self.core.finish(py, &task.0, Err(error)),
        }
        if own.is_dead() {
            drop((task, coroutine));
            return self.core.machine.processor.enter(self.id);
        }
        self.settle(py, task, &coroutine)
    }

    /// The step suspended: the task waits, or is queued again.
    fn settle(&mut self, py: Python<'_>, task: TaskRef, coroutine: &Bound<'_, PyAny>) -> Seat<'a> {
        let machine = &self.core.machine;
        let own = task.0.get();
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
                if !own.has(THROWS) {
                    refuse(py, own, &coroutine.clone().unbind());
                }
                true
            }
        };
        match (claim, is_again) {
            (Some(mut claim), true) => {
                claim.local().push(task, Place::Tail);
                Some(claim)
            }
            (None, true) => {
                if self.core.register.get(py).is_left {
                    drop(task);
                } else {
                    machine.inject(task);
                }
                None
            }
            (claim, false) => claim,
        }
    }
}

/// Resumes the coroutine as this thread's task.
fn step(py: Python<'_>, task: TaskRef, coroutine: &Bound<'_, PyAny>) -> (TaskRef, Sent) {
    let own = task.0.get();
    let resumed = if own.has(WAITED) {
        Resumed::Woken
    } else if own.has(YIELDED) {
        Resumed::Yielded
    } else {
        Resumed::Not
    };
    let thrown = if own.has(THROWS) {
        own.clear(THROWS);
        own.body.get_mut(py).inbox.take()
    } else {
        None
    };
    CURRENT.with(|current| {
        current.resumed.set(resumed);
        current.budget.set(BUDGET);
        *current.task.borrow_mut() = Some(task.0);
        let sent = match thrown {
            Some(Err(error)) => {
                current.resumed.set(Resumed::Not);
                throw(py, coroutine, error)
            }
            _ => awaitable::send(py, coroutine),
        };
        let task = current.task.borrow_mut().take();
        let task = TaskRef(task.expect("the step's task stays in its place"));
        (task, sent)
    })
}

fn throw(py: Python<'_>, coroutine: &Bound<'_, PyAny>, error: Py<PyAny>) -> Sent {
    match coroutine.call_method1("throw", (error,)) {
        Ok(yielded) => awaitable::suspended(py, yielded),
        Err(error) if error.is_instance_of::<PyStopIteration>(py) => {
            match error.value(py).getattr("value") {
                Ok(value) => Sent::Returned(value.unbind()),
                Err(error) => Sent::Raised(error),
            }
        }
        Err(error) => Sent::Raised(error),
    }
}

/// The task awaited something that is not ours: it is told so where it did.
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

/// A worker's whole life on its own thread.
pub fn work(py: Python<'_>, core: &Arc<Core>) {
    let crew = &core.machine.crew;
    let clock = core.machine.trace.clock;
    let id = crew.join();
    core.machine.sit(id);
    CURRENT.with(|current| *current.core.borrow_mut() = Some(Arc::clone(core)));
    loop {
        assert_none_held();
        let slack = Slack::least();
        let mut probe = core.machine.trace.probe(id);
        let from = probe.now();
        let (errand, woke, waiting) = py.detach(|| {
            let errand = crew.wait(id, None, || ());
            let waiting = matches!(errand, Some(Errand::Processor)).then(Waiting::begin);
            (errand, clock.now(), waiting)
        });
        probe.waited(Kind::Idle, from, woke);
        match errand {
            Some(Errand::Processor) => {
                if let Some(waiting) = waiting {
                    seeing::attached(py, core, waiting);
                }
                CURRENT.with(|current| current.role.set(Role::Worker(id)));
                interval::shorten(py, &core.machine);
                drive(py, core, id);
                CURRENT.with(|current| current.role.set(Role::Helper));
            }
            Some(Errand::Function(task)) => {
                drop(slack);
                probe.begin(task.0.get().mark());
                call(py, core, &task.0);
                probe.end_function();
                if FORKED.load(Ordering::Relaxed) {
                    return;
                }
            }
            Some(Errand::Stop) | None => break,
        }
    }
    CURRENT.with(|current| current.core.borrow_mut().take());
}

/// Runs a function task on this thread.
fn call(py: Python<'_>, core: &Arc<Core>, task: &Py<Task>) {
    let own = task.get();
    own.word.off_load();
    let (payload, context) = {
        let mut body = own.body.get_mut(py);
        let payload = std::mem::replace(&mut body.payload, Payload::Gone);
        (
            payload,
            body.context.as_ref().map(|context| context.clone_ref(py)),
        )
    };
    let outcome = if own.has(CANCELLED) {
        Err(Cancelled::new_err(
            "the function was cancelled before it began",
        ))
    } else if let (Payload::Function(call), Some(context)) = (&payload, context) {
        let mut entered = Entered::default();
        CURRENT.with(|current| *current.task.borrow_mut() = Some(task.clone_ref(py)));
        let outcome = entered
            .change(py, &context)
            .and_then(|()| call.0.bind(py).call1(call.1.bind(py)));
        entered.leave(py);
        CURRENT.with(|current| current.task.borrow_mut().take());
        outcome.map(Bound::unbind)
    } else {
        unreachable!("only functions are off-loaded")
    };
    drop(payload);
    if FORKED.load(Ordering::Relaxed) {
        return;
    }
    core.finish(py, task, outcome);
    core.machine.crew.done();
    // The owner may have found itself stuck but for this function.
    core.machine.poller.wake();
}

/// The thread that called `run`: it runs tasks first, and again whenever its own step has ended.
pub fn preside(py: Python<'_>, core: &Arc<Core>) {
    let machine = &core.machine;
    let _slack = Slack::least();
    while drive(py, core, 0) == Left::Moved {
        loop {
            assert_none_held();
            let waited = py.detach(|| {
                let errand = machine.wait_to_reclaim(SIGNALS_EVERY)?;
                Some((errand, Waiting::begin()))
            });
            if let Some((errand, waiting)) = waited {
                seeing::attached(py, core, waiting);
                assert!(
                    matches!(errand, Errand::Processor),
                    "worker 0 only runs tasks"
                );
                break;
            }
            if let Err(error) = py.check_signals() {
                core.register.get_mut(py).failure.get_or_insert(error);
                core.close(py);
            }
        }
    }
}
