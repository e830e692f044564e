//! Which processors and which workers have nothing to do, how many spin, and who is to be woken.
//!
//! A processor without work is idle; the worker that had it is idle, too, in a list of its own: who
//! wakes a processor gives it to any idle worker, or to a new one. A worker whose processor was
//! taken while it was blocked is idle without one.
//!
//! A worker *spins* while it has no task and looks for one. A task that becomes runnable wakes a
//! processor only where no worker spins and a processor is idle; a spinner that finds work and was
//! the last wakes another. So wake-ups do not come in herds, and yet work is seen.
//!
//! # Why no wake-up is lost
//!
//! Who submits: (1) makes the item visible, (2) fence, (3) looks at `spinning` and `sleeping`.
//! Who stops looking: (1) changes `spinning` or `sleeping`, (2) fence, (3) looks at all queues
//! again. Of two sequentially consistent fences one is first. Is the submitter's first, the other's
//! looks see the item. Is it second, its looks see the change. Hence:
//!
//! - The submitter saw no idle processor: whoever goes idle later looks again ([`Idle::settle`])
//!   and sees the item.
//! - The submitter saw a spinner. That one will end its search: without work, it goes idle and
//!   looks again, whatever it was; with work, [`Idle::found`] applies the wake-up rule once more,
//!   behind a fence of its own.
//! - A worker that did not spin goes idle, and sees a spinner after its fence: it need not look
//!   again. The spinner's end comes after that, and sees whatever the worker would have seen. This
//!   keeps the cap: who may not spin does not look.
//! - The submitter found no worker: all are inside a step. Each looks at all queues after it, and
//!   one whose processor was taken takes an idle one ([`Idle::enlist`]).
//!
//! Idle bits, idle workers, `sleeping` and the increments of `spinning` by a wake-up change under
//! one lock, so that no count is ever ahead of its worker. Go needs a third flag (`needspinning`)
//! because it counts a spinner before it knows a processor for it. `models.rs` has the model for
//! the checker.
//!
//! Source: `wakep`, `resetspinning`, `findRunnable` ("delicate dance") of Go 1.26's
//! `runtime/proc.go`.

use crate::runtime::processor::WorkerId;
use crate::runtime::sync::{AtomicU32, Held, Lock, Ordering, fence};

/// What a worker does after it has said that it and its processor are idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// Look at all queues again; then sleep, or [`Idle::reclaim`].
    LookAgain,
    /// Sleep: a spinner exists, and it will look. Look again only at what no spinner may take.
    Sleep,
}

/// A worker that the caller must tell what to do: it is no longer idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picked {
    pub worker: WorkerId,
    /// There is no such thread yet.
    pub is_new: bool,
}

/// An idle processor that the caller must give to the worker; both are no longer idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Woken {
    pub processor: usize,
    pub picked: Picked,
}

/// What came of an idle worker's asking for a processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It has this one, and spins.
    Given(usize),
    /// Somebody picked it just now, and will tell it.
    Picked,
    /// None is idle.
    None,
}

/// The idle processors and workers, and the spinning workers, of one runtime.
pub struct Idle {
    processors: u32,
    workers_max: usize,
    /// Invariant: the number of bits in `Rooms::mask`; changed under its lock.
    sleeping: AtomicU32,
    spinning: AtomicU32,
    rooms: Lock<Rooms>,
}

struct Rooms {
    /// A bit for each idle processor.
    mask: Box<[u64]>,
    /// Idle workers; the last one is woken first. Invariant: whoever takes one out tells it.
    workers: Vec<WorkerId>,
    /// Numbers that were given to workers, and those of them that became no thread.
    made: usize,
    unborn: Vec<WorkerId>,
}

impl Rooms {
    fn first(&self) -> Option<usize> {
        let word = self.mask.iter().position(|word| *word != 0)?;
        Some(word * 64 + self.mask[word].trailing_zeros() as usize)
    }

    fn is_idle(&self, processor: usize) -> bool {
        self.mask[processor / 64] & 1 << (processor % 64) != 0
    }

    fn pick(&mut self, most: usize) -> Option<Picked> {
        let known = |worker| Picked {
            worker,
            is_new: false,
        };
        let new = |worker| Picked {
            worker,
            is_new: true,
        };
        if let Some(worker) = self.workers.pop() {
            return Some(known(worker));
        }
        if let Some(worker) = self.unborn.pop() {
            return Some(new(worker));
        }
        let is_free = self.made < most;
        self.made += usize::from(is_free);
        is_free.then(|| new(self.made as WorkerId - 1))
    }

