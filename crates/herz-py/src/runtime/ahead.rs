//! Has the processor's caches fetch what the next steps will read.
//!
//! A task, its coroutine and its context are some 600 bytes in three places: with a thousand
//! runnable tasks none of it is in the near caches when its turn comes, and a step would wait for
//! one line of memory after the other. A prefetch waits for nothing: what it asks for comes while
//! the step before runs.

use herz_core::runtime::fetch;
use pyo3::prelude::*;

use super::task::{Payload, Runnable};

/// What a step reads of a task, of a coroutine with a small frame, and of a context.
const TASK: usize = 96;
const COROUTINE: usize = 216;
const CONTEXT: usize = 56;

/// `upcoming`: what runs next, and what after it. Where the nearer one's coroutine is, it says
/// itself: by now it has come, fetched a step ago.
pub fn fetch(py: Python<'_>, upcoming: [Option<&Runnable>; 2]) {
    if let Some(Runnable::Task(task)) = upcoming[1] {
        fetch::fetch(task.as_ptr().cast(), TASK);
    }
    if let Some(Runnable::Task(task)) = upcoming[0] {
        let body = task.get().body.get(py);
        if let Payload::Coroutine(coroutine) = &body.payload {
            fetch::fetch(coroutine.as_ptr().cast(), COROUTINE);
        }
        if let Some(context) = &body.context {
            fetch::fetch(context.as_ptr().cast(), CONTEXT);
        }
    }
}
