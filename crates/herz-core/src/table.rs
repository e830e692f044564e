//! What is known of each row for one kind of request.
//!
//! Filters write codes (0 fits, positive says why not, negative: there is no such row), scorers
//! write raw values and points from 0 to their maximum. [`Table::settle_codes`] and
//! [`Table::settle_totals`] draw the conclusions for the rows that changed, [`Table::top`] reads
//! the best.

use std::collections::HashMap;
use std::sync::Arc;

use crate::resources::{Books, Kernel};
use crate::rows::Rows;
use crate::top::{BLOCK, Ties, search};

/// The highest points that a scorer may be allowed to give: totals then stay far inside 64 bits.
pub const POINTS_MAX: i32 = 1 << 30;

/// Points of a scorer, and the raw values behind them where they depend on an extent.
struct Scorer {
    weight: i64,
    most: i32,
    points: Vec<i32>,
    raw: Option<Vec<i64>>,
    /// Whether a raw value or a row's fitness changed since the extent was last read.
    is_stale: bool,
}

/// A kernel that answers for a filter or a scorer of the table.
struct Attached {
    kernel: Arc<Kernel>,
    index: usize,
}

/// A value of a filter's kernel that nobody has given a code yet.
#[derive(Debug, PartialEq, Eq)]
pub struct Unknown {
    /// The filter.
    pub filter: usize,
    /// What its kernel answered.
    pub value: i64,
}

/// One of the best rows: its total, and the weighted points of each scorer.
#[derive(Debug, PartialEq, Eq)]
pub struct Best {
    /// The row.
    pub row: usize,
    /// Sum of the weighted points.
    pub total: i64,
    /// Weighted points by scorer.
    pub points: Vec<i64>,
}

/// Codes, points and totals of `size` rows.
pub struct Table {
    size: usize,
    codes: Vec<Vec<i16>>,
    /// First code that is not 0, in the filters' order.
    // Invariant: after `settle`, equals what the codes say for every row.
    first: Vec<i16>,
    scorers: Vec<Scorer>,
    /// Sum of the weighted points; -1 where the row does not fit.
    total: Vec<i64>,
    /// Highest total of each block of [`BLOCK`] rows.
    // Invariant: after `settle_totals`, equals what `total` says for every block.
    blocks: Vec<i64>,
    /// How many rows have each code from 0 up; rows with negative codes are in none.
    counts: Vec<usize>,
    filter_kernels: Vec<Attached>,
    scorer_kernels: Vec<Attached>,
    /// Codes by (filter, value of its kernel). Looked up only, never walked.
    learned: HashMap<(usize, i64), i16>,
}

impl Table {
    /// A table in which no row fits until it is settled.
    ///
    /// `scorers` gives for each its weight, whether its points depend on an extent, and its
    /// highest points.
    ///
    /// # Panics
    /// When the highest points are not within `1..=POINTS_MAX`.
    #[must_use]
    pub fn new(size: usize, filters: usize, scorers: &[(i32, bool, i32)]) -> Self {
        assert!(scorers.iter().all(|s| (1..=POINTS_MAX).contains(&s.2)));
        let scorer = |&(weight, has_extent, most): &(i32, bool, i32)| Scorer {
            weight: i64::from(weight),
            most,
            points: vec![0; size],
            raw: has_extent.then(|| vec![0; size]),
            is_stale: true,
        };
        Self {
            size,
            codes: vec![vec![0; size]; filters],
            first: vec![-1; size],
            scorers: scorers.iter().map(scorer).collect(),
            total: vec![-1; size],
            blocks: vec![-1; size.div_ceil(BLOCK)],
            counts: vec![0],
            filter_kernels: Vec::new(),
            scorer_kernels: Vec::new(),
            learned: HashMap::new(),
        }
    }

    /// The number of rows.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// The number of rows that fit.
    #[must_use]
    pub fn fits(&self) -> usize {
        self.counts[0]
    }

