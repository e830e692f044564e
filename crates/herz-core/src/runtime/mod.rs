//! The machine of the task runtime. No Python inside: payloads are opaque.
//!
//! - [`queue`]: run queues, stealing, and which processors sleep.
//! - [`timers`]: what is due when.
//! - [`sync`]: the primitives, std's or the model checker's.

pub mod queue;
pub mod sync;
pub mod timers;
