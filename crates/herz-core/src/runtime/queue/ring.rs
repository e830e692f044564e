//! A processor's run queue: a lock-free ring of 256 slots, and a slot for what runs next.
//!
//! [`Owner`] is the processor's own end: there is one, and its methods ask for `&mut`. [`Thief`] is
//! everybody else's: it takes half, rounded up, from the front. `next` holds what the running task
//! has just made ready; it inherits that task's time slice, and is stolen only on a thief's last
//! pass.
//!
//! `head` and `tail` count up and wrap; `tail - head` is the length, and a slot's number is the
//! count modulo the capacity. Only the owner moves `tail`; owner and thieves move `head`, by
//! compare-and-swap. A thief copies the slots first and then swaps: where the owner has reused a
//! slot meanwhile, `head` has moved and the swap fails, so that a torn view is thrown away. Slots
//! are atomic because of that copy. A count comes round after 2^32 steps: a thief that sleeps
//! exactly that long between its two steps would be deceived, as in Go.
//!
//! Source: `runqput`, `runqputslow`, `runqget`, `runqgrab`, `runqsteal`, `runqempty` of Go 1.26's
//! `runtime/proc.go`.

use std::array;
use std::marker::PhantomData;
use std::ptr;

use crossbeam_utils::CachePadded;

use super::global::Global;
use super::word::Word;
use crate::runtime::sync::Arc;
use crate::runtime::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use crate::runtime::sync::spin_loop;

/// Slots of a ring. Four under the model checker, so that few steps fill it and go round it.
pub const CAPACITY: u32 = if cfg!(loom) { 4 } else { 256 };

/// What a full ring gives to the global queue, beside the item that did not fit.
pub const HALF: u32 = CAPACITY / 2;

/// Where an item came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The `next` slot: it inherits the time slice.
    Next,
    /// The ring: a new slice begins.
    Ring,
}

/// Which of a thief's passes over the victims this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// The ring only.
    Early,
    /// The ring; where it is empty, `next` too.
    Last,
}

struct Ring<T: Word> {
    head: CachePadded<AtomicU32>,
    tail: CachePadded<AtomicU32>,
    next: CachePadded<AtomicPtr<()>>,
    /// Invariant: slots `head..tail` hold words of items that nobody else owns.
    slots: CachePadded<[AtomicPtr<()>; CAPACITY as usize]>,
    _items: PhantomData<T>,
}

impl<T: Word> Ring<T> {
    fn slot(&self, at: u32) -> &AtomicPtr<()> {
        &self.slots[(at % CAPACITY) as usize]
    }
}

impl<T: Word> Drop for Ring<T> {
    fn drop(&mut self) {
        // ORDERING: `&mut` is given after the last owner and thief are gone.
        let tail = self.tail.load(Ordering::Relaxed);
        let mut at = self.head.load(Ordering::Relaxed);
        while at != tail {
            let word = self.slot(at).load(Ordering::Relaxed);
            // SAFETY: the slot is between head and tail, so that its item is the ring's.
            drop(unsafe { T::from_word(word) });
            at = at.wrapping_add(1);
        }
        let next = self.next.load(Ordering::Relaxed);
        if !next.is_null() {
            // SAFETY: a word in `next` is an item's that nobody has taken.
            drop(unsafe { T::from_word(next) });
        }
    }
}

/// A new, empty queue's two ends.
#[must_use]
pub fn queue<T: Word>() -> (Owner<T>, Thief<T>) {
    let ring = Arc::new(Ring {
        head: CachePadded::new(AtomicU32::new(0)),
        tail: CachePadded::new(AtomicU32::new(0)),
        next: CachePadded::new(AtomicPtr::new(ptr::null_mut())),
        slots: CachePadded::new(array::from_fn(|_| AtomicPtr::new(ptr::null_mut()))),
        _items: PhantomData,
    });
    (
        Owner {
            ring: Arc::clone(&ring),
        },
        Thief { ring },
    )
}

