//! The network poller: who waits, who ends the wait, and the kernel's own clock.
//!
//! One thread polls at a time: the one that holds the processor, or the monitor for it. Timeouts
//! are nanoseconds, and the waiting thread's timer slack is 1 ns. Descriptors are watched for
//! edges, each under a key of [`super::descriptors`]. What the kernel does is behind one face:
//! [`list::List`], epoll on Linux and kqueue on macOS.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::time::{ClockId, Timespec, clock_gettime};

use super::descriptors::{Kernel, Key, Readiness};
use super::sync::{AtomicBool, OnceLock, Ordering, fence};

#[cfg(target_os = "linux")]
#[path = "poller/epoll.rs"]
mod list;
#[cfg(target_vendor = "apple")]
#[path = "poller/kqueue.rs"]
mod list;

use list::List;

const SECOND_NS: u64 = 1_000_000_000;
const EVENTS: usize = 128;
const NO_TIME: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};
/// What our own descriptors are registered under; no [`Key`] has such a word.
const BELL: u64 = u64::MAX;
const SIGNALS: u64 = u64::MAX - 1;

/// Nanoseconds of the monotonic clock.
#[must_use]
pub fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * SECOND_NS + now.tv_nsec as u64
}

pub struct Poller {
    list: List,
    /// A pipe to which the interpreter writes when a signal comes.
    signals: OnceLock<OwnedFd>,
    /// Whether somebody must ring for the poller to look again.
    asleep: AtomicBool,
    /// Whether somebody polls. The thread that waits has it from `prepare` to the end of its wait:
    /// nobody else can take the edge of the bell that is rung for it.
    turn: AtomicBool,
    /// Who made it: in the child of a fork the kernel's list is still the parent's.
    process: u32,
}

/// Room for what one look at the kernel brings.
pub struct Events(Vec<list::Event>);

// SAFETY: plain data. What makes an event look bound to its thread is that its word may be a
// pointer; ours are keys.
unsafe impl Send for Events {}

impl Default for Events {
    fn default() -> Self {
        Self(Vec::with_capacity(EVENTS))
    }
}

impl Events {
    /// The events of watched descriptors.
    pub fn drain(&mut self) -> impl Iterator<Item = (Key, Readiness)> + '_ {
        self.0
            .drain(..)
            .map(|event| (Key::of_word(list::word(&event)), list::readiness(&event)))
    }

    fn has(&self, key: u64) -> bool {
        self.0.iter().any(|event| list::word(event) == key)
    }

    fn only_keys(&mut self) {
        self.0.retain(|event| list::word(event) < SIGNALS);
    }
}

