//! A task runtime in Go's manner. It knows no Python: a task is any payload with a state word.
//!
//! - [`task`]: the state of a task, one atomic word.
//! - [`processor`]: the right to run tasks, and who has it.
//! - [`fifo`]: the run queue; [`heap`]: the timers; [`poller`]: the wait for the kernel.
//! - [`crew`]: the worker threads and their errands.
//! - [`machine`]: all of them together: what becomes runnable, what runs next, when to rest.
//! - [`sysmon`]: the monitor that takes the processor out of steps that last too long.
//! - [`trace`]: what is noted of all this, for those who look.
//! - [`sync`]: its locks, which know whether Python may run.
//!
//! Native tasks have machinery of their own, on primitives that a model checker can replace:
//!
//! - [`queue`]: run queues, stealing, and which processors sleep.
//! - [`timers`]: what is due when.
//! - [`primitives`]: locks and atomics, std's or the model checker's.
//!
//! A worker's life: wait for an [`crew::Errand`]; with the processor, `accept` it and repeat
//! `find`, `begin_step`, the step itself (Python runs here, and only here), `enter`. When `enter`
//! fails the step was detached: queue what it left, call `return_detached`, wait for an errand.

// What can panic are assertions of the invariants that the tables state.
#![allow(clippy::missing_panics_doc)]

pub mod crew;
pub mod fifo;
pub mod heap;
pub mod machine;
pub mod poller;
pub mod primitives;
pub mod processor;
pub mod queue;
pub mod sync;
pub mod sysmon;
pub mod task;
pub mod timers;
pub mod trace;
