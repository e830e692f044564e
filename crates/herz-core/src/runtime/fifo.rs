//! The run queue: a processor's own part with its `next` slot, and the global part.
//!
//! The own part is used by one worker at a time, the processor's owner, without a lock.

use std::collections::VecDeque;

use super::queue::victims::Random;

/// Every so many steps the global queue goes first, as in Go, so that it cannot starve.
const GLOBAL_EVERY: u32 = 61;
/// At most so many from the global queue at once.
const BATCH: usize = 128;
/// `next` inherits the slice of the task before it: two tasks that wake each other keep the
/// others waiting for at most this many steps.
const INHERITED_MAX: u32 = 61;

/// Where a task that became runnable goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Runs next: what it waits for was just handed to it and is warm.
    Next,
    /// Runs after all that is runnable now.
    Tail,
}

/// A processor's own queue.
// Bound: the number of live tasks; a task is in at most one queue.
pub struct Local<T> {
    /// Draws which task runs next, instead of the order in which they came.
    lot: Option<Random>,
    next: Option<T>,
    queue: VecDeque<T>,
    ticks: u32,
    inherited: u32,
}

impl<T> Default for Local<T> {
    fn default() -> Self {
        Self::new(None)
    }
}

impl<T> Local<T> {
    /// An empty queue; with a seed, the next task is drawn among all that are runnable.
    #[must_use]
    pub fn new(seed: Option<u64>) -> Self {
        Self {
            lot: seed.map(Random::new),
            next: None,
            queue: VecDeque::new(),
            ticks: 0,
            inherited: 0,
        }
    }

    pub fn push(&mut self, task: T, place: Place) {
        match place {
            Place::Next if self.lot.is_none() => {
                if let Some(before) = self.next.replace(task) {
                    self.queue.push_back(before);
                }
            }
            _ => self.queue.push_back(task),
        }
    }

    /// Whether the global queue's turn has come. Counts one step.
    pub fn is_global_turn(&mut self) -> bool {
        self.ticks = self.ticks.wrapping_add(1);
        self.ticks.is_multiple_of(GLOBAL_EVERY)
    }

    #[inline]
    pub fn pop(&mut self) -> Option<T> {
        if let Some(lot) = &mut self.lot
            && !self.queue.is_empty()
        {
            let at = lot.draw() as usize % self.queue.len();
            return self.queue.swap_remove_back(at);
        }
        if let Some(task) = self.next.take() {
            if self.inherited < INHERITED_MAX {
                self.inherited += 1;
                return Some(task);
            }
            // Past the bound, `next` waits its turn like the others.
            self.queue.push_back(task);
        }
        self.inherited = 0;
        self.queue.pop_front()
    }

    /// The two that come after the next `pop`'s, most likely, the nearer one first.
    pub fn upcoming(&self) -> [Option<&T>; 2] {
        [self.queue.front(), self.queue.get(1)]
    }

    pub fn len(&self) -> usize {
        self.queue.len() + usize::from(self.next.is_some())
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The queue that anyone may push to; its user holds a lock around it.
// Bound: the number of live tasks.
pub struct Global<T>(VecDeque<T>);

impl<T> Default for Global<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> Global<T> {
    pub fn push(&mut self, task: T) {
        self.0.push_back(task);
    }

    pub fn pop(&mut self) -> Option<T> {
        self.0.pop_front()
    }

    /// Moves a batch into the processor's own queue.
    pub fn refill(&mut self, local: &mut Local<T>) {
        let count = self.0.len().min(BATCH);
        local.queue.extend(self.0.drain(..count));
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_goes_first_and_kicks_the_one_before_to_the_tail() {
        let mut local = Local::default();
        local.push(1, Place::Tail);
        local.push(2, Place::Next);
        local.push(3, Place::Next);
        assert_eq!(local.len(), 3);
        let order: Vec<_> = std::iter::from_fn(|| local.pop()).collect();
        assert_eq!(order, [3, 1, 2]);
    }

    #[test]
    fn two_that_wake_each_other_do_not_starve_the_rest() {
        let mut local = Local::default();
        local.push("other", Place::Tail);
        local.push("ping", Place::Next);
        let mut steps = 0;
        while local.pop() != Some("other") {
            local.push("ping", Place::Next);
            steps += 1;
        }
        assert_eq!(steps, INHERITED_MAX);
    }

    #[test]
    fn a_seed_draws_the_order_and_loses_nothing() {
        let order = |seed| {
            let mut local = Local::new(Some(seed));
            (0..20).for_each(|n| local.push(n, Place::Tail));
            local.push(20, Place::Next);
            std::iter::from_fn(|| local.pop()).collect::<Vec<_>>()
        };
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
        let mut sorted = order(1);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..=20).collect::<Vec<_>>());
    }

    #[test]
    fn a_batch_leaves_the_rest() {
        let mut global = Global::default();
        (0..BATCH + 5).for_each(|n| global.push(n));
        let mut local = Local::default();
        global.refill(&mut local);
        assert_eq!((local.len(), global.len()), (BATCH, 5));
        assert_eq!(local.pop(), Some(0));
    }
}
