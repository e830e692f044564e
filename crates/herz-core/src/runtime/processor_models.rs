//! Models for the checker: a processor that changes hands while its owner works (`make race`).

use super::processor::{Own, Phase, Processor, WorkerId};
use super::sync::atomic::{AtomicUsize, Ordering};
use super::sync::{Arc, thread};

/// What the owner has for itself. Relaxed throughout: that the next owner sees what the last one
/// left is the word's doing alone.
#[derive(Default)]
struct Till {
    held: AtomicUsize,
    visits: AtomicUsize,
}

impl Own for Till {
    fn queued(&self) -> usize {
        self.visits.load(Ordering::Relaxed)
    }
}

impl Till {
    /// One owner at a time counts, and each sees the counts of all before it.
    fn visit(&mut self) {
        assert_eq!(
            self.held.swap(1, Ordering::Relaxed),
            0,
            "two have the processor"
        );
        let before = self.visits.load(Ordering::Relaxed);
        self.visits.store(before + 1, Ordering::Relaxed);
        self.held.store(0, Ordering::Relaxed);
    }
}

/// A worker with the processor takes so many steps, unless it loses it; the visits that it made.
fn work(processor: &Processor<Till>, worker: WorkerId, steps: usize) -> usize {
    let Some(mut claim) = processor.accept(worker) else {
        return 0;
    };
    claim.local().visit();
    let mut visits = 1;
    for _ in 0..steps {
        claim.begin_step();
        match processor.enter(worker) {
            Some(back) => claim = back,
            None => return visits,
        }
        claim.local().visit();
        visits += 1;
    }
    claim.park();
    visits
}

/// The monitor takes the processor out of a step, or finds it between two: whoever has it
/// afterwards has all of it.
#[test]
fn a_processor_that_is_taken_has_one_owner_and_loses_nothing() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(4));
    builder.check(|| {
        let processor = Arc::new(Processor::<Till>::default());
        let monitor = {
            let processor = Arc::clone(&processor);
            thread::spawn(move || {
                let seen = processor.seen();
                let is_taken = seen.phase == Phase::Step && processor.take(seen, 1);
                if is_taken { work(&processor, 1, 1) } else { 0 }
            })
        };
        let first = work(&processor, 0, 2);
        let visits = first + monitor.join().unwrap();
        processor.assign(2);
        let mut claim = processor.accept(2).unwrap();
        assert_eq!(claim.local().visits.load(Ordering::Relaxed), visits);
        claim.park();
    });
}

/// A step that was taken is given back while it goes on: it sees what was done meanwhile.
#[test]
fn a_processor_that_is_given_back_has_all_that_was_left_in_it() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(4));
    builder.check(|| {
        let processor = Arc::new(Processor::<Till>::default());
        processor.accept(0).unwrap().begin_step();
        let monitor = {
            let processor = Arc::clone(&processor);
            thread::spawn(move || {
                let seen = processor.seen();
                let is_taken = seen.phase == Phase::Step && processor.take(seen, 1);
                if is_taken {
                    let mut claim = processor.accept(1).unwrap();
                    claim.local().visit();
                    claim.give_back(0);
                }
                usize::from(is_taken)
            })
        };
        let mut claim = loop {
            match processor.enter(0) {
                Some(claim) => break claim,
                None => thread::yield_now(),
            }
        };
        claim.local().visit();
        let visits = claim.local().visits.load(Ordering::Relaxed);
        claim.park();
        assert_eq!(visits, 1 + monitor.join().unwrap());
    });
}
