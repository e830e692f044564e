//! One runtime as Python sees it: the core's machine and the register of its tasks.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use herz_core::runtime::fifo::Place;
use herz_core::runtime::machine::Machine;
use herz_core::runtime::processor::WorkerId;
use herz_core::runtime::queue::victims::Random;
use herz_core::runtime::signals::Blocked;
use herz_core::runtime::sync::assert_none_held;
use herz_core::runtime::task::Wake;
use herz_core::runtime::timers::shards::Location;
use pyo3::exceptions::{PyKeyboardInterrupt, PyRuntimeError, PySystemExit};
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::abandon::Abandoned;
use super::affinity::Bond;
use super::awaitable::{Entered, copy_context};
use super::cell::GilCell;
use super::current;
use super::seeing;
use super::task::{
    ABANDON, BOUND, Body, CANCELLED, FUNCTION, Joiners, NO_CASE, Options, Payload, Runnable, Task,
    Tickets, WAITED, Waiter,
};
use super::{Cancelled, Deadlock};

pub struct Core {
    pub machine: Machine<Runnable>,
    pub register: GilCell<Register>,
    pub abandoned: GilCell<Abandoned>,
    /// Each worker's thread, as Python's `threading` names it.
    pub threads: GilCell<Vec<u64>>,
    /// Draws among the cases of a select that are ready.
    pub lot: GilCell<Random>,
    /// What calls of timers run in.
    pub context: GilCell<Option<Py<PyAny>>>,
    /// Starts one more worker's thread.
    pub start_worker: Py<PyAny>,
    /// How long tasks have to end after `main`.
    pub grace_ns: u64,
}

/// All tasks that live, and how far the run is.
#[derive(Default)]
pub struct Register {
    places: Vec<Option<Py<Task>>>,
    free: Vec<u32>,
    pub alive: usize,
    pub spawned: u64,
    main: Option<Py<Task>>,
    /// Set when `main` ended: when waiting for the rest ends.
    pub closes_ns: Option<u64>,
    /// What `run` raises instead of what `main` gave.
    pub failure: Option<PyErr>,
    interrupts: u32,
    /// Interrupts the call that the thread of `run` is in.
    pub nudge: Option<Py<PyAny>>,
    has_nudged: bool,
    /// Called once, when all tasks have ended.
    pub at_end: Option<Py<PyAny>>,
    /// `run` has returned; what is still in a call is on its own.
    pub is_left: bool,
    /// What a stall is told to; what a trace calls its tasks, and when a collection began.
    pub seeing: seeing::State,
}

impl Core {
    /// Makes a task and queues it, or has a thread run its function.
    pub fn spawn(
        self: &Arc<Self>,
        py: Python<'_>,
        payload: Payload,
        options: Options,
    ) -> PyResult<Py<Task>> {
        let is_function = matches!(payload, Payload::Function(_));
        let flags = [
            (is_function, FUNCTION),
            (options.is_pinned, BOUND),
            (options.abandons, ABANDON),
        ];
        let flags: u8 = flags.iter().filter(|flag| flag.0).map(|flag| flag.1).sum();
        let context = copy_context(py)?;
        let id = self.register.get(py).spawned + 1;
        let task = Task {
            word: herz_core::runtime::task::Word::default(),
            flags: flags.into(),
            place: 0.into(),
            location: Location::default(),
            id,
            core: Arc::clone(self),
            body: GilCell::new(Body {
                payload,
                context: Some(context),
                inbox: None,
                joiners: Joiners::default(),
                name: options.name,
                tickets: Tickets::None,
                case: NO_CASE,
                waits_for: &"",
                since_ns: 0,
                born_ms: self.now_ms(),
                cancels: 0,
                shields: 0,
                bond: Bond::new(options.is_pinned),
            }),
        };
        let task = Py::new(py, task)?;
        if options.abandons {
            self.note_abandonable(py, &task);
        }
        if let Err(error) = self.enrol(py, &task) {
            self.forget_abandonable(py, &task);
            return Err(error);
        }
        let queued = Runnable::Task(task.clone_ref(py));
        // Under a clock of the runtime's own a function is one step of the thread of `run`.
        if is_function && !options.is_pinned && !self.machine.clock.is_virtual() {
            self.machine.crew.submit(queued);
            self.start_worker_if_short(py, self.spares())?;
        } else {
            self.machine
                .ready(current::worker_of(self), queued, Place::Tail);
        }
        Ok(task)
    }

