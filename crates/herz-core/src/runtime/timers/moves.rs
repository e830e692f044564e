//! How many shards the table has, and the timers that a change moves.
//!
//! A change takes effect for insertions at once; what is there is moved by and by, a bounded share
//! at each poll. Nobody waits for it: a timer is found, and fires, where it is.

use super::shards::{SHARDS_MAX, Shards, Timed};

/// Above this the table has at least `SHARDS_MIN` shards.
const MANY: usize = if cfg!(loom) { 1 } else { 10_000 };
/// Below this it has one for each processor again.
const FEW: usize = MANY / 2;
const SHARDS_MIN: usize = if cfg!(loom) { 2 } else { 64 };
/// Timers in a mean shard above which the table doubles, and below which it halves.
const MEAN_MAX: usize = 10_000;
const MEAN_MIN: usize = 2_000;
/// Timers moved at one poll, and under one hold of the locks.
const SHARE: usize = 1024;
const HOLD: usize = 64;
/// Polls between two looks at the mean.
const LOOK_EVERY: u32 = if cfg!(loom) { 1 } else { 64 };

/// A change that is under way: shards `at..end` are to be filled, or emptied.
struct Change {
    is_growing: bool,
    at: usize,
    end: usize,
    /// The smaller of the two sizes of the table: each shard's partner is its remainder.
    small: usize,
    /// Timers still to be moved between `at` and its partner.
    left: usize,
}

/// The table's size and the change under way.
pub struct Moves {
    /// Whether the size follows the number of timers.
    is_adaptive: bool,
    active: usize,
    change: Option<Change>,
    polls: u32,
}

#[cfg(all(test, not(loom)))]
impl Moves {
    pub(super) fn is_at_rest(&self) -> bool {
        self.change.is_none()
    }
}

impl Moves {
    pub(super) fn new(processors: usize, is_adaptive: bool) -> Self {
        Self {
            is_adaptive,
            active: processors,
            change: None,
            polls: 0,
        }
    }

    /// Counts a poll: whether a change is under way, or it is time to look whether one is needed.
    pub(super) fn has_work(&mut self) -> bool {
        if !self.is_adaptive {
            return false;
        }
        self.polls = self.polls.wrapping_add(1);
        self.change.is_some() || self.polls.is_multiple_of(LOOK_EVERY)
    }

    /// Moves a share, or looks whether the table should change; true where timers were moved.
    pub(super) fn advance<T: Timed>(&mut self, shards: &Shards<T>) -> bool {
        if self.change.is_some() {
            self.share(shards);
            return true;
        }
        if self.is_adaptive && self.polls.is_multiple_of(LOOK_EVERY) {
            let size = self.size_for(shards.len(), shards.processors());
            if size != self.active {
                self.begin(size, shards);
            }
        }
        false
    }

    /// The table's size for a number of timers, from what it is now.
    fn size_for(&self, timers: usize, processors: usize) -> usize {
        let large = SHARDS_MIN.max(processors);
        let active = self.active;
        if active < large {
            return if timers > MANY { large } else { active };
        }
        if timers < FEW {
            return processors;
        }
        if timers > MEAN_MAX * active && active < SHARDS_MAX {
            return (active * 2).min(SHARDS_MAX);
        }
        if timers < MEAN_MIN * active && active > large {
            (active / 2).max(large)
        } else {
            active
        }
    }

    fn begin<T: Timed>(&mut self, size: usize, shards: &Shards<T>) {
        let (small, end) = (size.min(self.active), size.max(self.active));
        let is_growing = size > self.active;
        self.active = size;
        shards.set_active(size);
        let mut change = Change {
            is_growing,
            at: small,
            end,
            small,
            left: 0,
        };
        change.left = change.quota(shards);
        self.change = Some(change);
    }

    fn share<T: Timed>(&mut self, shards: &Shards<T>) {
        let Some(change) = self.change.as_mut() else {
            return;
        };
        let mut budget = SHARE;
        while budget > 0 && change.at < change.end {
            let partner = change.at % change.small;
            let (from, to) = if change.is_growing {
                (partner, change.at)
            } else {
                (change.at, partner)
            };
            let count = change.left.min(budget).min(HOLD);
            let moved = shards.shift(from, to, count);
            budget -= moved.max(1);
            change.left -= moved;
            if moved < count || change.left == 0 {
                change.next(shards);
            }
        }
        if change.at == change.end {
            self.change = None;
        }
    }
}

impl Change {
    /// What is to be moved between `at` and its partner.
    fn quota<T: Timed>(&self, shards: &Shards<T>) -> usize {
        if self.at == self.end {
            return 0;
        }
        if !self.is_growing {
            return shards.len_of(self.at);
        }
        // The partner keeps a share as large as each of those that it still has to fill.
        let to_fill = (self.end - 1 - self.at) / self.small + 1;
        shards.len_of(self.at % self.small) / (to_fill + 1)
    }

    fn next<T: Timed>(&mut self, shards: &Shards<T>) {
        if !self.is_growing {
            shards.give_back(self.at);
        }
        self.at += 1;
        self.left = self.quota(shards);
    }
}
