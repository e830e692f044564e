//! Steps that lasted too long, from the monitor that sees them to whoever says so.
//!
//! The monitor must never wait for the interpreter, so it only leaves a note, and has a thread
//! started that takes the notes and writes them where the user's log goes.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::super::poller::now_ns;
use super::super::processor::WorkerId;
use super::super::sync::{Arc, Lock};

/// A step that lasted too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stall {
    pub worker: WorkerId,
    pub task: u64,
    /// How long the step had lasted when it was seen.
    pub lasted_ns: u64,
    /// The processor was taken out of it; otherwise it could not be, or must not.
    pub is_detached: bool,
    /// The thread used no CPU.
    pub is_off_cpu: bool,
    /// Hand-off rests: a garbage collection runs, or a debugger holds a task.
    pub is_paused: bool,
    /// When it was seen, by the monotonic clock.
    pub at_ns: u64,
}

/// Has a thread started that calls `take`; never blocks.
pub type Report = dyn Fn() + Send + Sync;

/// Bound: notes at once, and in any second. What is above is counted.
const NOTES_MAX: usize = 10;
const SECOND_NS: u64 = 1_000_000_000;

#[derive(Default)]
struct Notes {
    report: Option<Arc<Report>>,
    waiting: Vec<Stall>,
    /// Somebody was told, and has not taken the last note.
    is_reporting: bool,
    /// Notes since `second_ns`.
    count: usize,
    second_ns: u64,
    /// Stalls that were too many to be noted, since the last note.
    skipped: u64,
}

#[derive(Default)]
pub struct Stalls {
    notes: Lock<Notes>,
}

impl Stalls {
    /// Who is told that there are notes.
    pub fn set_report(&self, report: Option<Arc<Report>>) {
        self.notes.lock().report = report;
    }

    /// Leaves a note, and has it reported. One reporter at a time is started, so that the notes are
    /// read in their order; it takes notes until there are none.
    pub fn add(&self, stall: Stall) {
        let report = {
            let mut notes = self.notes.lock();
            let Some(report) = notes.report.clone() else {
                return;
            };
            if stall.at_ns >= notes.second_ns + SECOND_NS {
                notes.second_ns = stall.at_ns;
                notes.count = 0;
            }
            notes.count += 1;
            if notes.count > NOTES_MAX {
                notes.skipped += 1;
                return;
            }
            notes.waiting.push(stall);
            let is_reporting = std::mem::replace(&mut notes.is_reporting, true);
            (!is_reporting).then_some(report)
        };
        if let Some(report) = report {
            report();
        }
    }

    /// The notes, and how many stalls before them were not noted. Without any the reporter must
    /// end: the next note starts another.
    pub fn take(&self) -> (Vec<Stall>, u64) {
        let mut notes = self.notes.lock();
        notes.is_reporting = !notes.waiting.is_empty();
        let skipped = std::mem::take(&mut notes.skipped);
        (std::mem::take(&mut notes.waiting), skipped)
    }

    /// The reporter could not do its work; what it did not take nobody will.
    pub fn give_up(&self) {
        let mut notes = self.notes.lock();
        notes.is_reporting = false;
        notes.waiting.clear();
    }
}

/// A wait for the interpreter of the calling thread.
#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    since_ns: u64,
    delay_ns: u64,
}

impl Waiting {
    #[must_use]
    pub fn begin() -> Self {
        Self {
            since_ns: now_ns(),
            delay_ns: run_delay_ns(),
        }
    }

    /// How long it has lasted. When the thread could have run but had no CPU is not counted: on a
    /// busy machine that is nobody's fault here.
    #[must_use]
    pub fn lasted_ns(self) -> u64 {
        let lasted = now_ns().saturating_sub(self.since_ns);
        lasted.saturating_sub(run_delay_ns().saturating_sub(self.delay_ns))
    }
}

thread_local! {
    /// Opened once a thread: opening costs more than reading.
    static SCHEDSTAT: Option<File> = File::open("/proc/thread-self/schedstat").ok();
}

/// Nanoseconds that this thread has waited for a CPU; 0 where the kernel does not say.
fn run_delay_ns() -> u64 {
    let mut text = [0; 64];
    let read = SCHEDSTAT.with(|stat| stat.as_ref()?.read_at(&mut text, 0).ok());
    let text = std::str::from_utf8(&text[..read.unwrap_or(0)]);
    delay_of(text.unwrap_or_default())
}

/// The second of the kernel's three numbers: time on a CPU, time without one, turns.
fn delay_of(stat: &str) -> u64 {
    let delay = stat.split_whitespace().nth(1);
    delay.and_then(|delay| delay.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::super::sync::{AtomicUsize, Ordering};
    use super::*;

    fn stall(at_ns: u64) -> Stall {
        Stall {
            worker: 0,
            task: 1,
            lasted_ns: 5_000_000,
            is_detached: true,
            is_off_cpu: false,
            is_paused: false,
            at_ns,
        }
    }

    #[test]
    fn at_most_ten_in_a_second_are_noted_and_the_rest_is_counted() {
        let stalls = Stalls::default();
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        stalls.set_report(Some(Arc::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        })));
        let start = 7 * SECOND_NS;
        (0..25).for_each(|number| stalls.add(stall(start + number)));
        let (notes, skipped) = stalls.take();
        assert_eq!((notes.len(), skipped), (10, 15));
        assert_eq!(calls.load(Ordering::Relaxed), 1, "one reporter takes all");
        stalls.add(stall(start + SECOND_NS));
        assert_eq!(stalls.take(), (vec![stall(start + SECOND_NS)], 0));
        assert_eq!(stalls.take(), (vec![], 0));
        assert_eq!(calls.load(Ordering::Relaxed), 1, "it had not found the end");
        stalls.add(stall(start + 2 * SECOND_NS));
        assert_eq!(calls.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_wait_counts_but_for_the_time_without_a_cpu() {
        let waiting = Waiting {
            since_ns: now_ns() - 30_000_000,
            delay_ns: run_delay_ns(),
        };
        let lasted = waiting.lasted_ns();
        assert!(lasted > 0 && lasted <= now_ns() - waiting.since_ns);
        assert_eq!(delay_of("17 947691 3\n"), 947_691);
        assert_eq!(delay_of(""), 0);
        // Four threads on fewer CPUs wait for each other; each says so.
        let spin = || {
            let (waiting, began) = (Waiting::begin(), now_ns());
            while now_ns() < began + 100_000_000 {
                std::hint::spin_loop();
            }
            (waiting.lasted_ns(), run_delay_ns())
        };
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(spin)).collect();
        for thread in threads {
            let (lasted, delay) = thread.join().unwrap();
            assert!(lasted + delay >= 100_000_000);
        }
    }

    #[test]
    fn nothing_is_noted_that_nobody_reports() {
        let stalls = Stalls::default();
        stalls.add(stall(SECOND_NS));
        assert_eq!(stalls.take(), (vec![], 0));
    }
}
