//! The wheel against a sorted list, and its corners.

use std::collections::BTreeMap;

use super::*;
use crate::runtime::queue::victims::Random;

const MS: u64 = TICK_NS;
const DAY: u64 = 86_400_000 * MS;

/// Pops all that is due, with callbacks that see the wheel between.
fn due(wheel: &mut Wheel<u64>, now: u64) -> Vec<(u64, u64)> {
    std::iter::from_fn(|| wheel.pop_due(now))
        .map(|timer| (timer.deadline, timer.payload))
        .collect()
}

#[test]
fn an_empty_wheel_has_no_tick() {
    let mut wheel = Wheel::<u64>::new(0);
    assert_eq!((wheel.next_wake(), wheel.len()), (None, 0));
    assert!(wheel.pop_due(100 * DAY).is_none());
    let handle = wheel.insert(200 * DAY, 1);
    assert_eq!(wheel.next_wake(), Some(200 * DAY));
    assert_eq!(wheel.cancel(handle), Some(1));
    assert_eq!((wheel.cancel(handle), wheel.next_wake()), (None, None));
}

#[test]
fn a_single_timer_is_never_early_and_wakes_once() {
    for deadline in [
        0,
        1,
        MS,
        2 * MS + 1,
        300 * MS,
        70_000 * MS + 7,
        5 * DAY,
        49 * DAY,
        120 * DAY,
    ] {
        let mut wheel = Wheel::new(0);
        wheel.insert(deadline, 1);
        assert_eq!(wheel.next_wake(), Some(deadline));
        assert!(deadline == 0 || wheel.pop_due(deadline - 1).is_none());
        assert_eq!(wheel.next_wake(), Some(deadline));
        assert_eq!(due(&mut wheel, deadline), [(deadline, 1)]);
        assert_eq!(wheel.next_wake(), None);
    }
}

#[test]
fn timers_of_one_deadline_fire_in_the_order_of_insertion() {
    let mut wheel = Wheel::new(0);
    for payload in 0..1000 {
        wheel.insert(500 * MS, payload);
        due(&mut wheel, payload * MS / 3);
    }
    let payloads: Vec<u64> = due(&mut wheel, 500 * MS)
        .into_iter()
        .map(|timer| timer.1)
        .collect();
    assert_eq!(payloads, (0..1000).collect::<Vec<_>>());
}

#[test]
fn a_callback_may_insert_and_cancel() {
    let mut wheel = Wheel::new(0);
    let late = wheel.insert(20 * MS, 1);
    wheel.insert(10 * MS, 2);
    let first = wheel.pop_due(20 * MS).unwrap();
    assert_eq!(first.payload, 2);
    assert_eq!(wheel.cancel(late), Some(1));
    wheel.insert(5 * MS, 3); // Its deadline has passed: it is due in the same round.
    wheel.insert(21 * MS, 4);
    assert_eq!(due(&mut wheel, 20 * MS), [(5 * MS, 3)]);
    assert_eq!(due(&mut wheel, 21 * MS), [(21 * MS, 4)]);
}

#[test]
fn every_slot_of_every_level_is_full_and_empties() {
    let mut wheel = Wheel::new(0);
    let mut deadlines = Vec::new();
    for level in 0..LEVELS as u32 {
        deadlines.extend((1..600).map(|slot| (slot << (BITS * level)) * MS));
    }
    for deadline in &deadlines {
        wheel.insert(*deadline, *deadline);
    }
    deadlines.sort_unstable();
    let mut now = 0;
    let mut fired = Vec::new();
    while let Some(wake) = wheel.next_wake() {
        assert!(wake > now, "no progress");
        now = wake;
        fired.extend(due(&mut wheel, now).into_iter().map(|timer| timer.0));
    }
    assert_eq!(fired, deadlines);
}

#[test]
fn a_crowded_slot_goes_down_share_by_share() {
    let mut wheel = Wheel::new(0);
    let count = 50_000;
    for at in 0..count {
        wheel.insert((140_000 + at) * MS, at);
    }
    let crowd = |wheel: &Wheel<u64>| wheel.crowd(2).map_or(0, |(_, count)| count);
    let mut before = crowd(&wheel);
    let mut shares = 0;
    while before > SHARE {
        let wake = wheel.next_wake().unwrap();
        assert!(wheel.first_due().is_some_and(|due| due >= 140_000 * MS));
        assert!(due(&mut wheel, wake).is_empty());
        assert!(before - crowd(&wheel) <= 2 * SHARE);
        before = crowd(&wheel);
        shares += 1;
    }
    assert!(wheel.horizon < 131_072 && shares < 100, "{shares}");
    assert_eq!(due(&mut wheel, 200_000 * MS).len() as u64, count);
}

/// A history drawn by a seed, against a map by deadline and sequence.
fn play(seed: u64, spread: u64, steps: u64) {
    let mut random = Random::new(seed);
    let origin = random.draw() % DAY;
    let mut wheel = Wheel::new(origin);
    let mut plain = BTreeMap::new();
    let mut handles = Vec::new();
    let mut now = origin;
    for number in 0..steps {
        match random.draw() % 8 {
            0..4 => {
                let delay = (random.draw() % spread) >> (random.draw() % 40);
                let deadline = now + delay;
                handles.push((wheel.insert(deadline, number), deadline, number));
                plain.insert((deadline, number), number);
            }
            4..6 if !handles.is_empty() => {
                let at = (random.draw() % handles.len() as u64) as usize;
                let (handle, deadline, number) = handles.swap_remove(at);
                assert_eq!(wheel.cancel(handle), plain.remove(&(deadline, number)));
            }
            _ => {
                let wake = wheel.next_wake();
                let first = plain.first_key_value().map(|(key, _)| key.0);
                assert_eq!(wake.is_some(), first.is_some());
                assert!(wake.zip(first).is_none_or(|(wake, first)| wake <= first));
                now += (random.draw() % spread) >> (random.draw() % 40);
                if random.draw().is_multiple_of(2) {
                    now = now.min(wake.unwrap_or(now));
                }
                let later = plain.split_off(&(now + 1, 0));
                let expected: Vec<_> = plain.iter().map(|(key, number)| (key.0, *number)).collect();
                assert_eq!(due(&mut wheel, now), expected);
                plain = later;
            }
        }
        assert_eq!(wheel.len(), plain.len());
    }
}

#[test]
fn random_histories_equal_a_sorted_list() {
    for seed in 0..60 {
        for spread in [20 * MS, 3_000 * MS, 400_000 * MS, DAY, 300 * DAY] {
            play(seed, spread, 1_500);
        }
    }
}
