//! Models for the checker: every order of steps of a few threads (`make race`).

use std::num::NonZeroUsize;

use loom::sync::atomic::AtomicUsize;

use super::global::Global;
use super::idle::{Asked, Idle, Settled, Woken};
use super::ring::{Owner, Pass, queue};
use super::state::State;
use crate::runtime::sync::atomic::Ordering;
use crate::runtime::sync::{Arc, Bell, thread};

/// Every schedule with up to `preemptions` of them; the steps between are exhaustive.
fn check(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    builder.check(model);
}

fn item(number: usize) -> NonZeroUsize {
    NonZeroUsize::new(number).unwrap()
}

fn drain(owner: &mut Owner<NonZeroUsize>, into: &mut Vec<usize>) {
    into.extend(std::iter::from_fn(|| owner.pop()).map(|(item, _)| item.get()));
}

fn steal_some(times: usize, from: &super::ring::Thief<NonZeroUsize>, pass: Pass) -> Vec<usize> {
    let (mut mine, _thief) = queue();
    let mut taken = Vec::new();
    for _ in 0..times {
        taken.extend(from.steal(&mut mine, pass).map(NonZeroUsize::get));
        drain(&mut mine, &mut taken);
    }
    taken
}

/// Every item is taken once: by the owner, a thief, or the global queue it spilled to.
fn take_all(thieves: usize, items: usize) {
    let (mut owner, thief) = queue();
    let global = Global::default();
    let thieves: Vec<_> = (0..thieves)
        .map(|_| {
            let thief = thief.clone();
            thread::spawn(move || steal_some(1, &thief, Pass::Early))
        })
        .collect();
    let mut taken = Vec::new();
    for number in 1..items {
        owner.push(item(number), &global);
    }
    taken.extend(owner.pop().map(|(item, _)| item.get()));
    owner.push(item(items), &global);
    drain(&mut owner, &mut taken);
    for thief in thieves {
        taken.extend(thief.join().unwrap());
    }
    taken.extend(std::iter::from_fn(|| global.pop()).map(NonZeroUsize::get));
    taken.sort_unstable();
    assert!(taken.into_iter().eq(1..=items));
}

#[test]
fn ring_loses_and_doubles_nothing() {
    check(3, || take_all(1, 6));
}

#[test]
fn two_thieves_take_nothing_twice() {
    check(2, || take_all(2, 3));
}

/// `next` goes to the owner or to one thief.
#[test]
fn next_is_taken_once() {
    check(3, || {
        let (mut owner, thief) = queue();
        let global = Global::default();
        let thief = thread::spawn(move || steal_some(2, &thief, Pass::Last));
        let mut taken = Vec::new();
        owner.push_next(item(1), &global);
        owner.push_next(item(2), &global);
        taken.extend(owner.pop().map(|(item, _)| item.get()));
        owner.push_next(item(3), &global);
        drain(&mut owner, &mut taken);
        taken.extend(thief.join().unwrap());
        taken.sort_unstable();
        assert_eq!(taken, [1, 2, 3]);
    });
}

/// A queue that moves its only item from `next` to the ring is never seen empty.
#[test]
fn emptiness_is_of_one_moment() {
    check(3, || {
        let (mut owner, thief) = queue();
        let global = Global::default();
        owner.push_next(item(1), &global);
        let looker = thread::spawn(move || thief.is_empty());
        owner.push_next(item(2), &global);
        let (taken, _) = owner.pop().unwrap();
        assert_eq!(taken.get(), 2);
        assert!(!looker.join().unwrap());
    });
}

/// Processors and workers that sleep, and a counter as the queue that they share.
struct Office {
    idle: Idle,
    /// Where each worker is given a processor, and told whether it counts as spinning.
    bells: [Bell<Option<(usize, bool)>>; 2],
    work: AtomicUsize,
    left: AtomicUsize,
}

impl Office {
    /// All workers have a thread, and are idle.
    fn new(processors: usize, workers: usize, items: usize) -> Arc<Self> {
        let idle = Idle::new(processors, workers);
        let drafted: Vec<_> = (0..workers).map(|_| idle.draft().unwrap()).collect();
        for picked in drafted {
            let is_new = false;
            idle.put_back(super::idle::Picked { is_new, ..picked });
        }
        Arc::new(Self {
            idle,
            bells: [Bell::default(), Bell::default()],
            work: AtomicUsize::new(0),
            left: AtomicUsize::new(items),
        })
    }

