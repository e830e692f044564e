//! Which descriptors are watched, which tasks wait for them, and who must hear of them no longer.
//!
//! A slot for each descriptor number, with a count of users and a generation. Number and generation
//! are the [`Key`] under which the kernel knows the descriptor, and which it gives back with each
//! event. When the last user lets go, or the owner closes, the generation moves on: an event that
//! was read before finds nobody, so it cannot reach the next owner of the same number.
//!
//! Edges, not levels: the kernel tells once that something became ready, and `is_ready` keeps it
//! until somebody tries. So who waits does this, in this order:
//!
//! 1. [`Descriptors::clear`]: what came before no longer counts;
//! 2. the call itself (a read, a write). It succeeds, or it would block, and then
//! 3. [`Descriptors::arm`], which is refused when an event came since 1: again from 1.
//!
//! | who | clear, arm, disarm | event | close, release, own, share |
//! |---|---|---|---|
//! | | the task that waits, in its step | whoever polls | anyone who holds the descriptor |
//!
//! All under one lock, for some ten nanoseconds each. `close`, `release`, `own` and `share` keep it
//! over the kernel's call, which does not block: that makes a change of slot and kernel one.

use std::io;

use super::sync::{AtomicUsize, Lock, Ordering};
use super::task::Generation;

/// A watched descriptor, until it is closed or released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    number: u32,
    generation: u32,
}

/// Generations wrap here. An event would have to be under way for two milliards of openings of its
/// number to be taken for another's; the words above are for the poller's own descriptors.
const GENERATIONS: u32 = 1 << 31;

impl Key {
    #[must_use]
    pub fn word(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.number)
    }

    #[must_use]
    pub fn of_word(word: u64) -> Self {
        Self {
            number: word as u32,
            generation: (word >> 32) as u32,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Read,
    Write,
}

/// What an event says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    pub read: bool,
    pub write: bool,
    /// The other side ended, failed, or sent something urgent: a short read does not say that
    /// nothing is left.
    pub is_odd: bool,
}

/// Where events come from.
pub trait Kernel {
    /// Tells of edges of this descriptor under this key, the first at once where it is ready now.
    ///
    /// # Errors
    /// It cannot be watched: a regular file, or no descriptor.
    fn add(&self, key: Key, number: u32) -> io::Result<()>;

    /// Tells of it no longer; it may be closed already.
    fn remove(&self, number: u32);
}

/// Why a task was not armed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Something came since `clear`: try again.
    Ready,
    /// Another task waits for this side.
    Busy,
    /// The descriptor was closed, or is another one now.
    Closed,
}

/// Waits that are over; the caller wakes their tasks, then calls [`Descriptors::note_woken`].
pub type Over<T> = [Option<(T, Generation)>; 2];

struct Half<T> {
    is_ready: bool,
    waiter: Option<(T, Generation)>,
}

impl<T> Half<T> {
    const NEW: Self = Self {
        is_ready: false,
        waiter: None,
    };

    fn tell(&mut self, is_ready: bool) -> Option<(T, Generation)> {
        self.is_ready |= is_ready;
        // Kept although a waiter is told: it may have been cancelled just now.
        if is_ready { self.waiter.take() } else { None }
    }
}

struct Slot<T> {
    generation: u32,
    users: u32,
    is_odd: bool,
    read: Half<T>,
    write: Half<T>,
}

impl<T> Slot<T> {
    const NEW: Self = Self {
        generation: 0,
        users: 0,
        is_odd: false,
        read: Half::NEW,
        write: Half::NEW,
    };

    fn half(&mut self, side: Side) -> &mut Half<T> {
        match side {
            Side::Read => &mut self.read,
            Side::Write => &mut self.write,
        }
    }

    /// Empties the slot for its next use.
    fn end(&mut self) -> Over<T> {
        let generation = (self.generation + 1) % GENERATIONS;
        let ended = std::mem::replace(
            self,
            Self {
                generation,
                ..Self::NEW
            },
        );
        [ended.read.waiter, ended.write.waiter]
    }
}

pub struct Descriptors<T> {
    // Bound: the largest descriptor number that was ever watched.
    slots: Lock<Vec<Slot<T>>>,
    /// Waits that nobody has ended, or whose tasks are not yet queued.
    armed: AtomicUsize,
}

impl<T> Default for Descriptors<T> {
    fn default() -> Self {
        Self {
            slots: Lock::new(Vec::new()),
            armed: AtomicUsize::new(0),
        }
    }
}

fn slot_of<T>(slots: &mut [Slot<T>], key: Key) -> Option<&mut Slot<T>> {
    let slot = slots.get_mut(key.number as usize)?;
    (slot.generation == key.generation && slot.users > 0).then_some(slot)
}

impl<T> Descriptors<T> {
    /// Watches a descriptor that the caller owns. Whoever still waits for its number waits for one
    /// that was closed; those waits are over.
    pub fn own(&self, kernel: &impl Kernel, number: u32) -> (io::Result<Key>, Over<T>) {
        let mut slots = self.slots.lock();
        let slot = Self::slot_at(&mut slots, number);
        let over = if slot.users > 0 {
            slot.end()
        } else {
            [None, None]
        };
        (Self::join(slot, kernel, number), over)
    }

