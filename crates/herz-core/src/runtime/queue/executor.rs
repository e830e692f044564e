//! Native processors: they run tasks in Rust, and steal from each other.
//!
//! A *task* is a closure that does one step and says whether it yields, waits or is done. A
//! *processor* has a run queue, and a queue of tasks that are pinned to it. A *worker* is a thread;
//! to run tasks it needs a processor, which the monitor takes away while a step is blocked
//! (`retake.rs`). `worker.rs` has the order in which a worker looks for its next task, `outside.rs`
//! descriptors and timers, for which all workers share a poller.
//!
//! Nothing here knows Python, and no thread of it ever enters an interpreter.

use std::any::Any;
use std::cell::UnsafeCell;
use std::io;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_utils::CachePadded;

use super::global::Global;
use super::idle::{Idle, Picked, Woken};
use super::outside::Outside;
use super::retake::Watch;
use super::ring::{Owner, Thief, queue};
use super::state::State;
use super::victims::{Random, Victims};
use super::worker::{Counters, Counts, Worker};
use crate::runtime::processor::{Own, Processor, WorkerId};
use crate::runtime::signals::Blocked;
use crate::runtime::sync::{
    Arc, AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Bell, Lock, Ordering, thread,
};
use crate::runtime::sysmon;
use crate::runtime::timers::shards::{Location, Timed};
use crate::runtime::trace::Trace;

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The task goes on after the others.
    Yield,
    /// The task goes on when it is woken; it may be woken for nothing.
    Wait,
    /// The task is over.
    Done,
}

type Body = Box<dyn FnMut(&mut Turn<'_>) -> Step + Send>;

/// A task in Rust.
pub struct Task {
    pub(super) state: State,
    pinned_to: Option<usize>,
    /// Where its timer is.
    location: Location,
    /// Invariant: touched only by the worker between `State::begin` and the end of the step, and
    /// when the last reference drops.
    body: UnsafeCell<Option<Body>>,
}

// SAFETY: `body` is Send, and one worker at a time touches it: `State::begin` refuses a second.
unsafe impl Sync for Task {}

impl Timed for Arc<Task> {
    fn location(&self) -> &Location {
        &self.location
    }
}

/// What a step may ask of the processor that runs it.
pub struct Turn<'a> {
    pub(super) shared: &'a Arc<Shared>,
    pub(super) worker: WorkerId,
    pub(super) processor: usize,
    pub(super) task: &'a Arc<Task>,
}

impl Turn<'_> {
    /// The processor that runs this step, or from which it was taken.
    #[must_use]
    pub fn processor(&self) -> usize {
        self.processor
    }

    /// This task, for whoever is to wake it.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle {
            task: Arc::clone(self.task),
            shared: Arc::clone(self.shared),
        }
    }

    /// Starts a task here, next after this step.
    pub fn spawn(&mut self, body: impl FnMut(&mut Turn<'_>) -> Step + Send + 'static) {
        let task = self.shared.task(None, Box::new(body));
        self.ready(task);
    }

    /// Wakes a task; it runs here, next after this step.
    pub fn wake(&mut self, handle: &Handle) {
        if handle.task.state.wake() {
            self.ready(Arc::clone(&handle.task));
        }
    }

    fn ready(&mut self, task: Arc<Task>) {
        let shared = self.shared;
        let own = &shared.places[self.processor].processor;
        match own.enter(self.worker) {
            Some(mut claim) if task.pinned_to.is_none() => {
                claim.local().queue.push_next(task, &shared.global);
                claim.resume();
                shared.wake_one();
            }
            claim => {
                if let Some(claim) = claim {
                    claim.resume();
                }
                shared.submit(task);
            }
        }
    }
}

/// Wakes a task from anywhere.
#[derive(Clone)]
pub struct Handle {
    pub(super) task: Arc<Task>,
    shared: Arc<Shared>,
}

impl Handle {
    /// Wakes the task where it waits.
    pub fn wake(&self) {
        if self.task.state.wake() {
            self.shared.submit(Arc::clone(&self.task));
        }
    }

    /// Whether the task is over.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.task.state.is_dead()
    }
}

