//! The last events of one worker: a ring that its owner writes without waiting for anybody.
//!
//! The owner overwrites the oldest event. One reader follows; what was overwritten before it came,
//! or while it read, it counts as lost. Each slot is a sequence lock: its number is taken away
//! before the event is written and set anew afterwards, and a reader that finds the same number
//! before and after has read one whole event.

use super::super::sync::{AtomicU64, Ordering, fence};

/// Events that a ring holds.
// Tests wrap around in few steps.
#[cfg(not(test))]
pub const EVENTS: usize = 1 << 16;
#[cfg(test)]
pub const EVENTS: usize = 8;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A step of a task: from `at` on, for `length` ticks.
    Step = 0,
    /// A function on a thread of its own, likewise.
    Function = 1,
    /// The worker had the processor and waited for the kernel, likewise.
    Park = 2,
    /// It waited for the interpreter, likewise.
    Attach = 3,
    /// The task became runnable.
    Ready = 4,
    /// A timer fired, `length` nanoseconds after it was due, and made the task runnable.
    Fire = 5,
    /// The task's step lost its processor; `other` has the worker's number in its high half, and
    /// the new owner's in its low one.
    HandOff = 6,
    /// A garbage collection, from `at` on, for `length` ticks.
    Collection = 7,
    /// The worker waited to be given the processor or a function, likewise.
    Idle = 8,
}

impl Kind {
    fn of(number: u64) -> Self {
        match number {
            0 => Self::Step,
            1 => Self::Function,
            2 => Self::Park,
            3 => Self::Attach,
            4 => Self::Ready,
            5 => Self::Fire,
            6 => Self::HandOff,
            7 => Self::Collection,
            _ => Self::Idle,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    pub kind: Kind,
    /// In ticks of the clock.
    pub at: u64,
    pub length: u64,
    /// 0: no task is meant.
    pub task: u64,
    pub other: u32,
}

#[derive(Default)]
struct Slot {
    /// The event's number, from 1 on; 0 while it is written.
    number: AtomicU64,
    at: AtomicU64,
    length: AtomicU64,
    task: AtomicU64,
    kind_other: AtomicU64,
}

pub struct Ring {
    slots: Box<[Slot]>,
    /// Events written.
    written: AtomicU64,
}

impl Default for Ring {
    fn default() -> Self {
        Self {
            slots: (0..EVENTS).map(|_| Slot::default()).collect(),
            written: AtomicU64::new(0),
        }
    }
}

impl Ring {
    /// Writes an event over the oldest. Only one thread at a time may.
    pub fn push(&self, event: Event) {
        let number = self.written.load(Ordering::Relaxed) + 1;
        let slot = &self.slots[(number as usize - 1) % EVENTS];
        slot.number.store(0, Ordering::Relaxed);
        // ORDERING: Release: who sees any of the words below, and has an Acquire fence after it,
        // also sees that the number is gone.
        fence(Ordering::Release);
        slot.at.store(event.at, Ordering::Relaxed);
        slot.length.store(event.length, Ordering::Relaxed);
        slot.task.store(event.task, Ordering::Relaxed);
        let kind_other = u64::from(event.other) << 8 | event.kind as u64;
        slot.kind_other.store(kind_other, Ordering::Relaxed);
        // ORDERING: Release pairs with the reader's first load: who sees the number sees the event.
        slot.number.store(number, Ordering::Release);
        // ORDERING: Release pairs with `read`: who sees the count finds the numbers.
        self.written.store(number, Ordering::Release);
    }

    /// Events written so far.
    pub fn written(&self) -> u64 {
        // ORDERING: see `push`.
        self.written.load(Ordering::Acquire)
    }

    /// Gives `each` the events after the first `seen` that are still there, oldest first; returns
    /// how many were lost, and what to pass as `seen` the next time.
    pub fn read(&self, seen: u64, mut each: impl FnMut(Event)) -> (u64, u64) {
        let written = self.written();
        let oldest = written.saturating_sub(EVENTS as u64).max(seen);
        let mut lost = oldest - seen;
        for number in oldest + 1..=written {
            match self.get(number) {
                Some(event) => each(event),
                None => lost += 1,
            }
        }
        (lost, written)
    }

    fn get(&self, number: u64) -> Option<Event> {
        let slot = &self.slots[(number as usize - 1) % EVENTS];
        // ORDERING: Acquire: see `push`.
        if slot.number.load(Ordering::Acquire) != number {
            return None;
        }
        let kind_other = slot.kind_other.load(Ordering::Relaxed);
        let event = Event {
            kind: Kind::of(kind_other & 0xff),
            at: slot.at.load(Ordering::Relaxed),
            length: slot.length.load(Ordering::Relaxed),
            task: slot.task.load(Ordering::Relaxed),
            other: (kind_other >> 8) as u32,
        };
        // ORDERING: Acquire: if any word above was of a later event, the number is seen to be gone
        // or another.
        fence(Ordering::Acquire);
        (slot.number.load(Ordering::Relaxed) == number).then_some(event)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::sync::Arc;
    use super::*;

    fn event(number: u64) -> Event {
        Event {
            kind: Kind::Ready,
            at: number,
            length: number * 3,
            task: number * 5,
            other: number as u32 * 7,
        }
    }

    #[test]
    fn a_full_ring_forgets_the_oldest_and_says_how_many() {
        let ring = Ring::default();
        (1..=EVENTS as u64 + 3).for_each(|number| ring.push(event(number)));
        let mut found = Vec::new();
        let (lost, seen) = ring.read(0, |event| found.push(event.at));
        assert_eq!(lost, 3);
        assert_eq!(found, (4..=EVENTS as u64 + 3).collect::<Vec<_>>());
        assert_eq!(ring.read(seen, |_| panic!("read twice")), (0, seen));
    }

    #[test]
    fn an_event_is_read_whole_or_lost_while_the_owner_writes() {
        const COUNT: u64 = 50_000;
        let ring = Arc::new(Ring::default());
        let writer = {
            let ring = Arc::clone(&ring);
            std::thread::spawn(move || (1..=COUNT).for_each(|number| ring.push(event(number))))
        };
        let (mut seen, mut lost, mut read, mut last) = (0, 0, 0, 0);
        while seen < COUNT {
            let (missed, now) = ring.read(seen, |found| {
                assert_eq!(found, event(found.at));
                assert!(found.at > last);
                last = found.at;
                read += 1;
            });
            lost += missed;
            seen = now;
        }
        writer.join().unwrap();
        assert_eq!(read + lost, COUNT);
    }
}
