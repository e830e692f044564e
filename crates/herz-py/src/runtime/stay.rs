//! Threads that outlive the interpreter stay where they are, for ever.
//!
//! Before version 3.14 an interpreter that finalizes ends each thread that comes back to it, with
//! `pthread_exit`. That unwinds the thread's stack, and a stack with our frames on it cannot be
//! unwound from outside: the process would abort instead of exiting with its own code. 3.14 lets
//! such threads hang. Here they do so on all versions: `pthread_exit` calls the handlers that the
//! thread registered before it unwinds anything, and ours never returns.

use std::cell::UnsafeCell;
use std::ffi::{c_int, c_void};
use std::marker::PhantomData;
use std::time::Duration;

/// What the C library links into the thread's list of handlers: three or four words.
type Record = [usize; 8];

// SAFETY: the signatures of the C library (glibc 2.34 and musl export both).
unsafe extern "C" {
    fn _pthread_cleanup_push(
        record: *mut Record,
        handler: extern "C" fn(*mut c_void),
        argument: *mut c_void,
    );
    fn _pthread_cleanup_pop(record: *mut Record, is_run: c_int);
}

/// While it lives, this thread cannot be ended by `pthread_exit`.
// On the heap, not on the stack: the C library takes a record outside the stack for one of a frame
// that has been left, and calls its handler before it unwinds the first frame.
pub struct Stay {
    record: Box<UnsafeCell<Record>>,
    /// The list is the thread's.
    _not_send: PhantomData<*const ()>,
}

impl Stay {
    pub fn new() -> Self {
        let record = Box::new(UnsafeCell::new(Record::default()));
        // SAFETY: the record has room for every layout, and lives until it is popped in `drop`,
        // on this thread, in the opposite order: guards are locals of one function each.
        unsafe { _pthread_cleanup_push(record.get(), stay, std::ptr::null_mut()) };
        Self {
            record,
            _not_send: PhantomData,
        }
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        // SAFETY: pushed in `new`, by this thread.
        unsafe { _pthread_cleanup_pop(self.record.get(), 0) };
    }
}

extern "C" fn stay(_argument: *mut c_void) {
    loop {
        std::thread::sleep(Duration::MAX);
    }
}
