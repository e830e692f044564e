//! One runtime: its processor, queues, timers, poller and workers.
//!
//! Python coroutines belong to one *Python processor*: on an interpreter with a global lock a
//! second one could not run bytecode at the same time. What moves is the processor: when a step
//! lasts too long, another worker gets it (see `sysmon`), and the step ends detached.

use std::io;
use std::time::Duration;

use super::crew::{Crew, Errand};
use super::fifo::{Global, Place};
use super::heap::{Heap, Key};
use super::poller::{Poller, now_ns};
use super::processor::{Claim, Processor, WorkerId};
use super::sync::{Arc, AtomicBool, AtomicU64, AtomicUsize, Lock, Ordering};
use super::sysmon::{self, Watch};
use super::task::{Generation, Wake, Word};
use super::trace::Trace;
use super::trace::track::Probe;

/// What the machine needs to know of a task. Everything else about it is the caller's.
pub trait Task: Send + 'static {
    fn word(&self) -> &Word;
    /// Its number, from 1 on: what a trace calls it.
    fn id(&self) -> u64;
}

/// What a runtime is told once.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// A step that lasts this long with work waiting loses its processor.
    pub stall_ns: u64,
    /// Whether it does; otherwise it is only counted.
    pub hand_off: bool,
    /// Bound: threads that run tasks and functions, the calling one included.
    pub workers_max: usize,
    /// Whether the interpreter's switch interval is shortened while a step is detached.
    pub short_interval: bool,
}

/// What happened since the start.
#[derive(Default)]
pub struct Counters {
    pub hand_offs: AtomicU64,
    /// Stalls for which no worker was left, or with hand-off switched off.
    pub stalls: AtomicU64,
    pub polls: AtomicU64,
    pub parks: AtomicU64,
    pub fired: AtomicU64,
}

pub struct Machine<T> {
    pub processor: Processor<T>,
    pub crew: Crew<T>,
    pub poller: Poller,
    pub settings: Settings,
    pub counters: Counters,
    pub trace: Arc<Trace>,
    global: Lock<Global<T>>,
    global_len: AtomicUsize,
    timers: Lock<Heap<(T, Generation)>>,
    first_due_ns: AtomicU64,
    /// Payloads that a thread without the interpreter could not release.
    dead: Lock<Vec<T>>,
    dead_len: AtomicUsize,
    /// Worker 0 is idle and wants the processor.
    reclaim: AtomicBool,
    /// The monitor found a timer overdue: the owner's pace was set when steps were shorter.
    is_overdue: AtomicBool,
    /// What may still wake a task from outside: portals, signal subscriptions.
    pub outside: AtomicUsize,
    /// Hand-off rests while this is above zero: a garbage collection runs, a debugger holds a task.
    pub pauses: AtomicUsize,
    /// The interpreter's switch interval, for the monitor.
    pub switch_interval_ns: AtomicU64,
    pub(super) watch: Lock<Watch>,
}

const NEVER: u64 = u64::MAX;

/// When the worker next looks at timers and descriptors: after so many steps that about
/// `CHECK_NS` pass, from the mean length of recent steps.
pub struct Pace {
    left: u32,
    steps: u32,
    looked_ns: u64,
}

const CHECK_NS: u64 = 200_000;
const STEPS_MAX: u64 = 61;
/// Steps that suddenly last longer would keep a due timer for `STEPS_MAX` of them.
const OVERDUE_NS: u64 = 1_000_000;

impl Default for Pace {
    fn default() -> Self {
        Self {
            left: 0,
            steps: 0,
            looked_ns: now_ns(),
        }
    }
}

impl Pace {
    /// Counts a step; true when it is time to look.
    pub fn is_over(&mut self) -> bool {
        self.left = self.left.saturating_sub(1);
        self.steps += 1;
        self.left == 0
    }

    /// The clock as it was read last.
    #[must_use]
    pub fn looked_ns(&self) -> u64 {
        self.looked_ns
    }

    fn renew(&mut self, now_ns: u64) {
        let passed = now_ns.saturating_sub(self.looked_ns);
        let mean = passed / u64::from(self.steps.max(1));
        self.left = (CHECK_NS / mean.max(1)).clamp(1, STEPS_MAX) as u32;
        self.steps = 0;
        self.looked_ns = now_ns;
    }
}

impl<T: Task> Machine<T> {
    /// # Errors
    /// No descriptor is left to the process.
    pub fn new(settings: Settings) -> io::Result<Self> {
        Ok(Self {
            processor: Processor::new(),
            crew: Crew::new(settings.workers_max),
            poller: Poller::new()?,
            settings,
            counters: Counters::default(),
            trace: Arc::new(Trace::new(settings.workers_max)),
            global: Lock::default(),
            global_len: AtomicUsize::new(0),
            timers: Lock::default(),
            first_due_ns: AtomicU64::new(NEVER),
            dead: Lock::default(),
            dead_len: AtomicUsize::new(0),
            reclaim: AtomicBool::new(false),
            is_overdue: AtomicBool::new(false),
            outside: AtomicUsize::new(0),
            pauses: AtomicUsize::new(0),
            switch_interval_ns: AtomicU64::new(5_000_000),
            watch: Lock::new(Watch::default()),
        })
    }

