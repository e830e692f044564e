//! The best rows of a column of totals.

/// Rows in a block: the best total of each block is kept, so that a search passes over blocks.
pub const BLOCK: usize = 64;

/// How the best of equal rows is found.
#[derive(Clone, Copy)]
pub enum Ties {
    /// By the mixed hash of the row's key and this salt, lowest first.
    Hashed(u64),
    /// By the row's key, lowest first.
    Keyed,
}

/// A bijection on 64 bits that spreads every bit (splitmix64's finaliser).
#[inline]
#[must_use]
pub fn mix64(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// What a search found.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    /// (total, row) of the best rows, best first.
    pub best: Vec<(i64, usize)>,
    /// How many rows share the highest total.
    pub tied: usize,
    /// Whether the first two share their rank as well: the row's number decided between them.
    pub is_even: bool,
}

/// The best `k` rows by (highest total, lowest rank, lowest row). Rows with a negative total are
/// none.
///
/// `blocks` has the highest total of each block of [`BLOCK`] rows.
#[must_use]
pub fn search(k: usize, totals: &[i64], blocks: &[i64], keys: &[u64], ties: Ties) -> Found {
    let highest = blocks.iter().copied().max().unwrap_or(-1);
    let mut shortlist = Shortlist::new(k);
    let (mut tied, mut ranks) = (0, [0; BLOCK]);
    for (block, &best) in blocks.iter().enumerate() {
        if best < shortlist.floor {
            continue;
        }
        let rows = block * BLOCK..totals.len().min((block + 1) * BLOCK);
        let view = Block {
            totals: &totals[rows.clone()],
            keys: &keys[rows.clone()],
            highest,
            floor: shortlist.floor,
            floor_rank: shortlist.floor_rank,
        };
        let seen = view.look(ties, &mut ranks);
        tied += seen.tied;
        if seen.is_promising {
            for (row, (&total, &rank)) in rows.zip(view.totals.iter().zip(&ranks)) {
                shortlist.offer(total, rank, row);
            }
        }
    }
    let best = shortlist.best;
    Found {
        is_even: matches!(best[..], [one, two, ..] if (one.0, one.1) == (two.0, two.1)),
        best: best.into_iter().map(|one| (-one.0, one.2)).collect(),
        tied: if highest < 0 { 0 } else { tied },
    }
}

/// One block, and what it takes to come in.
struct Block<'a> {
    totals: &'a [i64],
    keys: &'a [u64],
    highest: i64,
    floor: i64,
    floor_rank: u64,
}

/// What a look at a block found.
struct Seen {
    /// Rows with the highest total.
    tied: usize,
    /// Whether any row may come in.
    is_promising: bool,
}

impl Block<'_> {
    fn look(&self, ties: Ties, ranks: &mut [u64; BLOCK]) -> Seen {
        #[cfg(target_arch = "x86_64")]
        if std::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2, as the line above found.
            return unsafe { self.look_avx2(ties, ranks) };
        }
        self.look_at_all(ties, ranks)
    }

    /// [`Block::look_at_all`], compiled for four lanes at once.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn look_avx2(&self, ties: Ties, ranks: &mut [u64; BLOCK]) -> Seen {
        self.look_at_all(ties, ranks)
    }

    /// Ranks all rows of the block, tied or not, without a branch: vector instructions do it.
    #[inline]
    fn look_at_all(&self, ties: Ties, ranks: &mut [u64; BLOCK]) -> Seen {
        match ties {
            Ties::Keyed => ranks[..self.keys.len()].copy_from_slice(self.keys),
            Ties::Hashed(salt) => {
                for (rank, key) in ranks.iter_mut().zip(self.keys) {
                    *rank = mix64(key ^ salt);
                }
            }
        }
        let (mut tied, mut promising) = (0_u64, 0_u64);
        for (&total, &rank) in self.totals.iter().zip(ranks.iter()) {
            tied += u64::from(total == self.highest);
            let is_level = u64::from(total == self.floor) & u64::from(rank <= self.floor_rank);
            promising |= u64::from(total > self.floor) | is_level;
        }
        Seen {
            tied: tied as usize,
            is_promising: promising != 0,
        }
    }
}

/// The best `k` so far.
struct Shortlist {
    k: usize,
    best: Vec<(i64, u64, usize)>,
    /// What a row must reach to come in: this total, and this rank if the total is equal.
    floor: i64,
    floor_rank: u64,
}

impl Shortlist {
    fn new(k: usize) -> Self {
        Self {
            k,
            best: Vec::with_capacity(k + 1),
            floor: 0,
            floor_rank: u64::MAX,
        }
    }

    #[inline]
    fn offer(&mut self, total: i64, rank: u64, row: usize) {
        if total < self.floor || (total == self.floor && rank > self.floor_rank) {
            return;
        }
        let entry = (-total, rank, row);
        if self.best.len() == self.k {
            if self.best.last().is_none_or(|last| entry >= *last) {
                return;
            }
            self.best.pop();
        }
        let at = self.best.partition_point(|other| *other < entry);
        self.best.insert(at, entry);
        if self.best.len() == self.k {
            let last = self.best[self.k - 1];
            (self.floor, self.floor_rank) = (-last.0, last.1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_is_a_full_sort_for_any_share_of_ties() {
        for spread in [1, 3, 40, 5000] {
            let totals: Vec<i64> = (0..1000)
                .map(|row| (mix64(row) % spread) as i64 - i64::from(row % 5 == 0))
                .collect();
            let keys: Vec<u64> = (0..1000).map(|row| mix64(row + 77)).collect();
            let blocks: Vec<i64> = totals
                .chunks(BLOCK)
                .map(|block| block.iter().copied().max().unwrap())
                .collect();
            for ties in [Ties::Hashed(7), Ties::Keyed] {
                let rank = |row: usize| match ties {
                    Ties::Hashed(salt) => mix64(keys[row] ^ salt),
                    Ties::Keyed => keys[row],
                };
                let mut sorted: Vec<_> = (0..1000)
                    .filter(|&row| totals[row] >= 0)
                    .map(|row| (-totals[row], rank(row), row))
                    .collect();
                sorted.sort_unstable();
                let expected: Vec<_> = sorted[..5].iter().map(|s| (-s.0, s.2)).collect();
                let tied = sorted.iter().filter(|s| s.0 == sorted[0].0).count();
                let found = search(5, &totals, &blocks, &keys, ties);
                assert_eq!((found.best, found.tied), (expected, tied));
                assert!(!found.is_even, "no two of these keys are the same");
            }
        }
    }

    #[test]
    fn rows_that_do_not_fit_are_never_found() {
        let found = search(3, &[-1; 70], &[-1, -1], &[5; 70], Ties::Keyed);
        assert_eq!((found.best, found.tied, found.is_even), (vec![], 0, false));
    }

    #[test]
    fn two_best_rows_of_one_rank_are_even() {
        for (totals, keys, is_even) in [
            ([1, 7, 7], [4, 5, 5], true),
            ([1, 7, 7], [5, 5, 4], false),
            ([1, 6, 7], [5, 5, 5], false),
            ([-1, -1, 7], [5, 5, 5], false),
        ] {
            let found = search(2, &totals, &[7], &keys, Ties::Hashed(3));
            assert_eq!(found.is_even, is_even, "{totals:?} {keys:?}");
        }
    }
}
