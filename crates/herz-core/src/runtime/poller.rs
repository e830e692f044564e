//! The network poller: epoll, an eventfd that breaks its wait, and the kernel's own clock.
//!
//! One thread waits at a time, the one that holds the processor. Timeouts are nanoseconds
//! (`epoll_pwait2`, Linux 5.11), and the waiting thread's timer slack is 1 ns.

use std::io;
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;

use rustix::event::{EventfdFlags, epoll, eventfd};
use rustix::time::{ClockId, Timespec, clock_gettime};

use super::sync::{AtomicBool, OnceLock, Ordering, fence};

const SECOND_NS: u64 = 1_000_000_000;
const EVENTS: usize = 128;
/// What our own descriptors are registered under.
const BELL: u64 = u64::MAX;
const SIGNALS: u64 = u64::MAX - 1;

/// Nanoseconds of the monotonic clock.
#[must_use]
pub fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * SECOND_NS + now.tv_nsec as u64
}

pub struct Poller {
    epoll: OwnedFd,
    bell: OwnedFd,
    /// A pipe to which the interpreter writes when a signal comes.
    signals: OnceLock<OwnedFd>,
    /// Whether somebody must ring for the poller to look again.
    asleep: AtomicBool,
}

/// Restores the thread's timer slack.
pub struct Slack(u64);

impl Slack {
    /// Sets this thread's timer slack to 1 ns: the default adds 50 µs to each timed wait.
    #[must_use]
    pub fn least() -> Self {
        let before = rustix::thread::current_timer_slack().unwrap_or(0);
        // Refused (a sandbox): waits are coarser, nothing else changes.
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
        Self(before)
    }
}

impl Drop for Slack {
    fn drop(&mut self) {
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(self.0));
    }
}

impl Poller {
    /// # Errors
    /// No descriptor is left to the process, or the kernel is older than Linux 5.11.
    pub fn new() -> io::Result<Self> {
        let poller = Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            bell: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            signals: OnceLock::new(),
            asleep: AtomicBool::new(false),
        };
        poller.add(&poller.bell, BELL)?;
        // Refused once here, by a kernel before 5.11, instead of at every wait.
        let mut events = [const { std::mem::MaybeUninit::uninit() }; 1];
        epoll::wait(&poller.epoll, &mut events, Some(&Timespec::default()))?;
        Ok(poller)
    }

    fn add(&self, descriptor: &OwnedFd, key: u64) -> io::Result<()> {
        // Edges: the bell is never read, and each write to it ends a wait.
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        let key = epoll::EventData::new_u64(key);
        epoll::add(&self.epoll, descriptor, key, flags)?;
        Ok(())
    }

    /// What is written to this pipe, which does not block, ends waits.
    ///
    /// # Errors
    /// The kernel refuses the descriptor.
    pub fn listen(&self, pipe: OwnedFd) -> io::Result<()> {
        self.add(&pipe, SIGNALS)?;
        let _ = self.signals.set(pipe);
        Ok(())
    }

    /// Says that a wait is about to begin. What is published before `wake` is seen by checks made
    /// after this, or ends the wait.
    pub fn prepare(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        // ORDERING: SeqCst against the fence in `wake`: either the waker sees `asleep`, or the
        // checks that follow here see what the waker published.
        fence(Ordering::SeqCst);
    }

    /// Undoes `prepare`.
    pub fn call_off(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// Ends a wait that was prepared.
    pub fn wake(&self) {
        // ORDERING: see `prepare`.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed) {
            // A counter that is full is readable, which is all that is wanted.
            let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
        }
    }

    /// Waits for an event, for `wake`, for a signal, or until the time; None: for ever.
    pub fn wait(&self, until_ns: Option<u64>) {
        let left = until_ns.map(|until| {
            let left = until.saturating_sub(now_ns());
            Timespec {
                tv_sec: (left / SECOND_NS) as i64,
                tv_nsec: (left % SECOND_NS) as i64,
            }
        });
        let mut events = [const { std::mem::MaybeUninit::uninit() }; EVENTS];
        // An interrupt by a signal ends the wait like any event: the caller looks at everything.
        let came = epoll::wait(&self.epoll, &mut events, left.as_ref());
        self.asleep.store(false, Ordering::Relaxed);
        let came: &[_] = came.map_or(&[], |(came, _)| came);
        if came.iter().any(|event| event.data.u64() == SIGNALS) {
            self.empty_signals();
        }
    }

    /// The interpreter keeps what the signals were: the bytes only end waits.
    fn empty_signals(&self) {
        let mut bytes = [0; 64];
        while let Some(pipe) = self.signals.get()
            && rustix::io::read(pipe, &mut bytes).is_ok_and(|count| count > 0)
        {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_after_prepare_ends_the_wait_and_is_not_counted_twice() {
        let poller = Poller::new().unwrap();
        poller.prepare();
        poller.wake();
        poller.wake();
        let began = now_ns();
        poller.wait(Some(began + 10 * SECOND_NS));
        assert!(now_ns() < began + 5 * SECOND_NS);
    }

    #[test]
    fn a_wait_is_never_early() {
        let poller = Poller::new().unwrap();
        let _slack = Slack::least();
        for wanted in [10_000, 700_000, 1_000_000] {
            let until = now_ns() + wanted;
            poller.wait(Some(until));
            assert!(now_ns() >= until);
        }
    }
}
