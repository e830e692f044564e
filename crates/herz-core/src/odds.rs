//! From rows to probabilities: a line and a forest make log-odds, a table turns them into shares.
//!
//! All by integers, and in one pass while the rows are near.

use crate::forest::{Forest, MISSING};

/// Parts of a sum's quantum in the line, as a shift.
const WEIGHT_BITS: u32 = 16;

/// How far two knots of the table lie apart, as a shift.
const STEP_BITS: u32 = 14;

/// Parts of an answer's quantum in the table.
const FINE: u32 = 10_000;

/// The straight part of a sum.
#[derive(Clone, Debug, Default)]
pub struct Line {
    /// At all columns 0.
    pub bias: i64,
    /// For each quantum of the shared column.
    pub shared: i64,
    /// (column, for each quantum of it).
    pub weights: Vec<(usize, i64)>,
}

/// A rising table; between its knots it is straight, beyond them level.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// The sum that belongs to the first knot.
    pub first: i64,
    /// At each knot the answer.
    pub knots: Vec<i64>,
}

/// A line, a forest and a table.
pub struct Odds {
    forest: Forest,
    bias: i64,
    shared: i64,
    first: i64,
    knots: Vec<u32>,
    anchors: Vec<Anchor>,
}

/// A column of the line.
struct Anchor {
    column: usize,
    weight: i64,
    low: i64,
    high: i64,
}

impl Odds {
    /// # Errors
    ///
    /// The sentence that says what does not fit.
    pub fn new(forest: Forest, line: Line, table: Table) -> Result<Self, &'static str> {
        let columns = forest.columns();
        if line.weights.iter().any(|&(column, _)| column >= columns) {
            return Err("a weight of no column");
        }
        // Room is left for rounding.
        let within = |&knot: &i64| u32::try_from(knot).ok().filter(|&k| k <= u32::MAX - FINE);
        let Some(knots) = table.knots.iter().map(within).collect::<Option<Vec<_>>>() else {
            return Err("a knot leaves 32 bits");
        };
        if knots.len() < 2 {
            return Err("a table of less than two knots");
        }
        let anchors = line.weights.iter().map(|&(column, weight)| {
            let (low, high) = forest.range(column);
            Anchor {
                column,
                weight,
                low,
                high,
            }
        });
        Ok(Self {
            anchors: anchors.collect(),
            forest,
            bias: line.bias,
            shared: line.shared,
            first: table.first,
            knots,
        })
    }

    /// The forest alone.
    #[must_use]
    pub fn forest(&self) -> &Forest {
        &self.forest
    }

    /// The answer for each row, rounded half up, and whether the row lies within reach.
    ///
    /// `rows`: one after the other. `shared`: the last column's value.
    ///
    /// # Panics
    ///
    /// The slices are not of as many rows each.
    pub fn answer(&self, rows: &[i64], shared: i64, answers: &mut [i64], known: &mut [bool]) {
        let width = self.forest.columns();
        let level = self.bias.wrapping_add(self.shared.wrapping_mul(shared));
        self.forest
            .answer_by(rows, shared, answers, known, |rows, sums| {
                for (row, sum) in sums.iter_mut().enumerate() {
                    let straight = self.straight(level, &rows[row * width..][..width]);
                    *sum = self.share(sum.wrapping_add(straight));
                }
            });
    }

    /// The line's part of a row's sum, rounded down.
    #[inline]
    fn straight(&self, level: i64, row: &[i64]) -> i64 {
        let part = |&Anchor {
                        column,
                        weight,
                        low,
                        high,
                    }: &Anchor| {
            let value = row[column];
            let near = value.clamp(low, high);
            let middle = low + (high - low) / 2;
            weight.wrapping_mul(if value == MISSING { middle } else { near })
        };
        let total = self.anchors.iter().map(part).fold(level, i64::wrapping_add);
        total >> WEIGHT_BITS
    }

    /// What the table has for a sum.
    #[inline]
    fn share(&self, sum: i64) -> i64 {
        let last = self.knots.len() - 2;
        let end = (last as i64 + 1) << STEP_BITS;
        let place = sum.wrapping_sub(self.first).clamp(0, end);
        let knot = last.min((place >> STEP_BITS) as usize);
        let rest = place - ((knot as i64) << STEP_BITS);
        let (low, high) = (i64::from(self.knots[knot]), i64::from(self.knots[knot + 1]));
        // Between two knots: not negative, and within their bits.
        let fine = (low + (((high - low) * rest) >> STEP_BITS)) as u32;
        i64::from((fine + FINE / 2) / FINE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forest::{Nodes, Ranges};

    /// One column from 0 to 9; the forest says 0.
    fn made(line: Line, table: Table) -> Result<Odds, &'static str> {
        let nodes = Nodes {
            roots: vec![0],
            feature: vec![-1],
            threshold: vec![0],
            left: vec![0],
            right: vec![0],
            missing_left: vec![false],
            value: vec![0],
        };
        let ranges = Ranges {
            lows: vec![0],
            highs: vec![9],
            strict: vec![false],
            required: vec![true],
            reach: 0,
        };
        Odds::new(Forest::new(nodes, ranges)?, line, table)
    }

    fn table() -> Table {
        Table {
            first: -(1 << STEP_BITS),
            knots: vec![0, 10_000, 30_000],
        }
    }

    #[test]
    fn rows_beyond_are_answered_as_the_nearest() {
        let line = Line {
            bias: -1,
            shared: 1 << WEIGHT_BITS,
            weights: vec![(0, 1 << (WEIGHT_BITS + STEP_BITS - 3))],
        };
        let odds = made(line, table()).expect("it fits");
        let (mut answers, mut known) = ([0; 6], [true; 6]);
        odds.answer(&[0, 2, 4, 9, 50, MISSING], 1, &mut answers, &mut known);
        // The second knot, a quarter of a step on (1.5, which is rounded up), half a step, the end;
        // what is missing counts as 4, the middle.
        assert_eq!(answers, [1, 2, 2, 3, 3, 2]);
        assert_eq!(known, [true, true, true, true, false, false]);
        odds.answer(&[0; 6], -(1 << 40), &mut answers, &mut known);
        assert_eq!(answers, [0; 6]);
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        let line = |column| Line {
            weights: vec![(column, 1)],
            ..Line::default()
        };
        let knots = |knots: &[i64]| Table {
            knots: knots.to_vec(),
            ..table()
        };
        assert!(made(line(0), table()).is_ok());
        assert!(made(line(1), table()).is_err());
        assert!(made(line(0), knots(&[1])).is_err());
        assert!(made(line(0), knots(&[1, 1 << 32])).is_err());
        assert!(made(line(0), knots(&[-1, 1])).is_err());
    }
}
