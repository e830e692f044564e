use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::descriptors::{Descriptors, Key, Over, Refusal, Side};
use super::poller::{Events, Poller, now_ns};
use super::task::{Generation, Word};

const SECOND_NS: u64 = 1_000_000_000;

fn generation() -> Generation {
    let word = Word::default();
    word.start();
    word.prepare()
}

struct World {
    poller: Poller,
    descriptors: Descriptors<u64>,
    /// Tasks that were told.
    told: Mutex<Vec<u64>>,
}

impl World {
    fn new() -> Self {
        Self {
            poller: Poller::new().unwrap(),
            descriptors: Descriptors::default(),
            told: Mutex::default(),
        }
    }

    fn own(&self, stream: &UnixStream) -> Key {
        let number = stream.as_raw_fd().cast_unsigned();
        let (key, over) = self.descriptors.own(&self.poller, number);
        self.tell(over);
        key.unwrap()
    }

    fn arm(&self, key: Key, side: Side, task: u64) -> Result<(), Refusal> {
        let armed = self.descriptors.arm(key, side, task, generation(), false);
        armed.map_err(|(refusal, _)| refusal)
    }

    fn tell(&self, over: Over<u64>) -> usize {
        let tasks: Vec<u64> = over.into_iter().flatten().map(|(task, _)| task).collect();
        self.told.lock().unwrap().extend(&tasks);
        self.descriptors.note_woken(tasks.len());
        tasks.len()
    }

    fn poll(&self) {
        let mut events = Events::default();
        self.poller.glance(&mut events);
        for (key, what) in events.drain() {
            self.tell(self.descriptors.event(key, what));
        }
    }

    fn was_told(&self, task: u64) -> bool {
        self.told.lock().unwrap().contains(&task)
    }
}

#[test]
fn an_edge_is_kept_until_somebody_tries() {
    let world = World::new();
    let (mine, mut other) = UnixStream::pair().unwrap();
    let key = world.own(&mine);
    world.poll();
    assert_eq!(world.arm(key, Side::Write, 1), Err(Refusal::Ready));
    world.descriptors.clear(key, Side::Read);
    assert_eq!(world.arm(key, Side::Read, 2), Ok(()));
    assert_eq!(world.arm(key, Side::Read, 3), Err(Refusal::Busy));
    other.write_all(b"x").unwrap();
    world.poll();
    assert!(world.was_told(2));
    // Kept although a task was told: it may not have read.
    assert_eq!(world.arm(key, Side::Read, 4), Err(Refusal::Ready));
    world.descriptors.clear(key, Side::Read);
    assert_eq!(world.arm(key, Side::Read, 5), Ok(()));
    world.poll();
    assert!(!world.was_told(5), "an edge is told once");
}

#[test]
fn an_end_is_no_time_to_wait_without_trying() {
    let world = World::new();
    let (mine, other) = UnixStream::pair().unwrap();
    let key = world.own(&mine);
    drop(other);
    world.poll();
    world.descriptors.clear(key, Side::Read);
    let armed = world
        .descriptors
        .arm(key, Side::Read, 1, generation(), true);
    assert_eq!(armed, Err((Refusal::Ready, 1)));
}

#[test]
fn a_disarmed_task_is_not_told_and_another_waits_number_is_refused() {
    let world = World::new();
    let (mine, mut other) = UnixStream::pair().unwrap();
    let key = world.own(&mine);
    let word = Word::default();
    word.start();
    let early = word.prepare();
    word.call_off();
    let late = word.prepare();
    let armed = world.descriptors.arm(key, Side::Read, 1, late, false);
    assert_eq!(armed, Ok(()));
    assert_eq!(world.descriptors.disarm(key, Side::Read, early), None);
    assert_eq!(world.descriptors.disarm(key, Side::Read, late), Some(1));
    assert!(!world.descriptors.is_armed());
    other.write_all(b"x").unwrap();
    world.poll();
    assert!(!world.was_told(1));
}

#[test]
fn a_file_that_is_always_ready_cannot_be_watched() {
    let world = World::new();
    let file = std::fs::File::open("/proc/self/exe").unwrap();
    let number = file.as_raw_fd().cast_unsigned();
    assert!(world.descriptors.share(&world.poller, number).is_err());
    assert!(world.descriptors.key_of(number).is_none());
}

