//! Rows of slots: what is left in each, and what of it a mix of requests could not use.
//!
//! A request asks `count` slots for `share` each, and an amount of a second thing (`other`) of
//! the row. What a row has left is lost to a request when the row cannot serve it at all, or
//! when it lies in slots that are smaller than the share.

use crate::rows::Rows;

/// The most kinds of rows: a request names those that it may use by bits.
pub const KINDS_MAX: usize = 64;
/// The result where nothing can be taken.
pub const IMPOSSIBLE: i64 = i64::MIN;

/// One request of a mix.
#[derive(Clone, Copy)]
pub struct Request {
    /// What it asks of the row's second thing.
    pub other: i64,
    /// What it asks of each slot.
    pub share: i64,
    /// How many slots; 0 for a request that uses none: all that is left is lost to it.
    pub count: i64,
    /// The kinds of rows that it may use, a bit each.
    pub kinds: u64,
    /// How often it comes.
    pub weight: i64,
}

/// A request as one kind of rows sees it; `share` is an index into the mix's shares.
struct Asked {
    other: i64,
    share: usize,
    count: i64,
    weight: i64,
}

/// A mix of requests, prepared.
pub struct Mix {
    /// Distinct shares, ascending.
    shares: Vec<i64>,
    /// By kind: the requests that may use it, and the weight of those that may not.
    by_kind: Vec<(Vec<Asked>, i64)>,
}

/// What is to be taken from a row.
#[derive(Clone, Copy)]
pub struct Take {
    /// Of the second thing.
    pub other: i64,
    /// Of each slot.
    pub share: i64,
    /// How many slots.
    pub count: usize,
}

/// The slots of one row: how many hold each share of the mix, and what lies in those below it.
#[derive(Clone, Default)]
struct Row {
    total: i64,
    holding: Vec<i64>,
    below: Vec<i64>,
}

impl Mix {
    /// Prepares a mix.
    ///
    /// # Panics
    /// With more than [`KINDS_MAX`] kinds.
    #[must_use]
    pub fn new(requests: &[Request], kinds: usize) -> Self {
        assert!(kinds <= KINDS_MAX);
        let mut shares: Vec<i64> = requests
            .iter()
            .filter(|r| r.count > 0)
            .map(|r| r.share)
            .collect();
        shares.sort_unstable();
        shares.dedup();
        let by_kind = (0..kinds).map(|kind| {
            let may = |r: &&Request| r.count > 0 && r.kinds >> kind & 1 == 1;
            let asked = requests.iter().filter(may).map(|r| Asked {
                other: r.other,
                share: shares.partition_point(|&share| share < r.share),
                count: r.count,
                weight: r.weight,
            });
            let never = requests.iter().filter(|r| !may(r)).map(|r| r.weight).sum();
            (asked.collect(), never)
        });
        let by_kind = by_kind.collect();
        Self { shares, by_kind }
    }

    /// The number of kinds.
    #[must_use]
    pub fn kinds(&self) -> usize {
        self.by_kind.len()
    }

    /// How much the take lowers what is lost to the mix, by row and slot.
    ///
    /// `slots` has `width` values a row, negative where there is no slot; `other` and `kinds`
    /// have a value for each selected row. The result has `max(width, 1)` values for each: a
    /// take of one slot is tried on each; a take of several uses the fullest slots that have
    /// enough (lowest index first) and stands at the first of them; a take of none stands at 0.
    /// [`IMPOSSIBLE`] elsewhere.
    ///
    /// # Panics
    /// When a row or a kind is out of range, or the lengths differ.
    #[must_use]
    pub fn drops(
        &self,
        slots: &[i64],
        width: usize,
        other: &[i64],
        kinds: &[i64],
        take: Take,
        rows: Rows,
    ) -> Vec<i64> {
        assert!(rows.len() == other.len() && rows.len() == kinds.len());
        let stride = width.max(1);
        let mut out = vec![IMPOSSIBLE; rows.len() * stride];
        let mut scratch = (Row::default(), Row::default());
        rows.each(|position, row| {
            let slots = &slots[row * width..(row + 1) * width];
            let enough = slots.iter().filter(|&&left| left >= take.share).count();
            if other[position] >= take.other && enough >= take.count {
                let state = (other[position], kinds[position] as usize);
                let out = &mut out[position * stride..(position + 1) * stride];
                self.drops_on(slots, state, take, &mut scratch, out);
            }
        });
        out
    }

    /// The drops of a row on which the take fits; `state` is its second thing and its kind.
    fn drops_on(
        &self,
        slots: &[i64],
        (other, kind): (i64, usize),
        take: Take,
        (before, after): &mut (Row, Row),
        out: &mut [i64],
    ) {
        before.read(slots, &self.shares);
        let (lost, left) = (self.lost(before, other, kind), other - take.other);
        let mut drop_of = |chosen: &[usize]| {
            after.clone_from(before);
            for &slot in chosen {
                after.draw(slots[slot], take.share, &self.shares);
            }
            lost - self.lost(after, left, kind)
        };
        if take.count != 1 {
            let chosen = fullest(slots, take.share, take.count);
            out[chosen.first().map_or(0, |&slot| slot)] = drop_of(&chosen);
            return;
        }
        for slot in (0..slots.len()).filter(|&slot| slots[slot] >= take.share) {
            // Slots with the same rest give the same result.
            let same = (0..slot).find(|&earlier| slots[earlier] == slots[slot]);
            out[slot] = same.map_or_else(|| drop_of(&[slot]), |earlier| out[earlier]);
        }
    }

