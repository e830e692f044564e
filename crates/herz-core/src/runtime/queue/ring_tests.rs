//! The ring by one thread, step by step, and by many at once.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use super::*;
use crate::runtime::sync::thread;

fn item(number: usize) -> NonZeroUsize {
    NonZeroUsize::new(number).unwrap()
}

fn fill(owner: &mut Owner<NonZeroUsize>, global: &Global<NonZeroUsize>, count: usize) {
    (1..=count).for_each(|number| owner.push(item(number), global));
}

fn drain(owner: &mut Owner<NonZeroUsize>) -> Vec<usize> {
    std::iter::from_fn(|| owner.pop())
        .map(|(item, _)| item.get())
        .collect()
}

fn all(global: &Global<NonZeroUsize>) -> Vec<usize> {
    std::iter::from_fn(|| global.pop())
        .map(NonZeroUsize::get)
        .collect()
}

#[test]
fn items_leave_in_order_and_next_before_them() {
    let (mut owner, thief) = queue();
    let global = Global::default();
    assert!(owner.pop().is_none() && thief.is_empty());
    fill(&mut owner, &global, 3);
    owner.push_next(item(9), &global);
    owner.push_next(item(8), &global);
    assert_eq!((owner.len(), thief.len(), thief.has_next()), (5, 5, true));
    assert_eq!(owner.pop(), Some((item(8), Place::Next)));
    assert_eq!(owner.pop(), Some((item(1), Place::Ring)));
    assert_eq!(drain(&mut owner), [2, 3, 9]);
    assert!(thief.is_empty() && owner.is_empty());
}

#[test]
fn a_full_ring_gives_half_and_the_item_to_the_global_queue() {
    let (mut owner, _thief) = queue();
    let global = Global::default();
    fill(&mut owner, &global, 256);
    assert!(global.is_empty());
    owner.push(item(257), &global);
    let given: Vec<usize> = (1..=128).chain([257]).collect();
    assert_eq!(all(&global), given);
    assert_eq!(drain(&mut owner), (129..=256).collect::<Vec<_>>());
}

#[test]
fn a_thief_takes_half_rounded_up_and_runs_the_last() {
    for (count, taken) in [(1, 1), (2, 1), (3, 2), (7, 4), (256, 128)] {
        let (mut owner, thief) = queue();
        let (mut mine, _) = queue();
        let global = Global::default();
        fill(&mut owner, &global, count);
        assert_eq!(thief.steal(&mut mine, Pass::Early), Some(item(taken)));
        assert_eq!(drain(&mut mine), (1..taken).collect::<Vec<_>>());
        assert_eq!(drain(&mut owner), (taken + 1..=count).collect::<Vec<_>>());
    }
}

#[test]
fn a_thief_takes_no_more_than_it_has_room_for() {
    let (mut owner, thief) = queue();
    let (mut mine, _) = queue();
    let global = Global::default();
    fill(&mut owner, &global, 100);
    fill(&mut mine, &global, 254);
    assert_eq!(thief.steal(&mut mine, Pass::Early), Some(item(2)));
    assert_eq!(mine.room(), 1);
    fill(&mut mine, &global, 1);
    assert_eq!(thief.steal(&mut mine, Pass::Early), None);
}

#[test]
fn next_is_stolen_on_the_last_pass_only() {
    let (mut owner, thief) = queue();
    let (mut mine, _) = queue();
    let global = Global::default();
    owner.push_next(item(5), &global);
    assert_eq!(thief.steal(&mut mine, Pass::Early), None);
    assert_eq!(thief.steal(&mut mine, Pass::Last), Some(item(5)));
    assert_eq!(thief.steal(&mut mine, Pass::Last), None);
    assert!(owner.pop().is_none());
}

#[test]
fn a_share_of_the_global_queue_is_bounded() {
    for (size, processors, share) in [(1, 4, 1), (10, 4, 3), (10, 1, 10), (1000, 2, 128)] {
        let (mut owner, _thief) = queue();
        let global = Global::default();
        global.push_batch((1..=size).map(item));
        assert_eq!(global.take(&mut owner, processors), Some(item(1)));
        assert_eq!(owner.len() as usize, share - 1);
        assert_eq!(global.len(), size - share);
    }
}

#[test]
fn counts_wrap_round() {
    let (mut owner, thief) = queue();
    let (mut mine, _) = queue();
    let global = Global::default();
    let near = u32::MAX - 1;
    owner.ring.head.store(near, Ordering::Relaxed);
    owner.ring.tail.store(near, Ordering::Relaxed);
    fill(&mut owner, &global, 257);
    assert_eq!(global.len(), 129);
    assert_eq!(thief.steal(&mut mine, Pass::Early), Some(item(128 + 64)));
    assert_eq!(drain(&mut owner), (128 + 65..=256).collect::<Vec<_>>());
}

#[test]
fn what_is_left_is_dropped_once() {
    let witness = Arc::new(());
    let (mut owner, thief) = queue::<Arc<()>>();
    let global = Global::default();
    for _ in 0..300 {
        owner.push_next(Arc::clone(&witness), &global);
    }
    drop(thief);
    drop(owner);
    assert_eq!(Arc::strong_count(&witness), 1 + global.len());
    drop(global);
    assert_eq!(Arc::strong_count(&witness), 1);
}

#[test]
fn no_item_is_lost_or_taken_twice_by_many() {
    const ITEMS: usize = 200_000;
    let seen: Vec<AtomicUsize> = (0..ITEMS).map(|_| AtomicUsize::new(0)).collect();
    let (global, is_done) = (Global::default(), AtomicBool::new(false));
    let (mut owner, thief) = queue::<Box<usize>>();
    let count = |item: Box<usize>| seen[*item].fetch_add(1, Ordering::Relaxed);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let (mut mine, _) = queue();
                loop {
                    let is_last = is_done.load(Ordering::Acquire);
                    let item = thief.steal(&mut mine, Pass::Last).or_else(|| global.pop());
                    if let Some(item) = item {
                        count(item);
                    }
                    while let Some((item, _)) = mine.pop() {
                        count(item);
                    }
                    if is_last && thief.is_empty() && global.is_empty() {
                        break;
                    }
                }
            });
        }
        for number in 0..ITEMS {
            match number % 3 {
                0 => owner.push_next(Box::new(number), &global),
                1 => owner.push(Box::new(number), &global),
                _ => {
                    owner.push(Box::new(number), &global);
                    if let Some((item, _)) = owner.pop() {
                        count(item);
                    }
                }
            }
        }
        is_done.store(true, Ordering::Release);
    });
    assert!(seen.iter().all(|times| times.load(Ordering::Relaxed) == 1));
}