    fn enrol(self: &Arc<Self>, py: Python<'_>, task: &Py<Task>) -> PyResult<()> {
        let mut register = self.register.get_mut(py);
        if register.is_left {
            return Err(PyRuntimeError::new_err("this herz runtime has ended"));
        }
        register.spawned += 1;
        register.alive += 1;
        let entry = Some(task.clone_ref(py));
        let place = if let Some(place) = register.free.pop() {
            register.places[place as usize] = entry;
            place
        } else {
            register.places.push(entry);
            register.places.len() as u32 - 1
        };
        if register.main.is_none() {
            register.main = Some(task.clone_ref(py));
        }
        let is_closing = register.closes_ns.is_some();
        drop(register);
        task.get().place.store(place, Ordering::Relaxed);
        if self.machine.trace.is_on() {
            self.name_for_trace(py, task);
        }
        if is_closing {
            self.cancel(py, task.bind(py));
        }
        Ok(())
    }

    /// So many threads are kept for hand-offs.
    pub fn spares(&self) -> usize {
        usize::from(self.machine.settings.hand_off)
    }

    /// More threads, when functions would have to wait for one, or fewer than `spares` are idle.
    pub fn start_worker_if_short(&self, py: Python<'_>, spares: usize) -> PyResult<()> {
        while self.machine.crew.wants(spares) {
            assert_none_held();
            let _blocked = Blocked::all();
            if let Err(error) = self.start_worker.call0(py) {
                self.machine.crew.dismiss();
                return Err(error);
            }
        }
        Ok(())
    }

    /// The task ended. Whoever awaits it comes back, for `wake`.
    #[must_use = "somebody awaits the task"]
    pub fn finish(
        self: &Arc<Self>,
        py: Python<'_>,
        task: &Py<Task>,
        outcome: PyResult<Py<PyAny>>,
    ) -> Vec<Waiter> {
        assert_none_held();
        let own = task.get();
        let outcome = outcome.map_err(|error| {
            if error.is_instance_of::<PyKeyboardInterrupt>(py)
                || error.is_instance_of::<PySystemExit>(py)
            {
                own.set(super::task::SEEN);
                let mut register = self.register.get_mut(py);
                register.failure.get_or_insert(error.clone_ref(py));
            }
            if error.is_instance_of::<Cancelled>(py) {
                own.set(super::task::SEEN);
            }
            error.into_value(py).into_any()
        });
        // Runs Python.
        self.note_departure(py, own);
        if own.is_dead() {
            // Making the error's object ran Python, and meanwhile the task ended elsewhere. From
            // here to `Word::finish` nothing does.
            return Vec::new();
        }
        let (payload, context, joiners);
        let place = own.place.load(Ordering::Relaxed);
        {
            let mut body = own.body.get_mut(py);
            payload = std::mem::replace(&mut body.payload, Payload::Gone);
            context = body.context.take();
            joiners = body.joiners.take();
            body.inbox = Some(outcome);
        }
        own.disarm();
        own.word.finish();
        own.unbind(py);
        self.forget_abandonable(py, task);
        let joiners = self.wake_selects(py, joiners);
        let (entry, must_close) = {
            let mut register = self.register.get_mut(py);
            if register.is_left {
                // `run` has returned without it, and has forgotten all places.
                return joiners;
            }
            register.alive -= 1;
            let entry = register.places[place as usize].take();
            register.free.push(place);
            let is_main = register.main.as_ref().is_some_and(|main| main.is(task));
            let is_last_word = is_main || register.failure.is_some();
            (entry, is_last_word && register.closes_ns.is_none())
        };
        // Released last, outside all borrows: their finalizers may call back in.
        drop((payload, context, entry));
        if must_close {
            self.close(py);
        }
        joiners
    }

    /// Wakes those who wait for the task among other things, which must be told the case while
    /// nobody else runs Python; gives the others back.
    fn wake_selects(&self, py: Python<'_>, joiners: Vec<Waiter>) -> Vec<Waiter> {
        let (selects, others) = joiners
            .into_iter()
            .partition::<Vec<_>, _>(|waiter| waiter.case != NO_CASE);
        for waiter in selects {
            let joiner = waiter.task.get();
            let wake = joiner.word.wake(waiter.generation);
            if wake != Wake::Stale {
                joiner.body.get_mut(py).case = waiter.case;
            }
            if wake == Wake::Queue {
                let queued = Runnable::Task(waiter.task);
                let worker = current::worker_of(self);
                self.machine.ready(worker, queued, Place::Next);
            }
        }
        others
    }

    /// Wakes those who awaited a task. Needs no interpreter.
    pub fn wake(&self, worker: Option<WorkerId>, joiners: Vec<Waiter>) {
        for woken in self.woken(joiners) {
            self.machine.ready(worker, woken, Place::Next);
        }
    }

