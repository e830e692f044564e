//! SHA3-384 (FIPS 202) of many messages at once.
//!
//! A sponge is a chain of permutations, each of which waits for the one before it. Those of
//! different messages do not wait for each other: where the processor has AVX2, word i of four
//! states is one vector, and one pass permutes all four. A message that ends makes room for the
//! next one, so that messages of any lengths fill the four places. Elsewhere it is the `sha3`
//! crate's, message by message; ADR 33 says why it is not everywhere.

use sha3::{Digest, Sha3_384};

/// Bytes of a digest.
pub const DIGEST: usize = 48;

/// A message in two parts, which are read end to end.
pub type Message<'a> = [&'a [u8]; 2];

/// Puts the digests of messages, in their order and end to end, behind `digests`.
pub fn digest_all<'a>(messages: impl Iterator<Item = Message<'a>>, digests: &mut Vec<u8>) {
    #[cfg(target_arch = "x86_64")]
    if let Some(permute) = four::permutation() {
        return four::digest_all(permute, messages, digests);
    }
    one_by_one(messages, digests);
}

fn one_by_one<'a>(messages: impl Iterator<Item = Message<'a>>, digests: &mut Vec<u8>) {
    for [first, second] in messages {
        let whole = Sha3_384::new_with_prefix(first).chain_update(second);
        digests.extend_from_slice(&whole.finalize());
    }
}

/// Four sponges side by side.
#[cfg(target_arch = "x86_64")]
mod four {
    use std::arch::x86_64::{
        __m256i, _mm256_andnot_si256, _mm256_or_si256, _mm256_set1_epi64x, _mm256_slli_epi64,
        _mm256_srli_epi64, _mm256_xor_si256,
    };
    use std::mem::transmute;

    use super::{DIGEST, Message};

    const SIDE: usize = 4;
    /// Word i of each of the states, for each i.
    pub type States = [[u64; SIDE]; 25];

    /// Bytes that a permutation takes in, what follows the message, and what ends its last block.
    const RATE: usize = 104;
    const SUFFIX: u8 = 0x06;
    const LAST: u8 = 0x80;

    /// What ι adds in each round.
    const ROUNDS: [u64; 24] = [
        0x0000_0000_0000_0001,
        0x0000_0000_0000_8082,
        0x8000_0000_0000_808a,
        0x8000_0000_8000_8000,
        0x0000_0000_0000_808b,
        0x0000_0000_8000_0001,
        0x8000_0000_8000_8081,
        0x8000_0000_0000_8009,
        0x0000_0000_0000_008a,
        0x0000_0000_0000_0088,
        0x0000_0000_8000_8009,
        0x0000_0000_8000_000a,
        0x0000_0000_8000_808b,
        0x8000_0000_0000_008b,
        0x8000_0000_0000_8089,
        0x8000_0000_0000_8003,
        0x8000_0000_0000_8002,
        0x8000_0000_0000_0080,
        0x0000_0000_0000_800a,
        0x8000_0000_8000_000a,
        0x8000_0000_8000_8081,
        0x8000_0000_0000_8080,
        0x0000_0000_8000_0001,
        0x8000_0000_8000_8008,
    ];

    /// Where ρ and π take word x + 5y from, and how far they rotate it.
    const FROM: [usize; 25] = [
        0, 6, 12, 18, 24, 3, 9, 10, 16, 22, 1, 7, 13, 19, 20, 4, 5, 11, 17, 23, 2, 8, 14, 15, 21,
    ];
    const TURN: [i32; 25] = [
        0, 44, 43, 21, 14, 28, 20, 3, 45, 61, 1, 6, 25, 8, 18, 27, 36, 10, 15, 56, 62, 55, 39, 41,
        2,
    ];

    /// An act for each of five; unrolled, for a rotation's width must be known to the compiler.
    macro_rules! five {
        ($at:ident, $act:expr) => {{
            five!($at = 0, $act);
            five!($at = 1, $act);
            five!($at = 2, $act);
            five!($at = 3, $act);
            five!($at = 4, $act);
        }};
        ($at:ident = $number:literal, $act:expr) => {{
            const $at: usize = $number;
            $act;
        }};
    }

    macro_rules! turned {
        ($word:expr, $by:expr) => {{
            let word = $word;
            let right = _mm256_srli_epi64::<{ 64 - $by }>(word);
            _mm256_or_si256(_mm256_slli_epi64::<{ $by }>(word), right)
        }};
    }

    /// What permutes four states; none where the processor lacks AVX2.
    pub fn permutation() -> Option<fn(&mut States)> {
        if !std::arch::is_x86_feature_detected!("avx2") {
            return None;
        }
        // SAFETY: the processor has AVX2, which is all that the function asks for.
        Some(|states| unsafe { permute(states) })
    }

