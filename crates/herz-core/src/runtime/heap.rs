//! Timers: a binary heap in which each entry knows its place, so that cancelling unlinks.
//!
//! Insert, cancel and pop cost O(log n). Equal times fire in the order of insertion.

/// Names a pending timer. A key of a timer that fired or was cancelled is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    slot: u32,
    serial: u32,
}

struct Entry {
    when_ns: u64,
    // Tie: equal times in the order of insertion.
    order: u64,
    slot: u32,
}

impl Entry {
    fn rank(&self) -> (u64, u64) {
        (self.when_ns, self.order)
    }
}

enum Slot<T> {
    Free { next: Option<u32> },
    Used { place: u32, payload: T },
}

pub struct Heap<T> {
    entries: Vec<Entry>,
    slots: Vec<(u32, Slot<T>)>,
    free: Option<u32>,
    inserted: u64,
}

impl<T> Default for Heap<T> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            slots: Vec::new(),
            free: None,
            inserted: 0,
        }
    }
}

impl<T> Heap<T> {
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// When the first timer is due, in nanoseconds; None without one.
    #[must_use]
    pub fn first_ns(&self) -> Option<u64> {
        self.entries.first().map(|entry| entry.when_ns)
    }

    pub fn insert(&mut self, when_ns: u64, payload: T) -> Key {
        let place = self.entries.len() as u32;
        let used = Slot::Used { place, payload };
        let slot = if let Some(slot) = self.free {
            let (_, freed) = &mut self.slots[slot as usize];
            if let Slot::Free { next } = *freed {
                self.free = next;
            }
            *freed = used;
            slot
        } else {
            self.slots.push((0, used));
            self.slots.len() as u32 - 1
        };
        self.inserted += 1;
        self.entries.push(Entry {
            when_ns,
            order: self.inserted,
            slot,
        });
        self.up(place as usize);
        Key {
            slot,
            serial: self.slots[slot as usize].0,
        }
    }

    /// Unlinks the timer and gives its payload back; None when it fired or was cancelled.
    pub fn cancel(&mut self, key: Key) -> Option<T> {
        let (serial, slot) = self.slots.get(key.slot as usize)?;
        match slot {
            Slot::Used { place, .. } if *serial == key.serial => {
                let place = *place as usize;
                Some(self.remove(place))
            }
            _ => None,
        }
    }

    /// The payload of the first timer that is due.
    pub fn pop_due(&mut self, now_ns: u64) -> Option<T> {
        (self.first_ns()? <= now_ns).then(|| self.remove(0))
    }

    fn remove(&mut self, place: usize) -> T {
        let entry = self.entries.swap_remove(place);
        if place < self.entries.len() {
            self.note(place);
            self.up(place);
            self.down(place);
        }
        let (serial, slot) = &mut self.slots[entry.slot as usize];
        *serial = serial.wrapping_add(1);
        let freed = std::mem::replace(slot, Slot::Free { next: self.free });
        self.free = Some(entry.slot);
        match freed {
            Slot::Used { payload, .. } => payload,
            Slot::Free { .. } => unreachable!("an entry names a free slot"),
        }
    }

    fn note(&mut self, at: usize) {
        let slot = self.entries[at].slot as usize;
        if let Slot::Used { place, .. } = &mut self.slots[slot].1 {
            *place = at as u32;
        }
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.entries.swap(a, b);
        self.note(a);
        self.note(b);
    }

    fn up(&mut self, mut at: usize) {
        while at > 0 {
            let above = (at - 1) / 2;
            if self.entries[above].rank() <= self.entries[at].rank() {
                return;
            }
            self.swap(at, above);
            at = above;
        }
    }

    fn down(&mut self, mut at: usize) {
        loop {
            let below = [2 * at + 1, 2 * at + 2];
            let least = below
                .into_iter()
                .filter(|&child| child < self.entries.len())
                .min_by_key(|&child| self.entries[child].rank());
            match least {
                Some(child) if self.entries[child].rank() < self.entries[at].rank() => {
                    self.swap(at, child);
                    at = child;
                }
                _ => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn fires_in_order_and_never_what_was_cancelled() {
        let mut heap = Heap::default();
        let mut oracle = BTreeSet::new();
        let mut keys = Vec::new();
        let mut random = 1_u64;
        for n in 0..5_000_u64 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(n);
            let when = (random >> 33) % 1_000;
            keys.push((heap.insert(when, n), when, n));
            oracle.insert((when, n));
            if n % 3 == 0 {
                let (key, when, payload) = keys.swap_remove((random >> 40) as usize % keys.len());
                assert_eq!(heap.cancel(key), Some(payload));
                assert_eq!(heap.cancel(key), None);
                oracle.remove(&(when, payload));
            }
            if n % 7 == 0 {
                while let Some(fired) = heap.pop_due(when) {
                    let first = oracle.pop_first().unwrap();
                    assert_eq!(first.1, fired);
                    keys.retain(|key| key.2 != fired);
                }
            }
            assert_eq!(heap.len(), oracle.len());
            assert_eq!(heap.first_ns(), oracle.first().map(|key| key.0));
        }
    }

    #[test]
    fn a_key_does_not_reach_the_next_user_of_its_slot() {
        let mut heap = Heap::default();
        let old = heap.insert(1, 'a');
        assert_eq!(heap.pop_due(1), Some('a'));
        let new = heap.insert(2, 'b');
        assert_eq!(heap.cancel(old), None);
        assert_eq!(heap.cancel(new), Some('b'));
        assert!(heap.is_empty());
    }
}