/// What opens a number that somebody still waits for ends those waits.
#[test]
fn the_next_owner_of_a_number_ends_waits_for_the_former() {
    let world = World::new();
    let (mine, other) = UnixStream::pair().unwrap();
    let number = mine.as_raw_fd().cast_unsigned();
    let key = world.descriptors.share(&world.poller, number).unwrap();
    assert_eq!(world.arm(key, Side::Read, 1), Ok(()));
    let next = world.own(&mine);
    assert!(world.was_told(1));
    assert_eq!(world.arm(key, Side::Read, 2), Err(Refusal::Closed));
    assert_eq!(world.arm(next, Side::Read, 3), Ok(()));
    drop(other);
    world.poll();
    assert!(world.was_told(3));
}

fn random(state: &mut u64) -> u64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

/// One owner's life: opens, arms, writes or does not, closes, opens the number again.
fn reopen(world: &World, tasks: &AtomicU64, seed: u64, rounds: u64) {
    let mut state = seed;
    for _ in 0..rounds {
        let (mine, mut other) = UnixStream::pair().unwrap();
        let key = world.own(&mine);
        let task = tasks.fetch_add(1, Ordering::Relaxed);
        world.descriptors.clear(key, Side::Read);
        world.arm(key, Side::Read, task).unwrap();
        let writes = random(&mut state).is_multiple_of(2);
        if writes {
            other.write_all(b"x").unwrap();
        }
        let waits = writes && random(&mut state).is_multiple_of(2);
        while waits && !world.was_told(task) {
            std::thread::yield_now();
        }
        let was_told = world.was_told(task);
        assert!(writes || !was_told, "another's event came");
        let over = world.tell(world.descriptors.close(&world.poller, key));
        assert!(over <= 1 && (!waits || over == 0));
        let count = {
            let told = world.told.lock().unwrap();
            told.iter().filter(|&&each| each == task).count()
        };
        // An event may have taken the wait and not yet told.
        assert!(count <= 1);
    }
}

#[test]
fn descriptors_that_are_reused_by_many_threads_mix_no_events_up() {
    let rounds = if cfg!(debug_assertions) {
        2_000
    } else {
        10_000
    };
    let world = World::new();
    let tasks = AtomicU64::new(0);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    world.poll();
                }
            });
        }
        let owners: Vec<_> = (1..=3)
            .map(|seed| {
                let (world, tasks) = (&world, &tasks);
                scope.spawn(move || reopen(world, tasks, seed, rounds))
            })
            .collect();
        let ended: Vec<_> = owners
            .into_iter()
            .map(std::thread::ScopedJoinHandle::join)
            .collect();
        is_over.store(true, Ordering::Relaxed);
        assert!(ended.iter().all(Result::is_ok));
    });
    let mut told = world.told.into_inner().unwrap();
    told.sort_unstable();
    let all = tasks.into_inner();
    assert!(told.into_iter().eq(0..all), "each wait ends exactly once");
    assert!(!world.descriptors.is_armed());
}

/// The monitor's glances take no wake-up from the thread that waits.
#[test]
fn a_wake_up_is_not_lost_to_another_poller() {
    let rounds = 3_000;
    let poller = Poller::new().unwrap();
    let asked = AtomicU64::new(0);
    let answered = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut events = Events::default();
            while answered.load(Ordering::Relaxed) < rounds {
                poller.glance_for_others(&mut events);
            }
        });
        scope.spawn(|| {
            for round in 1..=rounds {
                asked.store(round, Ordering::Relaxed);
                poller.wake();
                while answered.load(Ordering::Relaxed) < round {
                    std::thread::yield_now();
                }
            }
        });
        let mut events = Events::default();
        for round in 1..=rounds {
            while asked.load(Ordering::Relaxed) < round {
                poller.prepare();
                if asked.load(Ordering::Relaxed) >= round {
                    poller.call_off();
                    break;
                }
                let began_ns = now_ns();
                poller.wait(Some(began_ns + 20 * SECOND_NS), &mut events);
                assert!(now_ns() < began_ns + 20 * SECOND_NS, "a wake-up was lost");
            }
            answered.store(round, Ordering::Relaxed);
        }
    });
}

#[test]
fn a_signal_that_the_monitor_sees_still_ends_the_next_wait() {
    let poller = Poller::new().unwrap();
    let (mine, mut other) = UnixStream::pair().unwrap();
    mine.set_nonblocking(true).unwrap();
    poller.listen(mine.into()).unwrap();
    other.write_all(b"!").unwrap();
    let mut events = Events::default();
    assert!(!poller.glance_for_others(&mut events), "no task's event");
    let began_ns = now_ns();
    poller.prepare();
    poller.wait(Some(began_ns + 20 * SECOND_NS), &mut events);
    assert!(now_ns() < began_ns + 10 * SECOND_NS);
    // It was heard now, and is not heard again.
    poller.prepare();
    poller.wait(Some(now_ns() + 1_000_000), &mut events);
    assert!(!poller.glance(&mut events));
}
