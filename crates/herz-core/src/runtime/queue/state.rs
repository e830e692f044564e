//! The word that says who may run a task.
//!
//! | state | who changes it | to |
//! |---|---|---|
//! | runnable | the worker that took it from a queue | running |
//! | running | its worker, at the end of the step | runnable (yield), waiting, dead |
//! | running | anyone who wakes it | woken |
//! | woken | its worker, at the end of the step | runnable, dead |
//! | waiting | the one who wakes it first | runnable, and queues it |
//! | dead | nobody | |

use crate::runtime::sync::atomic::{AtomicU32, Ordering};

const RUNNABLE: u32 = 0;
const RUNNING: u32 = 1;
const WOKEN: u32 = 2;
const WAITING: u32 = 3;
const DEAD: u32 = 4;

/// A task's state. Invariant: a runnable task is in one queue, or in one worker's hands.
pub struct State(AtomicU32);

impl Default for State {
    fn default() -> Self {
        Self(AtomicU32::new(RUNNABLE))
    }
}

// ORDERING: every change is a read-modify-write with AcqRel. So all changes of one task stand in
// one chain, and each sees what was written before the ones in front of it: whoever wakes a task
// writes first what the task waits for, and the step that follows in the chain reads it, also where
// the wake-up found the task runnable and changed nothing.
impl State {
    /// A worker has taken the task from a queue, and runs it.
    ///
    /// # Panics
    ///
    /// Where the task is not runnable: our bug.
    pub fn begin(&self) {
        // ORDERING: see above.
        let before = self.0.swap(RUNNING, Ordering::AcqRel);
        assert_eq!(before, RUNNABLE, "a task that is not runnable is run");
    }

    /// The step ended and the task goes on: its worker queues it.
    pub fn yields(&self) {
        // ORDERING: see above. A wake-up that is overwritten asked for what happens anyway.
        self.0.swap(RUNNABLE, Ordering::AcqRel);
    }

    /// The step ended and the task waits: true where it was woken meanwhile, and its worker queues
    /// it.
    #[must_use]
    pub fn waits(&self) -> bool {
        // ORDERING: see above.
        let swap = self
            .0
            .compare_exchange(RUNNING, WAITING, Ordering::AcqRel, Ordering::Acquire);
        if swap.is_err() {
            self.yields();
        }
        swap.is_err()
    }

    /// The task is over.
    pub fn dies(&self) {
        // ORDERING: see above.
        self.0.swap(DEAD, Ordering::AcqRel);
    }

    /// Wakes the task: true where the caller must queue it.
    #[must_use]
    pub fn wake(&self) -> bool {
        // ORDERING: the swap below checks it.
        let mut seen = self.0.load(Ordering::Relaxed);
        // Bound: each repetition says that somebody else changed the state.
        loop {
            let target = match seen {
                RUNNING => WOKEN,
                WAITING => RUNNABLE,
                _ => seen,
            };
            // ORDERING: see above.
            match self
                .0
                .compare_exchange(seen, target, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return seen == WAITING,
                Err(now) => seen = now,
            }
        }
    }

    /// Whether the task is over.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        // ORDERING: Acquire shows what its last step wrote.
        self.0.load(Ordering::Acquire) == DEAD
    }
}