impl Poller {
    /// # Errors
    /// No descriptor is left to the process, or the kernel is older than Linux 5.11.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            list: List::new()?,
            signals: OnceLock::new(),
            asleep: AtomicBool::new(false),
            turn: AtomicBool::new(false),
            process: std::process::id(),
        })
    }

    /// Whether this is a copy in the child of a fork. Its list is the parent's: what is taken out
    /// of it is lost to the parent.
    pub fn is_copy(&self) -> bool {
        std::process::id() != self.process
    }

    /// What is written to this pipe, which does not block, ends waits.
    ///
    /// # Errors
    /// The kernel refuses the descriptor.
    pub fn listen(&self, pipe: OwnedFd) -> io::Result<()> {
        self.list.watch_signals(&pipe)?;
        let _ = self.signals.set(pipe);
        Ok(())
    }

    fn takes_turn(&self) -> bool {
        // ORDERING: Acquire and the Release of `end_turn`: polls do not overlap.
        !self.turn.swap(true, Ordering::Acquire)
    }

    fn end_turn(&self) {
        self.turn.store(false, Ordering::Release);
    }

    /// Says that a wait is about to begin. What is published before `wake` is seen by checks made
    /// after this, or ends the wait.
    pub fn prepare(&self) {
        // Bound: the monitor's glance, one call that does not block.
        while !self.takes_turn() {
            std::thread::yield_now();
        }
        self.asleep.store(true, Ordering::Relaxed);
        // ORDERING: SeqCst against the fence in `wake`: either the waker sees `asleep`, or the
        // checks that follow here see what the waker published.
        fence(Ordering::SeqCst);
    }

    /// Undoes `prepare`.
    pub fn call_off(&self) {
        self.asleep.store(false, Ordering::Relaxed);
        self.end_turn();
    }

    /// Ends a wait that was prepared.
    pub fn wake(&self) {
        // ORDERING: see `prepare`.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed) {
            self.list.ring();
        }
    }

    /// Waits, after `prepare`, for an event, for `wake`, for a signal, or until the time; None: for
    /// ever.
    pub fn wait(&self, until_ns: Option<u64>, events: &mut Events) {
        let left = until_ns.map(|until| {
            let left = until.saturating_sub(now_ns());
            Timespec {
                tv_sec: (left / SECOND_NS) as i64,
                tv_nsec: (left % SECOND_NS) as i64,
            }
        });
        // An interrupt by a signal ends the wait like any event: the caller looks at everything.
        self.list.wait(left.as_ref(), &mut events.0);
        self.call_off();
        self.sort_out(events);
    }

    /// Looks without waiting, on the thread that has the processor; false when nothing came.
    pub fn glance(&self, events: &mut Events) -> bool {
        if !self.takes_turn() {
            return false;
        }
        self.list.wait(Some(&NO_TIME), &mut events.0);
        self.end_turn();
        self.sort_out(events);
        !events.0.is_empty()
    }

    /// Looks without waiting, on a thread that does not handle signals.
    pub fn glance_for_others(&self, events: &mut Events) -> bool {
        if !self.takes_turn() {
            return false;
        }
        self.list.wait(Some(&NO_TIME), &mut events.0);
        if events.has(SIGNALS)
            && let Some(pipe) = self.signals.get()
        {
            // Its edge was for the thread that waits next: this brings it back.
            let _ = self.list.watch_signals(pipe);
        }
        self.end_turn();
        events.only_keys();
        !events.0.is_empty()
    }

    fn sort_out(&self, events: &mut Events) {
        if events.has(SIGNALS) {
            self.empty_signals();
        }
        events.only_keys();
    }

    /// The interpreter keeps what the signals were: the bytes only end waits.
    fn empty_signals(&self) {
        let mut bytes = [0; 64];
        while let Some(pipe) = self.signals.get()
            && rustix::io::read(pipe, &mut bytes).is_ok_and(|count| count > 0)
        {}
    }
}

impl Kernel for Poller {
    fn add(&self, key: Key, number: u32) -> io::Result<()> {
        self.list.add(key.word(), borrow(number))
    }

    fn remove(&self, number: u32) {
        self.list.remove(borrow(number));
    }
}

fn borrow<'a>(number: u32) -> BorrowedFd<'a> {
    // SAFETY: passed to the kernel for one call, which refuses a number that is no descriptor; -1
    // cannot come, since numbers are below 2^31.
    unsafe { BorrowedFd::borrow_raw((number & i32::MAX.cast_unsigned()).cast_signed()) }
}

#[cfg(test)]
mod tests {
    use super::super::thread::Slack;
    use super::*;

    #[test]
    fn a_wake_after_prepare_ends_the_wait_and_is_not_counted_twice() {
        let poller = Poller::new().unwrap();
        poller.prepare();
        poller.wake();
        poller.wake();
        let began = now_ns();
        poller.wait(Some(began + 10 * SECOND_NS), &mut Events::default());
        assert!(now_ns() < began + 5 * SECOND_NS);
    }

    #[test]
    fn a_wait_is_never_early() {
        let poller = Poller::new().unwrap();
        let _slack = Slack::least();
        for wanted in [10_000, 700_000, 1_000_000] {
            let until = now_ns() + wanted;
            poller.prepare();
            poller.wait(Some(until), &mut Events::default());
            assert!(now_ns() >= until);
        }
    }
}