    /// Notes the calling thread as the worker's.
    pub fn sit(&self, worker: WorkerId) {
        self.crew.sit(worker);
        // SAFETY: it takes nothing and always succeeds.
        let thread = unsafe { libc::pthread_self() };
        self.trace.track(worker).sit(thread as u64);
    }

    // ---- what becomes runnable ---------------------------------------------------------------

    /// Queues a runnable task. `worker` is the caller's number when it is a worker.
    pub fn ready(&self, worker: Option<WorkerId>, task: T, place: Place) {
        self.trace.ready(worker, task.id());
        match worker.and_then(|worker| self.processor.enter(worker)) {
            Some(mut claim) => {
                claim.local().push(task, place);
                claim.resume();
            }
            None => self.inject(task),
        }
    }

    /// Queues a runnable task from a thread that does not have the processor.
    pub fn inject(&self, task: T) {
        {
            let mut global = self.global.lock();
            global.push(task);
            self.global_len.store(global.len(), Ordering::Relaxed);
        }
        self.poller.wake();
    }

    /// Ends the wait of that generation. The task's reference is kept or comes to the dead ones.
    pub fn wake(&self, worker: Option<WorkerId>, task: T, generation: Generation, place: Place) {
        match task.word().wake(generation) {
            Wake::Queue => self.ready(worker, task, place),
            Wake::Noted | Wake::Stale => self.bury(task),
        }
    }

    /// Leaves a reference for a worker that may release it.
    pub fn bury(&self, task: T) {
        let mut dead = self.dead.lock();
        dead.push(task);
        self.dead_len.store(dead.len(), Ordering::Relaxed);
    }

    /// The references that the caller, attached to the interpreter, must release.
    pub fn exhume(&self) -> Vec<T> {
        if self.dead_len.load(Ordering::Relaxed) == 0 {
            return Vec::new();
        }
        let mut dead = self.dead.lock();
        self.dead_len.store(0, Ordering::Relaxed);
        std::mem::take(&mut *dead)
    }

    // ---- timers ------------------------------------------------------------------------------

    /// Wakes the task when the time has come.
    pub fn arm(&self, when_ns: u64, task: T, generation: Generation) -> Key {
        let mut timers = self.timers.lock();
        let first = timers.first_ns();
        let key = timers.insert(when_ns, (task, generation));
        if first.is_none_or(|first| when_ns < first) {
            self.first_due_ns.store(when_ns, Ordering::Relaxed);
            drop(timers);
            // The poller may sleep past this one: a detached step arms timers beside it.
            self.poller.wake();
        }
        key
    }

    /// Unlinks a timer; the caller releases what comes back.
    pub fn disarm(&self, key: Key) -> Option<T> {
        let mut timers = self.timers.lock();
        let found = timers.cancel(key);
        self.note_first(&timers);
        found.map(|(task, _)| task)
    }

    fn note_first(&self, timers: &Heap<(T, Generation)>) {
        let first = timers.first_ns().unwrap_or(NEVER);
        self.first_due_ns.store(first, Ordering::Relaxed);
    }

    pub fn first_due_ns(&self) -> u64 {
        self.first_due_ns.load(Ordering::Relaxed)
    }

    pub fn timers_len(&self) -> usize {
        self.timers.lock().len()
    }

    fn fire(&self, claim: &mut Claim<'_, T>, now_ns: u64) {
        while self.first_due_ns() <= now_ns {
            let (due, late_ns) = {
                let mut timers = self.timers.lock();
                let late_ns = now_ns.saturating_sub(timers.first_ns().unwrap_or(now_ns));
                let due = timers.pop_due(now_ns);
                self.note_first(&timers);
                (due, late_ns)
            };
            let Some((task, generation)) = due else {
                return;
            };
            self.trace.fired(claim.owner(), task.id(), late_ns);
            self.counters.fired.fetch_add(1, Ordering::Relaxed);
            match task.word().wake(generation) {
                Wake::Queue => claim.local().push(task, Place::Tail),
                Wake::Noted | Wake::Stale => self.bury(task),
            }
        }
    }

    // ---- what the owner of the processor does between steps --------------------------------

    /// The next task to run.
    pub fn find(&self, claim: &mut Claim<'_, T>) -> Option<T> {
        let local = claim.local();
        let queued = self.global_len.load(Ordering::Relaxed);
        if local.is_global_turn()
            && queued > 0
            && let Some(task) = self.pop_global()
        {
            return Some(task);
        }
        let found = local.pop();
        if found.is_some() || queued == 0 {
            return found;
        }
        let mut global = self.global.lock();
        global.refill(local);
        self.global_len.store(global.len(), Ordering::Relaxed);
        local.pop()
    }

    fn pop_global(&self) -> Option<T> {
        let mut global = self.global.lock();
        let task = global.pop();
        self.global_len.store(global.len(), Ordering::Relaxed);
        task
    }