impl Task {
    /// Runs one step; the body is dropped where it was the last.
    pub(super) fn step(&self, turn: &mut Turn<'_>) -> Step {
        self.state.begin();
        // SAFETY: the state is running, set by this worker: nobody else touches the body.
        let body = unsafe { &mut *self.body.get() };
        let shared = turn.shared;
        let run = AssertUnwindSafe(|| body.as_mut().map_or(Step::Done, |body| body(turn)));
        let step = catch_unwind(run).unwrap_or_else(|panic| {
            // The task is over, the worker goes on; `finish` tells.
            *shared.panic.lock() = Some(panic);
            Step::Done
        });
        match step {
            // What is closed runs nothing any more.
            _ if step == Step::Done || shared.is_closed() => {
                *body = None;
                self.state.dies();
                Step::Done
            }
            Step::Wait if !self.state.waits() => Step::Wait,
            Step::Wait => Step::Yield,
            Step::Yield | Step::Done => {
                self.state.yields();
                Step::Yield
            }
        }
    }

    pub(super) fn pinned_to(&self) -> Option<usize> {
        self.pinned_to
    }
}

/// What the owner of a native processor has for itself.
pub struct Local {
    pub(super) queue: Owner<Arc<Task>>,
    pub(super) random: Random,
    pub(super) tick: u32,
    /// Steps that `next` may still inherit.
    pub(super) slice: u32,
}

impl Own for Local {
    fn queued(&self) -> usize {
        self.queue.len() as usize
    }
}

/// A native processor.
pub struct Place {
    pub(super) processor: Processor<Local>,
    pub(super) pinned: Global<Arc<Task>>,
    pub(super) counts: Counts,
}

/// A processor that is given to a worker.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grant {
    pub(super) processor: usize,
    pub(super) is_spinning: bool,
}

/// A worker's place: its thread, and where it sleeps.
#[derive(Default)]
pub struct Seat {
    pub(super) bell: Bell<Option<Grant>>,
    pub(super) thread: AtomicU32,
}

/// How many of what.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub processors: NonZeroUsize,
    /// Threads; more than processors, so that there is one for a processor whose step is blocked.
    pub workers_max: NonZeroUsize,
    /// Fixes the order in which each looks at its victims.
    pub seed: u64,
    /// Of so many looks at a victim, or visits to the global queue, about one is timed: reading the
    /// clock twice costs as much.
    pub timed_every: u32,
}

/// What all workers see.
pub struct Shared {
    pub(super) places: Box<[CachePadded<Place>]>,
    pub(super) thieves: Vec<Thief<Arc<Task>>>,
    pub(super) seats: Box<[CachePadded<Seat>]>,
    pub(super) global: Global<Arc<Task>>,
    pub(super) idle: Idle,
    pub(super) victims: Victims,
    pub(super) outside: Outside,
    pub(super) is_closed: AtomicBool,
    pub(super) watch: Lock<Watch>,
    pub(super) retakes: AtomicU64,
    pub(super) trace: Arc<Trace>,
    /// The trace's track of worker 0.
    pub(super) first_track: WorkerId,
    pub(super) timed_every: u32,
    /// Tasks ever started.
    pub(super) spawned: AtomicU64,
    live: CachePadded<AtomicUsize>,
    over: Bell<()>,
    /// Threads that have not ended.
    threads: Bell<usize>,
    handles: Lock<Vec<JoinHandle<()>>>,
    /// What the latest task that panicked said.
    panic: Lock<Option<Box<dyn Any + Send>>>,
}

impl Shared {
    fn task(&self, pinned_to: Option<usize>, body: Body) -> Arc<Task> {
        // ORDERING: a count; its fall to zero is ordered by `task_ended`.
        self.live.fetch_add(1, Ordering::Relaxed);
        self.spawned.fetch_add(1, Ordering::Relaxed);
        Arc::new(Task {
            state: State::default(),
            pinned_to,
            location: Location::default(),
            body: UnsafeCell::new(Some(body)),
        })
    }

    pub(super) fn submit(self: &Arc<Self>, task: Arc<Task>) {
        if let Some(processor) = task.pinned_to {
            self.places[processor].pinned.push(task);
            return self.rouse(self.idle.wake_this(processor));
        }
        self.global.push(task);
        self.wake_one();
    }

    /// Something was made visible: wakes a worker where the rule asks for one.
    pub(super) fn wake_one(self: &Arc<Self>) {
        self.rouse(self.idle.wake());
    }

