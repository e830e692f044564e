//! How workers come, wait and go.

use super::*;
use crate::runtime::poller::now_ns;

#[test]
fn the_end_waits_for_visitors_that_leave_and_not_for_ever_for_others() {
    let crew = Crew::<()>::new(1);
    let (one, other) = (crew.admit(), crew.admit());
    let leaving = std::thread::spawn(move || drop(one));
    let began = now_ns();
    crew.wait_for_visitors(Duration::from_millis(20));
    assert!(now_ns() >= began + 20_000_000, "the other one has not left");
    leaving.join().unwrap();
    drop(other);
    crew.wait_for_visitors(Duration::from_secs(3600));
}

#[test]
fn a_function_waits_for_a_worker_when_none_is_idle() {
    let crew = Crew::new(3);
    crew.submit('f');
    assert!(crew.wants(0));
    let worker = crew.join();
    assert_eq!(crew.wait(worker, None, |_| ()), Some(Errand::Function('f')));
    assert!(!crew.wants(0));
}

#[test]
fn who_attends_gets_the_errand_or_goes_back() {
    let crew = Crew::<()>::new(3);
    let worker = crew.join();
    let idle = |crew: &Crew<()>| crew.wait(worker, Some(Duration::ZERO), |_| ());
    assert_eq!(crew.prompt(), None, "nobody is idle");
    // It comes first: the monitor has nothing to give it, and must pick somebody who waits.
    crew.roster.lock().idle.push(worker);
    assert_eq!(crew.prompt(), Some(worker));
    assert_eq!(crew.prompt(), None);
    assert_eq!(crew.await_errand(worker), Some(Errand::Attend));
    assert!(crew.is_attending(worker) && crew.end_attendance(worker));
    assert!(!crew.end_attendance(worker));
    assert_eq!(idle(&crew), None);
    // The monitor comes first: the errand follows, whether or not the worker has begun.
    for has_begun in [true, false] {
        crew.roster.lock().idle.push(worker);
        assert_eq!(crew.prompt(), Some(worker));
        if has_begun {
            assert_eq!(crew.await_errand(worker), Some(Errand::Attend));
        }
        assert!(crew.end_attendance(worker));
        crew.tell(worker, Errand::Taken(0));
        assert!(!crew.end_attendance(worker));
        assert_eq!(crew.await_errand(worker), Some(Errand::Taken(0)));
    }
}

#[test]
fn whoever_attends_is_never_told_twice_or_forgotten() {
    let crew = Crew::<u32>::new(2);
    let worker = crew.join();
    std::thread::scope(|scope| {
        let serving = scope.spawn(|| {
            let mut taken = 0;
            loop {
                let mut errand = crew.wait(worker, None, |_| ());
                if errand == Some(Errand::Attend) {
                    errand = crew.attended(worker, || crew.await_errand(worker));
                }
                match errand {
                    Some(Errand::Taken(_)) => taken += 1,
                    Some(Errand::Stop) => return taken,
                    errand => assert_eq!(errand, None),
                }
            }
        });
        let mut told = 0;
        let mut random = 1_u32;
        while told < 2_000 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let Some(worker) = crew.prompt() else {
                std::thread::yield_now();
                continue;
            };
            (0..random >> 25).for_each(|_| std::hint::spin_loop());
            if !crew.end_attendance(worker) {
                continue;
            }
            if random & 1 << 20 == 0 {
                crew.put_back(worker);
            } else {
                crew.tell(worker, Errand::Taken(0));
                told += 1;
            }
        }
        crew.stop();
        assert_eq!(serving.join().unwrap(), told);
    });
}

#[test]
fn no_more_workers_are_wanted_than_the_bound_allows() {
    let crew = Crew::<()>::new(3);
    assert!(crew.wants(9) && crew.wants(9));
    assert!(!crew.wants(9));
    crew.dismiss();
    assert!(crew.wants(9));
}

#[test]
fn a_bound_task_waits_for_its_worker_and_a_locked_worker_gets_nothing_else() {
    let crew = Crew::new(3);
    let worker = crew.join();
    assert!(!crew.bind(worker, 'b'), "it is not idle yet");
    let wants = std::cell::Cell::new(false);
    crew.wait(worker, Some(Duration::ZERO), |is| wants.set(is));
    assert!(wants.get());
    assert_eq!((crew.pop_bound(0), crew.bound()), (None, 1));
    assert_eq!((crew.pop_bound(worker), crew.bound()), (Some('b'), 0));
    crew.lock(worker, 1);
    crew.submit('f');
    assert_eq!(crew.wait(worker, Some(Duration::ZERO), |_| ()), None);
    crew.unlock_all();
    let errand = crew.wait(worker, None, |_| ());
    assert_eq!(errand, Some(Errand::Function('f')));
}

#[test]
fn a_wait_that_ends_by_its_limit_leaves_nobody_idle() {
    let crew = Crew::<()>::new(3);
    assert_eq!(crew.wait(0, Some(Duration::ZERO), |_| ()), None);
    assert_eq!(crew.pick(), None);
}

#[test]
fn the_cpu_clock_of_a_thread_is_read_from_another() {
    let crew = Crew::<()>::new(1);
    crew.sit(0);
    let seat = crew.seat_of(0);
    let read = std::thread::spawn(move || seat.cpu_ns()).join().unwrap();
    assert!(read.is_some_and(|ns| ns > 0));
}
