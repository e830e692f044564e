//! `LtHash16`: a digest of a multiset of byte strings.
//!
//! Each element is expanded to 1,024 lanes of 16 bits; the state is their sum modulo 2^16 in
//! each lane, so that adding and removing cost the same whatever the set's size, and the order
//! does not count. Lewi et al., "Securing Update Propagation with Homomorphic Hashing" (2019),
//! gives at least 200 bits against collisions of sums for 1,024 lanes of 16 bits. An element is
//! expanded by the `ChaCha20` keystream under its SHAKE128 digest of 32 bytes: two single
//! elements collide at 128 bits, which is the bound of the whole.

use blake2::Blake2b;
use blake2::digest::{Digest, consts::U48};
use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use shake::Shake128;
use shake::digest::{ExtendableOutput, Update, XofReader};

/// Lanes of the state.
pub const LANES: usize = 1024;

/// The sum over a multiset.
pub struct LtHash {
    lanes: Box<[u16; LANES]>,
    /// The digest of the lanes; none since they changed.
    digest: Option<[u8; 48]>,
}

impl Default for LtHash {
    fn default() -> Self {
        Self {
            lanes: Box::new([0; LANES]),
            digest: None,
        }
    }
}

fn expand(element: &[u8]) -> [u8; LANES * 2] {
    let (mut seed, mut bytes) = ([0; 32], [0; LANES * 2]);
    let mut shake = Shake128::default();
    shake.update(element);
    shake.finalize_xof().read(&mut seed);
    // A key is used for one stream only, so the nonce says nothing.
    ChaCha20::new(&seed.into(), &[0; 12].into()).apply_keystream(&mut bytes);
    bytes
}

impl LtHash {
    /// Puts one more of the element in.
    pub fn add(&mut self, element: &[u8]) {
        let bytes = expand(element);
        self.digest = None;
        for (lane, pair) in self.lanes.iter_mut().zip(bytes.chunks_exact(2)) {
            *lane = lane.wrapping_add(u16::from_le_bytes([pair[0], pair[1]]));
        }
    }

    /// Takes one of the element out; the inverse of [`LtHash::add`].
    pub fn remove(&mut self, element: &[u8]) {
        let bytes = expand(element);
        self.digest = None;
        for (lane, pair) in self.lanes.iter_mut().zip(bytes.chunks_exact(2)) {
            *lane = lane.wrapping_sub(u16::from_le_bytes([pair[0], pair[1]]));
        }
    }

    /// `BLAKE2b` of the state, 48 bytes; kept until the multiset changes.
    pub fn digest(&mut self) -> [u8; 48] {
        if let Some(known) = self.digest {
            return known;
        }
        let made = Blake2b::<U48>::digest(self.state()).into();
        self.digest = Some(made);
        made
    }

    /// The lanes, little-endian; equal for equal multisets.
    #[must_use]
    pub fn state(&self) -> Vec<u8> {
        self.lanes
            .iter()
            .flat_map(|lane| lane.to_le_bytes())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_does_not_count_and_remove_undoes_add() {
        let (mut one, mut two) = (LtHash::default(), LtHash::default());
        one.add(b"a");
        one.add(b"b");
        one.add(b"a");
        two.add(b"a");
        two.add(b"a");
        two.add(b"b");
        assert_eq!(one.state(), two.state());
        one.remove(b"a");
        assert_ne!(one.state(), two.state());
        two.remove(b"a");
        assert_eq!(one.state(), two.state());
    }
}
