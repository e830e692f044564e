//! Has the processor's caches fetch what will be read soon. A hint waits for nothing.

/// Bytes that come together.
#[cfg(target_arch = "x86_64")]
const LINE: usize = 64;

/// So many bytes from that address on; any address will do.
#[cfg(target_arch = "x86_64")]
pub fn fetch(from: *const u8, count: usize) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

    let before = from.addr() % LINE;
    for at in (0..before + count).step_by(LINE) {
        let line = from.wrapping_sub(before).wrapping_add(at).cast();
        // SAFETY: a hint; no address is invalid for it.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line) };
    }
}

/// Elsewhere the reader waits: the language has no such hint there yet.
#[cfg(not(target_arch = "x86_64"))]
pub fn fetch(_from: *const u8, _count: usize) {}
