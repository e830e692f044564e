//! The processor: the right to run tasks, its run queue, and the word that says who has it.
//!
//! The word holds the owner, the number of steps begun and a phase. One exchange therefore takes
//! the processor from one certain step of one certain worker, and a worker whose step ends learns
//! by the same exchange whether it still has it.
//!
//! | from | to | who |
//! |---|---|---|
//! | granted | core | the new owner ([`Processor::accept`]) |
//! | core | step | the owner: a step begins or goes on ([`Claim::begin_step`], [`Claim::resume`]) |
//! | step | core | the owner: a step ended or calls the runtime ([`Processor::enter`]) |
//! | step | granted | anyone, to another owner: the step is *detached* ([`Processor::take`]) |
//! | core | parked | the owner, before its wait ([`Claim::park`]) |
//! | parked | core | the owner, after it ([`Processor::unpark`]) |
//! | core | granted | the owner, to another ([`Claim::give`]) |
//! | core | step | the owner, to the step that it was taken from ([`Claim::give_back`]) |

use std::cell::UnsafeCell;

use super::fifo::Local;
use super::sync::{AtomicU64, AtomicUsize, Ordering};

/// A worker's number; the thread that calls `run` is 0.
pub type WorkerId = u16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Phase {
    Granted = 0,
    Core = 1,
    Step = 2,
    Parked = 3,
}

/// What the word says at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub owner: WorkerId,
    pub phase: Phase,
    pub steps: u64,
}

const PHASE_BITS: u32 = 2;
const OWNER_BITS: u32 = 16;
const PHASE: u64 = (1 << PHASE_BITS) - 1;
const OWNER: u64 = ((1 << OWNER_BITS) - 1) << PHASE_BITS;
/// 46 bits of steps last two months at a step every 75 ns, and may then wrap: only two readings
/// within milliseconds are compared.
const STEP: u64 = 1 << (PHASE_BITS + OWNER_BITS);

fn with_phase(word: u64, phase: Phase) -> u64 {
    word & !PHASE | phase as u64
}

fn with_owner(word: u64, owner: WorkerId) -> u64 {
    word & !OWNER | u64::from(owner) << PHASE_BITS
}

impl Seen {
    fn pack(self) -> u64 {
        with_owner(with_phase(self.steps * STEP, self.phase), self.owner)
    }

    fn unpack(word: u64) -> Self {
        Self {
            owner: (word >> PHASE_BITS) as WorkerId,
            phase: match word & PHASE {
                0 => Phase::Granted,
                1 => Phase::Core,
                2 => Phase::Step,
                _ => Phase::Parked,
            },
            steps: word / STEP,
        }
    }
}

pub struct Processor<T> {
    word: AtomicU64,
    /// How many tasks the own queue held when the owner last left it.
    queued: AtomicUsize,
    // Invariant: reached only through a Claim, of which there is at most one.
    local: UnsafeCell<Local<T>>,
}

// SAFETY: `local` is reached only through a Claim. A Claim exists only while the word says `core`,
// is made only by the exchange or store that makes it say so, and only for the owner.
unsafe impl<T: Send> Sync for Processor<T> {}

/// The owner is inside the runtime's own code: nobody can take the processor from it.
#[must_use = "the processor stays claimed until the claim is given up by name"]
pub struct Claim<'a, T> {
    processor: &'a Processor<T>,
    /// What the processor's word says.
    // Two words in all: a claim, or none, comes and goes in registers.
    word: u64,
}

impl<T> Processor<T> {
    /// A processor that is granted to worker 0.
    #[must_use]
    pub fn new(local: Local<T>) -> Self {
        let seen = Seen {
            owner: 0,
            phase: Phase::Granted,
            steps: 0,
        };
        Self {
            word: AtomicU64::new(seen.pack()),
            queued: AtomicUsize::new(0),
            local: UnsafeCell::new(local),
        }
    }

    pub fn seen(&self) -> Seen {
        // ORDERING: SeqCst: the monitor re-checks this word before it sleeps, after it said that it
        // does; the owner stores the word before it looks whether the monitor sleeps.
        Seen::unpack(self.word.load(Ordering::SeqCst))
    }

    /// A reading of how many tasks wait in the own queue.
    pub fn queued(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    fn exchange(&self, from: u64, to: u64) -> bool {
        // ORDERING: Acquire takes what the last owner left in `local`; Release gives ours on.
        self.word
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    #[inline]
    fn claim(&self, worker: WorkerId, from: Phase) -> Option<Claim<'_, T>> {
        // ORDERING: Relaxed: a guess, which the exchange confirms.
        let seen = self.word.load(Ordering::Relaxed);
        if seen != with_owner(with_phase(seen, from), worker) {
            return None;
        }
        let word = with_phase(seen, Phase::Core);
        self.exchange(seen, word).then_some(Claim {
            processor: self,
            word,
        })
    }

    /// Claims the processor in or after a step; None when the worker lost it meanwhile.
    pub fn enter(&self, worker: WorkerId) -> Option<Claim<'_, T>> {
        self.claim(worker, Phase::Step)
    }

