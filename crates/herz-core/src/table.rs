//! What is known of each row for one kind of request.
//!
//! Filters give codes (0 fits, positive says why not, negative: there is no such row), scorers
//! raw values, of which points from 0 to their maximum are made. [`Table::settle`] draws the
//! conclusions for the rows that changed, [`Table::top`] reads the best. What rules answer lies
//! in [`Answers`], which tables of several kinds of request share; kernels answer in place.

use std::collections::HashMap;
use std::sync::Arc;

use crate::answers::Answers;
use crate::resources::{Books, Kernel};
use crate::rows::Rows;
use crate::scorer::{Scorer, Source, Unready};
use crate::top::{BLOCK, Found, Ties, search};

/// The highest points that a scorer may be allowed to give: totals then stay far inside 64 bits.
pub const POINTS_MAX: i32 = 1 << 30;

/// Where the codes of a filter come from.
pub enum Filter {
    /// A rule's answers.
    Codes(Arc<Answers<i16>>),
    /// A kernel; its value 0 is code 0, the others are to be learned.
    Kernel(Arc<Kernel>),
}

/// Codes by value of a kernel. Looked up only, never walked.
type Learned = HashMap<i64, i16>;

/// What must be known before a table can be settled.
#[derive(Debug, PartialEq, Eq)]
pub enum Open {
    /// The code of a value that a filter's kernel gave: [`Table::learn_code`].
    Code {
        /// The filter.
        filter: usize,
        /// What its kernel answered.
        value: i64,
    },
    /// The points of a scorer's raw values: [`Table::learn_points`].
    Points {
        /// The scorer.
        scorer: usize,
        /// Lowest raw value over the rows that fit.
        low: i64,
        /// Highest raw value over the rows that fit.
        high: i64,
        /// The values, ascending and distinct.
        values: Vec<i64>,
    },
    /// Nothing to be learned: points of a row that fits are outside 0..=the scorer's maximum.
    Range {
        /// The scorer.
        scorer: usize,
    },
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
    filters: Vec<(Filter, Learned)>,
    /// First code that is not 0, in the filters' order.
    // Invariant: after `settle_codes`, equals what the filters say for every row.
    first: Vec<i16>,
    /// Whether a row began or ceased to fit since the points were settled.
    is_flipped: bool,
    scorers: Vec<Scorer>,
    /// Whether an extent moved, so that the totals of all rows are to be made anew.
    is_moved: bool,
    /// Sum of the weighted points; -1 where the row does not fit.
    // What a row is worth takes these ten bytes and no more: hundreds of tables then stay in the
    // processor's cache, and points are made anew for the few rows that are shown.
    total: Vec<i64>,
    /// Highest total of each block of [`BLOCK`] rows.
    // Invariant: after `settle_points`, equals what `total` says for every block.
    blocks: Vec<i64>,
    /// How many rows have each code from 0 up; rows with negative codes are in none.
    counts: Vec<usize>,
}

