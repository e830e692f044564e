//! The table: what fires, what is found again, and how it grows and shrinks.

use super::*;
use crate::runtime::queue::victims::Random;
use crate::runtime::sync::thread;

const MS: u64 = 1_000_000;

type Timers = Shards<Arc<Timer<usize>>>;

fn fire(shards: &Timers, now: u64) -> Vec<usize> {
    let mut due = Vec::new();
    shards.poll(now, usize::MAX, &mut due);
    due.into_iter().map(|timer| timer.payload.value).collect()
}

fn add(shards: &Timers, count: usize, deadline: u64) -> Vec<Arc<Timer<usize>>> {
    let timers: Vec<_> = (0..count).map(Timer::new).collect();
    for (at, timer) in timers.iter().enumerate() {
        let is_new = shards
            .insert(at % 2, deadline + at as u64, Arc::clone(timer))
            .is_ok();
        assert!(is_new);
    }
    timers
}

/// Polls at times at which nothing is due, until the table is as it should be.
fn settle(shards: &Timers, now: &mut u64, active: usize) {
    for _ in 0..20_000 {
        *now += 1;
        assert!(fire(shards, *now).is_empty());
        if shards.active() == active && shards.moves.lock().is_at_rest() {
            return;
        }
    }
    panic!("{} shards, not {active}", shards.active());
}

#[test]
fn few_timers_stay_in_a_shard_a_processor() {
    let shards = Timers::new(2, 0);
    assert_eq!((shards.next_wake(), shards.bytes()), (None, 0));
    let timers = add(&shards, 100, 50 * MS);
    assert_eq!(shards.next_wake(), Some(50 * MS));
    assert!(!shards.is_due(50 * MS - 1) && shards.is_due(50 * MS));
    assert_eq!(
        (shards.len(), shards.active(), shards.len_of(0)),
        (100, 2, 50)
    );
    assert_eq!(fire(&shards, 50 * MS), [0]);
    assert!(!timers[0].location.is_pending() && timers[1].location.is_pending());
    assert!(shards.cancel(&timers[0].location).is_none());
    assert_eq!(
        shards.cancel(&timers[1].location).map(|timer| timer.value),
        Some(1)
    );
    assert_eq!(fire(&shards, 60 * MS), (2..100).collect::<Vec<_>>());
    assert!(shards.is_empty() && shards.next_wake().is_none());
}

#[test]
fn a_pending_payload_is_not_inserted_twice() {
    let shards = Timers::new(1, 0);
    let timer = Timer::new(1);
    assert_eq!(shards.insert(0, MS, Arc::clone(&timer)).ok(), Some(true));
    assert!(shards.insert(0, 9 * MS, Arc::clone(&timer)).is_err());
    assert_eq!(shards.len(), 1);
    assert_eq!(fire(&shards, MS), [1]);
    assert_eq!(shards.insert(0, 9 * MS, timer).ok(), Some(true));
    assert_eq!(shards.insert(0, 99 * MS, Timer::new(2)).ok(), Some(false));
}

#[test]
fn what_is_retired_among_many_comes_back_once_and_never_fires() {
    let shards = Timers::fixed(2, 0);
    let timers = add(&shards, 3 * COLD, 50 * MS);
    let mut random = Random::new(7);
    let mut order: Vec<_> = (0..timers.len()).collect();
    for at in (1..order.len()).rev() {
        order.swap(at, (random.draw() % (at as u64 + 1)) as usize);
    }
    let (retired, kept) = order.split_at(2 * COLD);
    let mut came = Vec::new();
    for (count, at) in retired.iter().enumerate() {
        let (was_pending, payload) = shards.retire(&timers[*at].location);
        assert!(was_pending && !timers[*at].location.is_pending());
        came.extend(payload);
        assert_eq!(shards.len(), timers.len() - count - 1);
        assert!(!shards.retire(&timers[*at].location).0);
        if count % 1_000 == 0 {
            // Of one that is still linked, a new life.
            let again = shards.insert(0, 90 * MS, Arc::clone(&timers[*at]));
            assert!(again.is_ok() && timers[*at].location.is_pending());
            came.extend(shards.retire(&timers[*at].location).1);
        }
    }
    let again = retired.len().div_ceil(1_000);
    came.extend(shards.settle());
    assert_eq!(came.len(), retired.len() + again);
    came.sort_by_key(|timer| timer.value);
    came.dedup_by_key(|timer| timer.value);
    assert_eq!(came.len(), retired.len());
    drop(came);
    let is_free = |at: &usize| Arc::strong_count(&timers[*at]) == 1;
    assert!(retired.iter().all(is_free) && shards.settle().is_empty());
    let mut expected = kept.to_vec();
    expected.sort_unstable();
    assert_eq!(fire(&shards, 99 * MS), expected);
}