    /// Watches a descriptor that others may watch, too.
    ///
    /// # Errors
    /// As [`Kernel::add`].
    pub fn share(&self, kernel: &impl Kernel, number: u32) -> io::Result<Key> {
        let mut slots = self.slots.lock();
        let slot = Self::slot_at(&mut slots, number);
        Self::join(slot, kernel, number)
    }

    fn slot_at(slots: &mut Vec<Slot<T>>, number: u32) -> &mut Slot<T> {
        let at = number as usize;
        if at >= slots.len() {
            slots.resize_with(at + 1, || Slot::NEW);
        }
        &mut slots[at]
    }

    fn join(slot: &mut Slot<T>, kernel: &impl Kernel, number: u32) -> io::Result<Key> {
        let key = Key {
            number,
            generation: slot.generation,
        };
        if slot.users == 0 {
            kernel.add(key, number)?;
        }
        slot.users += 1;
        Ok(key)
    }

    /// One user lets go; the last one's letting go ends the watch.
    pub fn release(&self, kernel: &impl Kernel, key: Key) -> Over<T> {
        let mut slots = self.slots.lock();
        let Some(slot) = slot_of(&mut slots, key) else {
            return [None, None];
        };
        slot.users -= 1;
        if slot.users > 0 {
            return [None, None];
        }
        kernel.remove(key.number);
        slot.end()
    }

    /// Ends the watch for all users, before the descriptor is closed.
    pub fn close(&self, kernel: &impl Kernel, key: Key) -> Over<T> {
        let mut slots = self.slots.lock();
        let Some(slot) = slot_of(&mut slots, key) else {
            return [None, None];
        };
        kernel.remove(key.number);
        slot.end()
    }

    /// The key under which a number is watched now.
    pub fn key_of(&self, number: u32) -> Option<Key> {
        let slots = self.slots.lock();
        let slot = slots.get(number as usize).filter(|slot| slot.users > 0)?;
        Some(Key {
            number,
            generation: slot.generation,
        })
    }

    /// An event came from the kernel.
    pub fn event(&self, key: Key, what: Readiness) -> Over<T> {
        let mut slots = self.slots.lock();
        let Some(slot) = slot_of(&mut slots, key) else {
            return [None, None];
        };
        slot.is_odd |= what.is_odd;
        [slot.read.tell(what.read), slot.write.tell(what.write)]
    }

    /// Whether that watch still stands.
    pub fn stands(&self, key: Key) -> bool {
        slot_of(&mut self.slots.lock(), key).is_some()
    }

    /// What came so far no longer counts: the caller tries now.
    pub fn clear(&self, key: Key, side: Side) {
        if let Some(slot) = slot_of(&mut self.slots.lock(), key) {
            slot.half(side).is_ready = false;
        }
    }

    /// Has the task woken by the next event.
    ///
    /// # Errors
    /// Why not, and the task, for the caller to release. With `is_drained` the caller has not
    /// tried: it read all that was there before, and an odd descriptor must be tried always.
    pub fn arm(
        &self,
        key: Key,
        side: Side,
        task: T,
        generation: Generation,
        is_drained: bool,
    ) -> Result<(), (Refusal, T)> {
        let mut slots = self.slots.lock();
        let Some(slot) = slot_of(&mut slots, key) else {
            return Err((Refusal::Closed, task));
        };
        let must_try = is_drained && slot.is_odd;
        let half = slot.half(side);
        if half.waiter.is_some() {
            return Err((Refusal::Busy, task));
        }
        if half.is_ready || must_try {
            return Err((Refusal::Ready, task));
        }
        half.waiter = Some((task, generation));
        // ORDERING: Relaxed: see `is_armed`.
        self.armed.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Takes the task out again when that wait still stands; the caller releases it.
    pub fn disarm(&self, key: Key, side: Side, generation: Generation) -> Option<T> {
        let mut slots = self.slots.lock();
        let half = slot_of(&mut slots, key)?.half(side);
        let (task, _) = half.waiter.take_if(|waiter| waiter.1 == generation)?;
        self.armed.fetch_sub(1, Ordering::Relaxed);
        Some(task)
    }

    /// So many tasks whose waits were over have been queued.
    pub fn note_woken(&self, count: usize) {
        // ORDERING: Release pairs with the Acquire of `is_armed`: who sees that nobody waits any
        // more also sees the tasks in their queue.
        self.armed.fetch_sub(count, Ordering::Release);
    }

    /// Whether an event may still wake somebody.
    pub fn is_armed(&self) -> bool {
        // ORDERING: Acquire: see `note_woken`. An `arm` is seen because the step that made it is:
        // its end is ordered before by the processor's word, or by the count of detached steps.
        self.armed.load(Ordering::Acquire) > 0
    }

    /// Tasks that wait for descriptors.
    pub fn waiting(&self) -> usize {
        self.armed.load(Ordering::Relaxed)
    }

    /// Takes all waiters out, for the caller to release: the run is over.
    pub fn empty(&self) -> Vec<T> {
        let mut slots = self.slots.lock();
        let halves = slots
            .iter_mut()
            .flat_map(|slot| [slot.read.waiter.take(), slot.write.waiter.take()]);
        let tasks: Vec<T> = halves.flatten().map(|(task, _)| task).collect();
        self.armed.fetch_sub(tasks.len(), Ordering::Relaxed);
        tasks
    }
}