    /// Ends the waits of those who awaited a task, and gives those that are to be queued.
    pub fn woken(&self, joiners: Vec<Waiter>) -> impl Iterator<Item = Runnable> {
        joiners.into_iter().filter_map(|waiter| {
            let wake = waiter.task.get().word.wake(waiter.generation);
            let queued = Runnable::Task(waiter.task);
            match wake {
                Wake::Queue => Some(queued),
                Wake::Noted | Wake::Stale => {
                    self.machine.bury(queued);
                    None
                }
            }
        })
    }

    /// Cancels what lives; the run ends when all of it has ended, or after the grace.
    pub fn close(self: &Arc<Self>, py: Python<'_>) {
        let living = {
            let mut register = self.register.get_mut(py);
            register.closes_ns = Some(self.machine.clock.now_ns().saturating_add(self.grace_ns));
            living(py, &register)
        };
        for task in living {
            self.cancel(py, task.bind(py));
        }
    }

    /// Enters the context that the calls of timers share.
    pub fn calls(&self, py: Python<'_>, entered: &mut Entered) -> PyResult<()> {
        let context = self.context.get(py).as_ref().map(|it| it.clone_ref(py));
        if let Some(context) = context
            && entered.change(py, context).is_ok()
        {
            return Ok(());
        }
        // The first call; or a detached one is still inside the other context.
        entered.leave(py);
        let context = copy_context(py)?;
        let before = self.context.get_mut(py).replace(context.clone_ref(py));
        drop(before);
        entered.change(py, context)
    }

    /// The call of a timer raised: nobody awaits it.
    pub fn report_call(self: &Arc<Self>, py: Python<'_>, error: PyErr) {
        if !error.is_instance_of::<PyKeyboardInterrupt>(py)
            && !error.is_instance_of::<PySystemExit>(py)
        {
            let about = PyString::new(py, "the call of a timer");
            return error.write_unraisable(py, Some(&about));
        }
        let must_close = {
            let mut register = self.register.get_mut(py);
            register.failure.get_or_insert(error);
            register.closes_ns.is_none()
        };
        if must_close {
            self.close(py);
        }
    }

    /// Asks the task to end: at its next await.
    pub fn cancel(self: &Arc<Self>, py: Python<'_>, task: &Bound<'_, Task>) {
        let own = task.get();
        own.body.get_mut(py).cancels += 1;
        own.hear(py);
        if !own.has(CANCELLED) {
            return;
        }
        self.abandon(py, task.as_unbound());
        let Some(generation) = own.word.waiting() else {
            return;
        };
        if own.word.wake(generation) == Wake::Queue {
            let queued = Runnable::Task(task.clone().unbind());
            self.machine
                .ready(current::worker_of(self), queued, Place::Tail);
        }
    }

    /// Nothing can wake any task any more: `run` raises `Deadlock`.
    pub fn report_deadlock(self: &Arc<Self>, py: Python<'_>) {
        let living = living(py, &self.register.get(py));
        let now = self.machine.clock.now_ns();
        let lines = living.iter().map(|task| {
            let own = task.get();
            let since_ns = own.body.get(py).since_ns;
            let ago_ms = now.saturating_sub(since_ns) / 1_000_000;
            let (label, state) = (own.label(py), own.describe(py));
            format!("\n  {label} {state}, for {ago_ms} ms")
        });
        let text: String = lines.collect();
        let text = format!("all tasks wait, and nothing is left that could wake one:{text}");
        {
            let mut register = self.register.get_mut(py);
            register.failure.get_or_insert(Deadlock::new_err(text));
        }
        self.close(py);
    }

