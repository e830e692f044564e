//! The native processors of one runtime: made when the first task in Rust comes.

use std::io;
use std::num::NonZeroUsize;
use std::time::Duration;

use super::machine::Settings;
use super::poller::now_ns;
use super::processor::WorkerId;
use super::queue::executor::{Executor, Size};
use super::sync::{Arc, Lock, OnceLock};
use super::sysmon::Pulse;
use super::trace::Trace;

const TIMED_EVERY: u32 = 64;

pub struct Native {
    executor: OnceLock<Executor>,
    /// Held while it is made, and for ever once the run has ended.
    is_ended: Lock<bool>,
    size: Size,
    trace: Arc<Trace>,
    first_track: WorkerId,
}

impl Native {
    /// # Panics
    /// There is no processor, or no worker.
    #[must_use]
    pub fn new(settings: &Settings, trace: Arc<Trace>) -> Self {
        let count = |count| NonZeroUsize::new(count).expect("at least one");
        let size = Size {
            processors: count(settings.processors),
            workers_max: count(settings.processors.max(settings.workers_max)),
            seed: settings.seed.unwrap_or_else(now_ns),
            timed_every: TIMED_EVERY,
        };
        Self {
            executor: OnceLock::new(),
            is_ended: Lock::new(false),
            size,
            trace,
            first_track: settings.workers_max as WorkerId,
        }
    }

    #[must_use]
    pub fn processors(&self) -> usize {
        self.size.processors.get()
    }

    /// The processors, if any task has come yet.
    pub fn known(&self) -> Option<&Executor> {
        self.executor.get()
    }

    /// The processors.
    ///
    /// # Errors
    /// No descriptor is left to the process, or the run has ended.
    pub fn get(&self) -> io::Result<&Executor> {
        let ended = || io::Error::other("this herz runtime has ended");
        if let Some(executor) = self.known() {
            return (!executor.is_closed())
                .then_some(executor)
                .ok_or_else(ended);
        }
        let is_ended = self.is_ended.lock();
        if *is_ended {
            return Err(ended());
        }
        if self.known().is_none() {
            let trace = Arc::clone(&self.trace);
            let made = Executor::new(self.size, trace, self.first_track)?;
            let _ = self.executor.set(made);
        }
        drop(is_ended);
        self.known()
            .ok_or_else(|| io::Error::other("no processors were made"))
    }

    /// Ends all tasks, and waits for the threads, `limit` at most.
    pub fn stop(&self, limit: Duration) {
        *self.is_ended.lock() = true;
        if let Some(executor) = self.known() {
            executor.stop(limit);
        }
    }

    /// The monitor's look.
    pub fn look_after(&self, now_ns: u64) -> Pulse {
        let known = self.known();
        known.map_or(Pulse::Idle, |executor| executor.look_after(now_ns))
    }
}
