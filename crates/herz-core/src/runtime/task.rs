//! The state of a task: one atomic word, and who may change what.
//!
//! | from | to | who | how |
//! |---|---|---|---|
//! | runnable | running | the worker that took it from a queue | [`Word::start`] |
//! | running | yielding | the same worker, inside the step | [`Word::prepare_yield`] |
//! | running | parking | the same worker, inside the step | [`Word::prepare`] |
//! | parking | running | the same worker: the wait was called off | [`Word::call_off`] |
//! | parking | notified | anyone who holds the generation | [`Word::wake`] |
//! | parking | waiting | the worker, when the step ended | [`Word::settle`] |
//! | yielding, notified | runnable | the worker, when the step ended | [`Word::settle`] |
//! | waiting | runnable | anyone who holds the generation | [`Word::wake`] |
//! | runnable | off-loaded | the worker that took a plain function | [`Word::off_load`] |
//! | running, off-loaded | dead | the same worker | [`Word::finish`] |
//!
//! A *detached* task is a running one whose worker lost its processor: the processor's word says
//! so, not the task's, since the thread that takes a processor does not know what runs on it.
//!
//! Each wait has a generation. Who wakes must name it, so a late timer, a channel and a
//! cancellation may race: the first wins, the others find that the wait is over.

use super::sync::{AtomicU64, Ordering};

/// Which wait of a task is meant. Native tasks have only one: theirs may end for nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Generation(u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum State {
    Runnable = 0,
    Running = 1,
    Yielding = 2,
    Parking = 3,
    Notified = 4,
    Waiting = 5,
    OffLoaded = 6,
    Dead = 7,
}

/// What a step that ended left to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It runs again: it yielded, or what it began to wait for has come already.
    Runnable { yielded: bool },
    /// Whoever holds the generation wakes it.
    Waiting,
    /// The step suspended without saying for what.
    Unknown,
}

/// What became of an attempt to wake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// The caller must queue the task.
    Queue,
    /// Its step has not ended yet: its worker will queue it.
    Noted,
    /// That wait is over.
    Stale,
}

const BITS: u32 = 3;
const MASK: u64 = (1 << BITS) - 1;

/// State in the low three bits, generation above.
pub struct Word(AtomicU64);

impl Default for Word {
    fn default() -> Self {
        Self(AtomicU64::new(State::Runnable as u64))
    }
}

fn pack(generation: Generation, state: State) -> u64 {
    generation.0 << BITS | state as u64
}

fn unpack(word: u64) -> (Generation, State) {
    let state = match word & MASK {
        0 => State::Runnable,
        1 => State::Running,
        2 => State::Yielding,
        3 => State::Parking,
        4 => State::Notified,
        5 => State::Waiting,
        6 => State::OffLoaded,
        _ => State::Dead,
    };
    (Generation(word >> BITS), state)
}

impl Word {
    pub fn state(&self) -> State {
        // ORDERING: Acquire pairs with the Release of `finish`: who sees Dead sees the outcome.
        unpack(self.0.load(Ordering::Acquire)).1
    }

    /// The wait that is going on or being prepared, if any.
    pub fn waiting(&self) -> Option<Generation> {
        // ORDERING: Acquire pairs with the Release of `prepare`, as in `wake`.
        let (generation, state) = unpack(self.0.load(Ordering::Acquire));
        matches!(state, State::Parking | State::Waiting).then_some(generation)
    }

    /// Moves from one state to another; only the owner of `from` calls it, so a store is enough.
    fn own(&self, from: State, to: State) {
        // ORDERING: Relaxed: nobody else changes the word in `from`; the task came through a
        // queue whose lock or word ordered it.
        let (generation, state) = unpack(self.0.load(Ordering::Relaxed));
        assert_eq!(state, from, "a task changed hands");
        // ORDERING: Release pairs with the Acquire of `state` and `wake`.
        self.0.store(pack(generation, to), Ordering::Release);
    }

    pub fn start(&self) {
        self.own(State::Runnable, State::Running);
    }

    pub fn off_load(&self) {
        self.own(State::Runnable, State::OffLoaded);
    }

    pub fn prepare_yield(&self) {
        self.own(State::Running, State::Yielding);
    }

