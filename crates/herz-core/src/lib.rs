//! Column kernels and the task runtime of Herz. No Python and no Kubernetes inside.
//!
//! - [`table`]: what is known of each row for one kind of request: codes, points, totals, top k.
//! - [`answers`]: what one rule says of each row, shared between tables.
//! - [`changes`]: which rows changed since a reader last looked.
//! - [`resources`]: requests against columns of capacity and use.
//! - [`top`]: the best rows of a column of totals.
//! - [`forest`]: decision trees over integer columns.
//! - [`hashes`]: hashes of single messages.
//! - [`lthash`]: a digest of a multiset that follows each change in O(1).
//! - [`odds`]: a line, a forest and a table: from rows to probabilities.
//! - [`recurrence`]: the expected rest of a stock under random draws.
//! - [`runtime`]: run queues, idle processors, timers of the task runtime.
//! - [`scorer`]: from raw values to points.
//! - [`runtime`]: tasks, timers and workers, in Go's manner.
//! - [`sealing`]: entries of the journal: commitments, frames, and the growth of the tree.
//! - [`sha3`]: SHA3-384 of many messages at once.
//! - [`signatures`]: whether a signature of a single message holds.
//! - [`slots`]: what of the slots of a row a mix of requests could not use.

pub mod answers;
pub mod changes;
pub mod forest;
pub mod hashes;
pub mod lthash;
pub mod odds;
pub mod recurrence;
pub mod resources;
pub mod rows;
pub mod runtime;
pub mod scorer;
pub mod sealing;
pub mod sha3;
pub mod signatures;
pub mod slots;
pub mod table;
pub mod top;