    fn leave(&mut self, worker: WorkerId) -> bool {
        let at = self.workers.iter().position(|&idle| idle == worker);
        at.map(|at| self.workers.remove(at)).is_some()
    }
}

impl Idle {
    /// All of `processors` idle, and no worker yet, of `workers_max` at most.
    ///
    /// # Panics
    ///
    /// Where there is no processor, or no worker.
    #[must_use]
    pub fn new(processors: usize, workers_max: usize) -> Self {
        assert!(processors > 0, "there is no processor");
        assert!(workers_max > 0, "there is no worker");
        let mut mask = vec![0; processors.div_ceil(64)];
        for processor in 0..processors {
            mask[processor / 64] |= 1 << (processor % 64);
        }
        let processors = u32::try_from(processors).expect("processors fit into 32 bits");
        Self {
            processors,
            workers_max,
            sleeping: AtomicU32::new(processors),
            spinning: AtomicU32::new(0),
            rooms: Lock::new(Rooms {
                mask: mask.into(),
                workers: Vec::new(),
                made: 0,
                unborn: Vec::new(),
            }),
        }
    }

    /// Whether a worker without work may begin to spin; then it is counted.
    ///
    /// The spinners stay below half of the busy processors, but for races by a few: the cap saves
    /// CPU time, nothing rests on it.
    pub fn try_spin(&self) -> bool {
        // ORDERING: a cap on cost, see above.
        let busy = self.processors - self.sleeping.load(Ordering::Relaxed);
        if 2 * self.spinning.load(Ordering::Relaxed) >= busy {
            return false;
        }
        // ORDERING: the looks that follow may be too early: the last look before the sleep counts.
        self.spinning.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// A spinner has found work: gives whom to wake, where the rule asks for one.
    #[must_use]
    pub fn found(&self) -> Option<Woken> {
        // ORDERING: the fence in `wake` comes behind it.
        let before = self.spinning.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before > 0, "a spinner was not counted");
        self.wake()
    }

    /// To be called after an item was made visible: gives whom to wake, where the rule asks for
    /// one. That worker counts as spinning.
    #[must_use]
    pub fn wake(&self) -> Option<Woken> {
        // ORDERING: pairs with the fence in `settle`; see the module's text.
        fence(Ordering::SeqCst);
        if !self.is_wanted() {
            return None;
        }
        let mut rooms = self.rooms.lock();
        if !self.is_wanted() {
            return None;
        }
        let processor = rooms.first()?;
        self.rouse(&mut rooms, processor)
    }

    /// The same for one processor, whatever spins.
    #[must_use]
    pub fn wake_this(&self, processor: usize) -> Option<Woken> {
        // ORDERING: as in `wake`.
        fence(Ordering::SeqCst);
        // ORDERING: behind the fence.
        if self.sleeping.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let mut rooms = self.rooms.lock();
        if !rooms.is_idle(processor) {
            return None;
        }
        self.rouse(&mut rooms, processor)
    }

    /// A worker found nothing: it and its processor are idle, and it no longer spins.
    #[must_use]
    pub fn settle(&self, processor: usize, worker: WorkerId, was_spinning: bool) -> Settled {
        {
            let mut rooms = self.rooms.lock();
            self.put(&mut rooms, processor);
            rooms.workers.push(worker);
            if was_spinning {
                // ORDERING: the fence below publishes it.
                self.spinning.fetch_sub(1, Ordering::Relaxed);
            }
        }
        // ORDERING: pairs with the fence in `wake`; see the module's text.
        fence(Ordering::SeqCst);
        // ORDERING: behind the fence.
        if !was_spinning && self.spinning.load(Ordering::Relaxed) != 0 {
            return Settled::Sleep;
        }
        Settled::LookAgain
    }

    /// Takes both back, and the worker spins. False: somebody has picked the worker and will tell
    /// it, or has taken the processor, and then the worker is idle still.
    #[must_use]
    pub fn reclaim(&self, processor: usize, worker: WorkerId) -> bool {
        let mut rooms = self.rooms.lock();
        let is_there = rooms.is_idle(processor) && rooms.leave(worker);
        if is_there {
            self.take(&mut rooms, processor);
            // ORDERING: under the lock, as in `rouse`.
            self.spinning.fetch_add(1, Ordering::Relaxed);
        }
        is_there
    }

