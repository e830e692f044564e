//! A worker's bed: it sleeps until somebody leaves it a token.

use std::time::Duration;

use crate::runtime::sync::Bell;

/// Holds at most one token; a wake-up before the sleep is not lost.
#[derive(Default)]
pub struct Parker(Bell<bool>);

fn take(token: &mut bool) -> Option<()> {
    std::mem::take(token).then_some(())
}

impl Parker {
    /// Sleeps until a token is there, and takes it.
    pub fn park(&self) {
        self.0.wait(None, take);
    }

    /// The same, for a time at most. False where no token came.
    ///
    /// Afterwards the processor may still be counted idle: `Idle::reclaim` says, and where it is
    /// not, a token is on its way and `park` takes it.
    pub fn park_timeout(&self, limit: Duration) -> bool {
        self.0.wait(Some(limit), take).is_some()
    }

    /// Leaves a token.
    pub fn unpark(&self) {
        self.0.ring(|token| *token = true);
    }
}