    /// What is lost to the mix, weighted.
    fn lost(&self, row: &Row, other: i64, kind: usize) -> i64 {
        let (asked, never) = &self.by_kind[kind];
        let mut sum = never * row.total;
        for request in asked {
            let is_served = other >= request.other && row.holding[request.share] >= request.count;
            sum += request.weight
                * if is_served {
                    row.below[request.share]
                } else {
                    row.total
                };
        }
        sum
    }
}

impl Row {
    fn read(&mut self, slots: &[i64], shares: &[i64]) {
        self.total = 0;
        self.holding.clear();
        self.holding.resize(shares.len(), 0);
        self.below.clear();
        self.below.resize(shares.len(), 0);
        for &left in slots.iter().filter(|&&left| left > 0) {
            self.total += left;
            for (index, &share) in shares.iter().enumerate() {
                let is_held = left >= share;
                self.holding[index] += i64::from(is_held);
                self.below[index] += if is_held { 0 } else { left };
            }
        }
    }

    /// Takes `share` from a slot with `left`.
    fn draw(&mut self, left: i64, share: i64, shares: &[i64]) {
        let rest = left - share;
        self.total -= share;
        for (index, &asked) in shares.iter().enumerate() {
            if left < asked {
                self.below[index] -= share;
            } else if rest < asked {
                self.holding[index] -= 1;
                self.below[index] += rest;
            }
        }
    }
}

/// The `count` slots with the least left that hold the share, by (left, index).
fn fullest(slots: &[i64], share: i64, count: usize) -> Vec<usize> {
    if count == 0 {
        return Vec::new();
    }
    let mut found: Vec<usize> = (0..slots.len())
        .filter(|&slot| slots[slot] >= share)
        .collect();
    found.sort_by_key(|&slot| slots[slot]);
    found.truncate(count);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUESTS: [Request; 4] = [
        Request {
            other: 0,
            share: 0,
            count: 0,
            kinds: u64::MAX,
            weight: 5,
        },
        Request {
            other: 8,
            share: 500,
            count: 1,
            kinds: u64::MAX,
            weight: 3,
        },
        Request {
            other: 1,
            share: 1000,
            count: 2,
            kinds: 1,
            weight: 2,
        },
        Request {
            other: 2,
            share: 300,
            count: 1,
            kinds: 2,
            weight: 7,
        },
    ];

    /// The definition, with nothing kept.
    fn lost(slots: &[i64], other: i64, kind: usize) -> i64 {
        let total: i64 = slots.iter().map(|&left| left.max(0)).sum();
        let lost = |r: &Request| {
            let enough = slots.iter().filter(|&&left| left >= r.share).count() as i64;
            let is_allowed = r.kinds >> kind & 1 == 1;
            if r.count == 0 || !is_allowed || other < r.other || enough < r.count {
                return total;
            }
            slots
                .iter()
                .filter(|&&left| left < r.share)
                .map(|&left| left.max(0))
                .sum()
        };
        REQUESTS.iter().map(|r| r.weight * lost(r)).sum()
    }

    #[test]
    fn a_drop_is_the_difference_of_what_is_lost() {
        let mix = Mix::new(&REQUESTS, 2);
        let slots = [1000, 300, 1000, -1, 0, 650, 300, 1000];
        for kind in 0..2 {
            for (share, other) in [(300, 0), (650, 4), (1000, 3)] {
                let take = Take {
                    other,
                    share,
                    count: 1,
                };
                let found = mix.drops(&slots, 8, &[9], &[kind], take, Rows::All(1));
                for slot in 0..8 {
                    if slots[slot] < share {
                        assert_eq!(found[slot], IMPOSSIBLE);
                        continue;
                    }
                    let mut after = slots;
                    after[slot] -= share;
                    let kind = kind as usize;
                    assert_eq!(
                        found[slot],
                        lost(&slots, 9, kind) - lost(&after, 9 - other, kind)
                    );
                }
            }
        }
    }

    #[test]
    fn a_take_of_several_uses_the_fullest_and_of_none_only_the_other() {
        let mix = Mix::new(&REQUESTS, 2);
        let slots = [1000, 300, 400, 1000];
        let several = Take {
            other: 1,
            share: 300,
            count: 2,
        };
        let found = mix.drops(&slots, 4, &[9], &[0], several, Rows::All(1));
        let drop = lost(&slots, 9, 0) - lost(&[1000, 0, 100, 1000], 8, 0);
        assert_eq!(found, vec![IMPOSSIBLE, drop, IMPOSSIBLE, IMPOSSIBLE]);
        let none = Take {
            other: 5,
            share: 0,
            count: 0,
        };
        let found = mix.drops(&slots, 4, &[9], &[0], none, Rows::Some(&[0]));
        assert_eq!(found[0], lost(&slots, 9, 0) - lost(&slots, 4, 0));
    }
}
