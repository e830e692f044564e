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

/// Bytes of elements that may wait to be counted.
const WAITING_MAX: usize = 1 << 16;

/// The sum over a multiset.
///
/// Elements wait until somebody asks: expanding many in one go costs half of what each costs
/// between other work, whose code and data it would push out of the caches.
pub struct LtHash {
    lanes: Box<[u16; LANES]>,
    /// The digest of the lanes; none since they changed.
    digest: Option<[u8; 48]>,
    /// The elements that are not in the lanes yet, end to end.
    waiting: Vec<u8>,
    /// Of each of them: where it ends, and whether it comes or goes.
    ends: Vec<(usize, bool)>,
}

impl Default for LtHash {
    fn default() -> Self {
        Self {
            lanes: Box::new([0; LANES]),
            digest: None,
            waiting: Vec::new(),
            ends: Vec::new(),
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
    /// The multiset whose [`LtHash::state`] this was; none if it cannot be one.
    #[must_use]
    pub fn from_state(state: &[u8]) -> Option<Self> {
        if state.len() != LANES * 2 {
            return None;
        }
        let mut made = Self::default();
        for (lane, pair) in made.lanes.iter_mut().zip(state.chunks_exact(2)) {
            *lane = u16::from_le_bytes([pair[0], pair[1]]);
        }
        Some(made)
    }

    /// Puts one more of the element in.
    pub fn add(&mut self, element: &[u8]) {
        self.note(element, true);
    }

    /// Takes one of the element out; the inverse of [`LtHash::add`].
    pub fn remove(&mut self, element: &[u8]) {
        self.note(element, false);
    }

    fn note(&mut self, element: &[u8], comes: bool) {
        self.digest = None;
        self.waiting.extend_from_slice(element);
        self.ends.push((self.waiting.len(), comes));
        if self.waiting.len() >= WAITING_MAX || self.ends.len() >= WAITING_MAX {
            self.count();
        }
    }

    /// Takes what waits into the lanes.
    fn count(&mut self) {
        let mut start = 0;
        for &(end, comes) in &self.ends {
            let bytes = expand(&self.waiting[start..end]);
            for (lane, pair) in self.lanes.iter_mut().zip(bytes.chunks_exact(2)) {
                let share = u16::from_le_bytes([pair[0], pair[1]]);
                *lane = if comes {
                    lane.wrapping_add(share)
                } else {
                    lane.wrapping_sub(share)
                };
            }
            start = end;
        }
        self.waiting.clear();
        self.ends.clear();
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
    pub fn state(&mut self) -> Vec<u8> {
        self.count();
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