/// The processor's own end. Whoever has it may be any thread, but only one at a time.
pub struct Owner<T: Word> {
    ring: Arc<Ring<T>>,
}

impl<T: Word> Owner<T> {
    /// Adds at the back; a full ring gives half of itself and the item to `overflow`.
    pub fn push(&mut self, item: T, overflow: &Global<T>) {
        self.push_word(item.into_word(), overflow);
    }

    /// Makes the item the next to run; what was to be next goes to the back.
    pub fn push_next(&mut self, item: T, overflow: &Global<T>) {
        // ORDERING: Release gives a thief of `next` what was written to the item; its swap to null
        // acquires. Acquire is not needed: the old word was put there by an owner before us.
        let old = self.ring.next.swap(item.into_word(), Ordering::Release);
        if !old.is_null() {
            self.push_word(old, overflow);
        }
    }

    /// Takes what is next, else the front of the ring.
    pub fn pop(&mut self) -> Option<(T, Place)> {
        if let Some(item) = self.pop_next() {
            return Some((item, Place::Next));
        }
        self.pop_ring().map(|item| (item, Place::Ring))
    }

    /// Takes what is in the `next` slot.
    pub fn pop_next(&mut self) -> Option<T> {
        let next = &self.ring.next;
        // ORDERING: only an owner puts a word there, and passed itself on to us in order.
        let word = next.load(Ordering::Relaxed);
        if word.is_null() {
            return None;
        }
        // ORDERING: Release, so that who sees the empty slot also sees the tail that we published
        // before: `is_empty` rests on it. A failure says that a thief has the item.
        next.compare_exchange(word, ptr::null_mut(), Ordering::Release, Ordering::Relaxed)
            .ok()
            // SAFETY: the swap took the word out, so that the item is ours alone.
            .map(|word| unsafe { T::from_word(word) })
    }

    /// Takes the front of the ring.
    pub fn pop_ring(&mut self) -> Option<T> {
        let ring = &*self.ring;
        // Bound: a swap that fails says that a thief took at least one item of at most 256.
        loop {
            // ORDERING: Acquire pairs with the swaps of thieves, so that the release sequence on
            // `head` goes on unbroken through ours; `tail` is our own.
            let head = ring.head.load(Ordering::Acquire);
            if head == ring.tail.load(Ordering::Relaxed) {
                return None;
            }
            // ORDERING: we wrote the slot ourselves.
            let word = ring.slot(head).load(Ordering::Relaxed);
            let after = head.wrapping_add(1);
            // ORDERING: Release keeps the read of the slot before the swap; whoever loads `head`
            // with Acquire and finds room may overwrite the slot.
            let swap =
                ring.head
                    .compare_exchange(head, after, Ordering::Release, Ordering::Relaxed);
            if swap.is_ok() {
                // SAFETY: the swap moved `head` over the slot, so that its item is ours alone.
                return Some(unsafe { T::from_word(word) });
            }
        }
    }

    /// Items in the ring and the `next` slot; thieves may have made it fewer by now.
    #[must_use]
    pub fn len(&self) -> u32 {
        // ORDERING: a number to look at; nothing is read behind it.
        let next = self.ring.next.load(Ordering::Relaxed);
        CAPACITY - self.room() + u32::from(!next.is_null())
    }

    /// Whether nothing is there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Free slots; thieves can only make them more.
    #[must_use]
    pub fn room(&self) -> u32 {
        // ORDERING: Acquire as in `push_word`; `tail` is our own.
        let head = self.ring.head.load(Ordering::Acquire);
        CAPACITY - self.ring.tail.load(Ordering::Relaxed).wrapping_sub(head)
    }

