//! What native tasks wait for beside each other: descriptors and timers.
//!
//! All native workers share one poller and one set of timers, apart from the Python processor's: a
//! thread that waits for descriptors on behalf of both would have to wake the other's for every
//! event. One worker at a time waits for the kernel; it has no processor meanwhile. Workers that
//! run out of work look without waiting, and the monitor does so where nobody did for 10 ms.
//!
//! A wait may end for nothing, so a step tries again whenever it is resumed.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use crate::runtime::descriptors::{Descriptors, Key, Over, Refusal, Side};
use crate::runtime::poller::{Events, Poller, now_ns};
use crate::runtime::processor::WorkerId;
use crate::runtime::sync::{Arc, AtomicU32, AtomicU64, Ordering, fence};
use crate::runtime::task::Generation;
use crate::runtime::timers::shards::{SHARDS_MAX, Shards, Timed};
use crate::runtime::timers::wheel::Due;

use super::executor::{Executor, Shared, Task, Turn};

/// Timers that one look takes.
const DUE_MAX: usize = 256;
/// The monitor polls when nobody did for so long, as in Go.
const UNPOLLED_NS: u64 = 10_000_000;

/// What came of asking to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Armed {
    /// The step may end with `Step::Wait`.
    Waits,
    /// Something came meanwhile: try again.
    Again,
    /// The descriptor is watched no longer.
    Closed,
}

pub struct Outside {
    poller: Poller,
    descriptors: Descriptors<Arc<Task>>,
    timers: Shards<Arc<Task>>,
    /// The worker that waits for the kernel, plus one; 0: nobody does.
    waiting: AtomicU32,
    polled_ns: AtomicU64,
}

/// Room for what a look brings.
#[derive(Default)]
pub struct Room {
    events: Events,
    due: Vec<Due<Arc<Task>>>,
}

impl Outside {
    /// # Errors
    /// No descriptor is left to the process.
    pub fn new(processors: usize) -> io::Result<Self> {
        Ok(Self {
            poller: Poller::new()?,
            descriptors: Descriptors::default(),
            timers: Shards::fixed(processors.min(SHARDS_MAX), now_ns()),
            waiting: AtomicU32::new(0),
            polled_ns: AtomicU64::new(0),
        })
    }

    /// Whether anything may come from outside.
    pub fn has_any(&self) -> bool {
        self.descriptors.is_armed() || !self.timers.is_empty()
    }

    /// Tasks that wait for descriptors, and timers.
    pub fn counts(&self) -> (usize, usize) {
        (self.descriptors.waiting(), self.timers.len())
    }

    fn end_waits(&self, over: Over<Arc<Task>>, ready: &mut Vec<Arc<Task>>) {
        let mut count = 0;
        for (task, _) in over.into_iter().flatten() {
            count += 1;
            if task.state.wake() {
                ready.push(task);
            }
        }
        if count > 0 {
            self.descriptors.note_woken(count);
        }
    }

    fn deliver(&self, events: &mut Events, ready: &mut Vec<Arc<Task>>) {
        for (key, what) in events.drain() {
            self.end_waits(self.descriptors.event(key, what), ready);
        }
    }

    /// Looks for events without waiting, when somebody waits for one and nobody else looks.
    pub fn glance(&self, room: &mut Room, ready: &mut Vec<Arc<Task>>) {
        // ORDERING: a hint: where a worker waits for the kernel, it will hear of everything.
        let is_polled = self.waiting.load(Ordering::Relaxed) != 0;
        if is_polled || !self.descriptors.is_armed() {
            return;
        }
        self.polled_ns.store(now_ns(), Ordering::Relaxed);
        if self.poller.glance(&mut room.events) {
            self.deliver(&mut room.events, ready);
        }
    }

    /// Takes timers that are due.
    pub fn fire(&self, room: &mut Room, ready: &mut Vec<Arc<Task>>, mut late: impl FnMut(u64)) {
        let Some(wake_ns) = self.timers.next_wake() else {
            return;
        };
        let now = now_ns();
        if now < wake_ns {
            return;
        }
        self.timers.poll(now, DUE_MAX, &mut room.due);
        for due in room.due.drain(..) {
            late(now.saturating_sub(due.deadline));
            if due.payload.state.wake() {
                ready.push(due.payload);
            }
        }
    }

