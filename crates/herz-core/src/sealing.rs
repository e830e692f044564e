//! Entries of the journal in their frames, the hashes of their leaves, and the growth of the tree
//! over them.
//!
//! A leaf is version, kind and commitment, 50 bytes; the commitment is SHA3-384(salt ‖ payload).
//! A frame is a checksum of all that follows it, the payload's length, the state, leaf, salt and
//! payload; numbers are big-endian. The tree is RFC 6962's. docs/reference/journal.md has the
//! format.

use sha2::{Digest, Sha256};

use crate::sha3;

/// Bytes of a salt, of a commitment, of a leaf, and of a hash of the tree.
pub const SALT: usize = 32;
pub const COMMITMENT: usize = sha3::DIGEST;
const LEAF: usize = 2 + COMMITMENT;
pub const HASH: usize = 32;

/// Where things are in a frame, and its length without the payload.
const LENGTH_AT: usize = 4;
const STATE_AT: usize = 8;
const LEAF_AT: usize = 9;
const SALT_AT: usize = LEAF_AT + LEAF;
pub const FRAME: usize = SALT_AT + SALT;

/// An entry that is to be sealed.
pub struct Entry<'a> {
    /// Version and kind.
    pub head: [u8; 2],
    pub salt: &'a [u8],
    pub payload: &'a [u8],
}

/// Puts the frames of entries behind `frames` and the hashes of their leaves behind `hashes`.
///
/// # Panics
///
/// If a salt has not its length, or a payload is longer than a length can say.
pub fn seal(entries: &[Entry], frames: &mut Vec<u8>, hashes: &mut Vec<u8>) {
    let first = frames.len();
    for entry in entries {
        assert_eq!(entry.salt.len(), SALT, "a salt has its length");
        let length = u32::try_from(entry.payload.len()).expect("a payload is below 64 MiB");
        frames.extend_from_slice(&[0; LENGTH_AT]);
        frames.extend_from_slice(&length.to_be_bytes());
        frames.push(0);
        frames.extend_from_slice(&entry.head);
        frames.extend_from_slice(&[0; COMMITMENT]);
        frames.extend_from_slice(entry.salt);
        frames.extend_from_slice(entry.payload);
    }
    let mut commitments = Vec::with_capacity(entries.len() * COMMITMENT);
    sha3::digest_all(
        entries.iter().map(|entry| [entry.salt, entry.payload]),
        &mut commitments,
    );
    let mut rest = &mut frames[first..];
    for (entry, commitment) in entries.iter().zip(commitments.chunks_exact(COMMITMENT)) {
        let (frame, others) = rest.split_at_mut(FRAME + entry.payload.len());
        frame[SALT_AT - COMMITMENT..SALT_AT].copy_from_slice(commitment);
        hashes.extend_from_slice(&leaf_hash(&frame[LEAF_AT..SALT_AT]));
        let crc = crc32fast::hash(&frame[LENGTH_AT..]);
        frame[..LENGTH_AT].copy_from_slice(&crc.to_be_bytes());
        rest = others;
    }
}

/// An entry that was kept: salt and payload are empty where it is erased.
pub struct Kept<'a> {
    pub leaf: &'a [u8],
    pub salt: &'a [u8],
    pub payload: &'a [u8],
}

/// What follows from the bytes of kept entries.
pub struct Checked {
    /// How many, from the first, are what their leaves commit to, or are erased.
    pub sound: usize,
    /// The hashes of all leaves, end to end.
    pub hashes: Vec<u8>,
    /// SHA3-384 of the payloads of one kind, end to end.
    pub digests: Vec<u8>,
}

