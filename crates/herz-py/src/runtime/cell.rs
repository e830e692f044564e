//! State that the interpreter's lock guards.
//!
//! The module asks for the lock (`gil_used`), on free-threaded builds too; so a token of it is
//! proof that nobody else is inside. A borrow that comes back in while one is out is our bug and
//! panics: what runs during a borrow must not call Python or release a reference.

use std::cell::{Ref, RefCell, RefMut};

use pyo3::Python;

pub struct GilCell<T>(RefCell<T>);

// SAFETY: every way in takes a token of the interpreter's lock, which one thread holds at a time;
// borrows cannot outlive the token's lifetime.
unsafe impl<T: Send> Sync for GilCell<T> {}

impl<T> GilCell<T> {
    pub fn new(value: T) -> Self {
        Self(RefCell::new(value))
    }

    pub fn get<'a>(&'a self, _py: Python<'a>) -> Ref<'a, T> {
        self.0.borrow()
    }

    pub fn get_mut<'a>(&'a self, _py: Python<'a>) -> RefMut<'a, T> {
        self.0.borrow_mut()
    }

    /// For its last owner.
    pub fn own(&mut self) -> &mut T {
        self.0.get_mut()
    }

    /// For the collector's visit, which has no token. None: somebody is inside.
    ///
    /// # Safety
    /// The calling thread holds the interpreter's lock.
    // SAFETY: the caller keeps the rule above.
    pub unsafe fn visited(&self) -> Option<Ref<'_, T>> {
        self.0.try_borrow().ok()
    }
}