    /// Claims a processor that was granted to the worker.
    pub fn accept(&self, worker: WorkerId) -> Option<Claim<'_, T>> {
        self.claim(worker, Phase::Granted)
    }

    /// Claims the processor after a wait.
    pub fn unpark(&self, worker: WorkerId) -> Option<Claim<'_, T>> {
        self.claim(worker, Phase::Parked)
    }

    /// Takes the processor out of the step that was seen; false when that step is over.
    pub fn take(&self, seen: Seen, to: WorkerId) -> bool {
        assert_eq!(
            seen.phase,
            Phase::Step,
            "only a step can lose its processor"
        );
        let granted = Seen {
            owner: to,
            phase: Phase::Granted,
            steps: seen.steps,
        };
        self.exchange(seen.pack(), granted.pack())
    }
}

impl<T> Default for Processor<T> {
    fn default() -> Self {
        Self::new(Local::default())
    }
}

impl<T> Claim<'_, T> {
    pub fn local(&mut self) -> &mut Local<T> {
        // SAFETY: this is the only Claim (see Processor), and it is borrowed mutably.
        unsafe { &mut *self.processor.local.get() }
    }

    #[must_use]
    pub fn owner(&self) -> WorkerId {
        Seen::unpack(self.word).owner
    }

    #[must_use]
    pub fn steps(&self) -> u64 {
        Seen::unpack(self.word).steps
    }

    fn release(mut self, to: u64) {
        let queued = self.local().len();
        self.processor.queued.store(queued, Ordering::Relaxed);
        // ORDERING: Release: the next claim, maybe another worker's, sees the queue as left here.
        self.processor.word.store(to, Ordering::Release);
    }

    /// A new step begins.
    pub fn begin_step(self) {
        let to = with_phase(self.word, Phase::Step).wrapping_add(STEP);
        self.release(to);
    }

    /// The step that called the runtime goes on.
    pub fn resume(self) {
        let to = with_phase(self.word, Phase::Step);
        self.release(to);
    }

    /// The owner begins to wait and stays the owner.
    pub fn park(self) {
        let to = with_phase(self.word, Phase::Parked);
        self.release(to);
    }

    /// The step that the processor was taken from has it again, as if nothing had happened.
    pub fn give_back(self, owner: WorkerId) {
        let to = with_owner(with_phase(self.word, Phase::Step), owner);
        self.release(to);
    }

    /// Another worker owns the processor now; it must be told.
    pub fn give(self, owner: WorkerId) {
        let to = with_owner(with_phase(self.word, Phase::Granted), owner);
        self.release(to);
    }
}

#[cfg(test)]
mod tests {
    use super::super::fifo::Place;
    use super::*;

    #[test]
    fn a_step_that_was_taken_cannot_enter() {
        let processor = Processor::default();
        let mut claim = processor.accept(0).unwrap();
        claim.local().push('a', Place::Tail);
        claim.begin_step();
        let seen = processor.seen();
        assert_eq!((seen.owner, seen.phase, seen.steps), (0, Phase::Step, 1));
        assert_eq!(processor.queued(), 1);
        assert!(processor.take(seen, 7));
        assert!(processor.enter(0).is_none());
        assert_eq!(processor.accept(7).unwrap().local().pop(), Some('a'));
    }

    #[test]
    fn a_step_that_is_given_its_processor_back_enters_again() {
        let processor = Processor::<()>::default();
        processor.accept(0).unwrap().begin_step();
        assert!(processor.take(processor.seen(), 7));
        processor.accept(7).unwrap().give_back(0);
        assert!(processor.accept(7).is_none());
        assert!(processor.enter(0).is_some());
    }

    #[test]
    fn the_count_of_steps_wraps_and_leaves_the_rest() {
        let last = Seen {
            owner: 3,
            phase: Phase::Granted,
            steps: u64::MAX / STEP,
        };
        let processor = Processor::<()>::default();
        processor.word.store(last.pack(), Ordering::Relaxed);
        assert_eq!(processor.seen(), last);
        processor.accept(3).unwrap().begin_step();
        let seen = processor.seen();
        assert_eq!((seen.owner, seen.phase, seen.steps), (3, Phase::Step, 0));
    }

    #[test]
    fn only_the_step_that_was_seen_can_be_taken() {
        let processor = Processor::<()>::default();
        processor.accept(0).unwrap().begin_step();
        let seen = processor.seen();
        let claim = processor.enter(0).unwrap();
        assert!(!processor.take(seen, 7), "the owner is in the core");
        claim.begin_step();
        assert!(!processor.take(seen, 7), "another step runs");
        processor.enter(0).unwrap().park();
        assert!(processor.enter(0).is_none());
        assert!(processor.unpark(0).is_some());
    }
}