#[test]
fn what_was_retired_is_given_at_the_end_and_does_not_fire_before() {
    let shards = Timers::fixed(1, 0);
    let timers = add(&shards, COLD + 3, 50 * MS);
    for timer in &timers[..2] {
        let (was_pending, payload) = shards.retire(&timer.location);
        assert!(was_pending && payload.is_none());
    }
    assert_eq!(fire(&shards, 50 * MS + 2), [2]);
    assert!(shards.retire(&timers[3].location).0);
    let mut left: Vec<_> = shards.clear().iter().map(|timer| timer.value).collect();
    left.sort_unstable();
    let expected: Vec<_> = (0..timers.len()).filter(|value| *value != 2).collect();
    assert_eq!(left, expected);
    assert!(shards.is_empty() && timers.iter().all(|timer| Arc::strong_count(timer) == 1));
}

#[test]
fn a_poll_takes_no_more_than_its_limit() {
    let shards = Timers::new(2, 0);
    let _timers = add(&shards, 100, MS);
    let mut due = Vec::new();
    shards.poll(9 * MS, 30, &mut due);
    assert_eq!(due.len(), 30);
    assert!(shards.next_wake().is_some_and(|wake| wake <= 9 * MS));
    assert_eq!(fire(&shards, 9 * MS).len(), 70);
}

#[test]
fn the_table_grows_and_shrinks_and_loses_nothing() {
    let (shards, mut now) = (Timers::new(2, 0), 0);
    let timers = add(&shards, 700_000, 1_000_000 * MS);
    settle(&shards, &mut now, 128);
    let lengths: Vec<_> = (0..128).map(|at| shards.len_of(at)).collect();
    assert_eq!(lengths.iter().sum::<usize>(), 700_000);
    assert!(
        lengths.iter().all(|len| (3_000..9_000).contains(len)),
        "{lengths:?}"
    );
    let bytes = shards.bytes();
    for timer in &timers[1_000..] {
        assert_eq!(
            shards.cancel(&timer.location).map(|got| got.value),
            Some(timer.value)
        );
    }
    settle(&shards, &mut now, 2);
    assert_eq!(shards.len(), 1_000);
    assert!(shards.bytes() < bytes / 50, "{} of {bytes}", shards.bytes());
    assert_eq!(
        fire(&shards, 1_000_001 * MS),
        (0..1_000).collect::<Vec<_>>()
    );
}

#[test]
fn threads_insert_cancel_and_fire() {
    const EACH: usize = 30_000;
    let shards = Timers::new(2, 0);
    let fired = thread::scope(|scope| {
        let work = |processor: usize| {
            let shards = &shards;
            move || {
                let mut random = Random::new(processor as u64);
                let mut cancelled = 0;
                let mut pending = Vec::new();
                for at in 0..EACH {
                    let timer = Timer::new(at);
                    let deadline = random.draw() % (400 * MS);
                    assert!(
                        shards
                            .insert(processor, deadline, Arc::clone(&timer))
                            .is_ok()
                    );
                    pending.push(timer);
                    if random.draw().is_multiple_of(2) {
                        let one = pending.swap_remove((random.draw() as usize) % pending.len());
                        cancelled += usize::from(shards.cancel(&one.location).is_some());
                    }
                }
                cancelled
            }
        };
        let workers = [0, 1].map(|processor| scope.spawn(work(processor)));
        let mut ended = (0..2_000)
            .map(|at| fire(&shards, at * MS / 10).len())
            .sum::<usize>();
        ended += workers
            .into_iter()
            .map(|worker| worker.join().unwrap())
            .sum::<usize>();
        ended
    });
    let rest = fire(&shards, 400 * MS).len();
    assert_eq!(fired + rest, 2 * EACH);
    assert!(shards.is_empty());
}