    /// Adds at the back items for which the caller has asked for room.
    pub(super) fn fill(&mut self, items: impl Iterator<Item = T>) {
        let room = self.room();
        // ORDERING: our own.
        let tail = self.ring.tail.load(Ordering::Relaxed);
        let mut count = 0;
        for item in items {
            assert!(count < room, "a ring is filled beyond its room");
            let slot = self.ring.slot(tail.wrapping_add(count));
            // ORDERING: published by `tail` below.
            slot.store(item.into_word(), Ordering::Relaxed);
            count += 1;
        }
        self.publish(tail.wrapping_add(count));
    }

    fn push_word(&mut self, word: *mut (), overflow: &Global<T>) {
        // Bound: a round is repeated where thieves took items, and then there is room.
        loop {
            // ORDERING: Acquire pairs with the Release of whoever moved `head`: their copy of the
            // slot is finished before we overwrite it. `tail` is our own.
            let head = self.ring.head.load(Ordering::Acquire);
            let tail = self.ring.tail.load(Ordering::Relaxed);
            if tail.wrapping_sub(head) < CAPACITY {
                // ORDERING: published by `tail`.
                self.ring.slot(tail).store(word, Ordering::Relaxed);
                self.publish(tail.wrapping_add(1));
                return;
            }
            if self.spill(head, word, overflow) {
                return;
            }
        }
    }

    fn publish(&mut self, tail: u32) {
        // ORDERING: Release pairs with a thief's Acquire of `tail`: it sees the slots below, and
        // what was written to the items before they were pushed.
        self.ring.tail.store(tail, Ordering::Release);
    }

    /// Moves half of a full ring and the item to `overflow`; false where thieves made room first.
    fn spill(&mut self, head: u32, word: *mut (), overflow: &Global<T>) -> bool {
        let ring = &*self.ring;
        // ORDERING: we wrote these slots ourselves.
        let batch: [*mut (); HALF as usize] = array::from_fn(|at| {
            ring.slot(head.wrapping_add(at as u32))
                .load(Ordering::Relaxed)
        });
        let after = head.wrapping_add(HALF);
        // ORDERING: Release as in `pop_ring`.
        let swap = ring
            .head
            .compare_exchange(head, after, Ordering::Release, Ordering::Relaxed);
        if swap.is_err() {
            return false;
        }
        // SAFETY: the swap moved `head` over these slots: their items are ours alone, once each.
        let items = batch.into_iter().map(|word| unsafe { T::from_word(word) });
        // SAFETY: the caller handed this word over, and does not use it when it is told true.
        let last = unsafe { T::from_word(word) };
        overflow.push_batch(items.chain([last]));
        true
    }
}

/// Everybody else's end.
pub struct Thief<T: Word> {
    ring: Arc<Ring<T>>,
}

impl<T: Word> Clone for Thief<T> {
    fn clone(&self) -> Self {
        Self {
            ring: Arc::clone(&self.ring),
        }
    }
}

impl<T: Word> Thief<T> {
    /// Takes half, rounded up: gives the last of them, and puts the others into the thief's own
    /// ring.
    ///
    /// On the last pass an empty ring's `next` is taken. Whoever calls it then waits first for
    /// some 3 µs where the victim runs: a task that makes another ready mostly waits at once,
    /// and the other should run where its data is warm.
    pub fn steal(&self, into: &mut Owner<T>, pass: Pass) -> Option<T> {
        debug_assert!(
            !Arc::ptr_eq(&self.ring, &into.ring),
            "a processor steals from itself"
        );
        let mine = &*into.ring;
        // ORDERING: our own.
        let tail = mine.tail.load(Ordering::Relaxed);
        let count = self.grab(mine, tail, into.room(), pass);
        if count == 0 {
            return None;
        }
        let last = tail.wrapping_add(count - 1);
        // ORDERING: `grab` wrote the slot in this thread.
        let word = mine.slot(last).load(Ordering::Relaxed);
        if count > 1 {
            into.publish(last);
        }
        // SAFETY: `grab` took the item out of the victim; it lies above our tail, for us alone.
        Some(unsafe { T::from_word(word) })
    }

