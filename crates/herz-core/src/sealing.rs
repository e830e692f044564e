//! Entries of the journal: the frames in which they are kept, the hashes of their leaves, and the
//! growth of the tree over them.
//!
//! A leaf is version, kind and commitment, 50 bytes; the commitment, SHA3-384(salt ‖ payload), is
//! the caller's, whose library has Keccak in assembly. A frame is a checksum of all
//! that follows it, the payload's length, the state, leaf, salt and payload; numbers are
//! big-endian. The tree is RFC 6962's. docs/reference/journal.md has the format.

use sha2::{Digest, Sha256};

/// Bytes of a salt, of a commitment, of a leaf, and of a hash of the tree.
pub const SALT: usize = 32;
pub const COMMITMENT: usize = 48;
const LEAF: usize = 2 + COMMITMENT;
pub const HASH: usize = 32;

/// Where things are in a frame, and its length without the payload.
const LENGTH_AT: usize = 4;
const STATE_AT: usize = 8;
const LEAF_AT: usize = 9;
const SALT_AT: usize = LEAF_AT + LEAF;
pub const FRAME: usize = SALT_AT + SALT;

/// Puts an entry's frame behind `frames` and its leaf's hash behind `hashes`.
///
/// # Panics
///
/// If salt or commitment have not their lengths, or the payload is longer than a length can say.
pub fn seal(
    head: [u8; 2],
    commitment: &[u8],
    salt: &[u8],
    payload: &[u8],
    frames: &mut Vec<u8>,
    hashes: &mut Vec<u8>,
) {
    assert_eq!(salt.len(), SALT, "a salt has its length");
    assert_eq!(commitment.len(), COMMITMENT, "a commitment has its length");
    let length = u32::try_from(payload.len()).expect("a payload is below 64 MiB");
    let begin = frames.len();
    frames.extend_from_slice(&[0; LENGTH_AT]);
    frames.extend_from_slice(&length.to_be_bytes());
    frames.push(0);
    frames.extend_from_slice(&head);
    frames.extend_from_slice(commitment);
    hashes.extend_from_slice(&leaf_hash(&frames[begin + LEAF_AT..begin + SALT_AT]));
    frames.extend_from_slice(salt);
    frames.extend_from_slice(payload);
    let crc = crc32fast::hash(&frames[begin + LENGTH_AT..]);
    frames[begin..begin + LENGTH_AT].copy_from_slice(&crc.to_be_bytes());
}

/// An entry in its frame, and what follows from its bytes.
pub struct Opened {
    /// Where the leaf, the salt and the next frame begin.
    pub leaf: usize,
    pub salt: usize,
    pub end: usize,
    /// Whether salt and payload are gone.
    pub is_erased: bool,
    /// The hash of the leaf.
    pub hash: [u8; HASH],
}

/// The entry whose frame begins at an offset; none where a frame is cut off or damaged.
#[must_use]
pub fn open(data: &[u8], begin: usize) -> Option<Opened> {
    let payload = begin.checked_add(FRAME)?;
    let head = data.get(begin..payload)?;
    let number =
        |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let end = payload.checked_add(number(LENGTH_AT) as usize)?;
    let frame = data.get(begin..end)?;
    if crc32fast::hash(&frame[LENGTH_AT..]) != number(0) {
        return None;
    }
    let is_erased = frame[STATE_AT] != 0;
    let hash = leaf_hash(&frame[LEAF_AT..SALT_AT]);
    Some(Opened {
        leaf: begin + LEAF_AT,
        salt: begin + SALT_AT,
        end,
        is_erased,
        hash,
    })
}

fn leaf_hash(leaf: &[u8]) -> [u8; HASH] {
    let mut whole = Sha256::new();
    whole.update([0]);
    whole.update(leaf);
    whole.finalize().into()
}

fn node_hash(left: &[u8; HASH], right: &[u8; HASH]) -> [u8; HASH] {
    let mut whole = Sha256::new();
    whole.update([1]);
    whole.update(left);
    whole.update(right);
    whole.finalize().into()
}

/// Grows a tree by one leaf.
///
/// `peaks` are the roots of its complete subtrees, largest first, one for each bit of `size`.
/// `on_tile` is told each hash of a tile level above 0 that is complete now.
///
/// # Panics
///
/// If there are fewer peaks than the size has bits.
pub fn grow(
    size: u64,
    peaks: &mut Vec<[u8; HASH]>,
    leaf: [u8; HASH],
    mut on_tile: impl FnMut(u32, [u8; HASH]),
) {
    let (mut hash, mut rest, mut level) = (leaf, size, 0);
    while rest & 1 == 1 {
        let left = peaks.pop().expect("a peak for each bit of the size");
        hash = node_hash(&left, &hash);
        rest >>= 1;
        level += 1;
        if level % 8 == 0 {
            on_tile(level / 8, hash);
        }
    }
    peaks.push(hash);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_is_opened_and_every_flipped_bit_is_seen() {
        let (mut frames, mut hashes) = (Vec::new(), Vec::new());
        seal(
            [1, 3],
            &[5; COMMITMENT],
            &[7; SALT],
            b"{}",
            &mut frames,
            &mut hashes,
        );
        seal(
            [1, 4],
            &[6; COMMITMENT],
            &[8; SALT],
            b"",
            &mut frames,
            &mut hashes,
        );
        let one = open(&frames, 0).expect("it is sound");
        assert!(!one.is_erased);
        assert_eq!(&frames[one.salt + SALT..one.end], b"{}");
        let two = open(&frames, one.end).expect("it is sound");
        assert_eq!(two.end, frames.len());
        assert_eq!([one.hash, two.hash].concat(), hashes);
        for bit in 0..one.end * 8 {
            frames[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&frames, 0).is_none(), "bit {bit}");
            frames[bit / 8] ^= 1 << (bit % 8);
        }
        assert!(open(&frames[..one.end - 1], 0).is_none());
        assert!(open(&frames, frames.len()).is_none());
    }

    #[test]
    fn a_tree_of_256_leaves_completes_one_hash_of_the_next_tile_level() {
        let (mut peaks, mut told) = (Vec::new(), Vec::new());
        for size in 0..600 {
            grow(size, &mut peaks, [size as u8; HASH], |level, hash| {
                told.push((level, hash));
            });
            assert_eq!(peaks.len(), (size + 1).count_ones() as usize);
        }
        assert_eq!(told.iter().map(|one| one.0).collect::<Vec<_>>(), [1, 1]);
    }
}
