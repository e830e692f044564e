//! What the thread of a worker does while it has no processor: wait for errands, run functions.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use herz_core::runtime::crew::Errand;
use herz_core::runtime::processor::WorkerId;
use herz_core::runtime::sync::assert_none_held;
use herz_core::runtime::thread::Slack;
use herz_core::runtime::trace::ring::Kind;
use herz_core::runtime::trace::stalls::Waiting;
use pyo3::prelude::*;

use super::affinity;
use super::awaitable::{self, Entered, Sent};
use super::core::Core;
use super::current::{CURRENT, FORKED, Role};
use super::stay::Stay;
use super::task::{Payload, Runnable, Task, Waiter};
use super::worker::{Left, as_current, drive};
use super::{interval, seeing};

/// At most so long the thread that called `run` waits without looking at signals.
const SIGNALS_EVERY: Duration = Duration::from_millis(50);

/// A worker's whole life on its own thread.
pub fn work(py: Python<'_>, core: &Arc<Core>) {
    let _stay = Stay::new();
    let clock = core.machine.trace.clock;
    let id = core.machine.crew.join();
    sit(py, core, id);
    CURRENT.with(|current| *current.core.borrow_mut() = Some(Arc::clone(core)));
    // Whom the function that ended wakes.
    let mut joiners = None;
    loop {
        assert_none_held();
        let left = joiners.take();
        let mut probe = core.machine.trace.probe(id);
        let from = probe.now();
        let (errand, woke, waiting) = py.detach(|| {
            let errand = next_errand(core, id, left);
            // Only asked of who was given the processor; a function does without the cost.
            let is_given = matches!(
                errand,
                Some(Errand::Processor | Errand::Taken(_) | Errand::Attend)
            );
            (errand, clock.now(), is_given.then(Waiting::begin))
        });
        probe.waited(Kind::Idle, from, woke);
        let errand = match errand {
            Some(Errand::Attend) => {
                let crew = &core.machine.crew;
                match crew.attended(id, || py.detach(|| crew.await_errand(id))) {
                    None => continue,
                    errand => errand,
                }
            }
            errand => errand,
        };
        match errand {
            Some(Errand::Taken(from)) if must_give_back(py, core, id, from) => {}
            Some(Errand::Processor | Errand::Taken(_)) => {
                let _slack = Slack::least();
                if let Some(waiting) = waiting {
                    seeing::attached(py, core, waiting);
                }
                CURRENT.with(|current| current.role.set(Role::Worker(id)));
                interval::shorten(py, &core.machine);
                drive(py, core, id);
                CURRENT.with(|current| current.role.set(Role::Helper));
            }
            Some(Errand::Function(task)) => {
                let Runnable::Task(task) = task else {
                    unreachable!("only functions are off-loaded");
                };
                probe.begin(task.get().mark());
                joiners = Some(call(py, core, id, &task));
                probe.end_function();
                if FORKED.load(Ordering::Relaxed) {
                    return;
                }
            }
            Some(Errand::Attend | Errand::Stop) | None => break,
        }
    }
    // From here on nobody interrupts it.
    core.threads.get_mut(py)[id as usize] = 0;
    CURRENT.with(|current| current.core.borrow_mut().take());
}

/// The calling thread is the worker's.
pub fn sit(py: Python<'_>, core: &Core, id: WorkerId) {
    core.machine.sit(id);
    let mut threads = core.threads.get_mut(py);
    let places = threads.len().max(id as usize + 1);
    threads.resize(places, 0);
    threads[id as usize] = awaitable::thread_ident(py);
}

/// Looks at the step that the processor was taken from: it may have it back, or not be waited for
/// any more.
fn must_give_back(py: Python<'_>, core: &Arc<Core>, id: WorkerId, from: WorkerId) -> bool {
    let thread = core.threads.get(py)[from as usize];
    match affinity::is_traced(py, thread) {
        // Whoever debugs a step does not want the others to go on meanwhile.
        Ok(true) if core.machine.give_back(id, from) => return true,
        Ok(_) => core.abandon_detached(py),
        Err(error) => error.write_unraisable(py, None),
    }
    false
}

/// Tells who awaits the function that just ended, and waits for something to do. Without the
/// interpreter: whoever is woken wants it at once.
fn next_errand(core: &Core, id: WorkerId, left: Option<Vec<Waiter>>) -> Option<Errand<Runnable>> {
    let machine = &core.machine;
    let errand = machine.crew.wait(id, None, |wants| {
        // Idle already: what follows is given to this thread, which is awake.
        if wants {
            machine.want();
        }
        if let Some(joiners) = left {
            machine.end_function(core.woken(joiners));
        }
    });
    if matches!(errand, Some(Errand::Function(_))) {
        machine.await_rest();
    }
    errand
}

/// Runs a function task on this thread.
fn call(py: Python<'_>, core: &Arc<Core>, id: WorkerId, task: &Py<Task>) -> Vec<Waiter> {
    let own = task.get();
    if own.is_dead() {
        return Vec::new(); // it was left before it began
    }
    own.word.off_load();
    core.note_worker(py, task, id);
    let (payload, context) = {
        let mut body = own.body.get_mut(py);
        let payload = std::mem::replace(&mut body.payload, Payload::Gone);
        (
            payload,
            body.context.as_ref().map(|context| context.clone_ref(py)),
        )
    };
    let Some(context) = context else {
        unreachable!("a dead task was queued");
    };
    let mut entered = Entered::default();
    let outcome = entered.change(py, context).and_then(|()| {
        let sent = CURRENT.with(|current| {
            let sent = as_current(py, current, task.clone_ref(py), &payload);
            current.take().drop_ref(py);
            sent
        });
        entered.leave(py);
        match sent {
            Sent::Raised(error) => Err(*error),
            Sent::Returned(value) => Ok(value),
            Sent::Suspended | Sent::Foreign(_) => Err(super::broken("a function")),
        }
    });
    drop(payload);
    if FORKED.load(Ordering::Relaxed) {
        return Vec::new();
    }
    if own.is_dead() {
        // It was left inside its call: what came of it is nobody's.
        let thread = core.threads.get(py)[id as usize];
        core.forget_thread(py, thread);
        return Vec::new();
    }
    core.finish(py, task, outcome)
}

/// The thread that called `run`: it runs tasks first, and again whenever its own step has ended.
pub fn preside(py: Python<'_>, core: &Arc<Core>) {
    let machine = &core.machine;
    let _stay = Stay::new();
    let _slack = Slack::least();
    while drive(py, core, 0) == Left::Moved {
        loop {
            assert_none_held();
            let (errand, waiting) =
                py.detach(|| (machine.wait_to_reclaim(SIGNALS_EVERY), Waiting::begin()));
            if let Some(errand) = errand {
                match errand {
                    Errand::Taken(from) if must_give_back(py, core, 0, from) => continue,
                    Errand::Processor | Errand::Taken(_) => {
                        seeing::attached(py, core, waiting);
                        break;
                    }
                    Errand::Function(_) | Errand::Attend | Errand::Stop => {
                        unreachable!("worker 0 only runs tasks")
                    }
                }
            }
            if core.is_over(py) {
                machine.crew.unlock_all();
            }
            if let Err(error) = py.check_signals() {
                core.register.get_mut(py).failure.get_or_insert(error);
                core.close(py);
            }
        }
    }
}
