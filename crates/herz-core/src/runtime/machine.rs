//! One runtime: its processor, queues, timers, poller and workers.
//!
//! Python coroutines belong to one *Python processor*: on an interpreter with a global lock a
//! second one could not run bytecode at the same time. What moves is the processor: when a step
//! lasts too long, another worker gets it (see `sysmon`), and the step ends detached.

use std::io;
use std::time::Duration;

use super::clock::Clock;
use super::crew::{Crew, Errand};
use super::descriptors::Descriptors;
use super::fifo::{Global, Local, Place};
use super::native::Native;
use super::poller::{Events, Poller};
use super::processor::{Claim, Phase, Processor, WorkerId};
use super::sync::{Arc, AtomicBool, AtomicU64, AtomicUsize, Lock, Ordering, Spin};
use super::sysmon::{self, Watch};
use super::task::{Generation, Wake};
use super::timers::shards::{Location, Shards, Timed};
use super::timers::wheel::Due;
use super::trace::Trace;
use super::trace::track::Probe;

/// What the machine needs to know of what it runs. Everything else about it is the caller's.
pub trait Task: Timed + 'static {
    /// Its number, from 1 on: what a trace calls it; 0 for what is no task.
    fn id(&self) -> u64;
    /// Its timer is due; what is to be done with it.
    fn due(&self) -> Wake;
    /// What that wait was for has happened; likewise.
    fn end_wait(&self, generation: Generation) -> Wake;
}

/// What a runtime is told once.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// A step that lasts this long with work waiting loses its processor.
    pub stall_ns: u64,
    /// Whether it does; otherwise it is only counted.
    pub hand_off: bool,
    /// Bound: threads that run tasks and functions, the calling one included; and, on their own,
    /// threads of native processors.
    pub workers_max: usize,
    /// Native processors, at least one.
    pub processors: usize,
    /// Whether the interpreter's switch interval is shortened while a step is detached.
    pub short_interval: bool,
    /// Whether time stands still while anything runs, and then jumps to the next timer.
    pub is_virtual: bool,
    /// Draws which task runs next among the runnable ones; None: in their order.
    pub seed: Option<u64>,
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
    pub processor: Processor<Local<T>>,
    pub crew: Crew<T>,
    pub poller: Poller,
    pub descriptors: Descriptors<T>,
    /// When somebody last looked for ready descriptors.
    pub(super) polled_ns: AtomicU64,
    /// Processors for tasks in Rust.
    pub native: Native,
    pub settings: Settings,
    pub counters: Counters,
    pub trace: Arc<Trace>,
    global: Lock<Global<T>>,
    global_len: AtomicUsize,
    pub clock: Clock,
    timers: Shards<T>,
    /// Payloads that a thread without the interpreter could not release.
    dead: Lock<Vec<T>>,
    dead_len: AtomicUsize,
    /// A worker is idle and wants the processor: worker 0, or one with bound tasks.
    reclaim: AtomicBool,
    /// The step that was given its processor back: it keeps it.
    pub(super) spared: AtomicU64,
    /// Whether the run is over or stuck must be asked again: a step or a function ended elsewhere.
    news: AtomicBool,
    /// The monitor found a timer overdue: the owner's pace was set when steps were shorter.
    is_overdue: AtomicBool,
    /// What may still wake a task from outside: portals, signal subscriptions.
    pub outside: AtomicUsize,
    /// Hand-off rests while this is above zero: a garbage collection runs, a debugger holds a task.
    pub pauses: AtomicUsize,
    /// The interpreter's switch interval, for the monitor.
    pub switch_interval_ns: AtomicU64,
    pub(super) watch: Lock<Watch>,
    /// The owner waits for a function; a function waits for the owner.
    rest_spin: Spin,
    start_spin: Spin,
}

/// So long the owner looks for the end of a function before it sleeps.
const REST_SPIN_NS: u64 = 15_000;
/// So long a function waits for the owner to give the interpreter away.
const START_SPIN_NS: u64 = 4_000;

const NEVER: u64 = u64::MAX;

/// When the worker next looks at timers and descriptors: after so many steps that about
/// `CHECK_NS` pass, from the mean length of recent steps.
pub struct Pace<T> {
    /// What one look finds due; kept for the next one.
    due: Vec<Due<T>>,
    left: u32,
    steps: u32,
    looked_ns: u64,
    /// Room for what a look brings.
    events: Events,
}

