//! Hashes of single messages, by RustCrypto: no library of their own must be loaded for one.

use sha2::{Digest, Sha256};
use sha3::Sha3_384;

/// SHA-256 (FIPS 180-4).
#[must_use]
pub fn sha256(message: &[u8]) -> [u8; 32] {
    Sha256::digest(message).into()
}

/// SHA3-384 (FIPS 202).
#[must_use]
pub fn sha3_384(message: &[u8]) -> [u8; 48] {
    Sha3_384::digest(message).into()
}
