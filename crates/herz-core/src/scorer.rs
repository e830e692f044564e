//! One scorer of a table: from raw values to points.

use std::sync::Arc;

use crate::answers::{Answers, Column};
use crate::resources::{Books, Kernel};
use crate::rows::Rows;
use crate::table::POINTS_MAX;

/// Where the values of a scorer come from.
pub enum Source {
    /// A rule's answers are its points.
    Plain(Arc<Answers<i64>>),
    /// Points are made of a rule's answers, given their extent over the rows that fit.
    Scaled(Arc<Answers<i64>>),
    /// A kernel's values are its points.
    Kernel(Arc<Kernel>),
}

/// Why points cannot be given yet.
pub(crate) enum Unready {
    /// The points of these raw values are not known, ascending and distinct.
    Unknown(Vec<i64>),
    /// Points of a row that fits are out of range.
    Range,
}

/// What makes points. They are not kept: a row's are made anew when its total is.
pub(crate) struct Scorer {
    pub(crate) weight: i64,
    most: i64,
    source: Source,
    /// Lowest and highest raw value over the rows that fit; `None` when no row fits.
    extent: Option<(i64, i64)>,
    /// The version of the answers that the extent was read from.
    seen: Option<u64>,
    /// Points by raw value under this extent, ascending.
    learned: Vec<(i64, i64)>,
}

impl Scorer {
    pub(crate) fn new(size: usize, weight: i32, most: i32, source: Source) -> Self {
        assert!((1..=POINTS_MAX).contains(&most));
        if let Source::Plain(raw) | Source::Scaled(raw) = &source {
            assert!(raw.size() == size);
        }
        Self {
            weight: i64::from(weight),
            most: i64::from(most),
            source,
            extent: None,
            seen: None,
            learned: Vec::new(),
        }
    }

    /// Lowest and highest raw value over the rows that fit; zeros when no row fits.
    pub(crate) fn extent(&self) -> (i64, i64) {
        self.extent.unwrap_or((0, 0))
    }

    pub(crate) fn is_scaled(&self) -> bool {
        matches!(self.source, Source::Scaled(_))
    }

    /// Bytes a row of what the scorer refers to.
    pub(crate) fn bytes_a_row(&self) -> usize {
        match self.source {
            Source::Kernel(_) => 0,
            Source::Plain(_) | Source::Scaled(_) => 8,
        }
    }

    /// Brings the extent up to date; says whether it moved, and with it all points.
    ///
    /// `rows` are those on which a value or the fit may have changed since the last call;
    /// `is_flipped`: whether the fit of one did.
    pub(crate) fn measure(&mut self, first: &[i16], rows: Rows, is_flipped: bool) -> bool {
        let Source::Scaled(answers) = &self.source else {
            return false;
        };
        let raw = answers.read();
        let is_new = self.seen.is_none();
        if self.seen == Some(raw.version) && !is_flipped {
            return false;
        }
        self.seen = Some(raw.version);
        let fits = |row: usize| first[row] == 0;
        let widened = match self.extent {
            Some((low, high)) if !is_new => {
                let (mut least, mut most) = (low, high);
                rows.each(|_, row| {
                    if fits(row) {
                        least = least.min(raw.values[row]);
                        most = most.max(raw.values[row]);
                    }
                });
                // The other rows are as they were, so an end that some row still has is right.
                let has = |end| (0..first.len()).any(|row| fits(row) && raw.values[row] == end);
                (has(least) && has(most)).then_some((least, most))
            }
            _ => None,
        };
        let found = widened.or_else(|| whole_extent(&raw, first));
        if found == self.extent && !is_new {
            return false;
        }
        self.extent = found;
        self.learned.clear();
        true
    }

    /// Adds the weighted points of rows, all of which fit, to `sums`, one a row.
    pub(crate) fn add(&self, rows: &[i64], books: &Books, sums: &mut [i64]) -> Result<(), Unready> {
        assert!(rows.len() == sums.len());
        match &self.source {
            Source::Kernel(kernel) => {
                assert!(kernel.fits_into(books));
                let points = kernel.values(books, Rows::Some(rows));
                for (sum, points) in sums.iter_mut().zip(points) {
                    *sum += self.weight * points;
                }
            }
            Source::Plain(answers) => {
                let (raw, range) = (answers.read(), 0..=self.most);
                if raw.is_blank {
                    return Ok(());
                }
                let mut is_right = true;
                for (sum, &row) in sums.iter_mut().zip(rows) {
                    let points = raw.values[row as usize];
                    is_right &= range.contains(&points);
                    *sum += self.weight * points;
                }
                if !is_right {
                    return Err(Unready::Range);
                }
            }
            Source::Scaled(answers) => {
                let raw = answers.read();
                if let (true, Some(points)) = (raw.is_blank, self.points_of(0)) {
                    for sum in sums {
                        *sum += self.weight * points;
                    }
                    return Ok(());
                }
                let mut unknown = Vec::new();
                // Neighbours are mostly worth the same.
                let mut last = None;
                for (sum, &row) in sums.iter_mut().zip(rows) {
                    let value = raw.values[row as usize];
                    match last {
                        Some((known, points)) if known == value => *sum += self.weight * points,
                        _ => match self.points_of(value) {
                            Some(points) => {
                                last = Some((value, points));
                                *sum += self.weight * points;
                            }
                            None => unknown.push(value),
                        },
                    }
                }
                if !unknown.is_empty() {
                    unknown.sort_unstable();
                    unknown.dedup();
                    return Err(Unready::Unknown(unknown));
                }
            }
        }
        Ok(())
    }

    fn points_of(&self, value: i64) -> Option<i64> {
        let found = self.learned.binary_search_by_key(&value, |one| one.0);
        found.ok().map(|at| self.learned[at].1)
    }

    /// Gives raw values their points; says whether all are in range, else nothing is learned.
    pub(crate) fn learn(&mut self, values: &[i64], points: &[i64], rows: usize) -> bool {
        assert!(values.len() == points.len());
        if !points.iter().all(|p| (0..=self.most).contains(p)) {
            return false;
        }
        // Bound: what is forgotten here is asked again when a row has the value.
        if self.learned.len() > 4 * rows.max(1 << 14) {
            self.learned.clear();
        }
        let pairs = values.iter().copied().zip(points.iter().copied());
        self.learned.extend(pairs);
        self.learned.sort_unstable();
        true
    }
}

fn whole_extent(raw: &Column<i64>, first: &[i16]) -> Option<(i64, i64)> {
    if raw.is_blank {
        return first.contains(&0).then_some((0, 0));
    }
    let fitting = raw.values.iter().zip(first).filter(|(_, code)| **code == 0);
    fitting.fold(None, |ends, (&value, _)| {
        let (low, high) = ends.unwrap_or((value, value));
        Some((low.min(value), high.max(value)))
    })
}