    pub(super) fn rouse(self: &Arc<Self>, woken: Option<Woken>) {
        let Some(Woken { processor, picked }) = woken else {
            return;
        };
        self.places[processor].processor.assign(picked.worker);
        let grant = Grant {
            processor,
            is_spinning: true,
        };
        self.tell(picked, grant);
        sysmon::wake();
    }

    /// Gives a processor, which was granted to that worker, to it.
    pub(super) fn tell(self: &Arc<Self>, picked: Picked, grant: Grant) {
        let seat = &self.seats[picked.worker as usize];
        seat.bell.ring(|slot| {
            debug_assert!(slot.is_none(), "a worker has two processors");
            *slot = Some(grant);
        });
        if !picked.is_new {
            return self.outside.wake(picked.worker);
        }
        if self.start_worker(picked.worker).is_ok() {
            return;
        }
        seat.bell.ring(|slot| *slot = None);
        let processor = &self.places[grant.processor].processor;
        let claim = processor.accept(picked.worker);
        claim.expect("a processor was granted").park();
        let other = self
            .idle
            .give_up(grant.processor, picked.worker, grant.is_spinning);
        if let Some(other) = other {
            processor.assign(other.worker);
            self.tell(other, grant);
        }
    }

    fn start_worker(self: &Arc<Self>, worker: WorkerId) -> io::Result<()> {
        let shared = Arc::clone(self);
        // Threads of the runtime's own get no signals.
        let _blocked = Blocked::all();
        self.threads.ring(|count| *count += 1);
        let started = thread::Builder::new()
            .name(format!("herz-native-{worker}"))
            .spawn(move || {
                Worker::new(&shared, worker).run();
                shared.threads.ring(|count| *count -= 1);
            });
        match started {
            Ok(handle) => self.handles.lock().push(handle),
            Err(error) => {
                self.threads.ring(|count| *count -= 1);
                return Err(error);
            }
        }
        Ok(())
    }

    pub(super) fn is_closed(&self) -> bool {
        // ORDERING: Acquire pairs with `Executor::close`.
        self.is_closed.load(Ordering::Acquire)
    }

    pub(super) fn task_ended(&self) {
        // ORDERING: AcqRel chains all ends, so that who sees zero sees what every task wrote.
        if self.live.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.over.ring(|()| ());
        }
    }

    /// Drops what a task that nobody will run any more holds.
    pub(super) fn discard(&self, task: &Task) {
        task.state.begin();
        // SAFETY: as in `step`: the state is running, set by this thread.
        drop(unsafe { &mut *task.body.get() }.take());
        task.state.dies();
        self.task_ended();
    }
}

/// Processors that run tasks until they are told to stop.
pub struct Executor {
    pub(super) shared: Arc<Shared>,
    process: u32,
}

impl Executor {
    /// Processors without a thread: the first comes with the first task. Workers have the tracks
    /// of the trace from `first_track` on.
    ///
    /// # Errors
    ///
    /// No descriptor is left to the process.
    pub fn new(size: Size, trace: Arc<Trace>, first_track: WorkerId) -> io::Result<Self> {
        let count = size.processors.get();
        let workers_max = size.workers_max.get();
        let (owners, thieves): (Vec<_>, Vec<_>) = (0..count).map(|_| queue()).unzip();
        let place = |(number, queue)| {
            let mut seeds = Random::new(size.seed ^ number as u64);
            CachePadded::new(Place {
                processor: Processor::parked(Local {
                    queue,
                    random: Random::new(seeds.draw()),
                    tick: 0,
                    slice: 0,
                }),
                pinned: Global::default(),
                counts: Counts::default(),
            })
        };
        let shared = Shared {
            places: owners.into_iter().enumerate().map(place).collect(),
            thieves,
            seats: (0..workers_max).map(|_| CachePadded::default()).collect(),
            global: Global::default(),
            idle: Idle::new(count, workers_max),
            victims: Victims::new(count),
            outside: Outside::new(count)?,
            is_closed: AtomicBool::new(false),
            watch: Lock::default(),
            retakes: AtomicU64::new(0),
            trace,
            first_track,
            timed_every: size.timed_every.max(1),
            spawned: AtomicU64::new(0),
            live: CachePadded::new(AtomicUsize::new(0)),
            over: Bell::default(),
            threads: Bell::default(),
            handles: Lock::default(),
            panic: Lock::new(None),
        };
        Ok(Self {
            shared: Arc::new(shared),
            process: std::process::id(),
        })
    }