    /// An idle worker has found work and wants any processor.
    #[must_use]
    pub fn ask(&self, worker: WorkerId) -> Asked {
        let mut rooms = self.rooms.lock();
        if !rooms.workers.contains(&worker) {
            return Asked::Picked;
        }
        let Some(processor) = rooms.first() else {
            return Asked::None;
        };
        rooms.leave(worker);
        self.take(&mut rooms, processor);
        // ORDERING: under the lock, as in `rouse`.
        self.spinning.fetch_add(1, Ordering::Relaxed);
        Asked::Given(processor)
    }

    /// A worker whose processor was taken is back from its step: gives it an idle processor. None:
    /// the worker is idle.
    #[must_use]
    pub fn enlist(&self, worker: WorkerId) -> Option<usize> {
        let mut rooms = self.rooms.lock();
        let processor = rooms.first();
        match processor {
            Some(processor) => self.take(&mut rooms, processor),
            None => rooms.workers.push(worker),
        }
        processor
    }

    /// A worker for a processor that is to be taken out of a step. None: there are no more.
    #[must_use]
    pub fn draft(&self) -> Option<Picked> {
        self.rooms.lock().pick(self.workers_max)
    }

    /// Undoes `draft`.
    pub fn put_back(&self, picked: Picked) {
        let mut rooms = self.rooms.lock();
        if picked.is_new {
            rooms.unborn.push(picked.worker);
        } else {
            rooms.workers.push(picked.worker);
        }
    }

    /// The thread of a new worker could not be started: gives an idle worker instead, or the
    /// processor is idle again. `is_spinning`: the worker was counted.
    #[must_use]
    pub fn give_up(&self, processor: usize, worker: WorkerId, is_spinning: bool) -> Option<Picked> {
        let mut rooms = self.rooms.lock();
        rooms.unborn.push(worker);
        if let Some(worker) = rooms.workers.pop() {
            // Maybe it slept because it saw this spinner.
            return Some(Picked {
                worker,
                is_new: false,
            });
        }
        self.put(&mut rooms, processor);
        if is_spinning {
            // ORDERING: under the lock. All workers are inside steps, and look afterwards.
            self.spinning.fetch_sub(1, Ordering::Relaxed);
        }
        None
    }

    /// A worker that polls is woken last: a wake-up of it costs a call more.
    pub fn defer(&self, worker: WorkerId) {
        let mut rooms = self.rooms.lock();
        if rooms.leave(worker) {
            rooms.workers.insert(0, worker);
        }
    }

    /// Whether a new spinner is asked for: nobody spins, and some processor is idle.
    fn is_wanted(&self) -> bool {
        // ORDERING: behind the fence or under the lock.
        self.spinning.load(Ordering::Relaxed) == 0 && self.sleeping.load(Ordering::Relaxed) != 0
    }

    /// Makes an idle processor a spinner's. None: no worker is left for it.
    fn rouse(&self, rooms: &mut Held<'_, Rooms>, processor: usize) -> Option<Woken> {
        let picked = rooms.pick(self.workers_max)?;
        self.take(rooms, processor);
        // ORDERING: under the lock; who reads it without it errs to the side of a look more, or
        // reads the same value that a fence ordered.
        self.spinning.fetch_add(1, Ordering::Relaxed);
        Some(Woken { processor, picked })
    }

    fn take(&self, rooms: &mut Held<'_, Rooms>, processor: usize) {
        debug_assert!(rooms.is_idle(processor), "a busy processor is taken");
        rooms.mask[processor / 64] &= !(1 << (processor % 64));
        // ORDERING: under the lock, as `spinning` in `rouse`.
        self.sleeping.fetch_sub(1, Ordering::Relaxed);
    }

    fn put(&self, rooms: &mut Held<'_, Rooms>, processor: usize) {
        debug_assert!(!rooms.is_idle(processor), "a processor is idle twice");
        rooms.mask[processor / 64] |= 1 << (processor % 64);
        // ORDERING: under the lock; a fence publishes it.
        self.sleeping.fetch_add(1, Ordering::Relaxed);
    }

    /// Idle processors, at a glance.
    #[must_use]
    pub fn idle(&self) -> u32 {
        // ORDERING: a number to look at.
        self.sleeping.load(Ordering::Relaxed)
    }

    /// Spinning workers, at a glance.
    #[must_use]
    pub fn spinning(&self) -> u32 {
        // ORDERING: as in `idle`.
        self.spinning.load(Ordering::Relaxed)
    }

    /// Workers that have, or had, a thread, and idle ones.
    #[must_use]
    pub fn workers(&self) -> (usize, usize) {
        let rooms = self.rooms.lock();
        (rooms.made - rooms.unborn.len(), rooms.workers.len())
    }
}
