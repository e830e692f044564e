//! The signal mask of threads that are started: signals are the main thread's.

use std::marker::PhantomData;
use std::mem::MaybeUninit;

/// While it lives this thread, and threads that it starts, get no signals.
pub struct Blocked {
    before: libc::sigset_t,
    /// The mask is the thread's.
    _not_send: PhantomData<*const ()>,
}

impl Blocked {
    #[must_use]
    pub fn all() -> Self {
        let mut all = MaybeUninit::uninit();
        let mut before = MaybeUninit::uninit();
        // SAFETY: both sets are ours to write, and are written: neither call can fail with these
        // arguments.
        let before = unsafe {
            libc::sigfillset(all.as_mut_ptr());
            libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), before.as_mut_ptr());
            before.assume_init()
        };
        Self {
            before,
            _not_send: PhantomData,
        }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // SAFETY: the set was filled in `all`, on this thread.
        unsafe {
            libc::pthread_sigmask(
                libc::SIG_SETMASK,
                &raw const self.before,
                std::ptr::null_mut(),
            );
        }
    }
}
