//! Requests against columns: what is lacking, how full a row would be, how even.
//!
//! A column set is a row-major matrix: `columns[resource * stride + row]`.

use crate::rows::Rows;

/// A matrix of columns.
#[derive(Clone, Copy)]
pub struct Columns<'a> {
    values: &'a [i64],
    stride: usize,
}

impl<'a> Columns<'a> {
    /// A matrix of `values.len() / stride` columns of `stride` rows.
    ///
    /// # Panics
    /// When the length is no multiple of the stride.
    #[must_use]
    pub fn new(values: &'a [i64], stride: usize) -> Self {
        assert!(stride == 0 || values.len().is_multiple_of(stride));
        Self { values, stride }
    }

    /// A matrix without columns and rows.
    #[must_use]
    pub const fn empty() -> Self {
        Self {
            values: &[],
            stride: 0,
        }
    }

    /// The rows of one column.
    #[must_use]
    pub fn column(&self, index: usize) -> &'a [i64] {
        &self.values[index * self.stride..(index + 1) * self.stride]
    }

    /// One value.
    #[must_use]
    pub fn at(&self, column: usize, row: usize) -> i64 {
        self.values[column * self.stride + row]
    }

    /// How many columns there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len().checked_div(self.stride).unwrap_or(0)
    }

    /// Whether there is no column.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many rows there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.stride
    }
}

/// What kernels read: capacity, use, and use as scoring counts it. All have the same rows.
#[derive(Clone, Copy)]
pub struct Books<'a> {
    /// Capacity by resource.
    pub capacity: Columns<'a>,
    /// Use by resource, in the same columns as capacity.
    pub used: Columns<'a>,
    /// Use as scoring counts it, for the first resources only.
    pub scored: Columns<'a>,
}

/// The most demands of one request: a lack takes one bit, an impossibility another.
pub const DEMANDS_MAX: usize = 31;

/// How a used fraction becomes points from 0 to 100.
#[derive(Clone)]
pub enum Fullness {
    /// The emptier the better: `(capacity - used) * 100 / capacity`, 0 when over-full.
    Least,
    /// The fuller the better: `used * 100 / capacity`, 100 when over-full.
    Most,
    /// Linear between points `(used percent, points)`, sorted by percent.
    Shape(Vec<(i64, i64)>),
}

/// One resource of a fullness score.
#[derive(Clone, Copy)]
pub struct Weighted {
    /// Its column.
    pub column: usize,
    /// Whether its use is read from the scored columns.
    pub is_scored: bool,
    /// What the request adds.
    pub amount: i64,
    /// Its weight.
    pub weight: i64,
}

/// A question about one request, answered row by row.
pub enum Kernel {
    /// Which demands `(column, amount)` a row cannot meet: bit `i` is set when
    /// `amount > capacity - used`, bit `32 + i` when even the empty row is too small.
    Lacking(Vec<(usize, i64)>),
    /// Weighted mean of the points of each resource, truncated. A resource of which the row has
    /// none does not count; a row with none of them scores 0. With a shape, zero points do not
    /// count either and the mean is rounded half up, as in Kubernetes.
    Fullness(Fullness, Vec<Weighted>),
    /// 50 + (50 + evenness with the request - evenness without it) / 2, over `(column, amount)`.
    Balance(Vec<(usize, i64)>),
}

impl Kernel {
    /// Whether every column that it names is there.
    #[must_use]
    pub fn fits_into(&self, books: &Books) -> bool {
        let has = |column: usize| column < books.capacity.len() && column < books.used.len();
        match self {
            Kernel::Lacking(demands) | Kernel::Balance(demands) => {
                demands.len() <= DEMANDS_MAX && demands.iter().all(|d| has(d.0))
            }
            Kernel::Fullness(_, resources) => resources
                .iter()
                .all(|r| has(r.column) && (!r.is_scored || r.column < books.scored.len())),
        }
    }

    /// The answers for rows.
    #[must_use]
    pub fn values(&self, books: &Books, rows: Rows) -> Vec<i64> {
        let mut out = vec![0; rows.len()];
        self.fill(books, rows, &mut out);
        out
    }

    /// [`Kernel::values`] into a slice that is as long as the rows.
    pub(crate) fn fill(&self, books: &Books, rows: Rows, out: &mut [i64]) {
        match self {
            Kernel::Lacking(demands) => lacking(books, demands, rows, out),
            Kernel::Balance(resources) => balance(books, resources, rows, out),
            // A loop for each kind, so that no row asks which it is.
            Kernel::Fullness(Fullness::Least, resources) => {
                fullness(books, resources, rows, out, |u, c| Some(least(u, c)), mean);
            }
            Kernel::Fullness(Fullness::Most, resources) => {
                fullness(books, resources, rows, out, |u, c| Some(most(u, c)), mean);
            }
            Kernel::Fullness(Fullness::Shape(shape), resources) => {
                let shaped = |used, capacity| shaped(shape, used, capacity);
                fullness(books, resources, rows, out, shaped, rounded_mean);
            }
        }
    }
}

