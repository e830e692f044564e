//! One set of timers: a wheel for most, and heaps for what is near and what is far.
//!
//! Times are nanoseconds; a tick is 1 ms. The *horizon* is two ticks ahead of the latest time that
//! the wheel was told. What is due up to the horizon is in the near heap, to the nanosecond; what
//! is due later hangs in a slot, unsorted: level 0 has slots of one tick, level 1 of 256, level 2
//! of 65,536 and level 3 of 2^24; what is beyond (49.7 days, rounded to that) is in the far heap.
//! When the horizon enters a slot, its timers go to the levels below.
//!
//! Each level has its 256 slots twice: for the rotation that the horizon is in, and for the one
//! after. So a slot's timers can go down during the whole rotation before they must: some at each
//! tick, instead of all in one pause. With a million timers over a minute, that pause would be
//! 400,000 long.
//!
//! A slot knows the earliest deadline ever put into it since it was empty, and each level has a bit
//! for each occupied slot: the next wake-up is read off, exact or (after a cancellation) early.
//!
//! Source: Varghese and Lauck, *Hashed and Hierarchical Timing Wheels* (1987), scheme 7.

use std::collections::VecDeque;

use super::heap::Heap;
use super::slab::{Handle, NONE, Slab};

/// Nanoseconds in a tick.
pub const TICK_NS: u64 = 1_000_000;

/// How many ticks ahead of the time the horizon is.
const AHEAD: u64 = 2;
const LEVELS: usize = 4;
/// Bits of a tick that one level resolves.
const BITS: u32 = 8;
/// Slots of a level: two rotations of 256.
const RING: u64 = 2 << BITS;
const WORDS: usize = RING as usize / 64;
/// A slot with more timers than this is taken down share by share, if need be by a wake-up of its
/// own.
const SHARE: u64 = 1024;

/// So many cancellations later a node is unlinked that no cache had: until then it has come.
const LAG: usize = 8;

/// A place is `level << 9 | slot`, or a heap's tag and position.
const NEAR: u32 = 1 << 30;
const FAR: u32 = 1 << 31;

#[derive(Clone, Copy)]
struct Slot {
    /// No timer of the slot is due before.
    earliest: u64,
    head: u32,
    count: u32,
}

const EMPTY: Slot = Slot {
    earliest: u64::MAX,
    head: NONE,
    count: 0,
};

struct Level {
    slots: [Slot; RING as usize],
    occupied: [u64; WORDS],
}

impl Level {
    /// The occupied slots of `count` ones from `first` on, round the ring, in order.
    fn occupied(&self, first: u64, count: u64) -> Option<u64> {
        // Bound: each word once, the first one twice.
        let (start, count) = (first % RING, count.min(RING));
        let mut at = 0;
        while at < count {
            let slot = (start + at) % RING;
            let rest = self.occupied[(slot / 64) as usize] >> (slot % 64);
            if rest != 0 {
                let found = at + u64::from(rest.trailing_zeros());
                return (found < count).then_some(first + found);
            }
            at += 64 - slot % 64;
        }
        None
    }
}

/// A timer that was due.
#[derive(Debug, PartialEq, Eq)]
pub struct Due<T> {
    pub deadline: u64,
    /// Counts insertions into this wheel.
    pub sequence: u64,
    pub payload: T,
}

/// Timers with payloads of any kind.
pub struct Wheel<T> {
    slab: Slab<T>,
    near: Heap,
    far: Heap,
    /// Made when the first timer comes to a level.
    levels: [Option<Box<Level>>; LEVELS],
    origin: u64,
    /// Invariant: timers of ticks up to here are in `near`, all others are not.
    horizon: u64,
    sequence: u64,
    /// Cancelled and still linked, the oldest first.
    leaving: VecDeque<u32>,
    /// Payloads of those that were unlinked since.
    left: Vec<T>,
}

impl<T> Wheel<T> {
    /// An empty wheel; `origin` is a time not after the first one that it will be told.
    #[must_use]
    pub fn new(origin: u64) -> Self {
        Self {
            slab: Slab::default(),
            near: Heap::new(NEAR),
            far: Heap::new(FAR),
            levels: [const { None }; LEVELS],
            origin,
            horizon: AHEAD,
            sequence: 0,
            leaving: VecDeque::new(),
            left: Vec::new(),
        }
    }

