//! Run queues and who looks into them, by the rules of Go's scheduler.
//!
//! - [`ring`]: a processor's queue of 256 slots and a `next` slot; [`ring::Owner`] pushes and pops,
//!   [`ring::Thief`] steals half.
//! - [`global`]: what did not fit, and what comes from outside.
//! - [`victims`]: every processor once, in a random order that a seed fixes.
//! - [`idle`]: which processors and workers sleep, how many spin, who is to be woken.
//! - [`state`]: the one word that says who may run a task.
//! - [`executor`], `worker`: native processors that use all of it for tasks in Rust. [`outside`]:
//!   the descriptors and timers that these wait for; `retake`: the monitor's part; [`census`]: what
//!   can be told of them; [`measure`]: loads.
//!
//! Nothing here blocks while it holds a lock, and no lock is held while a payload runs or drops.

#[cfg(not(loom))]
pub mod census;
#[cfg(not(loom))]
pub mod executor;
pub mod global;
pub mod idle;
#[cfg(not(loom))]
pub mod measure;
#[cfg(not(loom))]
pub mod outside;
#[cfg(not(loom))]
mod retake;
pub mod ring;
pub mod state;
pub mod victims;
pub mod word;
#[cfg(not(loom))]
mod worker;

#[cfg(all(test, loom))]
mod models;
