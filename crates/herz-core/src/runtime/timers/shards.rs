//! Timers for many threads: wheels behind locks, and a table of them that adapts.
//!
//! Below 10,000 timers each processor has a shard. Above, there are 64 to 512, and `moves.rs`
//! spreads the timers over them. A shard is made when its first timer comes. A bit in a summary
//! says which ones hold timers; the others are not looked at.
//!
//! # Finding a timer again
//!
//! Each payload has a [`Location`]: one word of shard, node and generation, or nowhere. It changes
//! only under the lock of the shard that it names, and under both locks when a timer moves. Who
//! cancels reads the word, takes that shard's lock, and reads the word again: is it the same, then
//! the timer is there, and stays until the lock is released. Is it another, then the timer was
//! moved, and the new word is tried; or it fired, and there is nothing to cancel. The generation
//! makes the word of each life another one. Payloads are handed back, so that they drop outside the
//! locks.

use crossbeam_utils::CachePadded;

use super::moves::Moves;
use super::slab::{GENERATIONS, Handle};
use super::wheel::{Due, Wheel};
use crate::runtime::sync::{Arc, AtomicBool, AtomicU32, AtomicU64, Held, Lock, Ordering, fence};

/// Shards at most. Two under the model checker.
pub const SHARDS_MAX: usize = if cfg!(loom) { 2 } else { 512 };
const WORDS: usize = SHARDS_MAX.div_ceil(64);

/// A processor stays with a shard for so many insertions: its lock and its lists stay in the cache.
const STAY: u32 = 1024;

/// Below so many timers their nodes are in the caches: unlinking one waits for nothing.
const COLD: usize = if cfg!(loom) { 0 } else { 10_000 };

/// Nowhere: not inserted, fired, or cancelled.
const NOWHERE: u64 = u64::MAX;
const INDEX_BITS: u32 = 28;
const GENERATION_BITS: u32 = GENERATIONS.trailing_zeros();

/// `Shards::earliest` below this is not a time but says that it must be looked up; times are stored
/// that much higher.
const UNKNOWN_MAX: u64 = 1 << 16;

/// A time as `Shards::earliest` has it. The last ones are taken for a little earlier ones.
fn known(time: u64) -> u64 {
    if time == u64::MAX {
        time
    } else {
        time.saturating_add(UNKNOWN_MAX).min(u64::MAX - 1)
    }
}

/// Where a payload's timer is.
pub struct Location(AtomicU64);

impl Default for Location {
    fn default() -> Self {
        Self(AtomicU64::new(NOWHERE))
    }
}

impl Location {
    /// Whether the timer is pending, at a glance.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        // ORDERING: a glance.
        self.0.load(Ordering::Relaxed) != NOWHERE
    }
}

fn pack(shard: usize, handle: Handle) -> u64 {
    assert!(
        handle.index < 1 << INDEX_BITS,
        "a shard's timers fit into 28 bits"
    );
    let within = u64::from(handle.index) << GENERATION_BITS | u64::from(handle.generation);
    (shard as u64) << (INDEX_BITS + GENERATION_BITS) | within
}

fn unpack(word: u64) -> (usize, Handle) {
    let index = (word >> GENERATION_BITS) as u32 & ((1 << INDEX_BITS) - 1);
    let generation = word as u32 & (GENERATIONS - 1);
    (
        (word >> (INDEX_BITS + GENERATION_BITS)) as usize,
        Handle { index, generation },
    )
}

/// A payload that knows where its timer is.
pub trait Timed: Send {
    /// The payload's own location.
    fn location(&self) -> &Location;
}

/// A value with a location, for payloads that have none of their own.
pub struct Timer<P> {
    location: Location,
    pub value: P,
}

impl<P> Timer<P> {
    /// A timer that is not pending yet.
    pub fn new(value: P) -> Arc<Self> {
        Arc::new(Self {
            location: Location::default(),
            value,
        })
    }
}

impl<P: Send + Sync> Timed for Arc<Timer<P>> {
    fn location(&self) -> &Location {
        &self.location
    }
}

