//! What timers cost: insert, cancel most in random order, fire the rest; a plain heap beside it.
//!
//! `python -m bench.micro.bench_timers` prints it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hint::black_box;
use std::thread;
use std::time::Instant;

use super::shards::{Shards, Timed, Timer};
use super::wheel::Wheel;
use crate::runtime::queue::victims::Random;
use crate::runtime::sync::Arc;

const MS: u64 = 1_000_000;

/// Nanoseconds a timer, and bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Costs {
    pub insert: f64,
    pub cancel: f64,
    /// Going through the time in steps of 1 ms and taking what is due, by timer that fires.
    pub fire: f64,
    /// The longest of these steps, in nanoseconds.
    pub step_max: f64,
    /// Bytes held after the insertions, after the cancellations, and after as many insertions
    /// again.
    pub bytes: [usize; 3],
}

fn each(start: Instant, count: usize) -> f64 {
    start.elapsed().as_nanos() as f64 / count.max(1) as f64
}

fn deadlines(count: usize, random: &mut Random) -> Vec<u64> {
    (0..count)
        .map(|_| 30_000 * MS + random.draw() % (60_000 * MS))
        .collect()
}

fn shuffled<T>(mut items: Vec<T>, random: &mut Random) -> Vec<T> {
    for at in (1..items.len()).rev() {
        items.swap(at, (random.draw() % (at as u64 + 1)) as usize);
    }
    items
}

/// Steps through the 90 s, with `fire` at each; gives the sum and the longest in nanoseconds.
fn step_through(mut fire: impl FnMut(u64)) -> (f64, f64) {
    let (mut sum, mut longest) = (0.0_f64, 0.0_f64);
    for tick in 0..=90_000 {
        let start = Instant::now();
        fire(tick * MS);
        let spent = start.elapsed().as_nanos() as f64;
        sum += spent;
        longest = longest.max(spent);
    }
    (sum, longest)
}

/// A wheel by one thread.
#[must_use]
pub fn wheel(count: usize, seed: u64) -> Costs {
    let mut random = Random::new(seed);
    let (first, second) = (deadlines(count, &mut random), deadlines(count, &mut random));
    let mut costs = Costs::default();
    let mut wheel = Wheel::new(0);
    let start = Instant::now();
    let handles: Vec<_> = first
        .iter()
        .map(|deadline| wheel.insert(*deadline, 1_u64))
        .collect();
    costs.insert = each(start, count);
    costs.bytes[0] = wheel.bytes();
    let chosen = shuffled(handles, &mut random);
    let most = count * 9 / 10;
    let start = Instant::now();
    for handle in &chosen[..most] {
        black_box(wheel.cancel(*handle));
    }
    costs.cancel = each(start, most);
    costs.bytes[1] = wheel.bytes();
    for deadline in &second[..most] {
        wheel.insert(*deadline, 1);
    }
    costs.bytes[2] = wheel.bytes();
    let pending = wheel.len();
    let (sum, longest) = step_through(|now| while black_box(wheel.pop_due(now)).is_some() {});
    (costs.fire, costs.step_max) = (sum / pending as f64, longest);
    costs
}

/// std's heap, with the usual way to cancel: a mark that is seen when the timer is due.
#[must_use]
pub fn heap(count: usize, seed: u64) -> Costs {
    let mut random = Random::new(seed);
    let (first, second) = (deadlines(count, &mut random), deadlines(count, &mut random));
    let mut costs = Costs::default();
    let mut heap = BinaryHeap::new();
    let mut is_cancelled = vec![false; 2 * count];
    let bytes = |heap: &BinaryHeap<_>| heap.capacity() * size_of::<(u64, usize)>() + 2 * count;
    let start = Instant::now();
    for (at, deadline) in first.iter().enumerate() {
        heap.push(Reverse((*deadline, at)));
    }
    costs.insert = each(start, count);
    costs.bytes[0] = bytes(&heap);
    let chosen = shuffled((0..count).collect(), &mut random);
    let most = count * 9 / 10;
    let start = Instant::now();
    for at in &chosen[..most] {
        is_cancelled[*at] = true;
    }
    costs.cancel = each(start, most);
    costs.bytes[1] = bytes(&heap);
    for (at, deadline) in second[..most].iter().enumerate() {
        heap.push(Reverse((*deadline, count + at)));
    }
    costs.bytes[2] = bytes(&heap);
    let (sum, longest) = step_through(|now| {
        while heap
            .peek()
            .is_some_and(|Reverse((deadline, _))| *deadline <= now)
        {
            let at = heap.pop().map_or(0, |Reverse((_, at))| at);
            black_box(is_cancelled[at]);
        }
    });
    (costs.fire, costs.step_max) = (sum / count as f64, longest);
    costs
}

/// Timers in shards, by several threads at once; `is_shared` makes them all use one processor's.
///
/// Nanoseconds by timer of the slowest thread, for inserting and for cancelling nine of ten; and
/// how many shards were in use then.
///
/// # Panics
///
/// Where a thread panics.
#[must_use]
pub fn shards(count: usize, threads: usize, is_shared: bool, seed: u64) -> (f64, f64, usize) {
    let shards = Shards::new(if is_shared { 1 } else { threads }, 0);
    let each_thread = count / threads;
    let work = |thread: usize| {
        let shards = &shards;
        move || {
            let mut random = Random::new(seed ^ thread as u64);
            let processor = if is_shared { 0 } else { thread };
            let deadlines = deadlines(each_thread, &mut random);
            let timers: Vec<_> = (0..each_thread).map(Timer::new).collect();
            let start = Instant::now();
            for (at, (timer, deadline)) in timers.iter().zip(&deadlines).enumerate() {
                black_box(
                    shards
                        .insert(processor, *deadline, Arc::clone(timer))
                        .is_ok(),
                );
                if at % 1024 == 0 && thread == 0 && !is_shared {
                    // Nothing is due: the table adapts.
                    shards.poll(at as u64, 64, &mut Vec::new());
                }
            }
            let insert = each(start, each_thread);
            let chosen = shuffled(timers, &mut random);
            let most = each_thread * 9 / 10;
            let start = Instant::now();
            for timer in &chosen[..most] {
                black_box(shards.cancel(timer.location()));
            }
            (insert, each(start, most))
        }
    };
    let costs: Vec<(f64, f64)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(work(thread)))
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().expect("no panic"))
            .collect()
    });
    let most = |of: fn(&(f64, f64)) -> f64| costs.iter().map(of).fold(0.0, f64::max);
    (most(|cost| cost.0), most(|cost| cost.1), shards.active())
}
