//! A worker's bed: it sleeps until somebody leaves it a token.

use std::sync::PoisonError;
use std::time::Duration;

use crate::runtime::primitives::{Condvar, Mutex, lock};

/// Holds at most one token; a wake-up before the sleep is not lost.
#[derive(Default)]
pub struct Parker {
    token: Mutex<bool>,
    given: Condvar,
}

impl Parker {
    /// Sleeps until a token is there, and takes it.
    pub fn park(&self) {
        let mut token = lock(&self.token);
        while !*token {
            token = self
                .given
                .wait(token)
                .unwrap_or_else(PoisonError::into_inner);
        }
        *token = false;
    }

    /// The same, for a time at most; it may come back early. False where no token came.
    ///
    /// Afterwards the processor may still be counted idle: `Idle::reclaim` says, and where it is
    /// not, a token is on its way and `park` takes it.
    pub fn park_timeout(&self, limit: Duration) -> bool {
        let mut token = lock(&self.token);
        if !*token {
            token = self
                .given
                .wait_timeout(token, limit)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        std::mem::take(&mut token)
    }

    /// Leaves a token.
    pub fn unpark(&self) {
        *lock(&self.token) = true;
        self.given.notify_one();
    }
}
