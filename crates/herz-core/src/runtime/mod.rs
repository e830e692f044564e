//! The machine of the task runtime. No Python inside: payloads are opaque.
//!
//! - [`queue`]: run queues, stealing, and which processors sleep.
//! - [`timers`]: what is due when.
//! - [`primitives`]: locks and atomics, std's or the model checker's.

pub mod primitives;
pub mod queue;
pub mod timers;
