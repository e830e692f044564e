//! The monitor's part of native processors: one whose step is blocked goes to another worker.
//!
//! A native step that burns the CPU keeps its processor: the others are stolen from its queue by
//! whoever is free, and another thread on the same CPUs would not run them sooner. A step that is
//! blocked in a call keeps nobody from the CPU but its queue and what is pinned to it, so these go
//! on with another thread, as with Go's system calls. `task::Word` is not asked: the processor's
//! word says by one exchange whether it is still the same step.

use super::executor::{Executor, Grant};
use crate::runtime::processor::{Phase, Seen};
use crate::runtime::sync::Ordering;
use crate::runtime::sysmon::Pulse;
use crate::runtime::thread;

/// The time between two looks; and where a step has been the same at two of them.
const LOOK_NS: u64 = 1_000_000;
const SHORT_NS: u64 = 250_000;

/// What the monitor remembers.
#[derive(Default)]
pub struct Watch {
    /// By processor.
    looks: Vec<Option<Look>>,
}

#[derive(Clone, Copy)]
struct Look {
    seen: Seen,
    at_ns: u64,
    /// The CPU time of its worker's thread, once the step was seen twice.
    cpu_ns: Option<u64>,
}

impl Executor {
    /// The monitor's look at all processors.
    #[must_use]
    pub fn look_after(&self, now_ns: u64) -> Pulse {
        let shared = &self.shared;
        if shared.idle.idle() as usize == shared.places.len() {
            return Pulse::Idle;
        }
        let mut watch = shared.watch.lock();
        watch.looks.resize(shared.places.len(), None);
        let (mut again_ns, mut blocked) = (LOOK_NS, Vec::new());
        for (at, look) in watch.looks.iter_mut().enumerate() {
            let seen = shared.places[at].processor.seen();
            let before = look.filter(|before| before.seen == seen);
            if seen.phase != Phase::Step {
                *look = None;
                continue;
            }
            let Some(before) = before else {
                let (at_ns, cpu_ns) = (now_ns, None);
                *look = Some(Look {
                    seen,
                    at_ns,
                    cpu_ns,
                });
                continue;
            };
            again_ns = SHORT_NS;
            let seat = &shared.seats[seen.owner as usize];
            let cpu_ns = thread::cpu_ns(seat.thread.load(Ordering::Relaxed));
            let passed = now_ns.saturating_sub(before.at_ns);
            let used = cpu_ns.zip(before.cpu_ns).map(|(now, then)| now - then);
            *look = Some(Look {
                seen,
                at_ns: now_ns,
                cpu_ns,
            });
            if used.is_some_and(|used| used < passed / 8) && self.has_work_for(at) {
                *look = None;
                blocked.push((at, seen));
            }
        }
        drop(watch);
        for (at, seen) in blocked {
            self.retake(at, seen);
        }
        self.poll_for_others(now_ns);
        Pulse::Busy { again_ns }
    }

    /// Whether another worker would have something to do with that processor.
    fn has_work_for(&self, at: usize) -> bool {
        let shared = &self.shared;
        let is_any_free = shared.idle.idle() > 0 || shared.idle.spinning() > 0;
        !shared.thieves[at].is_empty()
            || !shared.places[at].pinned.is_empty()
            || (!is_any_free && !shared.global.is_empty())
    }

    /// Gives the processor of that step to another worker, where there is one.
    fn retake(&self, at: usize, seen: Seen) {
        let shared = &self.shared;
        let Some(picked) = shared.idle.draft() else {
            return;
        };
        if shared.places[at].processor.take(seen, picked.worker) {
            shared.retakes.fetch_add(1, Ordering::Relaxed);
            let grant = Grant {
                processor: at,
                is_spinning: false,
            };
            shared.tell(picked, grant);
        } else {
            shared.idle.put_back(picked);
            // Somebody may have looked for a worker meanwhile.
            shared.wake_one();
        }
    }
}