    fn submit(&self) {
        self.work.fetch_add(1, Ordering::Release);
        self.wake(self.idle.wake());
    }

    fn wake(&self, woken: Option<Woken>) {
        if let Some(Woken { processor, picked }) = woken {
            assert!(!picked.is_new, "all workers have a thread");
            let bell = &self.bells[picked.worker as usize];
            bell.ring(|slot| assert_eq!(slot.replace((processor, true)), None, "two processors"));
        }
    }

    /// Takes a piece of work, without a fence of its own: a plain look first.
    fn take(&self) -> bool {
        // ORDERING: as weak as the queues' own looks.
        let seen = self.work.load(Ordering::Acquire);
        seen > 0
            && self
                .work
                .compare_exchange(seen, seen - 1, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
    }

    fn is_over(&self) -> bool {
        self.left.load(Ordering::Acquire) == 0
    }

    /// The worker's sleep, until it is given a processor; None: all is done.
    fn rest(&self, worker: u16) -> Option<(usize, bool)> {
        self.bells[worker as usize]
            .wait(None, |slot| match slot.take() {
                None if self.is_over() => Some(None),
                given => given.map(Some),
            })
            .flatten()
    }

    /// A worker as in `worker.rs`, until all work is done; the last one wakes the others.
    fn work(&self, worker: u16) {
        while let Some((processor, mut is_spinning)) = self.rest(worker) {
            while !self.is_over() {
                if !is_spinning {
                    is_spinning = self.idle.try_spin();
                }
                if is_spinning && self.take() {
                    is_spinning = false;
                    self.wake(self.idle.found());
                    if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
                        self.bells.iter().for_each(|bell| bell.ring(|_| ()));
                    }
                    continue;
                }
                let settled = self.idle.settle(processor, worker, is_spinning);
                // ORDERING: as weak as the queues' own looks.
                let sees_work =
                    settled == Settled::LookAgain && self.work.load(Ordering::Acquire) > 0;
                if !(sees_work && self.idle.reclaim(processor, worker)) {
                    break;
                }
                is_spinning = true;
            }
        }
    }
}

/// A lost wake-up would be a worker that sleeps for ever: the checker calls it a deadlock.
#[test]
fn one_sleeper_misses_no_submission() {
    check(3, || {
        let office = Office::new(1, 1, 2);
        let worker = {
            let office = Arc::clone(&office);
            thread::spawn(move || office.work(0))
        };
        office.submit();
        office.submit();
        worker.join().unwrap();
        assert!(office.is_over());
    });
}

#[test]
fn two_sleepers_miss_no_submission() {
    check(2, || {
        let office = Office::new(2, 2, 2);
        let workers = [0, 1].map(|worker| {
            let office = Arc::clone(&office);
            thread::spawn(move || office.work(worker))
        });
        office.submit();
        office.submit();
        for worker in workers {
            worker.join().unwrap();
        }
        assert!(office.is_over());
    });
}

/// Two workers for one processor: what comes while it is on its way from one to the other is seen.
#[test]
fn a_processor_that_changes_hands_misses_no_submission() {
    check(2, || {
        let office = Office::new(1, 2, 2);
        let workers = [0, 1].map(|worker| {
            let office = Arc::clone(&office);
            thread::spawn(move || office.work(worker))
        });
        office.submit();
        office.submit();
        for worker in workers {
            worker.join().unwrap();
        }
        assert!(office.is_over());
    });
}

