//! The executor: every task runs, on one processor and on several.

use std::sync::atomic::AtomicUsize;

use super::*;

fn processors(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap()
}

#[test]
fn each_task_runs_all_of_its_steps() {
    for count in [1, 2, 5] {
        let executor = Executor::new(processors(count), 7);
        let steps = Arc::new(AtomicUsize::new(0));
        for _ in 0..50 {
            let (steps, mut children) = (Arc::clone(&steps), 20);
            executor.spawn(move |turn| {
                if children == 0 {
                    return Step::Done;
                }
                children -= 1;
                let (steps, mut left) = (Arc::clone(&steps), 5);
                turn.spawn(move |_| {
                    steps.fetch_add(1, Ordering::Relaxed);
                    left -= 1;
                    if left == 0 { Step::Done } else { Step::Yield }
                });
                Step::Yield
            });
        }
        let counters = executor.finish();
        assert_eq!(steps.load(Ordering::Relaxed), 50 * 20 * 5);
        let taken: u64 = counters
            .iter()
            .map(|c| c.next + c.ring + c.pinned + c.global + c.stolen)
            .sum();
        assert_eq!(taken, 50 * 21 + 50 * 20 * 5);
    }
}

#[test]
fn a_pinned_task_stays_on_its_processor() {
    let executor = Executor::new(processors(3), 1);
    for processor in 0..3 {
        let mut left = 200;
        executor.spawn_pinned(processor, move |turn| {
            assert_eq!(turn.processor(), processor);
            turn.spawn(|_| Step::Done);
            left -= 1;
            if left == 0 { Step::Done } else { Step::Yield }
        });
    }
    let counters = executor.finish();
    assert!(counters.iter().all(|counter| counter.pinned == 200));
}

#[test]
fn two_tasks_wake_each_other_and_starve_nobody() {
    const HOPS: usize = 20_000;
    for count in [1, 2] {
        let executor = Executor::new(processors(count), 1);
        let hops = Arc::new(AtomicUsize::new(0));
        let players: Arc<Lock<Vec<Handle>>> = Arc::default();
        for mine in 0..2 {
            let (hops, players) = (Arc::clone(&hops), Arc::clone(&players));
            let mut is_known = false;
            executor.spawn(move |turn| {
                if !is_known {
                    is_known = true;
                    players.lock().push(turn.handle());
                }
                let players = players.lock();
                if players.len() < 2 {
                    return Step::Yield;
                }
                let at = hops.load(Ordering::Acquire);
                if at < HOPS && at % 2 == mine {
                    hops.store(at + 1, Ordering::Release);
                }
                players.iter().for_each(|player| turn.wake(player));
                if at >= HOPS { Step::Done } else { Step::Wait }
            });
        }
        let other = executor.spawn(|_| Step::Done);
        drop(executor.finish());
        assert!(other.is_done());
        assert_eq!(hops.load(Ordering::Acquire), HOPS);
    }
}

#[test]
fn a_wake_up_from_outside_is_not_lost() {
    for round in 0..200 {
        let executor = Executor::new(processors(2), round);
        let ready = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&ready);
        let handle = executor.spawn(move |_| match seen.load(Ordering::Relaxed) {
            0 => Step::Wait,
            _ => Step::Done,
        });
        ready.store(1, Ordering::Relaxed);
        handle.wake();
        drop(executor.finish());
        assert!(handle.is_done());
    }
}

#[test]
fn a_panic_is_told_at_the_end_and_stops_nobody_else() {
    let executor = Executor::new(processors(2), 1);
    let others: Vec<_> = (0..10).map(|_| executor.spawn(|_| Step::Done)).collect();
    executor.spawn(|_| std::panic::resume_unwind(Box::new("mine")));
    let panic = catch_unwind(AssertUnwindSafe(|| executor.finish())).unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"mine"));
    assert!(others.iter().all(Handle::is_done));
}