fn lacking(books: &Books, demands: &[(usize, i64)], rows: Rows, out: &mut [i64]) {
    let share = |&(column, amount): &(usize, i64)| Share::new(books, column, amount);
    let demands: Vec<Share> = demands.iter().map(share).collect();
    rows.each(|position, row| {
        let mut mask = 0;
        for (bit, demand) in demands.iter().enumerate() {
            mask |= lack(bit, demand.amount, demand.capacity[row], demand.used[row]);
        }
        out[position] = mask;
    });
}

#[inline]
fn lack(bit: usize, amount: i64, capacity: i64, used: i64) -> i64 {
    let is_lacking = i64::from(amount > capacity - used);
    let is_never = i64::from(amount > capacity);
    is_lacking << bit | is_never << (32 + bit)
}

/// A resource of a fullness score, its columns at hand.
struct Filled<'a> {
    capacity: &'a [i64],
    used: &'a [i64],
    amount: i64,
    weight: i64,
}

#[inline]
fn fullness(
    books: &Books,
    resources: &[Weighted],
    rows: Rows,
    out: &mut [i64],
    points: impl Fn(i64, i64) -> Option<i64>,
    mean: impl Fn(i64, i64) -> i64,
) {
    let filled = |resource: &Weighted| Filled {
        capacity: books.capacity.column(resource.column),
        used: if resource.is_scored {
            books.scored
        } else {
            books.used
        }
        .column(resource.column),
        amount: resource.amount,
        weight: resource.weight,
    };
    let resources: Vec<Filled> = resources.iter().map(filled).collect();
    rows.each(|position, row| {
        let (mut sum, mut weights) = (0_i64, 0_i64);
        for resource in &resources {
            let capacity = resource.capacity[row];
            if capacity == 0 {
                continue;
            }
            if let Some(points) = points(resource.used[row] + resource.amount, capacity) {
                sum += points * resource.weight;
                weights += resource.weight;
            }
        }
        out[position] = if weights == 0 { 0 } else { mean(sum, weights) };
    });
}

#[inline]
fn mean(sum: i64, weights: i64) -> i64 {
    // Divisions of 32 bits take half the time; weights and points are small in practice.
    if sum < 1 << 32 && weights < 1 << 32 {
        i64::from(sum as u32 / weights as u32)
    } else {
        sum / weights
    }
}

fn rounded_mean(sum: i64, weights: i64) -> i64 {
    (2 * sum + weights) / (2 * weights)
}

#[inline]
fn least(used: i64, capacity: i64) -> i64 {
    if used > capacity {
        0
    } else {
        (capacity - used) * 100 / capacity
    }
}

#[inline]
fn most(used: i64, capacity: i64) -> i64 {
    // A request beyond the capacity counts as full: pods without requests are given some.
    used.min(capacity) * 100 / capacity
}

fn shaped(shape: &[(i64, i64)], used: i64, capacity: i64) -> Option<i64> {
    let percent = if used > capacity {
        100
    } else {
        used * 100 / capacity
    };
    let points = interpolate(shape, percent);
    (points > 0).then_some(points)
}

fn interpolate(shape: &[(i64, i64)], at: i64) -> i64 {
    for (index, &(x, y)) in shape.iter().enumerate() {
        if at <= x {
            if index == 0 {
                return y;
            }
            let (x0, y0) = shape[index - 1];
            return y0 + (y - y0) * (at - x0) / (x - x0);
        }
    }
    shape.last().map_or(0, |&(_, y)| y)
}

/// A resource that a request takes of, its columns at hand.
#[derive(Clone, Copy)]
struct Share<'a> {
    capacity: &'a [i64],
    used: &'a [i64],
    amount: i64,
}

impl<'a> Share<'a> {
    fn new(books: &Books<'a>, column: usize, amount: i64) -> Self {
        Self {
            capacity: books.capacity.column(column),
            used: books.used.column(column),
            amount,
        }
    }

    /// Used fractions without and with the request; `None` when there is no capacity.
    #[inline]
    fn fractions(&self, row: usize) -> Option<(f64, f64)> {
        let (capacity, used) = (self.capacity[row], self.used[row]);
        // One instruction where `f64::min` takes five, for the sake of NaN.
        let of = |used: i64| match used as f64 / capacity as f64 {
            over if over > 1.0 => 1.0,
            fraction => fraction,
        };
        (capacity != 0).then(|| (of(used), of(used + self.amount)))
    }
}

