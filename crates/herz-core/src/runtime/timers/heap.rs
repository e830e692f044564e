//! A four-ary heap of timers by deadline, then sequence, that knows where each stands.

use super::slab::Slab;

const ARITY: usize = 4;

#[derive(Clone, Copy)]
struct Entry {
    deadline: u64,
    sequence: u64,
    node: u32,
}

impl Entry {
    fn key(&self) -> (u64, u64) {
        (self.deadline, self.sequence) // Tie: the earlier insertion.
    }
}

/// Each node's place is `tag | position`, so that any can be removed in O(log n).
pub struct Heap {
    entries: Vec<Entry>,
    tag: u32,
}

impl Heap {
    /// An empty heap whose places carry `tag`.
    #[must_use]
    pub fn new(tag: u32) -> Self {
        Self {
            entries: Vec::new(),
            tag,
        }
    }

    /// The earliest deadline and its node.
    #[must_use]
    pub fn first(&self) -> Option<(u64, u32)> {
        self.entries
            .first()
            .map(|entry| (entry.deadline, entry.node))
    }

    /// Bytes that the heap holds.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
    }

    /// Any node that is cheap to remove.
    #[must_use]
    pub fn last(&self) -> Option<u32> {
        self.entries.last().map(|entry| entry.node)
    }

    /// Adds a node.
    pub fn push<T>(&mut self, node: u32, slab: &mut Slab<T>) {
        let (deadline, sequence) = (slab[node].deadline, slab[node].sequence);
        self.entries.push(Entry {
            deadline,
            sequence,
            node,
        });
        self.up(self.entries.len() - 1, slab);
    }

    /// Removes the node at a place of this heap.
    pub fn remove<T>(&mut self, place: u32, slab: &mut Slab<T>) {
        let at = (place & !self.tag) as usize;
        self.entries.swap_remove(at);
        if at < self.entries.len() {
            let at = self.up(at, slab);
            self.down(at, slab);
        }
        // A burst's memory is given back once three quarters of it lie idle.
        if self.entries.len() < self.entries.capacity() / 4 && self.entries.capacity() > 64 {
            self.entries.shrink_to(self.entries.capacity() / 2);
        }
    }

    fn up<T>(&mut self, mut at: usize, slab: &mut Slab<T>) -> usize {
        let entry = self.entries[at];
        while at > 0 {
            let above = (at - 1) / ARITY;
            if self.entries[above].key() <= entry.key() {
                break;
            }
            self.set(at, self.entries[above], slab);
            at = above;
        }
        self.set(at, entry, slab);
        at
    }

    fn down<T>(&mut self, mut at: usize, slab: &mut Slab<T>) {
        let entry = self.entries[at];
        loop {
            let begin = at * ARITY + 1;
            let end = (begin + ARITY).min(self.entries.len());
            let Some(least) = (begin..end).min_by_key(|child| self.entries[*child].key()) else {
                break;
            };
            if entry.key() <= self.entries[least].key() {
                break;
            }
            self.set(at, self.entries[least], slab);
            at = least;
        }
        self.set(at, entry, slab);
    }

    fn set<T>(&mut self, at: usize, entry: Entry, slab: &mut Slab<T>) {
        self.entries[at] = entry;
        slab[entry.node].place = self.tag | at as u32;
    }
}
