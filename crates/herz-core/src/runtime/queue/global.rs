//! The queue that all processors share: what did not fit, and what comes from outside.

use std::collections::VecDeque;

use super::ring::{HALF, Owner};
use super::word::Word;
use crate::runtime::sync::{AtomicUsize, Lock, Ordering};

/// First in, first out, under a lock; its length can be read without.
pub struct Global<T> {
    queue: Lock<VecDeque<T>>,
    /// Invariant: written under the lock, to the queue's length.
    len: AtomicUsize,
}

impl<T> Default for Global<T> {
    fn default() -> Self {
        Self {
            queue: Lock::new(VecDeque::new()),
            len: AtomicUsize::new(0),
        }
    }
}

impl<T> Global<T> {
    /// Adds at the back.
    pub fn push(&self, item: T) {
        self.push_batch([item].into_iter());
    }

    /// Adds at the back, in order, under one hold of the lock.
    pub fn push_batch(&self, items: impl Iterator<Item = T>) {
        let mut queue = self.queue.lock();
        queue.extend(items);
        self.set_len(queue.len());
    }

    /// Takes the front. Without a lock where it is empty.
    pub fn pop(&self) -> Option<T> {
        if self.is_empty() {
            return None;
        }
        let mut queue = self.queue.lock();
        let item = queue.pop_front();
        self.set_len(queue.len());
        item
    }

    /// Items at a glance.
    #[must_use]
    pub fn len(&self) -> usize {
        // ORDERING: Acquire keeps later looks elsewhere behind this one. Who must not miss a push
        // (before a sleep) has the fence of `Idle::settle` in front.
        self.len.load(Ordering::Acquire)
    }

    /// Whether nothing is there, at a glance.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn set_len(&self, len: usize) {
        // ORDERING: the items themselves are given by the lock.
        self.len.store(len, Ordering::Release);
    }
}

impl<T: Word> Global<T> {
    /// Takes a processor's share: gives the first, and puts the others into its ring.
    ///
    /// The share is `min(128, n, n / processors + 1)`, and no more than the ring has room for.
    pub fn take(&self, into: &mut Owner<T>, processors: usize) -> Option<T> {
        if self.is_empty() {
            return None;
        }
        let room = into.room() as usize + 1;
        let mut queue = self.queue.lock();
        let size = queue.len();
        let count = (HALF as usize)
            .min(size)
            .min(size / processors.max(1) + 1)
            .min(room);
        let mut share = queue.drain(..count);
        let first = share.next();
        into.fill(share);
        self.set_len(queue.len());
        first
    }
}
