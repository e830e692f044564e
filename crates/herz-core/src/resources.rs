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

    /// The rows of one column.
    #[must_use]
    pub fn column(&self, index: usize) -> &'a [i64] {
        &self.values[index * self.stride..(index + 1) * self.stride]
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
}

/// The most demands of one request: a lack takes one bit, an impossibility another.
pub const DEMANDS_MAX: usize = 31;

/// For each row the demands that it cannot meet.
///
/// Bit `i` is set when `amount[i] > capacity - used`, bit `32 + i` when even the empty row is
/// too small (`amount[i] > capacity`).
///
/// # Panics
/// With more than [`DEMANDS_MAX`] demands.
#[must_use]
pub fn lacking(
    capacity: Columns,
    used: Columns,
    demands: &[(usize, i64)],
    rows: Rows,
) -> Vec<i64> {
    assert!(demands.len() <= DEMANDS_MAX);
    let mut out = vec![0_i64; rows.len()];
    for (bit, &(column, amount)) in demands.iter().enumerate() {
        let (capacity, used) = (capacity.column(column), used.column(column));
        let (lack, never) = (1_i64 << bit, 1_i64 << (32 + bit));
        rows.each(|position, row| {
            let is_lacking = i64::from(amount > capacity[row] - used[row]);
            let is_never = i64::from(amount > capacity[row]);
            out[position] |= is_lacking * lack | is_never * never;
        });
    }
    out
}

/// How a used fraction becomes points from 0 to 100.
#[derive(Clone, Copy)]
pub enum Fullness<'a> {
    /// The emptier the better: `(capacity - used) * 100 / capacity`, 0 when over-full.
    Least,
    /// The fuller the better: `used * 100 / capacity`, 0 when over-full.
    Most,
    /// Linear between points `(used percent, points)`, sorted by percent.
    Shape(&'a [(i64, i64)]),
}

/// One resource of a fullness score.
#[derive(Clone, Copy)]
pub struct Weighted {
    /// Column of the capacity.
    pub capacity: usize,
    /// Column of the use.
    pub used: usize,
    /// What the request adds.
    pub amount: i64,
    /// Its weight.
    pub weight: i64,
}

fn points(fullness: Fullness, used: i64, capacity: i64) -> i64 {
    match fullness {
        Fullness::Least if used > capacity => 0,
        Fullness::Least => (capacity - used) * 100 / capacity,
        // Most sees a request beyond the capacity as full: Kubernetes clamps it there.
        Fullness::Most => used.min(capacity) * 100 / capacity,
        Fullness::Shape(shape) => interpolate(shape, utilisation(used, capacity)),
    }
}

/// Used percent, 100 when over-full, as Kubernetes' RequestedToCapacityRatio counts it.
fn utilisation(used: i64, capacity: i64) -> i64 {
    if capacity == 0 || used > capacity {
        100
    } else {
        used * 100 / capacity
    }
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

/// Weighted mean of the points of each resource, by row, truncated.
///
/// A resource of which the row has none does not count; a row with none of them scores 0. With
/// a shape, zero points do not count either and the mean is rounded half up, as in Kubernetes.
#[must_use]
pub fn fullness(
    capacity: Columns,
    used: &[Columns],
    resources: &[Weighted],
    matrix: &[usize],
    kind: Fullness,
    rows: Rows,
) -> Vec<i64> {
    let columns: Vec<(&[i64], &[i64])> = resources
        .iter()
        .zip(matrix)
        .map(|(resource, &which)| {
            (capacity.column(resource.capacity), used[which].column(resource.used))
        })
        .collect();
    let is_shaped = matches!(kind, Fullness::Shape(_));
    let mut out = vec![0_i64; rows.len()];
    rows.each(|position, row| {
        let (mut sum, mut weights) = (0_i64, 0_i64);
        for (resource, (capacity, used)) in resources.iter().zip(&columns) {
            if capacity[row] == 0 {
                continue;
            }
            let points = points(kind, used[row] + resource.amount, capacity[row]);
            if is_shaped && points <= 0 {
                continue;
            }
            sum += points * resource.weight;
            weights += resource.weight;
        }
        out[position] = match (weights, is_shaped) {
            (0, _) => 0,
            (_, false) => sum / weights,
            (_, true) => (2 * sum + weights) / (2 * weights),
        };
    });
    out
}

/// One resource of a balance score.
#[derive(Clone, Copy)]
pub struct Balanced {
    /// Column of the capacity and of the use.
    pub column: usize,
    /// What the request adds.
    pub amount: i64,
}

/// Evenness of the used fractions: 100 when all are equal.
///
/// IEEE double with + - * / and square root in Kubernetes' order; the compiler does not
/// contract them, so that every machine gives the same bits.
fn evenness(fractions: &[f64]) -> i64 {
    let deviation = match fractions {
        [] | [_] => 0.0,
        [a, b] => ((a - b) / 2.0).abs(),
        many => {
            let n = many.len() as f64;
            let mean = many.iter().sum::<f64>() / n;
            let squares: f64 = many.iter().map(|f| (f - mean) * (f - mean)).sum();
            (squares / n).sqrt()
        }
    };
    ((1.0 - deviation) * 100.0) as i64
}

/// By row: 50 + (50 + evenness with the request - evenness without it) / 2.
#[must_use]
pub fn balance(
    capacity: Columns,
    used: Columns,
    resources: &[Balanced],
    rows: Rows,
) -> Vec<i64> {
    let columns: Vec<(&[i64], &[i64], i64)> = resources
        .iter()
        .map(|r| (capacity.column(r.column), used.column(r.column), r.amount))
        .collect();
    let (mut with, mut without) = (Vec::new(), Vec::new());
    let mut out = vec![0_i64; rows.len()];
    rows.each(|position, row| {
        with.clear();
        without.clear();
        for (capacity, used, amount) in &columns {
            if capacity[row] != 0 {
                let all = capacity[row] as f64;
                with.push(((used[row] + amount) as f64 / all).min(1.0));
                without.push((used[row] as f64 / all).min(1.0));
            }
        }
        out[position] = 50 + (50 + evenness(&with) - evenness(&without)) / 2;
    });
    out
}

/// Whether a row has at least this much of everything left.
#[must_use]
pub fn has_room(capacity: Columns, used: Columns, demands: &[(usize, i64)], row: usize) -> bool {
    demands.iter().all(|&(column, amount)| {
        amount <= capacity.column(column)[row] - used.column(column)[row]
    })
}
