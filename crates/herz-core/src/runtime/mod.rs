//! A task runtime in Go's manner. It knows no Python: a task is any payload with a state word.
//!
//! - [`task`]: the state of a task, one atomic word.
//! - [`processor`]: the right to run tasks, and who has it.
//! - [`fifo`]: the run queue; [`timers`]: what is due when, by the [`clock`]; [`poller`]: the wait
//!   for the kernel.
//! - [`descriptors`]: who waits for which descriptor; [`network`]: the machine's part of it;
//!   [`stream`]: the calls on sockets.
//! - [`line`]: who waits for one thing, in the order of arrival.
//! - [`crew`]: the worker threads and their errands.
//! - [`machine`]: all of them together: what becomes runnable, what runs next, when to rest.
//! - [`sysmon`]: the monitor that takes the processor out of steps that last too long.
//! - [`fetch`]: asks for memory before it is read.
//! - [`trace`]: what is noted of all this, for those who look.
//! - [`signals`]: which threads get none.
//! - [`sync`]: locks, which know whether Python may run, and atomics; std's, or a model checker's.
//! - [`relay`]: what native tasks do for Python: they join two connections.
//! - [`queue`]: what native tasks have instead: run queues, stealing, which processors sleep;
//!   [`native`]: those of one runtime.
//!
//! A worker's life: wait for an [`crew::Errand`]; with the processor, `accept` it and repeat
//! `find`, `begin_step`, the step itself (Python runs here, and only here), `enter`. When `enter`
//! fails the step was detached: queue what it left, call `return_detached`, wait for an errand.

// What can panic are assertions of the invariants that the tables state.
#![allow(clippy::missing_panics_doc)]

// What the checker has no model of, and uses what it does not know, is not there for it.
#[cfg(not(loom))]
pub mod clock;
#[cfg(not(loom))]
pub mod crew;
pub mod descriptors;
#[cfg(all(test, loom))]
mod descriptors_models;
#[cfg(all(test, not(loom)))]
mod descriptors_tests;
pub mod fetch;
pub mod fifo;
pub mod line;
#[cfg(not(loom))]
pub mod machine;
#[cfg(not(loom))]
pub mod native;
#[cfg(not(loom))]
mod network;
#[cfg(not(loom))]
pub mod poller;
pub mod processor;
#[cfg(all(test, loom))]
mod processor_models;
pub mod queue;
#[cfg(not(loom))]
pub mod relay;
pub mod signals;
#[cfg(not(loom))]
pub mod stream;
pub mod sync;
#[cfg(not(loom))]
pub mod sysmon;
pub mod task;
pub mod thread;
pub mod timers;
#[cfg(not(loom))]
pub mod trace;
