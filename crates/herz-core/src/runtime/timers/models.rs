//! Models for the checker: cancel against firing, against a move, against an insertion.

use loom::sync::atomic::AtomicUsize;

use super::shards::{Shards, Timer};
use crate::runtime::sync::atomic::Ordering;
use crate::runtime::sync::{Arc, thread};

type Timers = Arc<Shards<Arc<Timer<usize>>>>;

const MS: u64 = 1_000_000;

fn check(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    builder.check(model);
}

fn pending(deadlines: &[u64]) -> (Timers, Vec<Arc<Timer<usize>>>) {
    let shards: Timers = Arc::new(Shards::new(1, 0));
    let timers: Vec<_> = (0..deadlines.len()).map(Timer::new).collect();
    for (timer, deadline) in timers.iter().zip(deadlines) {
        assert!(shards.insert(0, *deadline, Arc::clone(timer)).is_ok());
    }
    (shards, timers)
}

fn fire(shards: &Timers, now: u64) -> Vec<usize> {
    let mut due = Vec::new();
    shards.poll(now, 10, &mut due);
    due.iter().map(|timer| timer.payload.value).collect()
}

/// A timer is either cancelled or fires, and never both.
#[test]
fn a_timer_fires_or_is_cancelled() {
    check(3, || {
        let (shards, timers) = pending(&[MS]);
        let ended = Arc::new(AtomicUsize::new(0));
        let canceller = {
            let (shards, ended) = (Arc::clone(&shards), Arc::clone(&ended));
            let timer = Arc::clone(&timers[0]);
            thread::spawn(move || {
                if shards
                    .cancel(super::shards::Timed::location(&timer))
                    .is_some()
                {
                    ended.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        ended.fetch_add(fire(&shards, MS).len(), Ordering::Relaxed);
        canceller.join().unwrap();
        assert_eq!(ended.load(Ordering::Relaxed), 1);
        assert!(shards.is_empty());
    });
}

/// A timer is either retired or fires, and its payload comes back once, at last from `settle`.
#[test]
fn a_timer_fires_or_is_retired() {
    check(3, || {
        let shards: Timers = Arc::new(Shards::fixed(1, 0));
        let timer = Timer::new(0);
        assert!(shards.insert(0, MS, Arc::clone(&timer)).is_ok());
        let ended = Arc::new(AtomicUsize::new(0));
        let retirer = {
            let (shards, ended) = (Arc::clone(&shards), Arc::clone(&ended));
            let timer = Arc::clone(&timer);
            thread::spawn(move || {
                let (was_pending, payload) = shards.retire(super::shards::Timed::location(&timer));
                assert!(payload.is_none());
                ended.fetch_add(usize::from(was_pending), Ordering::Relaxed);
            })
        };
        let settled = shards.settle().len();
        let fired = fire(&shards, MS).len();
        retirer.join().unwrap();
        let retired = ended.load(Ordering::Relaxed);
        assert_eq!(fired + retired, 1);
        assert_eq!(settled + shards.settle().len(), retired);
        assert!(shards.is_empty() && Arc::strong_count(&timer) == 1);
    });
}

/// Two who cancel: one gets it.
#[test]
fn a_timer_is_cancelled_once() {
    check(3, || {
        let (shards, timers) = pending(&[MS]);
        let cancel = |shards: Timers, timer: Arc<Timer<usize>>| {
            shards
                .cancel(super::shards::Timed::location(&timer))
                .is_some()
        };
        let other = {
            let (shards, timer) = (Arc::clone(&shards), Arc::clone(&timers[0]));
            thread::spawn(move || cancel(shards, timer))
        };
        let mine = cancel(Arc::clone(&shards), Arc::clone(&timers[0]));
        assert!(mine ^ other.join().unwrap());
    });
}

/// The table grows while one timer is cancelled and its node used again: the right one goes.
#[test]
fn a_timer_is_found_wherever_it_is_moved() {
    check(3, || {
        let (shards, timers) = pending(&[90 * MS, 90 * MS, 90 * MS]);
        fire(&shards, MS); // Three timers are many to a model: the change begins.
        assert_eq!(shards.active(), 2);
        let mover = {
            let shards = Arc::clone(&shards);
            thread::spawn(move || shards.shift(0, 1, 2))
        };
        for timer in &timers {
            let got = shards.cancel(super::shards::Timed::location(timer));
            assert_eq!(got.map(|timer| timer.value), Some(timer.value));
        }
        mover.join().unwrap();
        assert!(shards.is_empty());
    });
}

/// A timer moved while it is due fires once, now or at the next poll.
#[test]
fn a_moved_timer_fires_once() {
    check(3, || {
        let (shards, _timers) = pending(&[MS, 2 * MS]);
        let mover = {
            let shards = Arc::clone(&shards);
            thread::spawn(move || {
                shards.shift(0, 1, 1);
                shards.shift(1, 0, 1);
            })
        };
        let mut fired = fire(&shards, 2 * MS);
        mover.join().unwrap();
        fired.extend(fire(&shards, 2 * MS));
        fired.sort_unstable();
        assert_eq!(fired, [0, 1]);
    });
}

/// The next wake-up is never after a deadline that was inserted before the question.
#[test]
fn an_insertion_is_not_slept_through() {
    check(3, || {
        let (shards, _timers) = pending(&[MS]);
        let inserter = {
            let shards = Arc::clone(&shards);
            thread::spawn(move || assert!(shards.insert(0, 5 * MS, Timer::new(7)).is_ok()))
        };
        fire(&shards, MS);
        inserter.join().unwrap();
        assert!(shards.next_wake().is_some_and(|wake| wake <= 5 * MS));
    });
}