    /// Whether the worker may wait for the kernel: nobody else does.
    pub fn begin_wait(&self, worker: WorkerId) -> bool {
        let own = u32::from(worker) + 1;
        // ORDERING: Relaxed: the fence in `prepare` comes before the look at the bell.
        self.waiting
            .compare_exchange(0, own, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }

    /// Waits for events, the next timer or `wake`, unless `is_told` already.
    pub fn wait(
        &self,
        room: &mut Room,
        ready: &mut Vec<Arc<Task>>,
        is_told: impl FnOnce() -> bool,
    ) {
        self.poller.prepare();
        if is_told() {
            self.poller.call_off();
        } else {
            let until = self.timers.next_wake();
            self.poller.wait(until, &mut room.events);
        }
        // ORDERING: Relaxed: whoever still sees it rings a bell that nobody hears.
        self.waiting.store(0, Ordering::Relaxed);
        self.polled_ns.store(now_ns(), Ordering::Relaxed);
        self.deliver(&mut room.events, ready);
    }

    /// The worker's bell was rung: it may be waiting for the kernel.
    pub fn wake(&self, worker: WorkerId) {
        // ORDERING: SeqCst against the fence in `Poller::prepare`: either this sees that the worker
        // waits, or the worker sees what its bell was rung for.
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Relaxed) == u32::from(worker) + 1 {
            self.poller.wake();
        }
    }

    /// Whoever waits for the kernel looks at everything again.
    pub fn wake_any(&self) {
        self.poller.wake();
    }

    /// Takes all tasks out that wait here.
    pub fn empty(&self) -> Vec<Arc<Task>> {
        let mut tasks = self.descriptors.empty();
        tasks.extend(self.timers.clear());
        tasks
    }
}

/// A descriptor that native tasks wait for. It is closed when it drops, after the watch has ended.
pub struct Watched {
    descriptor: OwnedFd,
    pub key: Key,
    shared: Arc<Shared>,
}

impl Watched {
    #[must_use]
    pub fn descriptor(&self) -> &OwnedFd {
        &self.descriptor
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let outside = &self.shared.outside;
        // In the child of a fork neither the kernel's list nor the locks are ours.
        if !outside.poller.is_copy() {
            let over = outside.descriptors.close(&outside.poller, self.key);
            self.shared.queue_woken(over);
        }
    }
}

impl Shared {
    fn queue_woken(self: &Arc<Self>, over: Over<Arc<Task>>) {
        let mut ready = Vec::new();
        self.outside.end_waits(over, &mut ready);
        for task in ready {
            self.submit(task);
        }
    }
}

impl Executor {
    /// Watches a descriptor that does not block.
    ///
    /// # Errors
    /// The kernel cannot watch it.
    pub fn watch(&self, descriptor: OwnedFd) -> io::Result<Watched> {
        let outside = &self.shared.outside;
        let number = descriptor.as_raw_fd().cast_unsigned();
        let (key, over) = outside.descriptors.own(&outside.poller, number);
        self.shared.queue_woken(over);
        Ok(Watched {
            descriptor,
            key: key?,
            shared: Arc::clone(&self.shared),
        })
    }

    /// The monitor's look for events and timers that no worker has time for.
    pub(super) fn poll_for_others(&self, now_ns: u64) {
        let outside = &self.shared.outside;
        let polled_ns = outside.polled_ns.load(Ordering::Relaxed);
        if now_ns.saturating_sub(polled_ns) < UNPOLLED_NS || !outside.has_any() {
            return;
        }
        let (mut room, mut ready) = (Room::default(), Vec::new());
        outside.glance(&mut room, &mut ready);
        outside.fire(&mut room, &mut ready, |_| ());
        for task in ready {
            self.shared.submit(task);
        }
    }
}

impl Turn<'_> {
    /// What came so far no longer counts: the step tries now.
    pub fn clear(&self, key: Key, side: Side) {
        self.shared.outside.descriptors.clear(key, side);
    }

    /// Has the task woken when that side becomes ready; it tried since `clear`, or with
    /// `is_drained` knows that there was no more.
    #[must_use]
    pub fn arm(&self, key: Key, side: Side, is_drained: bool) -> Armed {
        let task = Arc::clone(self.task);
        let descriptors = &self.shared.outside.descriptors;
        match descriptors.arm(key, side, task, Generation::default(), is_drained) {
            // One task uses each side: it was woken by something else, and waits here still.
            Ok(()) | Err((Refusal::Busy, _)) => Armed::Waits,
            Err((Refusal::Ready, _)) => Armed::Again,
            Err((Refusal::Closed, _)) => Armed::Closed,
        }
    }

    /// Has the task woken at that time of the monotonic clock, and not at the one before.
    pub fn wake_at(&self, when_ns: u64) {
        let outside = &self.shared.outside;
        drop(outside.timers.cancel(self.task.location()));
        let inserted = outside
            .timers
            .insert(self.processor(), when_ns, Arc::clone(self.task));
        if let Ok(true) = inserted {
            outside.poller.wake();
        }
    }

    /// Not any more.
    pub fn call_off(&self) {
        drop(self.shared.outside.timers.cancel(self.task.location()));
    }
}