    /// Whether the owner must look at the clock before its pace says so.
    #[inline]
    pub fn is_overdue(&self) -> bool {
        self.is_overdue.load(Ordering::Relaxed)
    }

    /// For the monitor: has the owner look when a timer waits for longer than it should.
    pub(super) fn hurry(&self, now_ns: u64) {
        if self.first_due_ns().saturating_add(OVERDUE_NS) <= now_ns {
            self.is_overdue.store(true, Ordering::Relaxed);
        }
    }

    /// Looks at the clock: due timers fire.
    pub fn look(&self, claim: &mut Claim<'_, T>, pace: &mut Pace, probe: &mut Probe<'_>) {
        let from = probe.now();
        if self.is_overdue() {
            self.is_overdue.store(false, Ordering::Relaxed);
        }
        let now = now_ns();
        pace.renew(now);
        self.counters.polls.fetch_add(1, Ordering::Relaxed);
        self.fire(claim, now);
        let queued = claim.local().len() + self.global_len.load(Ordering::Relaxed);
        probe.looked(from, queued);
    }

    /// Whether nothing can ever wake a task: asked by the owner when it found no task.
    pub fn is_stuck(&self) -> bool {
        self.first_due_ns() == NEVER
            && self.outside.load(Ordering::Relaxed) == 0
            // ORDERING: Acquire pairs with the Release of `done` and `return_detached`: what they
            // queued before is seen by the look at the global queue that follows.
            && self.crew.functions.load(Ordering::Acquire) == 0
            && self.crew.detached.load(Ordering::Acquire) == 0
            && self.global_len.load(Ordering::Relaxed) == 0
            && self.dead_len.load(Ordering::Relaxed) == 0
    }

    /// Waits for something to do, until `until_ns` at the latest; the owner has parked its claim
    /// and called `poller.prepare`. The caller does not hold the interpreter.
    pub fn rest(&self, until_ns: Option<u64>) {
        self.counters.parks.fetch_add(1, Ordering::Relaxed);
        let has_work = self.global_len.load(Ordering::Relaxed) > 0
            || self.dead_len.load(Ordering::Relaxed) > 0
            || self.reclaim.load(Ordering::Relaxed);
        if has_work {
            self.poller.call_off();
            return;
        }
        let until = self.first_due_ns().min(until_ns.unwrap_or(NEVER));
        self.poller.wait((until != NEVER).then_some(until));
    }

    /// Claims the processor again after `rest`.
    ///
    /// # Panics
    /// When the worker did not park it.
    pub fn unpark(&self, worker: WorkerId) -> Claim<'_, T> {
        let claim = self.processor.unpark(worker);
        sysmon::wake();
        claim.expect("nobody takes a parked processor")
    }

    // ---- moving the processor ----------------------------------------------------------------

    /// The worker's step ended and it had lost its processor. What it readied is queued already.
    /// True: this was the last detached one.
    pub fn return_detached(&self, worker: WorkerId) -> bool {
        let seat = self.crew.seat_of(worker);
        // ORDERING: Relaxed: the monitor set it before it took the processor, which was seen.
        if !seat.is_detached.swap(false, Ordering::Relaxed) {
            return false;
        }
        // ORDERING: Release: see `is_stuck`.
        let was_last = self.crew.detached.fetch_sub(1, Ordering::AcqRel) == 1;
        // The owner may rest only because of this step: it was the last task's, or all others wait.
        self.poller.wake();
        was_last
    }

    /// Worker 0 waits for the processor; None when `limit` passed.
    pub fn wait_to_reclaim(&self, limit: Duration) -> Option<Errand<T>> {
        self.crew.wait(0, Some(limit), || {
            self.reclaim.store(true, Ordering::Relaxed);
            self.poller.wake();
        })
    }

    /// Gives the processor back to worker 0 when that wants it. None: it is gone.
    pub fn hand_back<'a>(&self, worker: WorkerId, claim: Claim<'a, T>) -> Option<Claim<'a, T>> {
        if worker == 0 {
            self.reclaim.store(false, Ordering::Relaxed);
            return Some(claim);
        }
        if !self.reclaim.load(Ordering::Relaxed) || !self.crew.pick_this(0) {
            return Some(claim);
        }
        self.reclaim.store(false, Ordering::Relaxed);
        claim.give(0);
        self.crew.tell(0, Errand::Processor);
        None
    }

    /// Whether worker 0 waits for the processor.
    pub fn is_reclaimed(&self) -> bool {
        self.reclaim.load(Ordering::Relaxed)
    }

    /// Whether somebody waits for the processor: for the monitor.
    pub(super) fn has_work(&self, now_ns: u64) -> bool {
        self.processor.queued() > 0
            || self.global_len.load(Ordering::Relaxed) > 0
            || self.first_due_ns() <= now_ns
            || self.reclaim.load(Ordering::Relaxed)
    }

    /// Runnable tasks that are queued: in the processor's own queue, in the global one.
    pub fn queued(&self) -> (usize, usize) {
        (
            self.processor.queued(),
            self.global_len.load(Ordering::Relaxed),
        )
    }
}
