//! A line on stderr now and then, in the format of Go's `GODEBUG=schedtrace=1000`.
//!
//! The monitor writes it, so that it comes also while the interpreter is stuck. It never waits for
//! whoever reads stderr: a line that does not fit is left out.

use std::fmt;

/// What the line says. The first processor is the Python one.
#[derive(Clone, Debug)]
pub struct Sched {
    pub since_start_ms: u64,
    pub idle_processors: usize,
    /// Workers and the monitor.
    pub threads: usize,
    /// The Python processor's owner does not spin: it alone looks for tasks.
    pub spinning_threads: usize,
    pub idle_threads: usize,
    /// Runnable tasks in the global queues.
    pub global: usize,
    /// Runnable tasks in each processor's queue, and steps begun.
    pub local: Vec<usize>,
    pub steps: Vec<u64>,
}

struct List<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for List<'_, T> {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        text.write_str("[ ")?;
        self.0.iter().try_for_each(|one| write!(text, "{one} "))?;
        text.write_str("]")
    }
}

impl fmt::Display for Sched {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A processor comes before its spinner is counted: nobody needs one.
        write!(
            text,
            "SCHED {}ms: gomaxprocs={} idleprocs={} threads={} spinningthreads={} needspinning=0 \
             idlethreads={} runqueue={} {} schedticks={}",
            self.since_start_ms,
            self.local.len(),
            self.idle_processors,
            self.threads,
            self.spinning_threads,
            self.idle_threads,
            self.global,
            List(&self.local),
            List(&self.steps),
        )
    }
}

/// When the next line is due.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    pub began_ns: u64,
    pub every_ns: u64,
    next_ns: u64,
}

impl Schedule {
    #[must_use]
    pub fn new(began_ns: u64, every_ns: u64) -> Self {
        Self {
            began_ns,
            every_ns: every_ns.max(1),
            next_ns: began_ns + every_ns.max(1),
        }
    }

    /// Whether a line is due; times that were missed are left out.
    pub fn is_due(&mut self, now_ns: u64) -> bool {
        if now_ns < self.next_ns {
            return false;
        }
        let missed = (now_ns - self.next_ns) / self.every_ns;
        self.next_ns += (missed + 1) * self.every_ns;
        true
    }

    /// Until the next one.
    #[must_use]
    pub fn left_ns(&self, now_ns: u64) -> u64 {
        self.next_ns.saturating_sub(now_ns)
    }
}

/// Writes the line, or leaves it out where that would wait.
pub fn write_line(sched: &Sched) {
    let line = format!("{sched}\n");
    let mut stderr = libc::pollfd {
        fd: libc::STDERR_FILENO,
        events: libc::POLLOUT,
        revents: 0,
    };
    // SAFETY: one entry, which is ours. A pipe that is writable takes a line of this length whole.
    let has_room = unsafe { libc::poll(&raw mut stderr, 1, 0) } == 1;
    if has_room && stderr.revents & libc::POLLOUT != 0 {
        // SAFETY: the bytes are alive for the call. What becomes of them is the reader's matter.
        let _ = unsafe { libc::write(libc::STDERR_FILENO, line.as_ptr().cast(), line.len()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_has_the_fields_of_go() {
        let sched = Sched {
            since_start_ms: 1009,
            idle_processors: 0,
            threads: 5,
            spinning_threads: 1,
            idle_threads: 2,
            global: 11,
            local: vec![53, 40],
            steps: vec![1203, 998],
        };
        assert_eq!(
            sched.to_string(),
            "SCHED 1009ms: gomaxprocs=2 idleprocs=0 threads=5 spinningthreads=1 needspinning=0 \
             idlethreads=2 runqueue=11 [ 53 40 ] schedticks=[ 1203 998 ]"
        );
    }

    #[test]
    fn a_line_that_was_missed_is_not_made_up_for() {
        let mut schedule = Schedule::new(100, 10);
        assert!(!schedule.is_due(109));
        assert_eq!(schedule.left_ns(109), 1);
        assert!(schedule.is_due(110));
        assert!(schedule.is_due(155));
        assert!(!schedule.is_due(159));
        assert_eq!(schedule.left_ns(159), 1);
    }
}
