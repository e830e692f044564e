//! Nodes of timers: small numbers instead of pointers, reused, and given back by the chunk.

use crate::runtime::fetch::fetch;

/// No node.
pub const NONE: u32 = u32::MAX;

/// Nodes in a chunk, the unit in which memory is asked for and given back.
const CHUNK: u32 = 256;

/// Generations count to here and begin again: a handle names a node of one life among 2^26.
pub const GENERATIONS: u32 = 1 << 26;

/// A node of one life: an old handle finds nothing, also when its node is used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Handle {
    pub(super) index: u32,
    pub(super) generation: u32,
}

impl Handle {
    /// The handle as a number.
    #[must_use]
    pub fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// The handle back; one that was made up finds nothing, or somebody else's timer.
    #[must_use]
    pub fn from_bits(bits: u64) -> Self {
        Self {
            index: bits as u32,
            generation: (bits >> 32) as u32,
        }
    }
}

/// A timer, or a free node.
pub struct Node<T> {
    pub deadline: u64,
    pub sequence: u64,
    /// The list of a slot in both directions; `next` also chains free nodes.
    pub prev: u32,
    pub next: u32,
    /// Where the wheel keeps it.
    pub place: u32,
    generation: u32,
    /// Invariant: None where the node is free.
    payload: Option<T>,
}

struct Chunk<T> {
    /// None where the memory was given back.
    nodes: Option<Box<[Node<T>]>>,
    /// The generation with which nodes begin when the memory is asked for again.
    generation: u32,
    used: u32,
    free: u32,
}

/// Nodes by index.
pub struct Slab<T> {
    chunks: Vec<Chunk<T>>,
    /// A bit for each chunk that is not full.
    roomy: Vec<u64>,
    /// Invariant: no word of `roomy` before this one has a bit.
    first_roomy: usize,
    /// An empty chunk that is kept, so that a single timer does not ask for memory each time.
    spare: Option<u32>,
    len: usize,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self {
            chunks: Vec::new(),
            roomy: Vec::new(),
            first_roomy: 0,
            spare: None,
            len: 0,
        }
    }
}

impl<T> Slab<T> {
    /// Nodes in use.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no node is in use.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of the chunks that are there, used or not.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let chunks = self
            .chunks
            .iter()
            .filter(|chunk| chunk.nodes.is_some())
            .count();
        chunks * CHUNK as usize * size_of::<Node<T>>()
    }

    /// A new node, in the lowest chunk that has room, so that high ones can become empty.
    pub fn insert(&mut self, deadline: u64, sequence: u64, payload: T) -> u32 {
        let at = self.roomy_chunk();
        if self.spare == Some(at) {
            self.spare = None;
        }
        let chunk = &mut self.chunks[at as usize];
        let generation = chunk.generation;
        let nodes = chunk.nodes.get_or_insert_with(|| fresh(generation));
        let within = chunk.free;
        let node = &mut nodes[within as usize];
        chunk.free = node.next;
        chunk.used += 1;
        node.deadline = deadline;
        node.sequence = sequence;
        node.payload = Some(payload);
        if chunk.used == CHUNK {
            self.roomy[at as usize / 64] &= !(1 << (at % 64));
        }
        self.len += 1;
        at * CHUNK + within
    }

    /// Frees a node and gives its payload.
    ///
    /// # Panics
    ///
    /// Where the node is free: our bug.
    pub fn remove(&mut self, index: u32) -> T {
        let (at, within) = (index / CHUNK, index % CHUNK);
        let chunk = &mut self.chunks[at as usize];
        let node = &mut chunk.nodes.as_mut().expect("a used node's chunk")[within as usize];
        let payload = node.payload.take().expect("a used node has a payload");
        node.generation = (node.generation + 1) % GENERATIONS;
        node.next = chunk.free;
        chunk.free = within;
        chunk.used -= 1;
        self.len -= 1;
        let is_empty = chunk.used == 0;
        let word = at as usize / 64;
        self.roomy[word] |= 1 << (at % 64);
        self.first_roomy = self.first_roomy.min(word);
        if is_empty {
            match self.spare {
                None => self.spare = Some(at),
                Some(_) => self.give_back(at),
            }
        }
        payload
    }

    /// The handle of a node in use.
    #[must_use]
    pub fn handle(&self, index: u32) -> Handle {
        Handle {
            index,
            generation: self[index].generation,
        }
    }

    /// The node that the handle names, where it still lives.
    #[must_use]
    pub fn find(&self, handle: Handle) -> Option<u32> {
        let chunk = self.chunks.get((handle.index / CHUNK) as usize)?;
        let node = &chunk.nodes.as_ref()?[(handle.index % CHUNK) as usize];
        let lives = node.generation == handle.generation && node.payload.is_some();
        lives.then_some(handle.index)
    }

    /// The payload of a node in use.
    ///
    /// # Panics
    ///
    /// Where the node is free: our bug.
    #[must_use]
    pub fn payload(&self, index: u32) -> &T {
        self[index]
            .payload
            .as_ref()
            .expect("a used node has a payload")
    }

    /// Has the caches fetch a node in use.
    pub fn fetch(&self, index: u32) {
        let node = std::ptr::from_ref(&self[index]);
        fetch(node.cast(), size_of::<Node<T>>());
    }

    fn roomy_chunk(&mut self) -> u32 {
        // Bound: words without a bit are passed once; `remove` goes back to where it sets one.
        while let Some(word) = self.roomy.get(self.first_roomy) {
            if *word != 0 {
                return self.first_roomy as u32 * 64 + word.trailing_zeros();
            }
            self.first_roomy += 1;
        }
        let at = self.chunks.len() as u32;
        assert!(at < NONE / CHUNK, "timers fit into 32 bits");
        self.chunks.push(Chunk {
            nodes: None,
            generation: 0,
            used: 0,
            free: 0,
        });
        if at.is_multiple_of(64) {
            self.roomy.push(0);
        }
        self.first_roomy = at as usize / 64;
        self.roomy[self.first_roomy] |= 1 << (at % 64);
        at
    }

    fn give_back(&mut self, at: u32) {
        let chunk = &mut self.chunks[at as usize];
        let nodes = chunk.nodes.take().expect("an empty chunk has its memory");
        // Old handles must find nothing: the next life begins after the latest of all.
        let latest = nodes.iter().map(|node| node.generation).max();
        chunk.generation = latest.map_or(0, |latest| (latest + 1) % GENERATIONS);
        chunk.free = 0;
    }
}

