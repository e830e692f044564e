//! The executor: every task runs, on one processor and on several.

use std::os::unix::net::UnixStream;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc;

use super::super::outside::{Armed, Watched};
use super::*;
use crate::runtime::descriptors::Side;
use crate::runtime::poller::now_ns;
use crate::runtime::stream;
use crate::runtime::sysmon::Pulse;
use crate::runtime::thread;

fn processors(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap()
}

#[test]
fn each_task_runs_all_of_its_steps() {
    for count in [1, 2, 5] {
        let executor = Executor::alone(processors(count), 7);
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
        let taken: u64 = counters.iter().map(Counters::steps).sum();
        assert_eq!(taken, 50 * 21 + 50 * 20 * 5);
    }
}

#[test]
fn a_pinned_task_stays_on_its_processor() {
    let executor = Executor::alone(processors(3), 1);
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
        let executor = Executor::alone(processors(count), 1);
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
        let executor = Executor::alone(processors(2), round);
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
    let executor = Executor::alone(processors(2), 1);
    let others: Vec<_> = (0..10).map(|_| executor.spawn(|_| Step::Done)).collect();
    executor.spawn(|_| std::panic::resume_unwind(Box::new("mine")));
    let panic = catch_unwind(AssertUnwindSafe(|| executor.finish())).unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"mine"));
    assert!(others.iter().all(Handle::is_done));
}

/// Looks as the monitor does until the condition holds.
fn look_until(executor: &Executor, is_met: impl Fn() -> bool) {
    let ends_ns = now_ns() + 20_000_000_000;
    while !is_met() {
        assert!(now_ns() < ends_ns, "the monitor's looks change nothing");
        let _ = executor.look_after(now_ns());
        std::thread::yield_now();
    }
}

fn retakes(executor: &Executor) -> u64 {
    executor.shared.retakes.load(Ordering::Relaxed)
}

#[test]
fn a_blocked_step_loses_its_processor_and_its_task_goes_on_elsewhere() {
    let executor = Executor::alone(processors(1), 1);
    let (free, blocked) = mpsc::channel::<()>();
    let (done, ended) = mpsc::channel();
    let mut steps = 0;
    executor.spawn(move |turn| {
        steps += 1;
        if steps == 1 {
            // What this step readies has to wait for its processor.
            let free = free.clone();
            turn.spawn(move |_| {
                free.send(()).unwrap();
                Step::Done
            });
            blocked.recv().unwrap();
            // Without a processor: to the global queue.
            turn.spawn(|_| Step::Done);
            return Step::Yield;
        }
        done.send(steps).unwrap();
        Step::Done
    });
    look_until(&executor, || executor.alive() == 0);
    assert_eq!(ended.recv().unwrap(), 2);
    // One retake, and one more for each later step that the system kept off the CPU; a worker each
    // at most.
    let retakes = retakes(&executor) as usize;
    assert!(retakes >= 1);
    let workers = executor.shared.idle.workers().0;
    assert!((2..=1 + retakes).contains(&workers), "{workers} {retakes}");
    drop(executor.finish());
}

#[test]
fn a_step_that_burns_or_has_nobody_waiting_keeps_its_processor() {
    let executor = Executor::alone(processors(1), 1);
    let (is_over, began) = (Arc::new(AtomicBool::new(false)), mpsc::channel());
    let (flag, tell) = (Arc::clone(&is_over), began.0);
    executor.spawn(move |turn| {
        turn.spawn(|_| Step::Done);
        tell.send(()).unwrap();
        while !flag.load(Ordering::Relaxed) {
            std::hint::spin_loop();
        }
        Step::Done
    });
    began.1.recv().unwrap();
    // By its own clock it is always on the CPU, however busy the machine is.
    let cpu_ns =
        || thread::cpu_ns(executor.shared.seats[0].thread.load(Ordering::Relaxed)).unwrap();
    for look in 1..5 {
        while cpu_ns() < look * 40_000_000 {
            std::thread::yield_now();
        }
        let _ = executor.look_after(cpu_ns());
    }
    assert_eq!(retakes(&executor), 0);
    // By a clock that went on for an hour it was off the CPU.
    let _ = executor.look_after(cpu_ns() + 3_600_000_000_000);
    assert_eq!(retakes(&executor), 1);
    is_over.store(true, Ordering::Relaxed);
    drop(executor.finish());

    let executor = Executor::alone(processors(1), 1);
    let (free, blocked) = mpsc::channel::<()>();
    executor.spawn(move |_| {
        let _ = blocked.recv();
        Step::Done
    });
    for _ in 0..20 {
        let _ = executor.look_after(now_ns());
        std::thread::yield_now();
    }
    assert_eq!(retakes(&executor), 0);
    drop(free);
    drop(executor.finish());
}

#[test]
fn processors_without_work_are_nothing_to_look_after() {
    let executor = Executor::alone(processors(2), 1);
    assert_eq!(executor.look_after(now_ns()), Pulse::Idle);
    executor.spawn(|_| Step::Done);
    look_until(&executor, || executor.look_after(now_ns()) == Pulse::Idle);
    drop(executor.finish());
}