/// Timers that one look takes: the others come at the next one.
const DUE_MAX: usize = 256;
const CHECK_NS: u64 = 200_000;
const STEPS_MAX: u64 = 61;
/// Steps that suddenly last longer would keep a due timer for `STEPS_MAX` of them.
const OVERDUE_NS: u64 = 1_000_000;

impl<T> Pace<T> {
    /// A worker's first look comes before its first step.
    #[must_use]
    pub fn new(now_ns: u64) -> Self {
        Self {
            due: Vec::new(),
            left: 0,
            steps: 0,
            looked_ns: now_ns,
            events: Events::default(),
        }
    }

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
        let clock = Clock::new(settings.is_virtual);
        let native_max = settings.processors.max(settings.workers_max);
        let trace = Arc::new(Trace::new(settings.workers_max, native_max));
        Ok(Self {
            processor: Processor::new(Local::new(settings.seed)),
            crew: Crew::new(settings.workers_max),
            poller: Poller::new()?,
            descriptors: Descriptors::default(),
            polled_ns: AtomicU64::new(0),
            settings,
            counters: Counters::default(),
            native: Native::new(&settings, Arc::clone(&trace)),
            trace,
            global: Lock::default(),
            global_len: AtomicUsize::new(0),
            timers: Shards::fixed(1, clock.now_ns()),
            clock,
            dead: Lock::default(),
            dead_len: AtomicUsize::new(0),
            reclaim: AtomicBool::new(false),
            spared: AtomicU64::new(u64::MAX),
            news: AtomicBool::new(false),
            is_overdue: AtomicBool::new(false),
            outside: AtomicUsize::new(0),
            pauses: AtomicUsize::new(0),
            switch_interval_ns: AtomicU64::new(5_000_000),
            watch: Lock::new(Watch::default()),
            rest_spin: Spin::default(),
            start_spin: Spin::default(),
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
        self.queue(task);
        self.poller.wake();
    }

    fn queue(&self, task: T) {
        let mut global = self.global.lock();
        global.push(task);
        self.global_len.store(global.len(), Ordering::Relaxed);
    }

    /// A function ended that runs without the processor: those whom it woke are runnable. The owner
    /// is told of all this once.
    pub fn end_function(&self, woken: impl IntoIterator<Item = T>) {
        for task in woken {
            self.trace.ready(None, task.id());
            self.queue(task);
        }
        self.crew.done();
        // The owner may have found itself stuck but for this function.
        self.tell_news();
    }

    /// What may end the run, or leave it stuck, has changed: the owner of the processor asks again
    /// before it rests, or is woken.
    pub fn tell_news(&self) {
        // ORDERING: Relaxed: the fence in `wake` comes after it, as that in `prepare` before the
        // look in `rest`.
        self.news.store(true, Ordering::Relaxed);
        self.poller.wake();
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

    /// Has it come due at that time.
    ///
    /// # Errors
    /// The payload, where its timer is pending already.
    pub fn arm(&self, when_ns: u64, task: T) -> Result<(), T> {
        if self.timers.insert(0, when_ns, task)? {
            // The poller may sleep past this one: a detached step arms timers beside it.
            self.poller.wake();
        }
        Ok(())
    }

    /// Unlinks a timer; the caller releases what comes back.
    pub fn disarm(&self, location: &Location) -> Option<T> {
        self.timers.cancel(location)
    }

    /// Cancels a timer: whether it was pending, and what the caller releases, which may be another
    /// one's. Where there are many timers, a look around releases the last ones.
    pub fn retire(&self, location: &Location) -> (bool, Option<T>) {
        self.timers.retire(location)
    }

    /// Unlinks all timers, for the end.
    pub fn disarm_all(&self) -> Vec<T> {
        self.timers.clear()
    }

    /// When to look at the timers next: not after the first one.
    pub fn first_due_ns(&self) -> u64 {
        self.timers.next_wake().unwrap_or(NEVER)
    }

    pub fn timers_len(&self) -> usize {
        self.timers.len()
    }

    fn fire(&self, claim: &mut Claim<'_, Local<T>>, pace: &mut Pace<T>) {
        for payload in self.timers.settle() {
            self.bury(payload);
        }
        self.timers.poll(pace.looked_ns, DUE_MAX, &mut pace.due);
        let count = pace.due.len() as u64;
        if count > 0 {
            self.counters.fired.fetch_add(count, Ordering::Relaxed);
        }
        for due in pace.due.drain(..) {
            let late_ns = pace.looked_ns.saturating_sub(due.deadline);
            self.trace.fired(claim.owner(), due.payload.id(), late_ns);
            match due.payload.due() {
                Wake::Queue => claim.local().push(due.payload, Place::Tail),
                Wake::Noted | Wake::Stale => self.bury(due.payload),
            }
        }
    }

    // ---- what the owner of the processor does between steps --------------------------------

    /// The next task to run.
    #[inline]
    pub fn find(&self, claim: &mut Claim<'_, Local<T>>) -> Option<T> {
        if self.crew.bound() > 0
            && let Some(task) = self.crew.pop_bound(claim.owner())
        {
            return Some(task);
        }
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

    #[inline(never)]
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
        // A virtual clock does not go on during a step.
        if !self.clock.is_virtual() && self.first_due_ns().saturating_add(OVERDUE_NS) <= now_ns {
            self.is_overdue.store(true, Ordering::Relaxed);
        }
    }

    /// Looks at the kernel and the clock: ready descriptors wake their tasks, due timers fire.
    #[inline(never)]
    pub fn look(&self, claim: &mut Claim<'_, Local<T>>, pace: &mut Pace<T>, probe: &mut Probe<'_>) {
        let from = probe.now();
        if self.is_overdue() {
            self.is_overdue.store(false, Ordering::Relaxed);
        }
        pace.renew(self.clock.now_ns());
        self.counters.polls.fetch_add(1, Ordering::Relaxed);
        self.glance(claim, &mut pace.events, pace.looked_ns);
        self.fire(claim, pace);
        self.note_look(claim, probe, from);
    }

    /// The same after a `rest`, which has looked at the kernel.
    pub fn look_after_rest(
        &self,
        claim: &mut Claim<'_, Local<T>>,
        pace: &mut Pace<T>,
        probe: &mut Probe<'_>,
    ) {
        let from = probe.now();
        pace.renew(self.clock.now_ns());
        self.polled_ns.store(pace.looked_ns, Ordering::Relaxed);
        self.deliver(claim, &mut pace.events);
        self.fire(claim, pace);
        self.note_look(claim, probe, from);
    }

    fn note_look(&self, claim: &mut Claim<'_, Local<T>>, probe: &mut Probe<'_>, from: u64) {
        let queued = claim.local().len() + self.global_len.load(Ordering::Relaxed);
        probe.looked(from, queued);
    }

    /// Whether nothing can ever wake a task: asked by the owner when it found no task.
    pub fn is_stuck(&self) -> bool {
        self.timers.is_empty()
            // ORDERING: Acquire pairs with the Release of the end of a relay, of `done` and of
            // `return_detached`: what they queued before is seen by the look at the global queue
            // that follows.
            && self.outside.load(Ordering::Acquire) == 0
            && self.crew.functions.load(Ordering::Acquire) == 0
            && self.crew.detached.load(Ordering::Acquire) == 0
            && self.crew.bound() == 0
            && !self.descriptors.is_armed()
            && self.global_len.load(Ordering::Relaxed) == 0
            && self.dead_len.load(Ordering::Relaxed) == 0
    }

    /// Waits for something to do, until `until_ns` at the latest; the owner has parked its claim.
    /// The caller does not hold the interpreter.
    pub fn rest(&self, until_ns: Option<u64>, pace: &mut Pace<T>) {
        self.counters.parks.fetch_add(1, Ordering::Relaxed);
        let has_work = || {
            self.global_len.load(Ordering::Relaxed) > 0
                || self.dead_len.load(Ordering::Relaxed) > 0
                || self.reclaim.load(Ordering::Relaxed)
        };
        if self.crew.functions.load(Ordering::Relaxed) > 0 {
            self.rest_spin.until(REST_SPIN_NS, has_work);
        }
        self.poller.prepare();
        // News that came with work are seen with it.
        let has_news = self.news.swap(false, Ordering::Relaxed);
        if has_work() || has_news {
            self.poller.call_off();
            return;
        }
        let until = self.first_due_ns().min(until_ns.unwrap_or(NEVER));
        if until != NEVER && self.clock.jump(until) {
            self.poller.call_off();
            return;
        }
        let until = (until != NEVER).then_some(until);
        self.poller.wait(until, &mut pace.events);
    }

    /// Waits a moment for the owner to rest, which is when it gives the interpreter away: a thread
    /// that asks for it earlier is put to sleep and woken.
    pub fn await_rest(&self) {
        let is_parked = || self.processor.seen().phase == Phase::Parked;
        self.start_spin.until(START_SPIN_NS, is_parked);
    }

    /// Claims the processor again after `rest`.
    ///
    /// # Panics
    /// When the worker did not park it.
    pub fn unpark(&self, worker: WorkerId) -> Claim<'_, Local<T>> {
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
        let is_last = self.crew.detached.fetch_sub(1, Ordering::AcqRel) == 1;
        // Its task may have been the last one, or all that the others could wait for.
        self.tell_news();
        is_last
    }

    /// Worker 0 waits for the processor; None when `limit` passed.
    pub fn wait_to_reclaim(&self, limit: Duration) -> Option<Errand<T>> {
        let is_locked = self.crew.is_locked(0);
        self.crew.wait(0, Some(limit), |has_bound| {
            if has_bound || !is_locked {
                self.want();
            }
        })
    }

    /// An idle worker wants the processor.
    pub fn want(&self) {
        self.reclaim.store(true, Ordering::Relaxed);
        self.poller.wake();
    }

    /// Gives the processor to an idle worker that wants it. None: it is gone.
    pub fn hand_back<'a>(
        &self,
        worker: WorkerId,
        claim: Claim<'a, Local<T>>,
    ) -> Option<Claim<'a, Local<T>>> {
        // The step of a bound task is what the worker has it for.
        if !self.is_reclaimed() || self.crew.has_bound(worker) {
            return Some(claim);
        }
        // Before the look: who wants it from now on says so again.
        self.reclaim.store(false, Ordering::Relaxed);
        let (to, is_wanted) = self.crew.pick_claimant(worker);
        if is_wanted {
            self.reclaim.store(true, Ordering::Relaxed);
        }
        self.pass(claim, to)
    }

    /// Gives the processor to a worker that was picked, if any.
    pub fn pass<'a>(
        &self,
        claim: Claim<'a, Local<T>>,
        to: Option<WorkerId>,
    ) -> Option<Claim<'a, Local<T>>> {
        let Some(to) = to else { return Some(claim) };
        claim.give(to);
        self.crew.tell(to, Errand::Processor);
        None
    }

    /// Has a runnable task run on its own worker, who gets the processor if it is idle.
    pub fn divert<'a>(
        &self,
        claim: Claim<'a, Local<T>>,
        task: T,
        to: WorkerId,
    ) -> Option<Claim<'a, Local<T>>> {
        let is_picked = self.crew.bind(to, task);
        self.pass(claim, is_picked.then_some(to))
    }

    /// Gives the processor, which was taken from that step, back to it. False: the step is over.
    /// The caller holds the interpreter, so the step cannot end meanwhile.
    pub fn give_back(&self, worker: WorkerId, from: WorkerId) -> bool {
        let seat = self.crew.seat_of(from);
        if !seat.is_detached.swap(false, Ordering::Relaxed) {
            return false;
        }
        self.crew.detached.fetch_sub(1, Ordering::Relaxed);
        let claim = self.processor.accept(worker);
        let claim = claim.expect("the processor was granted to this worker");
        self.spared.store(claim.steps(), Ordering::Relaxed);
        self.counters.hand_offs.fetch_sub(1, Ordering::Relaxed);
        self.trace.handed_back();
        claim.give_back(from);
        true
    }

    /// Whether an idle worker wants the processor.
    pub fn is_reclaimed(&self) -> bool {
        self.reclaim.load(Ordering::Relaxed)
    }

    /// Whether somebody waits for the processor: for the monitor.
    pub(super) fn has_work(&self) -> bool {
        self.processor.queued() > 0
            || self.global_len.load(Ordering::Relaxed) > 0
            || self.timers.is_due(self.clock.now_ns())
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