pub(super) struct Shard<T> {
    /// None until a timer comes, and again after the table has shrunk.
    wheel: Lock<Option<Box<Wheel<T>>>>,
    /// When to look at the wheel; never after its first deadline. Written under its lock.
    wake: AtomicU64,
    /// Its first deadline, or a time before it. Written under its lock.
    due: AtomicU64,
    /// The wheel's length. Written under its lock.
    len: AtomicU32,
}

/// Timers of one runtime.
pub struct Shards<T> {
    table: Box<[CachePadded<Shard<T>>]>,
    /// Which shards hold timers. Invariant: a bit is changed under its shard's lock.
    summary: [AtomicU64; WORDS],
    /// No deadline is before; or, below `UNKNOWN_MAX`, unknown.
    earliest: AtomicU64,
    /// Shards that insertions use.
    active: AtomicU32,
    /// Insertions of each processor, for the choice of the shard.
    turns: Box<[CachePadded<AtomicU32>]>,
    moves: Lock<Moves>,
    /// Whether a wheel may have timers that were retired and not settled.
    has_retired: AtomicBool,
    origin: u64,
}

impl<T: Timed> Shards<T> {
    /// No timers; `origin` is a time not after the first one to come. The table adapts to the
    /// number of timers.
    ///
    /// # Panics
    ///
    /// Where there is no processor, or more than `SHARDS_MAX`.
    #[must_use]
    pub fn new(processors: usize, origin: u64) -> Self {
        Self::with(processors, origin, true)
    }

    /// The same with a shard for each processor, however many timers there are.
    ///
    /// # Panics
    ///
    /// As `new`.
    #[must_use]
    pub fn fixed(processors: usize, origin: u64) -> Self {
        Self::with(processors, origin, false)
    }

    fn with(processors: usize, origin: u64, is_adaptive: bool) -> Self {
        assert!(
            (1..=SHARDS_MAX).contains(&processors),
            "from 1 to {SHARDS_MAX} processors"
        );
        let shards = if is_adaptive { SHARDS_MAX } else { processors };
        let shard = |_| Shard {
            wheel: Lock::new(None),
            wake: AtomicU64::new(u64::MAX),
            due: AtomicU64::new(u64::MAX),
            len: AtomicU32::new(0),
        };
        Self {
            table: (0..shards).map(shard).map(CachePadded::new).collect(),
            summary: std::array::from_fn(|_| AtomicU64::new(0)),
            earliest: AtomicU64::new(u64::MAX),
            active: AtomicU32::new(processors as u32),
            turns: (0..processors)
                .map(|_| CachePadded::new(AtomicU32::new(0)))
                .collect(),
            moves: Lock::new(Moves::new(processors, is_adaptive)),
            has_retired: AtomicBool::new(false),
            origin,
        }
    }

    /// Adds a timer: true where it may be the earliest, and a sleeper must be told.
    ///
    /// The sleeper says first that it sleeps, then a fence, then it asks `next_wake`.
    ///
    /// # Errors
    ///
    /// The payload, where its timer is pending already.
    pub fn insert(&self, processor: usize, deadline: u64, payload: T) -> Result<bool, T> {
        let at = self.choose(processor);
        self.put(at, &mut self.lock(at), deadline, payload, NOWHERE)?;
        Ok(self.is_earlier(deadline))
    }

    /// Unlinks the timer and gives its payload; None where it is not pending (any more).
    ///
    /// # Panics
    ///
    /// Where a location names no timer: our bug.
    pub fn cancel(&self, location: &Location) -> Option<T> {
        self.end(location, |wheel, handle| {
            let payload = wheel.cancel(handle);
            payload.expect("a located timer is in its wheel")
        })
    }

    /// Cancels the timer: whether it was pending, and a payload that nobody needs any more, its own
    /// or that of one before. Where there are many, `settle` gives the last ones.
    pub fn retire(&self, location: &Location) -> (bool, Option<T>) {
        let ended = self.end(location, |wheel, handle| {
            if wheel.len() < COLD {
                return wheel.cancel(handle);
            }
            // ORDERING: under the lock that `settle` takes after its look.
            self.has_retired.store(true, Ordering::Relaxed);
            wheel.retire(handle)
        });
        (ended.is_some(), ended.flatten())
    }

