//! The primitives under the runtime: std's, or loom's in a build with `--cfg loom`.
//!
//! No other file of the runtime names either, so that the checker sees every step of a model.

#[cfg(loom)]
pub use loom::{
    hint::spin_loop,
    sync::atomic,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
};
#[cfg(not(loom))]
pub use std::{
    hint::spin_loop,
    sync::atomic,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
};

use std::sync::PoisonError;

/// The lock's guard. A holder that panicked left plain queues and counts behind: they are read on.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