/// A worker whose processor was taken comes back, while the other one goes idle and work comes:
/// one of both runs it.
#[test]
fn a_worker_that_comes_back_without_a_processor_misses_no_submission() {
    check(3, || {
        let office = Office::new(1, 2, 1);
        // Worker 0 has the processor, worker 1 is in a step without one.
        let Some(first) = office.idle.wake() else {
            unreachable!("all are idle")
        };
        let back = office.idle.draft().unwrap().worker;
        let owner = {
            let office = Arc::clone(&office);
            thread::spawn(move || {
                office.bells[first.picked.worker as usize].ring(|slot| *slot = Some((0, true)));
                office.work(first.picked.worker);
            })
        };
        let other = {
            let office = Arc::clone(&office);
            thread::spawn(move || {
                if let Some(processor) = office.idle.enlist(back) {
                    office.bells[back as usize].ring(|slot| *slot = Some((processor, false)));
                }
                office.work(back);
            })
        };
        office.submit();
        owner.join().unwrap();
        other.join().unwrap();
        assert!(office.is_over());
    });
}

/// All others are in steps that last: work that comes has nobody but the worker that comes back
/// without a processor, which takes the idle one.
#[test]
fn a_worker_that_comes_back_alone_takes_an_idle_processor() {
    check(3, || {
        let office = Office::new(2, 2, 1);
        let Some(first) = office.idle.wake() else {
            unreachable!("all are idle")
        };
        let back = office.idle.draft().unwrap().worker;
        assert_ne!(first.picked.worker, back);
        // The first has found what lasts.
        office.wake(office.idle.found());
        let other = {
            let office = Arc::clone(&office);
            thread::spawn(move || {
                if let Some(processor) = office.idle.enlist(back) {
                    office.bells[back as usize].ring(|slot| *slot = Some((processor, false)));
                }
                office.work(back);
            })
        };
        office.submit();
        other.join().unwrap();
        assert!(office.is_over());
    });
}

/// A worker that polls finds work, which it gives to itself if it gets a processor, and to the
/// others if not.
#[test]
fn a_poller_that_finds_work_asks_for_a_processor_or_leaves_it_to_who_has_one() {
    check(3, || {
        let office = Office::new(1, 2, 2);
        let poller = {
            let office = Arc::clone(&office);
            thread::spawn(move || {
                office.work.fetch_add(1, Ordering::Release);
                if let Asked::Given(processor) = office.idle.ask(1) {
                    office.bells[1].ring(|slot| *slot = Some((processor, true)));
                }
                office.work(1);
            })
        };
        let other = {
            let office = Arc::clone(&office);
            thread::spawn(move || office.work(0))
        };
        office.submit();
        poller.join().unwrap();
        other.join().unwrap();
        assert!(office.is_over());
    });
}

/// A pinned submission wakes its processor, or is seen by its last look.
#[test]
fn a_pinned_submission_is_seen() {
    check(3, || {
        let office = Office::new(1, 1, 1);
        let _ = office.idle.enlist(office.idle.draft().unwrap().worker);
        let worker = {
            let office = Arc::clone(&office);
            thread::spawn(move || {
                let _ = office.idle.settle(0, 0, false);
                let sees_work = office.work.load(Ordering::Acquire) != 0;
                if !(sees_work && office.idle.reclaim(0, 0)) {
                    assert_eq!(office.rest(0), Some((0, true)));
                }
                assert!(office.take());
            })
        };
        office.work.fetch_add(1, Ordering::Release);
        office.wake(office.idle.wake_this(0));
        worker.join().unwrap();
    });
}

/// A task that waits for a flag sees it, whatever state the wake-up found the task in.
#[test]
fn a_woken_task_sees_why() {
    check(4, || {
        let shared = Arc::new((State::default(), AtomicUsize::new(0), AtomicUsize::new(1)));
        let waker = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let (state, flag, queued) = &*shared;
                flag.store(1, Ordering::Relaxed);
                if state.wake() {
                    queued.fetch_add(1, Ordering::Release);
                }
            })
        };
        let (state, flag, queued) = &*shared;
        let mut is_seen = false;
        while queued.load(Ordering::Acquire) > 0 {
            queued.fetch_sub(1, Ordering::AcqRel);
            state.begin();
            if flag.load(Ordering::Relaxed) == 1 {
                is_seen = true;
                state.dies();
            } else if state.waits() {
                queued.fetch_add(1, Ordering::Release);
            }
        }
        waker.join().unwrap();
        assert!(
            is_seen || queued.load(Ordering::Acquire) == 1,
            "the wake-up is lost"
        );
    });
}