    /// Unlinks what was retired, and gives the payloads.
    pub fn settle(&self) -> Vec<T> {
        // ORDERING: a glance; who retired a timer before on this thread sees it, and what another
        // thread retires meanwhile is for the next call. The locks order the rest.
        if !self.has_retired.load(Ordering::Relaxed) {
            return Vec::new();
        }
        self.has_retired.store(false, Ordering::Relaxed);
        let of_shard = |at| self.lock(at).as_mut().map(|wheel| wheel.settle());
        (0..self.table.len())
            .filter_map(of_shard)
            .flatten()
            .collect()
    }

    /// Takes the timer out as `how` says, under its shard's lock; None where it is not pending.
    fn end<R>(&self, location: &Location, how: impl Fn(&mut Wheel<T>, Handle) -> R) -> Option<R> {
        // Bound: each repetition says that the timer was moved; a table moves each at most once
        // a change of its size.
        loop {
            // ORDERING: Acquire, so that the payload's owner sees what the one who fired it wrote.
            let word = location.0.load(Ordering::Acquire);
            if word == NOWHERE {
                return None;
            }
            let (at, handle) = unpack(word);
            let mut wheel = self.lock(at);
            // ORDERING: under the lock that guards it; else it differs, and is read again.
            if location.0.load(Ordering::Relaxed) != word {
                continue;
            }
            let result = how(wheel.as_mut().expect("a located timer's wheel"), handle);
            // ORDERING: under the lock; Release for who sees it without.
            location.0.store(NOWHERE, Ordering::Release);
            self.note(at, wheel.as_deref(), None);
            return Some(result);
        }
    }

    /// Takes up to `limit` due timers; they are ordered by deadline, in one shard by insertion.
    ///
    /// One thread at a time: another one's call takes none. Also spreads the timers, see
    /// `moves.rs`.
    pub fn poll(&self, now: u64, limit: usize, due: &mut Vec<Due<T>>) {
        let Some(mut moves) = self.moves.try_lock() else {
            return;
        };
        // ORDERING: no earlier deadline is missed: who inserts one lowers it, and tells.
        let earliest = self.earliest.load(Ordering::Acquire);
        let is_known = earliest >= UNKNOWN_MAX;
        let is_due = is_known && earliest <= known(now);
        if !moves.has_work() && is_known && !is_due {
            return;
        }
        let start = due.len();
        let mut shards = 0;
        self.each_occupied(|at| {
            let taken = due.len() - start;
            // ORDERING: Acquire pairs with `note`.
            if taken < limit && self.table[at].wake.load(Ordering::Acquire) <= now {
                self.fire(at, now, limit - taken, due);
                shards += 1;
            }
        });
        if shards > 1 {
            // Tie: the insertion, where the shard is the same; else the shard's number.
            due[start..].sort_by_key(|timer| (timer.deadline, timer.sequence));
        }
        if moves.advance(self) || !is_known || is_due {
            self.refresh();
        }
    }

    /// Unlinks all timers and gives their payloads.
    pub fn clear(&self) -> Vec<T> {
        let mut all = Vec::new();
        self.each_occupied(|at| {
            let mut wheel = self.lock(at);
            while let Some((_, payload)) = wheel.as_mut().and_then(|wheel| wheel.take_any()) {
                // ORDERING: under the lock; Release for who sees it without.
                payload.location().0.store(NOWHERE, Ordering::Release);
                all.push(payload);
            }
            self.note(at, wheel.as_deref(), None);
        });
        all.extend(self.settle());
        all
    }

    /// When to poll next: not after the first deadline. None without timers; after a cancellation
    /// it may name a time at which nothing is due, once.
    #[must_use]
    pub fn next_wake(&self) -> Option<u64> {
        // ORDERING: behind the sleeper's fence, see `insert`.
        let stored = self.earliest.load(Ordering::Acquire);
        let earliest = match stored {
            0..UNKNOWN_MAX => self.look(),
            u64::MAX => u64::MAX,
            _ => stored - UNKNOWN_MAX,
        };
        (earliest != u64::MAX).then_some(earliest)
    }

    /// Whether a timer is due, at a glance; after a cancellation it may say so too early. Unlike
    /// `next_wake` it knows no wake-ups that only move timers within a wheel.
    #[must_use]
    pub fn is_due(&self, now: u64) -> bool {
        let mut is_due = false;
        self.each_occupied(|at| is_due |= self.table[at].due.load(Ordering::Relaxed) <= now);
        is_due
    }