fn balance(books: &Books, resources: &[(usize, i64)], rows: Rows, out: &mut [i64]) {
    let share = |&(column, amount): &(usize, i64)| Share::new(books, column, amount);
    let shares: Vec<Share> = resources.iter().map(share).collect();
    // Nearly every policy looks at two resources: nothing is gathered for them.
    if let &[one, other] = &shares[..] {
        rows.each(|position, row| {
            out[position] = match (one.fractions(row), other.fractions(row)) {
                (Some((a, a_with)), Some((b, b_with))) => gain(apart(a, b), apart(a_with, b_with)),
                _ => gain(0.0, 0.0),
            };
        });
        return;
    }
    rows.each(|position, row| {
        let (mut with, mut without) = ([0.0; DEMANDS_MAX], [0.0; DEMANDS_MAX]);
        let mut count = 0;
        for found in shares.iter().filter_map(|share| share.fractions(row)) {
            (without[count], with[count]) = found;
            count += 1;
        }
        out[position] = gain(deviation(&without[..count]), deviation(&with[..count]));
    });
}

#[inline]
fn gain(before: f64, after: f64) -> i64 {
    50 + (50 + evenness(after) - evenness(before)) / 2
}

/// 100 when all used fractions are equal.
#[inline]
fn evenness(deviation: f64) -> i64 {
    ((1.0 - deviation) * 100.0) as i64
}

/// Standard deviation of the used fractions.
///
/// IEEE double with + - * / and square root in Kubernetes' order; the compiler does not
/// contract them, so that every machine gives the same bits.
fn deviation(fractions: &[f64]) -> f64 {
    match fractions {
        [] | [_] => 0.0,
        [a, b] => apart(*a, *b),
        many => {
            let n = many.len() as f64;
            let mean = many.iter().fold(0.0, |sum, f| sum + f) / n;
            let squares = many
                .iter()
                .fold(0.0, |sum, f| sum + (f - mean) * (f - mean));
            (squares / n).sqrt()
        }
    }
}

/// The deviation of two.
#[inline]
fn apart(a: f64, b: f64) -> f64 {
    ((a - b) / 2.0).abs()
}

/// Used share of a capacity in basis points, at most `most`; -1 where there is no capacity.
#[must_use]
pub fn level(capacity: i64, used: i64, most: i64) -> i64 {
    if capacity <= 0 {
        return -1;
    }
    let points = i128::from(used) * 10_000 / i128::from(capacity);
    i64::try_from(points).unwrap_or(most).min(most)
}

/// Whether a row has at least this much of everything left.
#[must_use]
pub fn has_room(capacity: Columns, used: Columns, demands: &[(usize, i64)], row: usize) -> bool {
    demands
        .iter()
        .all(|&(column, amount)| amount <= capacity.at(column, row) - used.at(column, row))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPACITY: [i64; 6] = [4000, 0, 1000, 64, 64, 32];
    const USED: [i64; 6] = [1000, 0, 900, 0, 70, 16];
    const SCORED: [i64; 6] = [1100, 0, 1000, 8, 70, 16];

    fn books() -> Books<'static> {
        let columns = |values| Columns::new(values, 3);
        Books {
            capacity: columns(&CAPACITY),
            used: columns(&USED),
            scored: columns(&SCORED),
        }
    }

    #[test]
    fn one_row_and_all_rows_give_the_same() {
        let weighted = |column, is_scored| Weighted {
            column,
            is_scored,
            amount: 50,
            weight: 3,
        };
        let shape = Fullness::Shape(vec![(0, 0), (50, 80), (100, 20)]);
        let kernels = [
            Kernel::Lacking(vec![(0, 200), (1, 40)]),
            Kernel::Fullness(Fullness::Least, vec![weighted(0, true), weighted(1, false)]),
            Kernel::Fullness(Fullness::Most, vec![weighted(0, false), weighted(1, true)]),
            Kernel::Fullness(shape, vec![weighted(0, true), weighted(1, true)]),
            Kernel::Balance(vec![(0, 100), (1, 4)]),
        ];
        for kernel in &kernels {
            assert!(kernel.fits_into(&books()));
            let one = |row| kernel.values(&books(), Rows::Some(&[row]))[0];
            let one_by_one: Vec<i64> = (0..3).map(one).collect();
            assert_eq!(kernel.values(&books(), Rows::All(3)), one_by_one);
            assert_eq!(
                kernel.values(&books(), Rows::Some(&[2, 0])),
                [one_by_one[2], one_by_one[0]]
            );
        }
    }

    #[test]
    fn lacks_and_impossibilities_are_told_apart() {
        let kernel = Kernel::Lacking(vec![(0, 200), (1, 40)]);
        let masks = kernel.values(&books(), Rows::All(3));
        assert_eq!(masks[0], 0);
        assert_eq!(masks[1], 0b11 | 1 << 32, "no cpu at all, memory taken");
        assert_eq!(masks[2], 0b11 | 1 << 33, "cpu taken, memory never enough");
    }
}