    /// As many processors, and half as many workers again, that time everything: for measurements
    /// and tests.
    ///
    /// # Panics
    ///
    /// No descriptor is left to the process.
    #[must_use]
    pub fn alone(processors: NonZeroUsize, seed: u64) -> Self {
        let count = processors.get();
        let workers_max = processors.saturating_add(1 + count / 2);
        let trace = Arc::new(Trace::new(0, workers_max.get()));
        let size = Size {
            processors,
            workers_max,
            seed,
            timed_every: 1,
        };
        Self::new(size, trace, 0).expect("a descriptor for the poller")
    }

    /// Starts a task, from outside.
    pub fn spawn(&self, body: impl FnMut(&mut Turn<'_>) -> Step + Send + 'static) -> Handle {
        self.start(None, Box::new(body))
    }

    /// Starts a task that only one processor runs.
    ///
    /// # Panics
    ///
    /// Where there is no such processor.
    pub fn spawn_pinned(
        &self,
        processor: usize,
        body: impl FnMut(&mut Turn<'_>) -> Step + Send + 'static,
    ) -> Handle {
        assert!(
            processor < self.shared.places.len(),
            "there is no processor {processor}"
        );
        self.start(Some(processor), Box::new(body))
    }

    /// Whether it was stopped: nothing runs any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.is_closed()
    }

    /// Tasks that live. What each of them told before its end is seen by whoever sees it gone.
    #[must_use]
    pub fn alive(&self) -> usize {
        // ORDERING: Acquire pairs with `task_ended`.
        self.shared.live.load(Ordering::Acquire)
    }

    /// Waits until no task lives, stops the workers, and gives what each processor counted.
    ///
    /// # Panics
    ///
    /// As the last task that has panicked.
    #[must_use]
    pub fn finish(self) -> Vec<Counters> {
        let is_over = |(): &mut ()| (self.alive() == 0).then_some(());
        self.shared.over.wait(None, is_over);
        self.close();
        for handle in self.shared.handles.lock().drain(..) {
            handle.join().expect("a worker lives");
        }
        let places = self.shared.places.iter();
        let counters = places.map(|place| place.counts.read()).collect();
        match self.shared.panic.lock().take() {
            Some(panic) => resume_unwind(panic),
            None => counters,
        }
    }

    /// Ends all tasks at the end of their steps, and waits for the threads, `limit` at most: one
    /// that is blocked in its step ends when it comes back. Nothing runs afterwards.
    pub fn stop(&self, limit: Duration) {
        self.close();
        let all = |count: &mut usize| (*count == 0).then_some(());
        if self.shared.threads.wait(Some(limit), all).is_some() {
            for handle in self.shared.handles.lock().drain(..) {
                // A worker that panicked is gone all the same.
                let _ = handle.join();
            }
        }
        self.discard_waiting();
    }

    fn close(&self) {
        let shared = &self.shared;
        // ORDERING: Release, and each bell's lock hands it over to its worker.
        shared.is_closed.store(true, Ordering::Release);
        for seat in &shared.seats {
            seat.bell.ring(|_| ());
        }
        shared.outside.wake_any();
    }

    /// Ends the tasks that wait outside, and those that nobody took.
    fn discard_waiting(&self) {
        let shared = &self.shared;
        for task in shared.outside.empty() {
            if task.state.wake() {
                shared.discard(&task);
            }
        }
        let queues = shared.places.iter().map(|place| &place.pinned);
        for queue in queues.chain([&shared.global]) {
            while let Some(task) = queue.pop() {
                shared.discard(&task);
            }
        }
    }

    fn start(&self, pinned_to: Option<usize>, body: Body) -> Handle {
        let task = self.shared.task(pinned_to, body);
        let handle = Handle {
            task: Arc::clone(&task),
            shared: Arc::clone(&self.shared),
        };
        self.shared.submit(task);
        handle
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        // The child of a fork has none of the threads, and maybe all of their locks.
        if std::process::id() == self.process && !self.shared.is_closed.load(Ordering::Relaxed) {
            self.close();
        }
    }
}

#[cfg(test)]
#[path = "executor_tests.rs"]
mod tests;