    /// Begins a wait: from here on, whoever holds the generation may wake the task.
    pub fn prepare(&self) -> Generation {
        // ORDERING: as in `own`.
        let (generation, state) = unpack(self.0.load(Ordering::Relaxed));
        assert_eq!(
            state,
            State::Running,
            "only a running task can begin to wait"
        );
        let next = Generation(generation.0 + 1);
        // ORDERING: Release pairs with the Acquire of `wake`.
        self.0.store(pack(next, State::Parking), Ordering::Release);
        next
    }

    /// Undoes a `prepare` or `prepare_yield` whose suspension never came.
    pub fn call_off(&self) {
        // ORDERING: AcqRel as in `wake`, which may come in between; either way it runs on.
        let _ = self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
                let (generation, state) = unpack(word);
                matches!(state, State::Yielding | State::Parking | State::Notified)
                    .then(|| pack(generation, State::Running))
            });
    }

    /// Ends a step that suspended.
    pub fn settle(&self) -> Settled {
        // ORDERING: Relaxed: only Parking can be changed by others, and then the exchange fails.
        let word = self.0.load(Ordering::Relaxed);
        let (generation, state) = unpack(word);
        if state == State::Parking {
            // ORDERING: Release publishes what the step wrote to whoever wakes the task;
            // Acquire on failure takes what the waker wrote.
            let waiting = pack(generation, State::Waiting);
            let done = self
                .0
                .compare_exchange(word, waiting, Ordering::Release, Ordering::Acquire);
            if done.is_ok() {
                return Settled::Waiting;
            }
            self.own(State::Notified, State::Runnable);
            return Settled::Runnable { yielded: false };
        }
        match state {
            State::Yielding | State::Notified => {
                self.own(state, State::Runnable);
                Settled::Runnable {
                    yielded: state == State::Yielding,
                }
            }
            State::Running => {
                self.own(state, State::Runnable);
                Settled::Unknown
            }
            _ => unreachable!("a step ended in state {state:?}"),
        }
    }

    /// Ends the wait of that generation, once.
    pub fn wake(&self, generation: Generation) -> Wake {
        for (from, to, outcome) in [
            (State::Waiting, State::Runnable, Wake::Queue),
            (State::Parking, State::Notified, Wake::Noted),
            // The step may have ended between the two attempts.
            (State::Waiting, State::Runnable, Wake::Queue),
        ] {
            // ORDERING: Acquire takes what the step wrote before it waited; Release publishes
            // what the waker left for the task.
            let done = self.0.compare_exchange(
                pack(generation, from),
                pack(generation, to),
                Ordering::AcqRel,
                Ordering::Relaxed,
            );
            if done.is_ok() {
                return outcome;
            }
        }
        Wake::Stale
    }

    /// Ends the task. The outcome must have been stored before.
    pub fn finish(&self) {
        // ORDERING: Relaxed: the caller owns the word; Release pairs with `state`.
        let (generation, _) = unpack(self.0.load(Ordering::Relaxed));
        self.0
            .store(pack(generation, State::Dead), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_before_the_step_ends_is_not_lost() {
        let word = Word::default();
        word.start();
        let generation = word.prepare();
        assert_eq!(word.wake(generation), Wake::Noted);
        assert_eq!(word.settle(), Settled::Runnable { yielded: false });
        assert_eq!(word.wake(generation), Wake::Stale);
    }

    #[test]
    fn only_the_first_wake_of_a_wait_counts() {
        let word = Word::default();
        word.start();
        let generation = word.prepare();
        assert_eq!(word.settle(), Settled::Waiting);
        assert_eq!(word.wake(generation), Wake::Queue);
        assert_eq!(word.wake(generation), Wake::Stale);
        word.start();
        let later = word.prepare();
        assert_eq!(word.wake(generation), Wake::Stale);
        assert_eq!(word.settle(), Settled::Waiting);
        assert_eq!(word.wake(later), Wake::Queue);
    }

    #[test]
    fn a_step_that_names_no_wait_is_seen() {
        let word = Word::default();
        word.start();
        assert_eq!(word.settle(), Settled::Unknown);
        assert_eq!(word.state(), State::Runnable);
    }
}
