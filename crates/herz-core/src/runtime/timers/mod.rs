//! Timers: what is due when. No clock inside: the caller says what time it is, in nanoseconds.
//!
//! - [`wheel`]: one set of timers: a four-level wheel of 1 ms ticks, and heaps for what is due soon
//!   or beyond the last level. Insert and cancel in O(1); never early, and ordered by deadline,
//!   then by insertion.
//! - [`shards`]: many wheels behind locks, a table that grows and shrinks, and timers that are
//!   found again wherever the table moved them.
//! - [`heap`], [`slab`]: what a wheel is made of.
//! - `measure`: what both cost, beside a plain heap.
//!
//! Payloads are opaque: they are handed back, and dropped by the caller outside all locks.

pub mod heap;
#[cfg(not(loom))]
pub mod measure;
mod moves;
pub mod shards;
pub mod slab;
pub mod wheel;

#[cfg(all(test, loom))]
mod models;