    /// Whether there is something in `next`.
    #[must_use]
    pub fn has_next(&self) -> bool {
        // ORDERING: a hint.
        !self.ring.next.load(Ordering::Relaxed).is_null()
    }

    /// Whether neither the ring nor `next` held anything at one moment.
    ///
    /// The owner may move an item from `next` to the ring between two looks: an unchanged tail
    /// says that it did not.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let ring = &*self.ring;
        // Bound: a repetition says that the owner pushed.
        loop {
            // ORDERING: Acquire keeps the four loads in this order. Before a sleep the fence of
            // `Idle::settle` is in front of them.
            let head = ring.head.load(Ordering::Acquire);
            let tail = ring.tail.load(Ordering::Acquire);
            let next = ring.next.load(Ordering::Acquire);
            if tail == ring.tail.load(Ordering::Acquire) {
                return head == tail && next.is_null();
            }
            spin_loop();
        }
    }

    /// Items at a glance, for statistics.
    #[must_use]
    pub fn len(&self) -> u32 {
        // ORDERING: a number to look at.
        let head = self.ring.head.load(Ordering::Relaxed);
        let tail = self.ring.tail.load(Ordering::Relaxed);
        tail.wrapping_sub(head).min(CAPACITY) + u32::from(self.has_next())
    }

    /// Copies up to half above `tail` of `mine` and takes it; gives the count.
    fn grab(&self, mine: &Ring<T>, tail: u32, room: u32, pass: Pass) -> u32 {
        let ring = &*self.ring;
        // Bound: each repetition says that the owner or another thief went on meanwhile.
        loop {
            // ORDERING: Acquire, so that `tail` is not read before `head`; where thieves moved
            // `head`, it also orders our later overwriting after their copies (see `push_word`).
            let first = ring.head.load(Ordering::Acquire);
            // ORDERING: Acquire pairs with `publish`: the slots below and the items' contents.
            let end = ring.tail.load(Ordering::Acquire);
            let length = end.wrapping_sub(first);
            let count = (length - length / 2).min(room);
            if length == 0 && pass == Pass::Last {
                return u32::from(self.grab_next(mine, tail));
            }
            if count == 0 {
                return 0;
            }
            if count > HALF {
                spin_loop(); // The two loads do not belong together: `head` was overtaken.
                continue;
            }
            for at in 0..count {
                // ORDERING: read after `tail`; whether it is still true, the swap says. Our slot
                // lies above our tail, where nobody looks.
                let word = ring.slot(first.wrapping_add(at)).load(Ordering::Relaxed);
                mine.slot(tail.wrapping_add(at))
                    .store(word, Ordering::Relaxed);
            }
            let after = first.wrapping_add(count);
            // ORDERING: Release keeps our copy before the swap, for the owner who overwrites.
            let swap =
                ring.head
                    .compare_exchange(first, after, Ordering::Release, Ordering::Relaxed);
            if swap.is_ok() {
                return count;
            }
            spin_loop();
        }
    }

    fn grab_next(&self, mine: &Ring<T>, tail: u32) -> bool {
        let next = &self.ring.next;
        // ORDERING: the swap checks it.
        let word = next.load(Ordering::Relaxed);
        if word.is_null() {
            return false;
        }
        // ORDERING: Acquire pairs with `push_next`. A failure says that the owner runs it, or
        // has put another there: then it is busy, and its `next` should stay.
        let swap =
            next.compare_exchange(word, ptr::null_mut(), Ordering::Acquire, Ordering::Relaxed);
        if swap.is_ok() {
            // ORDERING: our own slot above our tail.
            mine.slot(tail).store(word, Ordering::Relaxed);
        }
        swap.is_ok()
    }
}

#[cfg(all(test, not(loom)))]
#[path = "ring_tests.rs"]
mod tests;
