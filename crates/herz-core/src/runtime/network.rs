//! The machine's part of descriptors: who polls, and what becomes of those that wait.

use std::io;

use super::descriptors::{Key, Over, Readiness, Refusal, Side};
use super::fifo::{Local, Place};
use super::machine::{Machine, Task};
use super::poller::Events;
use super::processor::{Claim, WorkerId};
use super::sync::Ordering;
use super::task::{Generation, Wake};

/// The monitor polls when nobody did for so long, as in Go.
const UNPOLLED_NS: u64 = 10_000_000;

impl<T: Task> Machine<T> {
    /// Watches a descriptor that the caller owns. Waits for a closed one of the same number end.
    ///
    /// # Errors
    /// The kernel cannot watch it, or the process was forked.
    pub fn own_descriptor(&self, worker: Option<WorkerId>, number: u32) -> io::Result<Key> {
        self.refuse_copy()?;
        let (key, over) = self.descriptors.own(&self.poller, number);
        self.end_waits(worker, over);
        key
    }

    /// Watches a descriptor for one wait, beside others.
    ///
    /// # Errors
    /// The kernel cannot watch it, or the process was forked.
    pub fn share_descriptor(&self, number: u32) -> io::Result<Key> {
        self.refuse_copy()?;
        self.descriptors.share(&self.poller, number)
    }

    /// Ends one such wait.
    pub fn release_descriptor(&self, worker: Option<WorkerId>, key: Key) {
        if self.poller.is_copy() {
            return;
        }
        let over = self.descriptors.release(&self.poller, key);
        self.end_waits(worker, over);
    }

    /// The descriptor is about to be closed: who waits for it goes on, and is refused from now on.
    pub fn close_descriptor(&self, worker: Option<WorkerId>, key: Key) {
        // Neither the kernel's list nor the locks of a copy are ours.
        if self.poller.is_copy() {
            return;
        }
        let over = self.descriptors.close(&self.poller, key);
        self.end_waits(worker, over);
    }

    /// The same for a descriptor of which only the number is known; false when it is not watched.
    pub fn close_number(&self, worker: Option<WorkerId>, number: u32) -> bool {
        let key = self.descriptors.key_of(number);
        if let Some(key) = key {
            self.close_descriptor(worker, key);
        }
        key.is_some()
    }

    /// Has the task woken when that side of the descriptor becomes ready; see `Descriptors::arm`.
    ///
    /// # Errors
    /// Why not, and the task.
    pub fn arm_descriptor(
        &self,
        key: Key,
        side: Side,
        task: T,
        generation: Generation,
        is_drained: bool,
    ) -> Result<(), (Refusal, T)> {
        self.descriptors
            .arm(key, side, task, generation, is_drained)
    }

    fn refuse_copy(&self) -> io::Result<()> {
        if self.poller.is_copy() {
            return Err(io::Error::other("the process was forked since"));
        }
        if self.clock.is_virtual() {
            return Err(io::Error::other(
                "a runtime with a clock of its own has no network: it cannot say what comes when",
            ));
        }
        Ok(())
    }

    /// Somebody found the descriptor ready: as if the kernel had told.
    pub fn note_ready(&self, worker: Option<WorkerId>, key: Key, what: Readiness) {
        let over = self.descriptors.event(key, what);
        self.end_waits(worker, over);
    }

    fn end_waits(&self, worker: Option<WorkerId>, over: Over<T>) {
        let mut count = 0;
        for (task, generation) in over.into_iter().flatten() {
            match task.end_wait(generation) {
                Wake::Queue => self.ready(worker, task, Place::Tail),
                Wake::Noted | Wake::Stale => self.bury(task),
            }
            count += 1;
        }
        if count > 0 {
            self.descriptors.note_woken(count);
        }
    }

    /// Queues the tasks that the events are for.
    pub(super) fn deliver(&self, claim: &mut Claim<'_, Local<T>>, events: &mut Events) {
        for (key, what) in events.drain() {
            let mut count = 0;
            for (task, generation) in self.descriptors.event(key, what).into_iter().flatten() {
                count += 1;
                match task.end_wait(generation) {
                    Wake::Queue => claim.local().push(task, Place::Tail),
                    Wake::Noted | Wake::Stale => self.bury(task),
                }
            }
            if count > 0 {
                self.descriptors.note_woken(count);
            }
        }
    }

    /// Looks for events without waiting, when somebody waits for one and nobody else looks.
    pub(super) fn glance(&self, claim: &mut Claim<'_, Local<T>>, events: &mut Events, now_ns: u64) {
        self.polled_ns.store(now_ns, Ordering::Relaxed);
        if self.descriptors.is_armed() && self.poller.glance(events) {
            self.deliver(claim, events);
        }
    }

    /// The monitor's look, while a step keeps the processor from looking. True: work was found.
    pub(super) fn poll_for_others(&self, now_ns: u64, is_due: bool) -> bool {
        let polled_ns = self.polled_ns.load(Ordering::Relaxed);
        let is_unpolled = now_ns.saturating_sub(polled_ns) >= UNPOLLED_NS;
        if !(is_due || is_unpolled) || !self.descriptors.is_armed() {
            return false;
        }
        let mut events = Events::default();
        if !self.poller.glance_for_others(&mut events) {
            return false;
        }
        self.polled_ns.store(now_ns, Ordering::Relaxed);
        let mut has_found = false;
        for (key, what) in events.drain() {
            let over = self.descriptors.event(key, what);
            has_found |= over.iter().any(Option::is_some);
            self.end_waits(None, over);
        }
        has_found
    }
}