    /// Pending timers, at a glance.
    #[must_use]
    pub fn len(&self) -> usize {
        let mut sum = 0;
        self.each_occupied(|at| sum += self.len_of(at));
        sum
    }

    /// Whether no timer is pending, at a glance.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Shards that insertions use.
    #[must_use]
    pub fn active(&self) -> usize {
        self.active.load(Ordering::Relaxed) as usize
    }

    /// Bytes of the wheels.
    #[must_use]
    pub fn bytes(&self) -> usize {
        (0..self.table.len())
            .filter_map(|at| self.lock(at).as_ref().map(|wheel| wheel.bytes()))
            .sum()
    }

    pub(super) fn processors(&self) -> usize {
        self.turns.len()
    }

    pub(super) fn set_active(&self, count: usize) {
        // ORDERING: an insertion that still uses the old count is found where it is.
        self.active.store(count as u32, Ordering::Relaxed);
    }

    pub(super) fn len_of(&self, at: usize) -> usize {
        // ORDERING: a glance.
        self.table[at].len.load(Ordering::Relaxed) as usize
    }

    /// Moves up to `count` timers from one shard to another; gives how many there were.
    pub(super) fn shift(&self, from: usize, to: usize, count: usize) -> usize {
        debug_assert_ne!(from, to, "a shard gives to itself");
        // Two locks are always taken in the order of their shards.
        let (mut source, mut target);
        if from < to {
            source = self.lock(from);
            target = self.lock(to);
        } else {
            target = self.lock(to);
            source = self.lock(from);
        }
        let (mut moved, mut first) = (0, u64::MAX);
        while moved < count {
            let Some((deadline, payload)) = source.as_mut().and_then(|wheel| wheel.take_any())
            else {
                break;
            };
            // ORDERING: under the lock of the shard that it names.
            let word = payload.location().0.load(Ordering::Relaxed);
            let is_put = self.put(to, &mut target, deadline, payload, word).is_ok();
            assert!(is_put, "a timer was moved from where it is not");
            moved += 1;
            first = first.min(deadline);
        }
        self.note(from, source.as_deref(), None);
        drop((source, target));
        // Who looked at the target before and at the source after must look again.
        self.is_earlier(first);
        moved
    }

    /// Gives back the memory of a shard without timers.
    pub(super) fn give_back(&self, at: usize) {
        let mut wheel = self.lock(at);
        if wheel.as_ref().is_some_and(|wheel| wheel.is_bare()) {
            *wheel = None;
        }
    }

    fn choose(&self, processor: usize) -> usize {
        let active = self.active();
        let processors = self.processors();
        if active <= processors {
            return processor % active;
        }
        // ORDERING: spreads; mostly one thread.
        let turn = self.turns[processor % processors].fetch_add(1, Ordering::Relaxed) / STAY;
        (turn as usize * processors + processor) % active
    }