    /// Pending timers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slab.len() - self.leaving.len()
    }

    /// Whether no timer is pending.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that the wheel holds.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let levels = self.levels.iter().flatten().count() * size_of::<Level>();
        self.slab.bytes() + self.near.bytes() + self.far.bytes() + levels + size_of::<Self>()
    }

    /// Adds a timer. One whose deadline has passed is due at once.
    pub fn insert(&mut self, deadline: u64, payload: T) -> Handle {
        let node = self.slab.insert(deadline, self.sequence, payload);
        self.sequence += 1;
        self.put(node, deadline);
        self.slab.handle(node)
    }

    /// Unlinks a timer and gives its payload; None where it was due or cancelled before.
    pub fn cancel(&mut self, handle: Handle) -> Option<T> {
        let node = self.slab.find(handle)?;
        self.unlink(node);
        Some(self.slab.remove(node))
    }

    /// Cancels a pending timer, and unlinks it later: meanwhile its node comes into the caches.
    /// Gives the payload of one that was cancelled before; `settle` gives those that are left.
    pub fn retire(&mut self, handle: Handle) -> Option<T> {
        self.slab.fetch(handle.index);
        self.leaving.push_back(handle.index);
        if self.leaving.len() <= LAG {
            return None;
        }
        self.leave()
    }

    /// Unlinks what was retired, and gives the payloads.
    pub fn settle(&mut self) -> Vec<T> {
        self.unlink_retired();
        std::mem::take(&mut self.left)
    }

    /// Whether it holds no payload at all.
    #[must_use]
    pub fn is_bare(&self) -> bool {
        self.slab.is_empty() && self.left.is_empty()
    }

    fn leave(&mut self) -> Option<T> {
        let node = self.leaving.pop_front()?;
        self.unlink(node);
        Some(self.slab.remove(node))
    }

    fn unlink_retired(&mut self) {
        while let Some(payload) = self.leave() {
            self.left.push(payload);
        }
    }

    /// The payload of a pending timer.
    #[must_use]
    pub fn payload(&self, handle: Handle) -> Option<&T> {
        self.slab.find(handle).map(|node| self.slab.payload(node))
    }

    /// The next timer that is due at `now`. Between two calls, timers may be added and cancelled.
    pub fn pop_due(&mut self, now: u64) -> Option<Due<T>> {
        self.unlink_retired();
        self.advance(now);
        let (deadline, node) = self.near.first()?;
        if deadline > now {
            return None;
        }
        let (place, sequence) = (self.slab[node].place, self.slab[node].sequence);
        self.near.remove(place, &mut self.slab);
        Some(Due {
            deadline,
            sequence,
            payload: self.slab.remove(node),
        })
    }

    /// Takes out any one timer, rather a late one.
    pub fn take_any(&mut self) -> Option<(u64, T)> {
        self.unlink_retired();
        let node = self.any()?;
        let deadline = self.slab[node].deadline;
        self.unlink(node);
        Some((deadline, self.slab.remove(node)))
    }

    /// When `pop_due` should be called next: not after the first deadline. None without timers.
    #[must_use]
    pub fn next_wake(&self) -> Option<u64> {
        Some(self.first_due()?.min(self.next_share()))
    }

    /// The first deadline, or after a cancellation a time before it. None without timers.
    #[must_use]
    pub fn first_due(&self) -> Option<u64> {
        if self.is_empty() {
            return None;
        }
        let near = self.near.first().map(|(deadline, _)| deadline);
        Some(near.unwrap_or_else(|| self.first_beyond()))
    }

    fn tick(&self, time: u64) -> u64 {
        time.saturating_sub(self.origin) / TICK_NS
    }

    /// The earliest deadline beyond the horizon, or somewhat before it.
    fn first_beyond(&self) -> u64 {
        let of_level = |(at, level): (usize, &Option<Box<Level>>)| {
            let level = level.as_ref()?;
            let next = (self.horizon >> (BITS * at as u32)) + 1;
            let slot = level.occupied(next, RING)?;
            Some(level.slots[(slot % RING) as usize].earliest)
        };
        let levels = self.levels.iter().enumerate().filter_map(of_level);
        let far = self.far.first().map(|(deadline, _)| deadline);
        levels.chain(far).min().unwrap_or(u64::MAX)
    }

    /// When the next share of a crowded slot should be taken down.
    fn next_share(&self) -> u64 {
        let of_level = |at: usize| {
            let (slot, count) = self.crowd(at)?;
            let (shift, before) = (BITS * at as u32, slot - 1);
            let ticks = if before > self.horizon >> shift {
                (before << shift) - self.horizon // Its shares begin with the slot before it.
            } else {
                (((slot << shift) - self.horizon) * SHARE / count).max(1)
            };
            let tick = self.horizon - AHEAD + ticks;
            (count > SHARE).then(|| self.origin.saturating_add(tick.saturating_mul(TICK_NS)))
        };
        (1..LEVELS).filter_map(of_level).min().unwrap_or(u64::MAX)
    }

    /// The first occupied slot of a level, and how many timers are there.
    fn crowd(&self, at: usize) -> Option<(u64, u64)> {
        let level = self.levels[at].as_ref()?;
        let slot = level.occupied((self.horizon >> (BITS * at as u32)) + 1, RING)?;
        Some((slot, u64::from(level.slots[(slot % RING) as usize].count)))
    }

    fn advance(&mut self, now: u64) {
        let target = self.tick(now) + AHEAD;
        if target <= self.horizon {
            return;
        }
        let before = self.horizon;
        if self.is_empty() {
            self.horizon = target;
            return;
        }
        let crowds: [_; LEVELS] = std::array::from_fn(|at| self.crowd(at));
        self.horizon = target;
        // From below: what a level gives to the one beneath must not be drained there.
        for (at, crowd) in crowds.into_iter().enumerate() {
            let shift = BITS * at as u32;
            let (old, new) = (before >> shift, target >> shift);
            self.drain(at, old + 1, new - old);
            // What comes next goes down in part: as much of it as of the time until then.
            if let (Some((slot, count)), true) = (crowd, at > 0)
                && slot == new + 1
            {
                let since = before.max(new << shift);
                let share = (count * (target - since)).div_ceil((slot << shift) - since);
                self.take_down(at, slot, share.min(count));
            }
        }
        while let Some((deadline, node)) = self.far.first() {
            if self.level(self.tick(deadline)).is_none() {
                break;
            }
            self.far.remove(self.slab[node].place, &mut self.slab);
            self.put(node, deadline);
        }
    }

    /// The lowest level whose two rotations reach the tick.
    fn level(&self, tick: u64) -> Option<usize> {
        let is_reached = |at: &usize| {
            let shift = BITS * (*at as u32 + 1);
            (tick >> shift).saturating_sub(self.horizon >> shift) <= 1
        };
        (0..LEVELS).find(is_reached)
    }

    fn put(&mut self, node: u32, deadline: u64) {
        let tick = self.tick(deadline);
        if tick <= self.horizon {
            self.near.push(node, &mut self.slab);
            return;
        }
        let Some(at) = self.level(tick) else {
            self.far.push(node, &mut self.slab);
            return;
        };
        let level = self.levels[at].get_or_insert_with(|| {
            Box::new(Level {
                slots: [EMPTY; RING as usize],
                occupied: [0; WORDS],
            })
        });
        let number = ((tick >> (BITS * at as u32)) % RING) as usize;
        let slot = &mut level.slots[number];
        level.occupied[number / 64] |= 1 << (number % 64);
        let after = slot.head;
        slot.earliest = slot.earliest.min(deadline);
        slot.head = node;
        slot.count += 1;
        let fields = &mut self.slab[node];
        fields.prev = NONE;
        fields.next = after;
        fields.place = (at * RING as usize + number) as u32;
        if after != NONE {
            self.slab[after].prev = node;
        }
    }

    fn unlink(&mut self, node: u32) {
        let (place, prev, next) = (
            self.slab[node].place,
            self.slab[node].prev,
            self.slab[node].next,
        );
        if place & FAR != 0 {
            return self.far.remove(place, &mut self.slab);
        }
        if place & NEAR != 0 {
            return self.near.remove(place, &mut self.slab);
        }
        let (at, number) = (
            place as usize / RING as usize,
            place as usize % RING as usize,
        );
        let level = self.levels[at].as_mut().expect("a linked timer's level");
        let slot = &mut level.slots[number];
        slot.count -= 1;
        if prev == NONE {
            slot.head = next;
        }
        if slot.count == 0 {
            *slot = EMPTY;
            level.occupied[number / 64] &= !(1 << (number % 64));
        }
        if prev != NONE {
            self.slab[prev].next = next;
        }
        if next != NONE {
            self.slab[next].prev = prev;
        }
    }

    /// Empties `count` slots of a level from `first` on; their timers go where they now belong.
    fn drain(&mut self, at: usize, first: u64, count: u64) {
        // Bound: each occupied slot once; what is put again goes to a level below, or a heap.
        loop {
            let Some(level) = self.levels[at].as_mut() else {
                return;
            };
            let Some(found) = level.occupied(first, count) else {
                return;
            };
            let number = (found % RING) as usize;
            let mut node = level.slots[number].head;
            level.slots[number] = EMPTY;
            level.occupied[number / 64] &= !(1 << (number % 64));
            while node != NONE {
                let (deadline, next) = (self.slab[node].deadline, self.slab[node].next);
                self.put(node, deadline);
                node = next;
            }
        }
    }

    /// Puts `count` timers of one slot to where they now belong.
    fn take_down(&mut self, at: usize, slot: u64, count: u64) {
        for _ in 0..count {
            let Some(level) = self.levels[at].as_ref() else {
                return;
            };
            let node = level.slots[(slot % RING) as usize].head;
            if node == NONE {
                return;
            }
            self.unlink(node);
            self.put(node, self.slab[node].deadline);
        }
    }

    fn any(&self) -> Option<u32> {
        let of_level = |(at, level): (usize, &Option<Box<Level>>)| {
            let level = level.as_ref()?;
            let slot = level.occupied((self.horizon >> (BITS * at as u32)) + 1, RING)?;
            Some(level.slots[(slot % RING) as usize].head)
        };
        let levels = || self.levels.iter().enumerate().rev().find_map(of_level);
        self.far.last().or_else(levels).or_else(|| self.near.last())
    }
}

#[cfg(all(test, not(loom)))]
#[path = "wheel_tests.rs"]
mod tests;
