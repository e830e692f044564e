//! The one file of the runtime that names `std::sync` or its threads: primitives of std, or loom's
//! in a build with `--cfg loom`, so that the checker sees every step of a model.
//!
//! Invariant: while a [`Lock`] is held no Python code, no allocation of a Python object and no
//! release of a reference may run. Debug builds count the locks that a thread holds;
//! [`assert_none_held`] is called wherever Python may begin to run.

#[cfg(loom)]
use loom::sync::{Condvar, Mutex, MutexGuard};
#[cfg(loom)]
pub use loom::{hint::spin_loop, sync::Arc, sync::atomic, thread};
#[cfg(not(loom))]
use std::sync::{Condvar, Mutex, MutexGuard};
#[cfg(not(loom))]
pub use std::{hint::spin_loop, sync::Arc, sync::Weak, sync::atomic, thread};

pub use atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
pub use std::sync::OnceLock;

use std::ops::{Deref, DerefMut};
use std::sync::{PoisonError, TryLockError};
use std::time::Duration;

#[cfg(debug_assertions)]
thread_local! {
    static HELD: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}

#[cfg(debug_assertions)]
fn count(change: i32) {
    HELD.with(|held| held.set(held.get().wrapping_add_signed(change)));
}

/// Panics in debug builds when this thread holds a core lock.
pub fn assert_none_held() {
    #[cfg(debug_assertions)]
    HELD.with(|held| assert_eq!(held.get(), 0, "Python may run while a core lock is held"));
}

/// A mutex around plain data: a panic of its holder leaves nothing half done that matters, so
/// poison is ignored. Held for a few hundred nanoseconds at most, never across a wait.
#[derive(Default)]
pub struct Lock<T>(Mutex<T>);

/// The right to use what a [`Lock`] guards.
pub struct Held<'a, T>(MutexGuard<'a, T>);

impl<T> Lock<T> {
    pub fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    pub fn lock(&self) -> Held<'_, T> {
        Held::new(self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// None: somebody holds it.
    pub fn try_lock(&self) -> Option<Held<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Some(Held::new(guard)),
            Err(TryLockError::Poisoned(poisoned)) => Some(Held::new(poisoned.into_inner())),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

impl<'a, T> Held<'a, T> {
    fn new(guard: MutexGuard<'a, T>) -> Self {
        #[cfg(debug_assertions)]
        count(1);
        Self(guard)
    }
}

impl<T> Deref for Held<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Held<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

#[cfg(debug_assertions)]
impl<T> Drop for Held<'_, T> {
    fn drop(&mut self) {
        count(-1);
    }
}

/// A value that one thread leaves and another waits for.
#[derive(Default)]
pub struct Bell<T> {
    slot: Mutex<Slot<T>>,
    rung: Condvar,
    /// How often it was rung, for those who look before they sleep.
    rings: AtomicU32,
}

#[derive(Default)]
struct Slot<T> {
    value: T,
    /// Threads inside `wait`: without one, no call into the kernel is made.
    sleepers: u32,
}

impl<T> Bell<T> {
    /// Changes the value and wakes all who wait for it.
    pub fn ring(&self, change: impl FnOnce(&mut T)) {
        let has_sleepers = {
            let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
            change(&mut slot.value);
            slot.sleepers > 0
        };
        // ORDERING: Relaxed: a hint; who sees it takes the lock.
        self.rings.fetch_add(1, Ordering::Relaxed);
        if has_sleepers {
            self.rung.notify_all();
        }
    }

    /// How often it was rung.
    pub fn rings(&self) -> u32 {
        self.rings.load(Ordering::Relaxed)
    }

    /// What `take` gives now.
    pub fn look<R>(&self, take: impl FnOnce(&mut T) -> Option<R>) -> Option<R> {
        take(
            &mut self
                .slot
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .value,
        )
    }

    /// Waits until `take` gives something, at most for `limit`; None means that the limit passed.
    pub fn wait<R>(
        &self,
        limit: Option<Duration>,
        mut take: impl FnMut(&mut T) -> Option<R>,
    ) -> Option<R> {
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        let mut is_last = false;
        loop {
            if let Some(taken) = take(&mut slot.value) {
                return Some(taken);
            }
            if is_last {
                return None;
            }
            slot.sleepers += 1;
            slot = if let Some(limit) = limit {
                let waited = self.rung.wait_timeout(slot, limit);
                let (slot, outcome) = waited.unwrap_or_else(PoisonError::into_inner);
                is_last = outcome.timed_out();
                slot
            } else {
                self.rung.wait(slot).unwrap_or_else(PoisonError::into_inner)
            };
            slot.sleepers -= 1;
        }
    }
}

/// Waits a moment for another thread without the kernel, as long as that pays: each wait in vain
/// doubles the number of waits that are not tried at all.
// A model has no clock.
#[cfg(not(loom))]
#[derive(Default)]
pub struct Spin {
    skips: AtomicU32,
    penalty: AtomicU32,
}

/// Looks at the condition between two looks at the clock.
#[cfg(not(loom))]
const LOOKS: u32 = 32;
#[cfg(not(loom))]
const PENALTY_MAX: u32 = 63;

#[cfg(not(loom))]
impl Spin {
    /// Looks at the condition for `ns` at most.
    pub fn until(&self, ns: u64, mut is_met: impl FnMut() -> bool) {
        // ORDERING: Relaxed throughout: a guess about what pays; the caller looks again.
        let skips = self.skips.load(Ordering::Relaxed);
        if skips > 0 {
            self.skips.store(skips - 1, Ordering::Relaxed);
            return;
        }
        let until_ns = super::poller::now_ns() + ns;
        while super::poller::now_ns() < until_ns {
            for _ in 0..LOOKS {
                if is_met() {
                    self.penalty.store(0, Ordering::Relaxed);
                    return;
                }
                std::hint::spin_loop();
            }
        }
        let penalty = (self.penalty.load(Ordering::Relaxed) * 2 + 1).min(PENALTY_MAX);
        self.penalty.store(penalty, Ordering::Relaxed);
        self.skips.store(penalty, Ordering::Relaxed);
    }
}