impl Table {
    /// A table in which no row fits until it is settled.
    ///
    /// `scorers` gives for each its weight, its highest points and where its values come from.
    ///
    /// # Panics
    /// When highest points are not within `1..=POINTS_MAX`, or answers are not of this size.
    #[must_use]
    pub fn new(size: usize, filters: Vec<Filter>, scorers: Vec<(i32, i32, Source)>) -> Self {
        for filter in &filters {
            assert!(!matches!(filter, Filter::Codes(codes) if codes.size() != size));
        }
        let scorer = |(weight, most, source)| Scorer::new(size, weight, most, source);
        Self {
            size,
            filters: filters.into_iter().map(|f| (f, Learned::new())).collect(),
            first: vec![-1; size],
            is_flipped: false,
            scorers: scorers.into_iter().map(scorer).collect(),
            is_moved: false,
            total: vec![-1; size],
            blocks: vec![-1; size.div_ceil(BLOCK)],
            counts: vec![0],
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

    /// The bytes that the rows take, those of shared answers included.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let scorers: usize = self.scorers.iter().map(Scorer::bytes_a_row).sum();
        self.size * (2 * self.filters.len() + 2 + 8 + scorers)
    }

    /// Concludes for the rows which fit, their points and their totals.
    ///
    /// # Errors
    /// What must be known first: teach it and call again with the same rows.
    ///
    /// # Panics
    /// When a row is out of range, or a kernel names no column.
    pub fn settle(&mut self, rows: Rows, books: &Books) -> Result<(), Open> {
        self.settle_codes(rows, books)?;
        self.settle_points(rows, books)
    }

    /// The half of [`Table::settle`] that concludes which rows fit.
    ///
    /// # Errors
    /// A code to be learned.
    ///
    /// # Panics
    /// When a row is out of range, or a kernel names no column.
    pub fn settle_codes(&mut self, rows: Rows, books: &Books) -> Result<(), Open> {
        assert!(rows.within(self.size));
        let codes = self.judge(rows, books)?;
        let (first, counts) = (&mut self.first, &mut self.counts);
        let mut is_flipped = self.is_flipped;
        rows.each(|position, row| {
            let code = codes[position];
            let was = std::mem::replace(&mut first[row], code);
            if was == code {
                return;
            }
            is_flipped |= (was == 0) != (code == 0);
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
        self.is_flipped = is_flipped;
        Ok(())
    }

    /// The first code that is not 0, of each row: filter by filter, since a column read in one
    /// go costs a third of one that is read a row at a time.
    fn judge(&self, rows: Rows, books: &Books) -> Result<Vec<i16>, Open> {
        let mut codes = vec![0_i16; rows.len()];
        for (filter, (source, learned)) in self.filters.iter().enumerate() {
            match source {
                Filter::Codes(answers) => {
                    let answers = answers.read();
                    if answers.is_blank {
                        continue;
                    }
                    // No branch: it would often be foretold wrongly.
                    rows.each(|position, row| {
                        let code = &mut codes[position];
                        *code += answers.values[row] * i16::from(*code == 0);
                    });
                }
                Filter::Kernel(kernel) => {
                    assert!(kernel.fits_into(books));
                    let values = kernel.values(books, rows);
                    for (code, value) in codes.iter_mut().zip(values) {
                        if *code == 0 && value != 0 {
                            let unknown = Open::Code { filter, value };
                            *code = *learned.get(&value).ok_or(unknown)?;
                        }
                    }
                }
            }
        }
        Ok(codes)
    }

    /// The half of [`Table::settle`] that concludes points and totals.
    ///
    /// # Errors
    /// Points to be learned, or out of range.
    ///
    /// # Panics
    /// When a row is out of range, or a kernel names no column.
    pub fn settle_points(&mut self, rows: Rows, books: &Books) -> Result<(), Open> {
        assert!(rows.within(self.size));
        let is_flipped = std::mem::take(&mut self.is_flipped);
        for scorer in &mut self.scorers {
            self.is_moved |= scorer.measure(&self.first, rows, is_flipped);
        }
        let rows = if self.is_moved {
            Rows::All(self.size)
        } else {
            rows
        };
        let fitting = self.among(rows);
        let mut sums = vec![0; fitting.len()];
        // Those that may have to learn come first: the others' work is then done once.
        let (learning, ready): (Vec<_>, Vec<_>) = self
            .scorers
            .iter()
            .enumerate()
            .partition(|(_, scorer)| scorer.is_scaled());
        for (index, scorer) in learning.into_iter().chain(ready) {
            scorer
                .add(&fitting, books, &mut sums)
                .map_err(|unready| open(index, scorer, unready))?;
        }
        self.write(rows, &fitting, sums);
        self.is_moved = false;
        Ok(())
    }

    /// Those of the rows that fit.
    fn among(&self, rows: Rows) -> Vec<i64> {
        let mut fitting = Vec::with_capacity(rows.len());
        rows.each(|_, row| {
            if self.first[row] == 0 {
                fitting.push(row as i64);
            }
        });
        fitting
    }

    /// Puts down the totals of rows; `sums` has those of the rows that fit.
    fn write(&mut self, rows: Rows, fitting: &[i64], sums: Vec<i64>) {
        let mut sums = fitting.iter().zip(sums).peekable();
        // A block whose best row lost by it must be looked at again.
        let mut stale = Vec::new();
        rows.each(|_, row| {
            let mine = sums.next_if(|(fits, _)| **fits == row as i64);
            let total = mine.map_or(-1, |(_, sum)| sum);
            let was = std::mem::replace(&mut self.total[row], total);
            let best = &mut self.blocks[row / BLOCK];
            if total >= *best {
                *best = total;
            } else if was == *best && stale.last() != Some(&(row / BLOCK)) {
                stale.push(row / BLOCK);
            }
        });
        for block in stale {
            let rows = block * BLOCK..self.size.min((block + 1) * BLOCK);
            self.blocks[block] = self.total[rows].iter().copied().max().unwrap_or(-1);
        }
    }

    /// Gives a value of a filter's kernel its code.
    ///
    /// # Panics
    /// When there is no such filter.
    pub fn learn_code(&mut self, filter: usize, value: i64, code: i16) {
        self.filters[filter].1.insert(value, code);
    }

    /// Gives raw values of a scorer their points, as [`Open::Points`] asked; says whether all
    /// are within 0..=its maximum. If not, nothing is learned.
    ///
    /// # Panics
    /// When there is no such scorer, its points are not scaled, or the lengths differ.
    pub fn learn_points(&mut self, scorer: usize, values: &[i64], points: &[i64]) -> bool {
        self.scorers[scorer].learn(values, points, self.size)
    }

    /// Codes by row: the first of each that is not 0.
    #[must_use]
    pub fn first(&self) -> &[i16] {
        &self.first
    }

    /// The rows that fit, ascending.
    #[must_use]
    pub fn fitting(&self) -> Vec<i64> {
        self.among(Rows::All(self.size))
    }

    /// Points by row of one scorer; 0 at rows that do not fit.
    ///
    /// # Panics
    /// When there is no such scorer, or the table was not settled over these books.
    #[must_use]
    pub fn points(&self, scorer: usize, books: &Books) -> Vec<i64> {
        let fitting = self.fitting();
        let mut points = vec![0; self.size];
        for (&row, weighted) in fitting.iter().zip(self.weighted(scorer, &fitting, books)) {
            points[row as usize] = weighted / self.scorers[scorer].weight;
        }
        points
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
    /// highest total. `keys` has one 64-bit key a row; `books` are those of the last settling.
    ///
    /// # Panics
    /// When `keys` is shorter than the table, or the table was not settled over these books.
    #[must_use]
    pub fn top(&self, k: usize, keys: &[u64], ties: Ties, books: &Books) -> (Vec<Best>, Found) {
        assert!(keys.len() >= self.size);
        let found = search(k, &self.total, &self.blocks, keys, ties);
        let rows: Vec<i64> = found.best.iter().map(|&(_, row)| row as i64).collect();
        let scorers = 0..self.scorers.len();
        let points: Vec<_> = scorers.map(|s| self.weighted(s, &rows, books)).collect();
        let made = found
            .best
            .iter()
            .enumerate()
            .map(|(at, &(total, row))| Best {
                row,
                total,
                points: points.iter().map(|scorer| scorer[at]).collect(),
            });
        (made.collect(), found)
    }

    /// Weighted points of one scorer for rows that fit.
    fn weighted(&self, scorer: usize, rows: &[i64], books: &Books) -> Vec<i64> {
        let mut weighted = vec![0; rows.len()];
        let done = self.scorers[scorer].add(rows, books, &mut weighted);
        assert!(done.is_ok(), "the table is settled");
        weighted
    }
}

fn open(scorer: usize, from: &Scorer, unready: Unready) -> Open {
    let (low, high) = from.extent();
    match unready {
        Unready::Range => Open::Range { scorer },
        Unready::Unknown(values) => Open::Points {
            scorer,
            low,
            high,
            values,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::Columns;
    use crate::top::mix64;

    const NO_BOOKS: Books = Books {
        capacity: Columns::empty(),
        used: Columns::empty(),
        scored: Columns::empty(),
    };

    fn answers<T: Copy + Default + PartialEq>(values: &[T]) -> Arc<Answers<T>> {
        let answers = Answers::new(values.len());
        answers.set(Rows::All(values.len()), values);
        Arc::new(answers)
    }

    fn settled(table: &mut Table) -> Result<(), Open> {
        table.settle(Rows::All(table.size()), &NO_BOOKS)
    }

    #[test]
    fn the_first_code_counts_and_absent_rows_are_in_no_histogram() {
        let filters = [answers(&[0, 5, 0, -1]), answers(&[0, 6, 7, 0])];
        let mut table = Table::new(4, filters.map(Filter::Codes).into(), vec![]);
        settled(&mut table).unwrap();
        assert_eq!(table.first(), [0, 5, 7, -1]);
        assert_eq!(table.histogram(), vec![(5, 1), (7, 1)]);
        assert_eq!(table.fits(), 1);
    }

    #[test]
    fn an_extent_is_over_fitting_rows_and_points_are_learned_once_a_value() {
        let (codes, raw) = (answers(&[0, 5, 7, -1]), answers(&[3, 100, 3, 300]));
        let scorers = vec![(1, 100, Source::Scaled(raw))];
        let mut table = Table::new(4, vec![Filter::Codes(Arc::clone(&codes))], scorers);
        let open = |low, high, values: &[i64]| Open::Points {
            scorer: 0,
            low,
            high,
            values: values.into(),
        };
        assert_eq!(settled(&mut table), Err(open(3, 3, &[3])));
        assert!(table.learn_points(0, &[3], &[50]));
        assert_eq!(settled(&mut table), Ok(()));
        codes.set(Rows::Some(&[2]), &[0]);
        assert_eq!(table.settle(Rows::Some(&[2]), &NO_BOOKS), Ok(()));
        assert_eq!(table.totals(), [50, -1, 50, -1]);
        codes.set(Rows::Some(&[1]), &[0]);
        let wanted = Err(open(3, 100, &[3, 100]));
        assert_eq!(table.settle(Rows::Some(&[1]), &NO_BOOKS), wanted);
        assert!(table.learn_points(0, &[3, 100], &[0, 99]));
        assert_eq!(table.settle(Rows::Some(&[1]), &NO_BOOKS), Ok(()));
        assert_eq!(table.totals(), [0, 99, 0, -1]);
    }

    #[test]
    fn points_outside_the_range_are_told_only_where_the_row_fits() {
        let codes = answers(&[0, 5, 0]);
        let raw = answers(&[1, 900, 2]);
        let scorers = vec![(2, 100, Source::Plain(Arc::clone(&raw)))];
        let mut table = Table::new(3, vec![Filter::Codes(codes)], scorers);
        assert_eq!(settled(&mut table), Ok(()));
        assert_eq!(table.totals(), [2, -1, 4]);
        raw.set(Rows::Some(&[2]), &[101]);
        assert_eq!(settled(&mut table), Err(Open::Range { scorer: 0 }));
    }

    #[test]
    fn the_top_is_what_a_full_sort_gives() {
        let size = 500;
        let points: Vec<i64> = (0..size)
            .map(|row| (mix64(row as u64) % 4) as i64)
            .collect();
        let codes: Vec<i16> = (0..size).map(|row| i16::from(row % 3 == 0)).collect();
        let keys: Vec<u64> = (0..size).map(|row| mix64(row as u64 + 99)).collect();
        let scorers = vec![(1, 100, Source::Plain(answers(&points)))];
        let mut table = Table::new(size, vec![Filter::Codes(answers(&codes))], scorers);
        settled(&mut table).unwrap();
        let mut sorted: Vec<_> = (0..size)
            .filter(|row| codes[*row] == 0)
            .map(|row| (-points[row], mix64(keys[row] ^ 7), row))
            .collect();
        sorted.sort_unstable();
        let (best, found) = table.top(9, &keys, Ties::Hashed(7), &NO_BOOKS);
        let rows: Vec<_> = best.iter().map(|b| b.row).collect();
        assert_eq!(rows, sorted[..9].iter().map(|s| s.2).collect::<Vec<_>>());
        assert_eq!(
            found.tied,
            sorted.iter().filter(|s| s.0 == sorted[0].0).count()
        );
    }
}