    /// The bytes that the rows take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let scorers: usize = self
            .scorers
            .iter()
            .map(|s| 4 + if s.raw.is_some() { 8 } else { 0 })
            .sum();
        self.size * (2 * self.codes.len() + 2 + 8 + scorers)
    }

    /// Stores one filter's codes for the rows.
    ///
    /// # Panics
    /// When a row is out of range or the lengths differ.
    pub fn set_codes(&mut self, filter: usize, rows: Rows, codes: &[i16]) {
        assert!(rows.len() == codes.len() && rows.within(self.size));
        let target = &mut self.codes[filter];
        rows.each(|position, row| target[row] = codes[position]);
    }

    /// Concludes which rows fit; says how many changed between fitting and not.
    ///
    /// # Panics
    /// When a row is out of range.
    pub fn settle_codes(&mut self, rows: Rows) -> usize {
        assert!(rows.within(self.size));
        let mut flips = 0;
        let (codes, first, counts) = (&self.codes, &mut self.first, &mut self.counts);
        rows.each(|_, row| {
            let code = codes
                .iter()
                .map(|codes| codes[row])
                .find(|&c| c != 0)
                .unwrap_or(0);
            let was = std::mem::replace(&mut first[row], code);
            if was == code {
                return;
            }
            flips += usize::from((was == 0) != (code == 0));
            if was >= 0 {
                counts[was as usize] -= 1;
            }
            if code >= 0 {
                if code as usize >= counts.len() {
                    counts.resize(code as usize + 1, 0);
                }
                counts[code as usize] += 1;
            }
        });
        if flips > 0 {
            for scorer in &mut self.scorers {
                scorer.is_stale = true;
            }
        }
        flips
    }

    /// Stores raw values of a scorer whose points depend on their extent.
    ///
    /// # Panics
    /// When the scorer has no extent, a row is out of range or the lengths differ.
    pub fn set_raw(&mut self, scorer: usize, rows: Rows, values: &[i64]) {
        assert!(rows.len() == values.len() && rows.within(self.size));
        let scorer = &mut self.scorers[scorer];
        let raw = scorer.raw.as_mut().expect("a scorer with an extent");
        let mut is_changed = false;
        rows.each(|position, row| {
            is_changed |= raw[row] != values[position];
            raw[row] = values[position];
        });
        scorer.is_stale |= is_changed;
    }

    /// Raw values of the rows.
    ///
    /// # Panics
    /// As [`Table::set_raw`].
    #[must_use]
    pub fn raw(&self, scorer: usize, rows: Rows) -> Vec<i64> {
        assert!(rows.within(self.size));
        let raw = self.scorers[scorer]
            .raw
            .as_ref()
            .expect("a scorer with an extent");
        let mut out = vec![0; rows.len()];
        rows.each(|position, row| out[position] = raw[row]);
        out
    }

    /// Lowest and highest raw value over the rows that fit; `None` when nothing moved since the
    /// last call, `(0, 0)` when no row fits.
    ///
    /// # Panics
    /// When the scorer has no extent.
    pub fn extent(&mut self, scorer: usize) -> Option<(i64, i64)> {
        let scorer = &mut self.scorers[scorer];
        if !scorer.is_stale {
            return None;
        }
        scorer.is_stale = false;
        let raw = scorer.raw.as_ref().expect("a scorer with an extent");
        let (mut low, mut high) = (i64::MAX, i64::MIN);
        for (value, code) in raw.iter().zip(&self.first) {
            if *code == 0 {
                low = low.min(*value);
                high = high.max(*value);
            }
        }
        Some(if low > high { (0, 0) } else { (low, high) })
    }

    /// Stores points. Values at rows that do not fit may be anything; gives the first row that
    /// fits and whose points are outside 0..=its maximum.
    ///
    /// # Errors
    /// The row and its points; nothing that counts was stored beyond it.
    ///
    /// # Panics
    /// When a row is out of range or the lengths differ.
    pub fn set_points(
        &mut self,
        scorer: usize,
        rows: Rows,
        values: &[i64],
    ) -> Result<(), (usize, i64)> {
        assert!(rows.len() == values.len() && rows.within(self.size));
        let most = i64::from(self.scorers[scorer].most);
        let (points, first) = (&mut self.scorers[scorer].points, &self.first);
        let mut wrong = None;
        rows.each(|position, row| {
            let value = values[position];
            if first[row] == 0 && !(0..=most).contains(&value) && wrong.is_none() {
                wrong = Some((row, value));
            }
            // Kept as it is, at a row that does not fit too: it counts once the row does.
            points[row] = value.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32;
        });
        wrong.map_or(Ok(()), Err)
    }

    /// Sums the weighted points of the rows.
    ///
    /// # Errors
    /// The scorer, row and points of one that fits and whose points are outside 0..=the
    /// scorer's maximum: they were stored while the row did not fit.
    ///
    /// # Panics
    /// When a row is out of range.
    pub fn settle_totals(&mut self, rows: Rows) -> Result<(), (usize, usize, i64)> {
        assert!(rows.within(self.size));
        let (first, total, scorers) = (&self.first, &mut self.total, &self.scorers);
        let mut wrong = None;
        rows.each(|_, row| {
            if first[row] != 0 {
                total[row] = -1;
                return;
            }
            let mut sum = 0;
            for (index, scorer) in scorers.iter().enumerate() {
                let points = scorer.points[row];
                if !(0..=scorer.most).contains(&points) {
                    wrong = wrong.or(Some((index, row, i64::from(points))));
                }
                sum += scorer.weight * i64::from(points);
            }
            total[row] = sum;
        });
        match rows {
            Rows::All(_) => (0..self.blocks.len()).for_each(|block| self.settle_block(block)),
            Rows::Some(rows) => {
                let mut last = usize::MAX;
                for &row in rows {
                    let block = row as usize / BLOCK;
                    if block != last {
                        self.settle_block(block);
                        last = block;
                    }
                }
            }
        }
        wrong.map_or(Ok(()), Err)
    }

    fn settle_block(&mut self, block: usize) {
        let rows = block * BLOCK..self.size.min((block + 1) * BLOCK);
        self.blocks[block] = self.total[rows].iter().copied().max().unwrap_or(-1);
    }

    /// Lets a kernel answer for a filter in [`Table::refresh_codes`]; its value 0 is code 0.
    pub fn attach_filter(&mut self, filter: usize, kernel: Arc<Kernel>) {
        self.filter_kernels.push(Attached {
            kernel,
            index: filter,
        });
    }

    /// Lets a kernel answer for a scorer without an extent in [`Table::refresh_points`].
    pub fn attach_scorer(&mut self, scorer: usize, kernel: Arc<Kernel>) {
        self.scorer_kernels.push(Attached {
            kernel,
            index: scorer,
        });
    }

    /// Gives a value of a filter's kernel its code.
    pub fn learn(&mut self, filter: usize, value: i64, code: i16) {
        self.learned.insert((filter, value), code);
    }

    /// Asks the filters' kernels about the rows and concludes which fit; gives how many changed
    /// between fitting and not.
    ///
    /// # Errors
    /// A value without a code: teach it ([`Table::learn`]) and call again. Nothing is concluded.
    ///
    /// # Panics
    /// When a row is out of range, or a kernel names no column.
    pub fn refresh_codes(&mut self, rows: &[i64], books: &Books) -> Result<usize, Unknown> {
        assert!(Rows::Some(rows).within(self.size) && self.size <= books.capacity.rows());
        for Attached { kernel, index } in &self.filter_kernels {
            assert!(kernel.fits_into(books));
            for &row in rows {
                let value = kernel.value(books, row as usize);
                let code = match value {
                    0 => Some(0),
                    _ => self.learned.get(&(*index, value)).copied(),
                };
                let unknown = Unknown {
                    filter: *index,
                    value,
                };
                self.codes[*index][row as usize] = code.ok_or(unknown)?;
            }
        }
        Ok(self.settle_codes(Rows::Some(rows)))
    }

    /// Asks the scorers' kernels about the rows; their points are still to be summed.
    ///
    /// # Panics
    /// When a row is out of range, or a kernel names no column.
    pub fn refresh_points(&mut self, rows: &[i64], books: &Books) {
        assert!(Rows::Some(rows).within(self.size) && self.size <= books.capacity.rows());
        for Attached { kernel, index } in &self.scorer_kernels {
            assert!(kernel.fits_into(books));
            let scorer = &mut self.scorers[*index];
            for &row in rows {
                scorer.points[row as usize] = kernel.value(books, row as usize) as i32;
            }
        }
    }

    /// Codes by row: the first of each that is not 0.
    #[must_use]
    pub fn first(&self) -> &[i16] {
        &self.first
    }

    /// The rows that fit, ascending.
    #[must_use]
    pub fn fitting(&self) -> Vec<i64> {
        (0..self.size)
            .filter(|&row| self.first[row] == 0)
            .map(|row| row as i64)
            .collect()
    }

    /// Points by row of one scorer.
    #[must_use]
    pub fn points(&self, scorer: usize) -> &[i32] {
        &self.scorers[scorer].points
    }

    /// Totals by row; -1 where the row does not fit.
    #[must_use]
    pub fn totals(&self) -> &[i64] {
        &self.total
    }

    /// How many rows have each positive code, as (code, count) by code.
    #[must_use]
    pub fn histogram(&self) -> Vec<(i16, usize)> {
        let counts = self.counts.iter().enumerate().skip(1);
        counts
            .filter(|&(_, &count)| count > 0)
            .map(|(code, &count)| (code as i16, count))
            .collect()
    }

    /// The best `k` rows by (highest total, ties, lowest row), and how many rows share the
    /// highest total. `keys` has one 64-bit key a row.
    ///
    /// # Panics
    /// When `keys` is shorter than the table.
    #[must_use]
    pub fn top(&self, k: usize, keys: &[u64], ties: Ties) -> (Vec<Best>, usize) {
        assert!(keys.len() >= self.size);
        let (best, tied) = search(k, &self.total, &self.blocks, keys, ties);
        let made = best.into_iter().map(|(total, row)| Best {
            row,
            total,
            points: self.weighted(row),
        });
        (made.collect(), tied)
    }

    fn weighted(&self, row: usize) -> Vec<i64> {
        self.scorers
            .iter()
            .map(|s| s.weight * i64::from(s.points[row]))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::mix64;

    fn table() -> Table {
        let mut table = Table::new(4, 2, &[(2, false, 100), (1, true, 100)]);
        table.set_codes(0, Rows::All(4), &[0, 5, 0, -1]);
        table.set_codes(1, Rows::All(4), &[0, 6, 7, 0]);
        table.settle_codes(Rows::All(4));
        table
    }

    #[test]
    fn the_first_code_counts_and_absent_rows_are_in_no_histogram() {
        let table = table();
        assert_eq!(table.first(), [0, 5, 7, -1]);
        assert_eq!(table.histogram(), vec![(5, 1), (7, 1)]);
        assert_eq!(table.fits(), 1);
    }

    #[test]
    fn an_extent_is_over_fitting_rows_and_read_once_a_change() {
        let mut table = table();
        table.set_raw(1, Rows::All(4), &[3, 100, 200, 300]);
        assert_eq!(table.extent(1), Some((3, 3)));
        assert_eq!(table.extent(1), None);
        table.set_codes(0, Rows::Some(&[1]), &[0]);
        table.set_codes(1, Rows::Some(&[1]), &[0]);
        assert_eq!(table.settle_codes(Rows::Some(&[1])), 1);
        assert_eq!(table.extent(1), Some((3, 100)));
    }

    #[test]
    fn points_outside_the_range_are_told_only_where_the_row_fits() {
        let mut table = table();
        assert_eq!(table.set_points(0, Rows::All(4), &[1, 900, -4, 0]), Ok(()));
        assert_eq!(table.set_points(0, Rows::Some(&[0]), &[101]), Err((0, 101)));
    }

    #[test]
    fn the_top_is_what_a_full_sort_gives() {
        let size = 500;
        let mut table = Table::new(size, 1, &[(1, false, 100)]);
        let points: Vec<i64> = (0..size)
            .map(|row| (mix64(row as u64) % 4) as i64)
            .collect();
        let codes: Vec<i16> = (0..size).map(|row| i16::from(row % 3 == 0)).collect();
        let keys: Vec<u64> = (0..size).map(|row| mix64(row as u64 + 99)).collect();
        table.set_codes(0, Rows::All(size), &codes);
        table.settle_codes(Rows::All(size));
        table.set_points(0, Rows::All(size), &points).unwrap();
        table.settle_totals(Rows::All(size)).unwrap();
        let mut sorted: Vec<_> = (0..size)
            .filter(|row| codes[*row] == 0)
            .map(|row| (-points[row], mix64(keys[row] ^ 7), row))
            .collect();
        sorted.sort_unstable();
        let (best, tied) = table.top(9, &keys, Ties::Hashed(7));
        let rows: Vec<_> = best.iter().map(|b| b.row).collect();
        assert_eq!(rows, sorted[..9].iter().map(|s| s.2).collect::<Vec<_>>());
        assert_eq!(tied, sorted.iter().filter(|s| s.0 == sorted[0].0).count());
    }
}
