//! Whether a signature holds, which nobody should load a library of their own for.

use ed25519_dalek::{Signature, Verifier, VerifyingKey};

/// Whether this is the key's Ed25519 signature of a message (RFC 8032, without the cofactor, as
/// OpenSSL checks it). What is no point of the curve signs nothing.
#[must_use]
pub fn is_ed25519(public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    VerifyingKey::from_bytes(public).is_ok_and(|key| {
        key.verify(message, &Signature::from_bytes(signature))
            .is_ok()
    })
}