    /// Ctrl-C: the first one cancels `main`.
    pub fn interrupt(self: &Arc<Self>, py: Python<'_>) -> &'static str {
        let main = {
            let mut register = self.register.get_mut(py);
            register.interrupts += 1;
            let is_first = register.interrupts == 1 && register.closes_ns.is_none();
            let main = register.main.as_ref().filter(|_| is_first);
            main.map(|main| main.clone_ref(py))
        };
        match main {
            Some(main) => {
                self.cancel(py, main.bind(py));
                "cancel"
            }
            None => "raise",
        }
    }

    /// Whether the nudge has come, and the calling thread, which `run` was called on, is still in
    /// the step that it was meant for. Asked once.
    pub fn was_nudged(&self, py: Python<'_>) -> bool {
        let has_nudged = std::mem::take(&mut self.register.get_mut(py).has_nudged);
        // A seat stays detached after its step's end: only the task tells that it is inside one.
        let seat = self.machine.crew.seat_of(0);
        has_nudged && seat.is_detached.load(Ordering::Relaxed) && current::task(py).is_some()
    }

    /// The run is over but for the thread that called it, which is still inside a call: that call
    /// is interrupted, once.
    pub fn nudge(&self, py: Python<'_>) {
        let nudge = {
            let mut register = self.register.get_mut(py);
            register.has_nudged = true;
            register.nudge.take()
        };
        if let Some(nudge) = nudge
            && let Err(error) = nudge.call0(py)
        {
            error.write_unraisable(py, None);
        }
    }

    /// All tasks have ended: what has to be done then, once; it may start more. False: nothing.
    pub fn call_at_end(&self, py: Python<'_>) -> bool {
        let hook = {
            let mut register = self.register.get_mut(py);
            (register.alive == 0)
                .then(|| register.at_end.take())
                .flatten()
        };
        let Some(hook) = hook else { return false };
        if let Err(error) = hook.call0(py) {
            error.write_unraisable(py, None);
        }
        true
    }

    /// Whether the thread of `run` is still inside a call that nobody waits for any more.
    pub fn waits_for_first(&self, py: Python<'_>) -> bool {
        let first = self.threads.get(py)[0];
        self.is_over(py)
            && (self.register.get(py).alive > 0 || self.abandoned_threads(py).contains(&first))
    }

    /// Whether `run` may return.
    pub fn is_over(&self, py: Python<'_>) -> bool {
        let register = self.register.get(py);
        register.alive == 0
            || register
                .closes_ns
                .is_some_and(|closes| self.machine.clock.now_ns() >= closes)
    }

    /// What `run` gives.
    pub fn result(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let (failure, main, was_interrupted) = {
            let mut register = self.register.get_mut(py);
            let was_interrupted = register.interrupts > 0;
            (
                register.failure.take(),
                register.main.take(),
                was_interrupted,
            )
        };
        let outcome = match main {
            Some(main) if main.get().is_dead() => main.get().outcome(py),
            _ => Err(PyRuntimeError::new_err("main is still inside a call")),
        };
        if let Some(failure) = failure {
            return Err(failure);
        }
        match outcome {
            Err(error) if was_interrupted && error.is_instance_of::<Cancelled>(py) => {
                Err(PyKeyboardInterrupt::new_err(()))
            }
            outcome => outcome,
        }
    }

    /// Forgets all tasks: a runtime and its tasks hold each other.
    pub fn leave(&self, py: Python<'_>) -> (Vec<Py<Task>>, Option<Py<PyAny>>) {
        self.leave_abandonable(py);
        let mut register = self.register.get_mut(py);
        register.is_left = true;
        let living = living(py, &register);
        register.places.clear();
        register.free.clear();
        let hook = register.at_end.take();
        drop(register);
        // Their references; the tasks themselves are in `living`.
        drop(self.machine.descriptors.empty());
        (living, hook)
    }

    /// The living task of that mark.
    pub fn find(&self, py: Python<'_>, mark: u64) -> Option<Py<Task>> {
        let register = self.register.get(py);
        let entry = register.places.get((mark >> 32) as usize)?.as_ref()?;
        (entry.get().mark() == mark).then(|| entry.clone_ref(py))
    }

    pub fn living(&self, py: Python<'_>) -> Vec<Py<Task>> {
        living(py, &self.register.get(py))
    }
}

impl Core {
    /// The living ones among the first so many places of the register.
    pub fn living_first(&self, py: Python<'_>, most: usize) -> Vec<Py<Task>> {
        let register = self.register.get(py);
        let places = register.places.iter().take(most).flatten();
        places.map(|task| task.clone_ref(py)).collect()
    }
}

fn living(py: Python<'_>, register: &Register) -> Vec<Py<Task>> {
    let places = register.places.iter().flatten();
    places.map(|task| task.clone_ref(py)).collect()
}

/// Tells the hook for unraisable errors of one that nobody awaited.
pub fn report_unseen(py: Python<'_>, label: &str, error: Py<PyAny>) {
    // The last reference may go while another exception is on its way.
    let pending = PyErr::take(py);
    let about = PyString::new(py, &format!("{label}, which nobody awaited"));
    PyErr::from_value(error.into_bound(py)).write_unraisable(py, Some(&about));
    if let Some(pending) = pending {
        pending.restore(py);
    }
}

impl Task {
    /// Notes how its step ended, for the next one.
    pub fn note(&self, kind: u8) {
        self.clear(super::task::YIELDED | WAITED);
        self.set(kind);
    }
}
