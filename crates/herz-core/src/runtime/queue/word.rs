//! What fits into a slot: anything that is one pointer wide and may change threads.

use std::num::NonZeroUsize;
use std::ptr;

use crate::runtime::sync::Arc;

/// A payload as one word that is never null.
///
/// # Safety
///
/// `into_word` gives no null pointer, and `from_word` of it gives the same payload back.
pub unsafe trait Word: Send + Sized {
    /// The payload as a word; who holds the word owns the payload.
    fn into_word(self) -> *mut ();

    /// The payload back.
    ///
    /// # Safety
    ///
    /// The word came from `into_word` of this type, and is given back once.
    // SAFETY: the caller's duty, as above.
    unsafe fn from_word(word: *mut ()) -> Self;
}

// SAFETY: a box is never null, and is given back as it came.
unsafe impl<T: Send> Word for Box<T> {
    fn into_word(self) -> *mut () {
        Box::into_raw(self).cast()
    }

    // SAFETY: the caller's duty, as the trait says.
    unsafe fn from_word(word: *mut ()) -> Self {
        // SAFETY: the word is a box's, and is given back once.
        unsafe { Box::from_raw(word.cast()) }
    }
}

// SAFETY: a reference count's pointer is never null, and is given back as it came.
unsafe impl<T: Send + Sync> Word for Arc<T> {
    fn into_word(self) -> *mut () {
        Arc::into_raw(self).cast_mut().cast()
    }

    // SAFETY: the caller's duty, as the trait says.
    unsafe fn from_word(word: *mut ()) -> Self {
        // SAFETY: the word is a reference count's, and is given back once.
        unsafe { Arc::from_raw(word.cast_const().cast()) }
    }
}

// SAFETY: the number is not zero, and is given back as it came.
unsafe impl Word for NonZeroUsize {
    fn into_word(self) -> *mut () {
        ptr::without_provenance_mut(self.get())
    }

    // SAFETY: the caller's duty, as the trait says.
    unsafe fn from_word(word: *mut ()) -> Self {
        NonZeroUsize::new(word.addr()).expect("no word is null")
    }
}
