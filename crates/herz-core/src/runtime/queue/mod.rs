//! Run queues and who looks into them, by the rules of Go's scheduler.
//!
//! - [`ring`]: a processor's queue of 256 slots and a `next` slot; [`ring::Owner`] pushes and pops,
//!   [`ring::Thief`] steals half.
//! - [`global`]: what did not fit, and what comes from outside.
//! - [`victims`]: every processor once, in a random order that a seed fixes.
//! - [`idle`]: which processors sleep, how many spin, who is to be woken; [`park`] puts to sleep.
//! - [`state`]: the one word that says who may run a task.
//! - `executor`, `worker`: native processors that use all of it for tasks in Rust; `measure` loads
//!   them.
//!
//! Nothing here blocks while it holds a lock, and no lock is held while a payload runs or drops.

#[cfg(not(loom))]
pub mod executor;
pub mod global;
pub mod idle;
#[cfg(not(loom))]
pub mod measure;
pub mod park;
pub mod ring;
pub mod state;
pub mod victims;
pub mod word;
#[cfg(not(loom))]
mod worker;

#[cfg(all(test, loom))]
mod models;