/// Reads `wanted` bytes and ends.
fn reader(socket: Watched, wanted: usize) -> impl FnMut(&mut Turn<'_>) -> Step {
    let mut seen = 0;
    move |turn| {
        loop {
            let key = socket.key;
            turn.clear(key, Side::Read);
            match stream::receive(socket.descriptor(), &mut [0; 7]).unwrap() {
                Some(count) => seen += count,
                None => match turn.arm(key, Side::Read, false) {
                    Armed::Again => {}
                    Armed::Waits => return Step::Wait,
                    Armed::Closed => return Step::Done,
                },
            }
            if seen >= wanted {
                return Step::Done;
            }
        }
    }
}

#[test]
fn a_task_that_waits_for_a_descriptor_is_woken_whether_somebody_polls_or_not() {
    for count in [1, 3] {
        let executor = Executor::alone(processors(count), 5);
        let mut ends = Vec::new();
        for _ in 0..20 {
            let (mine, other) = UnixStream::pair().unwrap();
            mine.set_nonblocking(true).unwrap();
            let mine = executor.watch(mine.into()).unwrap();
            executor.spawn(reader(mine, 100));
            ends.push(other);
        }
        // One that keeps a processor: nobody sleeps in the poller when there is one only.
        let is_over = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&is_over);
        executor.spawn(move |_| {
            if flag.load(Ordering::Relaxed) {
                Step::Done
            } else {
                Step::Yield
            }
        });
        for byte in 0..100 {
            for end in &ends {
                std::io::Write::write_all(&mut &*end, &[byte]).unwrap();
            }
        }
        look_until(&executor, || executor.alive() == 1);
        is_over.store(true, Ordering::Relaxed);
        drop(executor.finish());
    }
}

#[test]
fn a_timer_wakes_its_task_never_early_and_one_that_was_called_off_does_not() {
    let executor = Executor::alone(processors(2), 5);
    let late = Arc::new(AtomicUsize::new(0));
    for number in 0..50_u64 {
        let late = Arc::clone(&late);
        let mut due_ns = 0;
        executor.spawn(move |turn| {
            if due_ns == 0 {
                // The first one is replaced.
                turn.wake_at(now_ns() + 3_600_000_000_000);
                due_ns = now_ns() + number * 200_000;
                turn.wake_at(due_ns);
                return Step::Wait;
            }
            assert!(now_ns() >= due_ns, "a timer fired early");
            turn.wake_at(now_ns() + 3_600_000_000_000);
            turn.call_off();
            late.fetch_add(1, Ordering::Relaxed);
            Step::Done
        });
    }
    let shared = Arc::clone(&executor.shared);
    drop(executor.finish());
    assert_eq!(late.load(Ordering::Relaxed), 50);
    assert_eq!(shared.outside.counts(), (0, 0));
}

#[test]
fn stopping_ends_what_runs_waits_and_is_queued_and_drops_all_of_it() {
    let executor = Executor::alone(processors(2), 5);
    let held = Arc::new(());
    let (mine, _other) = UnixStream::pair().unwrap();
    mine.set_nonblocking(true).unwrap();
    let mine = executor.watch(mine.into()).unwrap();
    let (keeps, mut waits) = (Arc::clone(&held), reader(mine, 100));
    executor.spawn(move |turn| {
        let _ = &keeps;
        waits(turn)
    });
    let keeps = Arc::clone(&held);
    executor.spawn(move |turn| {
        let _ = &keeps;
        turn.wake_at(u64::MAX - 1);
        Step::Wait
    });
    for _ in 0..1_000 {
        let keeps = Arc::clone(&held);
        executor.spawn(move |turn| {
            let (keeps, _) = (Arc::clone(&keeps), turn.processor());
            turn.spawn(move |_| {
                let _ = &keeps;
                Step::Yield
            });
            Step::Yield
        });
    }
    executor.stop(Duration::from_secs(60));
    assert_eq!(executor.alive(), 0);
    assert_eq!(Arc::strong_count(&held), 1);
}

#[test]
fn a_step_that_is_blocked_for_longer_than_the_limit_ends_by_itself() {
    let executor = Executor::alone(processors(1), 5);
    let (free, blocked) = mpsc::channel::<()>();
    let (began, begins) = mpsc::channel();
    let held = Arc::new(());
    let keeps = Arc::clone(&held);
    executor.spawn(move |_| {
        let _ = &keeps;
        began.send(()).unwrap();
        let _ = blocked.recv();
        Step::Yield
    });
    begins.recv().unwrap();
    executor.stop(Duration::from_millis(1));
    assert_eq!(executor.alive(), 1);
    drop(free);
    executor.stop(Duration::from_secs(60));
    assert_eq!((executor.alive(), Arc::strong_count(&held)), (0, 1));
}