/// Checks entries against their leaves, and hashes what others name of them.
#[must_use]
pub fn check(entries: &[Kept], kind: u8) -> Checked {
    let mut commitments = Vec::with_capacity(entries.len() * COMMITMENT);
    sha3::digest_all(
        entries.iter().map(|entry| [entry.salt, entry.payload]),
        &mut commitments,
    );
    let sound = entries
        .iter()
        .zip(commitments.chunks_exact(COMMITMENT))
        .position(|(entry, commitment)| {
            let is_erased = entry.salt.is_empty() && entry.payload.is_empty();
            let is_whole = entry.salt.len() == SALT && entry.leaf.get(2..) == Some(commitment);
            !is_erased && !is_whole
        })
        .unwrap_or(entries.len());
    let of_kind = entries
        .iter()
        .filter(|entry| entry.leaf.get(1) == Some(&kind));
    let mut digests = Vec::new();
    sha3::digest_all(of_kind.map(|entry| [entry.payload, &[]]), &mut digests);
    Checked {
        sound,
        hashes: entries
            .iter()
            .flat_map(|entry| leaf_hash(entry.leaf))
            .collect(),
        digests,
    }
}

/// An entry in its frame, and what follows from its bytes.
pub struct Opened {
    /// Where the leaf, the salt, the payload and the next frame begin.
    pub leaf: usize,
    pub salt: usize,
    pub payload: usize,
    pub end: usize,
    /// Whether salt and payload are gone.
    pub is_erased: bool,
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
    Some(Opened {
        leaf: begin + LEAF_AT,
        salt: begin + SALT_AT,
        payload,
        end,
        is_erased: frame[STATE_AT] != 0,
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
    use ::sha3::Sha3_384;

    use super::*;

    #[test]
    fn what_is_sealed_is_opened_and_every_flipped_bit_is_seen() {
        let (mut frames, mut hashes) = (Vec::new(), Vec::new());
        let entry = |kind, fill: &'static [u8], payload| Entry {
            head: [1, kind],
            salt: fill,
            payload,
        };
        let (one, two) = (
            entry(3, &[7; SALT], b"{}" as &[u8]),
            entry(4, &[8; SALT], b""),
        );
        seal(&[one, two], &mut frames, &mut hashes);
        let one = open(&frames, 0).expect("it is sound");
        assert!(!one.is_erased);
        assert_eq!(&frames[one.payload..one.end], b"{}");
        let two = open(&frames, one.end).expect("it is sound");
        assert_eq!(two.end, frames.len());
        let end = one.end;
        let leaves = [one, two].map(|one| leaf_hash(&frames[one.leaf..one.salt]));
        assert_eq!(leaves.concat(), hashes);
        for bit in 0..end * 8 {
            frames[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&frames, 0).is_none(), "bit {bit}");
            frames[bit / 8] ^= 1 << (bit % 8);
        }
        assert!(open(&frames[..end - 1], 0).is_none());
        assert!(open(&frames, frames.len()).is_none());
    }

    #[test]
    fn the_first_entry_that_is_not_what_its_leaf_says_is_named() {
        let (mut frames, mut hashes) = (Vec::new(), Vec::new());
        let payloads: [&[u8]; 3] = [b"one", b"two", b"three"];
        let entries = payloads.map(|payload| Entry {
            head: [1, 4],
            salt: &[7; SALT],
            payload,
        });
        seal(&entries, &mut frames, &mut hashes);
        let mut begin = 0;
        let leaves = payloads.map(|payload| {
            let leaf = &frames[begin + LEAF_AT..begin + SALT_AT];
            begin += FRAME + payload.len();
            leaf
        });
        let kept = |at: usize, salt, payload| Kept {
            leaf: leaves[at],
            salt,
            payload,
        };
        let salt: &[u8] = &[7; SALT];
        let sound = check(&[kept(0, salt, b"one"), kept(1, &[], &[])], 4);
        assert_eq!(sound.sound, 2);
        assert_eq!(sound.hashes, hashes[..2 * HASH]);
        assert_eq!(sound.digests[..COMMITMENT], Sha3_384::digest(b"one")[..]);
        for other in [
            kept(1, salt, b"one"),
            kept(1, &[7; SALT - 1], b"two"),
            kept(1, &[], b"two"),
            kept(1, salt, &[]),
        ] {
            assert_eq!(
                check(&[kept(0, salt, b"one"), other, kept(1, salt, b"one")], 4).sound,
                1
            );
        }
        assert!(check(&[kept(0, salt, b"one")], 3).digests.is_empty());
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
