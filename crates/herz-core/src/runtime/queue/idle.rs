//! Which processors sleep, how many workers spin, and who is to be woken.
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
//!
//! Idle bits, `sleeping` and the increments of `spinning` by a wake-up change under one lock, so
//! that no count is ever ahead of its worker. Go needs a third flag (`needspinning`) because it
//! counts a spinner before it knows a processor for it. `models.rs` has the model for the checker.
//!
//! Source: `wakep`, `resetspinning`, `findRunnable` ("delicate dance") of Go 1.26's
//! `runtime/proc.go`.

use crate::runtime::sync::{AtomicU32, Lock, Ordering, fence};

/// What a worker does after it has said that its processor is idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// Look at all queues again; then sleep, or [`Idle::reclaim`].
    LookAgain,
    /// Sleep: a spinner exists, and it will look. Look again only at what no spinner may take.
    Sleep,
}

/// The idle processors and the spinning workers of one runtime.
pub struct Idle {
    processors: u32,
    /// Invariant: the number of bits in `mask`; changed under its lock.
    sleeping: AtomicU32,
    spinning: AtomicU32,
    mask: Lock<Box<[u64]>>,
}

impl Idle {
    /// All of `processors` busy.
    ///
    /// # Panics
    ///
    /// Where there is no processor.
    #[must_use]
    pub fn new(processors: usize) -> Self {
        assert!(processors > 0, "there is no processor");
        Self {
            processors: u32::try_from(processors).expect("processors fit into 32 bits"),
            sleeping: AtomicU32::new(0),
            spinning: AtomicU32::new(0),
            mask: Lock::new(vec![0; processors.div_ceil(64)].into()),
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

    /// A spinner has found work: gives the processor to wake, where the rule asks for one.
    #[must_use]
    pub fn found(&self) -> Option<usize> {
        // ORDERING: the fence in `wake` comes behind it.
        let before = self.spinning.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before > 0, "a spinner was not counted");
        self.wake()
    }

    /// To be called after an item was made visible: gives the processor to wake, where the rule
    /// asks for one. It is no longer idle, and its worker counts as spinning.
    #[must_use]
    pub fn wake(&self) -> Option<usize> {
        // ORDERING: pairs with the fence in `settle`; see the module's text.
        fence(Ordering::SeqCst);
        if !self.is_wanted() {
            return None;
        }
        let mut mask = self.mask.lock();
        if !self.is_wanted() {
            return None;
        }
        let word = mask.iter().position(|word| *word != 0)?;
        let processor = word * 64 + mask[word].trailing_zeros() as usize;
        self.rouse(&mut mask, processor).then_some(processor)
    }

    /// The same for one processor, whatever spins: true where it was idle and is to be woken.
    #[must_use]
    pub fn wake_this(&self, processor: usize) -> bool {
        // ORDERING: as in `wake`.
        fence(Ordering::SeqCst);
        // ORDERING: behind the fence.
        self.sleeping.load(Ordering::Relaxed) != 0 && self.rouse(&mut self.mask.lock(), processor)
    }

    /// A worker found nothing: its processor is idle, and it no longer spins.
    #[must_use]
    pub fn settle(&self, processor: usize, was_spinning: bool) -> Settled {
        {
            let mut mask = self.mask.lock();
            let bit = 1 << (processor % 64);
            debug_assert!(mask[processor / 64] & bit == 0, "a processor is idle twice");
            mask[processor / 64] |= bit;
            // ORDERING: the fence below publishes both; the lock orders writers.
            self.sleeping.fetch_add(1, Ordering::Relaxed);
            if was_spinning {
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

    /// Takes the processor back, and the worker spins. False where somebody has woken it: then a
    /// token is on its way to the parker, and the worker counts as spinning too.
    #[must_use]
    pub fn reclaim(&self, processor: usize) -> bool {
        self.rouse(&mut self.mask.lock(), processor)
    }

    /// Whether a new spinner is asked for: nobody spins, and somebody sleeps.
    fn is_wanted(&self) -> bool {
        // ORDERING: behind the fence or under the lock.
        self.spinning.load(Ordering::Relaxed) == 0 && self.sleeping.load(Ordering::Relaxed) != 0
    }

    /// Makes an idle processor a spinner's; false where it was not idle.
    fn rouse(&self, mask: &mut [u64], processor: usize) -> bool {
        let bit = 1 << (processor % 64);
        let was_idle = mask[processor / 64] & bit != 0;
        if was_idle {
            mask[processor / 64] &= !bit;
            // ORDERING: under the lock; who reads them without it errs to the side of a look more,
            // or reads the same value that a fence ordered.
            self.sleeping.fetch_sub(1, Ordering::Relaxed);
            self.spinning.fetch_add(1, Ordering::Relaxed);
        }
        was_idle
    }

    /// Idle processors, at a glance.
    #[must_use]
    pub fn idle(&self) -> u32 {
        self.sleeping.load(Ordering::Relaxed)
    }

    /// Spinning workers, at a glance.
    #[must_use]
    pub fn spinning(&self) -> u32 {
        self.spinning.load(Ordering::Relaxed)
    }
}
