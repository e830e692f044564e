//! Native processors for tasks in Rust: workers that steal from each other.
//!
//! Each processor has one worker thread, a run queue, and a queue of tasks that are pinned to it. A
//! task is a closure that does one step and says whether it yields, waits or is done. `worker.rs`
//! has the order in which a worker looks for its next task.

use std::any::Any;
use std::cell::UnsafeCell;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread::JoinHandle;

use crossbeam_utils::CachePadded;

use super::global::Global;
use super::idle::Idle;
use super::park::Parker;
use super::ring::{Owner, Thief, queue};
use super::state::State;
use super::victims::Victims;
use super::worker::{Counters, Worker};
use crate::runtime::sync::{Arc, AtomicBool, AtomicUsize, Bell, Lock, Ordering, thread};

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The task goes on after the others.
    Yield,
    /// The task goes on when it is woken.
    Wait,
    /// The task is over.
    Done,
}

type Body = Box<dyn FnMut(&mut Turn<'_>) -> Step + Send>;

/// A task in Rust.
pub struct Task {
    state: State,
    pinned_to: Option<usize>,
    /// Invariant: touched only by the worker between `State::begin` and the end of the step, and
    /// when the last reference drops.
    body: UnsafeCell<Option<Body>>,
}

// SAFETY: `body` is Send, and one worker at a time touches it: `State::begin` refuses a second.
unsafe impl Sync for Task {}

/// What a step may ask of the processor that runs it.
pub struct Turn<'a> {
    pub(super) shared: &'a Arc<Shared>,
    pub(super) queue: &'a mut Owner<Arc<Task>>,
    pub(super) processor: usize,
    pub(super) task: &'a Arc<Task>,
}

impl Turn<'_> {
    /// The processor that runs this step.
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
        if let Some(processor) = task.pinned_to {
            return self.shared.submit_pinned(processor, task);
        }
        self.queue.push_next(task, &self.shared.global);
        self.shared.wake_one();
    }
}

/// Wakes a task from anywhere.
#[derive(Clone)]
pub struct Handle {
    task: Arc<Task>,
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
            Step::Done => {
                *body = None;
                self.state.dies();
                Step::Done
            }
            Step::Wait if !self.state.waits() => Step::Wait,
            Step::Wait => Step::Yield,
            Step::Yield => {
                self.state.yields();
                Step::Yield
            }
        }
    }

    pub(super) fn pinned_to(&self) -> Option<usize> {
        self.pinned_to
    }
}

/// What all workers see.
pub struct Shared {
    pub(super) thieves: Vec<Thief<Arc<Task>>>,
    pub(super) pinned: Vec<CachePadded<Global<Arc<Task>>>>,
    pub(super) parkers: Vec<CachePadded<Parker>>,
    pub(super) global: Global<Arc<Task>>,
    pub(super) idle: Idle,
    pub(super) victims: Victims,
    pub(super) is_closed: AtomicBool,
    live: CachePadded<AtomicUsize>,
    over: Bell<()>,
    /// What the latest task that panicked said.
    panic: Lock<Option<Box<dyn Any + Send>>>,
}

impl Shared {
    fn task(&self, pinned_to: Option<usize>, body: Body) -> Arc<Task> {
        // ORDERING: a count; its fall to zero is ordered by `task_ended`.
        self.live.fetch_add(1, Ordering::Relaxed);
        Arc::new(Task {
            state: State::default(),
            pinned_to,
            body: UnsafeCell::new(Some(body)),
        })
    }

    pub(super) fn submit(&self, task: Arc<Task>) {
        if let Some(processor) = task.pinned_to {
            return self.submit_pinned(processor, task);
        }
        self.global.push(task);
        self.wake_one();
    }

    pub(super) fn submit_pinned(&self, processor: usize, task: Arc<Task>) {
        self.pinned[processor].push(task);
        if self.idle.wake_this(processor) {
            self.parkers[processor].unpark();
        }
    }

    pub(super) fn wake_one(&self) {
        if let Some(processor) = self.idle.wake() {
            self.parkers[processor].unpark();
        }
    }

    pub(super) fn task_ended(&self) {
        // ORDERING: AcqRel chains all ends, so that who sees zero sees what every task wrote.
        if self.live.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.over.ring(|()| ());
        }
    }
}

/// Processors that run tasks until they are told to stop.
pub struct Executor {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<Counters>>,
}

impl Executor {
    /// Starts `processors` workers; a seed fixes the order in which each looks at its victims.
    ///
    /// # Panics
    ///
    /// Where the system refuses a thread.
    #[must_use]
    pub fn new(processors: NonZeroUsize, seed: u64) -> Self {
        let count = processors.get();
        let (owners, thieves): (Vec<_>, Vec<_>) = (0..count).map(|_| queue()).unzip();
        let shared = Arc::new(Shared {
            thieves,
            pinned: (0..count)
                .map(|_| CachePadded::new(Global::default()))
                .collect(),
            parkers: (0..count)
                .map(|_| CachePadded::new(Parker::default()))
                .collect(),
            global: Global::default(),
            idle: Idle::new(count),
            victims: Victims::new(count),
            is_closed: AtomicBool::new(false),
            live: CachePadded::new(AtomicUsize::new(0)),
            over: Bell::default(),
            panic: Lock::new(None),
        });
        let start = |(processor, owner)| {
            let worker = Worker::new(Arc::clone(&shared), owner, processor, seed);
            thread::Builder::new()
                .name(format!("herz-native-{processor}"))
                .spawn(move || worker.run())
                .expect("the system gives a thread")
        };
        let workers = owners.into_iter().enumerate().map(start).collect();
        Self { shared, workers }
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
            processor < self.workers.len(),
            "there is no processor {processor}"
        );
        self.start(Some(processor), Box::new(body))
    }

    /// Waits until no task lives, stops the workers, and gives what each counted.
    ///
    /// # Panics
    ///
    /// As the last task that has panicked.
    #[must_use]
    pub fn finish(self) -> Vec<Counters> {
        // ORDERING: Acquire pairs with `task_ended`. A task that starts later sets it right again.
        let is_over = |(): &mut ()| (self.shared.live.load(Ordering::Acquire) == 0).then_some(());
        self.shared.over.wait(None, is_over);
        // ORDERING: the parker's lock hands it over to each worker.
        self.shared.is_closed.store(true, Ordering::Release);
        for parker in &self.shared.parkers {
            parker.unpark();
        }
        let join = |worker: JoinHandle<Counters>| worker.join().expect("a worker lives");
        let counters = self.workers.into_iter().map(join).collect();
        match self.shared.panic.lock().take() {
            Some(panic) => resume_unwind(panic),
            None => counters,
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

#[cfg(test)]
#[path = "executor_tests.rs"]
mod tests;