    /// Keccak-f[1600] on each of four states.
    #[target_feature(enable = "avx2")]
    fn permute(states: &mut States) {
        // SAFETY: 25 vectors are 25 times four words: the same bytes, all of which mean something.
        let mut a = unsafe { transmute::<States, [__m256i; 25]>(*states) };
        for constant in ROUNDS {
            let mut c = [a[0], a[1], a[2], a[3], a[4]];
            five!(X, {
                let (one, two) = (_mm256_xor_si256(a[X + 5], a[X + 10]), a[X + 15]);
                c[X] = _mm256_xor_si256(_mm256_xor_si256(c[X], one), two);
                c[X] = _mm256_xor_si256(c[X], a[X + 20]);
            });
            let mut d = c;
            five!(X, {
                d[X] = _mm256_xor_si256(c[(X + 4) % 5], turned!(c[(X + 1) % 5], 1));
            });
            let (mut b, mut row) = (a, c);
            five!(Y, {
                five!(X, {
                    const AT: usize = X + 5 * Y;
                    let word = _mm256_xor_si256(a[FROM[AT]], d[FROM[AT] % 5]);
                    row[X] = turned!(word, TURN[AT]);
                });
                five!(X, {
                    let other = _mm256_andnot_si256(row[(X + 1) % 5], row[(X + 2) % 5]);
                    b[X + 5 * Y] = _mm256_xor_si256(row[X], other);
                });
            });
            b[0] = _mm256_xor_si256(b[0], _mm256_set1_epi64x(constant.cast_signed()));
            a = b;
        }
        // SAFETY: as above.
        *states = unsafe { transmute::<[__m256i; 25], States>(a) };
    }

    /// A message on its way through one of the states.
    struct Place<'a> {
        rest: Message<'a>,
        /// Where its digest goes.
        digest: usize,
        /// Whether its last block was taken in.
        is_padded: bool,
    }

    pub fn digest_all<'a>(
        permute: fn(&mut States),
        mut messages: impl Iterator<Item = Message<'a>>,
        digests: &mut Vec<u8>,
    ) {
        let mut states: States = [[0; SIDE]; 25];
        let mut places: [Option<Place<'a>>; SIDE] = [const { None }; SIDE];
        loop {
            for (side, place) in places.iter_mut().enumerate() {
                if place.is_none() {
                    *place = messages
                        .next()
                        .map(|rest| begun(rest, &mut states, side, digests));
                }
                if let Some(place) = place {
                    place.absorb(&mut states, side);
                }
            }
            if places.iter().all(Option::is_none) {
                return;
            }
            permute(&mut states);
            for (side, place) in places.iter_mut().enumerate() {
                if let Some(ended) = place.take_if(|place| place.is_padded) {
                    let digest = &mut digests[ended.digest..][..DIGEST];
                    for (bytes, words) in digest.chunks_exact_mut(8).zip(&states) {
                        bytes.copy_from_slice(&words[side].to_le_bytes());
                    }
                }
            }
        }
    }

    fn begun<'a>(
        rest: Message<'a>,
        states: &mut States,
        side: usize,
        digests: &mut Vec<u8>,
    ) -> Place<'a> {
        for words in states.iter_mut() {
            words[side] = 0;
        }
        let digest = digests.len();
        digests.resize(digest + DIGEST, 0);
        Place {
            rest,
            digest,
            is_padded: false,
        }
    }

    impl Place<'_> {
        /// Takes the next block into one of the states.
        fn absorb(&mut self, states: &mut States, side: usize) {
            if self.rest[0].is_empty()
                && let Some((block, rest)) = self.rest[1].split_first_chunk::<RATE>()
            {
                add(block, states, side);
                self.rest[1] = rest;
                return;
            }
            let (mut block, mut filled) = ([0; RATE], 0);
            for part in &mut self.rest {
                let (now, later) = part.split_at(part.len().min(RATE - filled));
                block[filled..][..now.len()].copy_from_slice(now);
                filled += now.len();
                *part = later;
            }
            if filled < RATE {
                block[filled] = SUFFIX;
                block[RATE - 1] |= LAST;
                self.is_padded = true;
            }
            add(&block, states, side);
        }
    }

    fn add(block: &[u8; RATE], states: &mut States, side: usize) {
        for (words, bytes) in states.iter_mut().zip(block.chunks_exact(8)) {
            words[side] ^= u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: usize = 104;

    #[test]
    fn digests_of_any_lengths_are_those_of_the_library() {
        let data: Vec<u8> = (0..1500_u32).map(|at| (at * 7 + at / 256) as u8).collect();
        // Every length around a block's end, in an order in which the places end at other times.
        let messages: Vec<Message> = (0..450)
            .map(|at| {
                data[at % 5..][..(at * 191) % 450].split_at((at * 67 % 130).min(at * 191 % 450))
            })
            .chain([
                (&data[..], &data[1..]),
                (&data[..RATE], &data[..0]),
                (&[], &[]),
            ])
            .map(|(first, second)| [first, second])
            .collect();
        for count in [0, 1, 2, 3, 4, 5, 7, messages.len()] {
            let (mut found, mut expected) = (vec![9], vec![9]);
            digest_all(messages[..count].iter().copied(), &mut found);
            one_by_one(messages[..count].iter().copied(), &mut expected);
            assert!(found == expected, "{count} messages");
        }
    }
}