    fn lock(&self, at: usize) -> Held<'_, Option<Box<Wheel<T>>>> {
        self.table[at].wheel.lock()
    }

    /// Adds a timer whose location is `before` to a locked shard.
    fn put(
        &self,
        at: usize,
        wheel: &mut Option<Box<Wheel<T>>>,
        deadline: u64,
        payload: T,
        before: u64,
    ) -> Result<(), T> {
        let inner = wheel.get_or_insert_with(|| Box::new(Wheel::new(self.origin)));
        let handle = inner.insert(deadline, payload);
        let location = &inner.payload(handle).expect("just inserted").location().0;
        // ORDERING: Release for who reads it without the lock, to find what the inserter wrote.
        // The exchange refuses a payload that another thread inserts at the same time.
        let word = pack(at, handle);
        if location
            .compare_exchange(before, word, Ordering::AcqRel, Ordering::Relaxed)
            .is_err()
        {
            return Err(inner.cancel(handle).expect("just inserted"));
        }
        self.note(at, wheel.as_deref(), Some(deadline));
        Ok(())
    }

    fn fire(&self, at: usize, now: u64, limit: usize, due: &mut Vec<Due<T>>) {
        let mut wheel = self.lock(at);
        let Some(inner) = wheel.as_mut() else { return };
        for _ in 0..limit {
            let Some(timer) = inner.pop_due(now) else {
                break;
            };
            // ORDERING: under the lock; Release for who sees it without.
            timer.payload.location().0.store(NOWHERE, Ordering::Release);
            due.push(timer);
        }
        let wake = inner.next_wake().unwrap_or(u64::MAX);
        // ORDERING: as in `note`.
        self.table[at].wake.store(wake, Ordering::Release);
        let due = inner.first_due().unwrap_or(u64::MAX);
        self.table[at].due.store(due, Ordering::Relaxed);
        self.note(at, wheel.as_deref(), None);
    }

    /// Publishes what changed in a locked shard.
    fn note(&self, at: usize, wheel: Option<&Wheel<T>>, added: Option<u64>) {
        let shard = &self.table[at];
        let len = wheel.map_or(0, Wheel::len) as u32;
        // ORDERING: the lock orders writers. Release pairs with those who look without it.
        let before = shard.len.load(Ordering::Relaxed);
        shard.len.store(len, Ordering::Relaxed);
        if let Some(deadline) = added
            && deadline < shard.wake.load(Ordering::Relaxed)
        {
            shard.wake.store(deadline, Ordering::Release);
        }
        if let Some(deadline) = added {
            // ORDERING: the lock orders writers; a glance for all others.
            let due = shard.due.load(Ordering::Relaxed).min(deadline);
            shard.due.store(due, Ordering::Relaxed);
        }
        let (word, bit) = (at / 64, 1 << (at % 64));
        if before == 0 && len > 0 {
            self.summary[word].fetch_or(bit, Ordering::Release);
        } else if before > 0 && len == 0 {
            shard.wake.store(u64::MAX, Ordering::Release);
            shard.due.store(u64::MAX, Ordering::Relaxed);
            self.summary[word].fetch_and(!bit, Ordering::Release);
        }
    }

    /// After an insertion: lowers `earliest`; true where it was later, or is not known.
    fn is_earlier(&self, deadline: u64) -> bool {
        // ORDERING: pairs with the fence in `refresh`. Either we see that it is unknown, and make
        // the exchange there fail; or the look there sees our shard's wake.
        fence(Ordering::SeqCst);
        // ORDERING: behind the fence.
        let mut seen = self.earliest.load(Ordering::Relaxed);
        // Bound: each repetition says that another thread inserted or looked.
        loop {
            let target = if seen < UNKNOWN_MAX - 1 {
                seen + 1
            } else if seen >= UNKNOWN_MAX && known(deadline) < seen {
                known(deadline)
            } else {
                return seen < UNKNOWN_MAX;
            };
            match self
                .earliest
                .compare_exchange(seen, target, Ordering::Release, Ordering::Relaxed)
            {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
    }

    /// Looks up the earliest wake of all shards and publishes it.
    ///
    /// While it looks, `earliest` is unknown: whoever asks meanwhile looks too. An insertion
    /// meanwhile makes it stay unknown until the next call.
    fn refresh(&self) {
        // ORDERING: the fence behind it pairs with the one in `is_earlier`.
        self.earliest.store(0, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let earliest = known(self.look());
        // ORDERING: Release gives the look to whoever acquires the result. A failure leaves it
        // unknown, which is never wrong.
        let _ = self
            .earliest
            .compare_exchange(0, earliest, Ordering::Release, Ordering::Relaxed);
    }

    fn look(&self) -> u64 {
        let mut earliest = u64::MAX;
        self.each_occupied(|at| {
            // ORDERING: pairs with `note`.
            earliest = earliest.min(self.table[at].wake.load(Ordering::Acquire));
        });
        earliest
    }

    pub(super) fn each_occupied(&self, mut visit: impl FnMut(usize)) {
        for (at, word) in self.summary.iter().enumerate() {
            // ORDERING: pairs with `note`.
            let mut bits = word.load(Ordering::Acquire);
            while bits != 0 {
                visit(at * 64 + bits.trailing_zeros() as usize);
                bits &= bits - 1;
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
#[path = "shards_tests.rs"]
mod tests;