fn fresh<T>(generation: u32) -> Box<[Node<T>]> {
    let node = |at| Node {
        deadline: 0,
        sequence: 0,
        prev: NONE,
        next: at + 1,
        place: NONE,
        generation,
        payload: None,
    };
    (0..CHUNK).map(node).collect()
}

impl<T> std::ops::Index<u32> for Slab<T> {
    type Output = Node<T>;

    fn index(&self, index: u32) -> &Node<T> {
        let chunk = &self.chunks[(index / CHUNK) as usize];
        &chunk.nodes.as_ref().expect("a used node's chunk")[(index % CHUNK) as usize]
    }
}

impl<T> std::ops::IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, index: u32) -> &mut Node<T> {
        let chunk = &mut self.chunks[(index / CHUNK) as usize];
        &mut chunk.nodes.as_mut().expect("a used node's chunk")[(index % CHUNK) as usize]
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_old_handle_finds_nothing() {
        let mut slab = Slab::default();
        let first = slab.insert(1, 0, 'a');
        let old = slab.handle(first);
        assert_eq!(slab.find(old), Some(first));
        assert_eq!(slab.remove(first), 'a');
        assert_eq!(slab.find(old), None);
        let again = slab.insert(2, 1, 'b');
        assert_eq!((again, slab.find(old)), (first, None));
    }

    #[test]
    fn memory_is_reused_and_given_back() {
        let mut slab = Slab::default();
        let chunk = CHUNK as usize * size_of::<Node<usize>>();
        let nodes: Vec<_> = (0..10_000_usize).map(|at| slab.insert(0, 0, at)).collect();
        let handles: Vec<_> = nodes.iter().map(|node| slab.handle(*node)).collect();
        assert_eq!(slab.bytes(), 40 * chunk);
        for node in &nodes[5_000..] {
            slab.remove(*node);
        }
        assert_eq!(slab.bytes(), 21 * chunk); // One empty chunk is kept.
        let again: Vec<_> = (0..5_000).map(|at| slab.insert(0, 0, at)).collect();
        assert_eq!((slab.bytes(), slab.len()), (40 * chunk, 10_000));
        assert!(
            handles[5_000..]
                .iter()
                .all(|handle| slab.find(*handle).is_none())
        );
        for node in again.iter().chain(&nodes[..5_000]) {
            slab.remove(*node);
        }
        assert_eq!((slab.bytes(), slab.len()), (chunk, 0));
    }
}
