//! What the probe of a worker adds to each step. `python -m bench.micro.bench_trace` prints it.

use std::hint::black_box;

use super::super::poller::now_ns;
use super::Trace;

/// Nanoseconds a step.
#[derive(Clone, Copy, Debug)]
pub struct Costs {
    /// Reading the clock that durations are measured with, and the system's.
    pub clock: f64,
    pub system_clock: f64,
    /// The probe, with nobody tracing, and with a trace under way.
    pub off: f64,
    pub on: f64,
    /// Whether the clock is the processor's counter.
    pub is_counter: bool,
}

/// Measures each over so many rounds.
#[must_use]
pub fn costs(rounds: u64) -> Costs {
    let trace = Trace::new(1, 0);
    let clock = trace.clock;
    let timed = |round: &mut dyn FnMut(u64)| {
        let began = now_ns();
        (1..=rounds).for_each(round);
        (now_ns() - began) as f64 / rounds.max(1) as f64
    };
    let mut probe = trace.probe(0);
    let mut step = |task| {
        probe.begin(black_box(task));
        probe.end();
    };
    let off = timed(&mut step);
    trace.turn_on(1);
    let on = timed(&mut step);
    trace.turn_off();
    Costs {
        clock: timed(&mut |_| {
            black_box(clock.now());
        }),
        system_clock: timed(&mut |_| {
            black_box(now_ns());
        }),
        off,
        on,
        is_counter: clock.is_counter(),
    }
}
