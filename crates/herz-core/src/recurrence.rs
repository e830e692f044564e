//! The expected value of a stock under random draws, by dynamic programming over its size.

/// One kind of draw: what it takes in each dimension, and how often it comes.
#[derive(Clone, Copy)]
pub struct Step {
    /// What it takes of the first dimension; at least 1.
    pub down: usize,
    /// What it takes of the second dimension.
    pub across: usize,
    /// Its weight, at least 0.
    pub weight: i64,
}

/// Expected rest by (first, second) dimension, row-major, `height` times `width` values.
///
/// From state `(r, c)` the draw ends with weight `stop`, which is worth `worth * r`; otherwise
/// one of the steps that fit comes, by weight, and the rest is the value there:
///
/// `v[r][c] = floor((stop * worth * r + sum w * v[r - down][c - across]) / (stop + sum w))`
///
/// `None` when a sum could leave 63 bits, a step takes nothing of the first dimension, or a
/// weight or `stop` is out of range.
#[must_use]
pub fn expected_rest(
    height: usize,
    width: usize,
    stop: i64,
    worth: i64,
    steps: &[Step],
) -> Option<Vec<i64>> {
    let all = steps
        .iter()
        .try_fold(stop, |sum, step| sum.checked_add(step.weight))?;
    let most = worth
        .checked_mul(i64::try_from(height).ok()?)?
        .checked_mul(all)?;
    let is_sound = stop > 0 && worth >= 0 && most >= 0;
    if !is_sound || steps.iter().any(|step| step.down == 0 || step.weight < 0) {
        return None;
    }
    let mut values = vec![0_i64; height * width];
    let (mut sums, mut weights) = (vec![0_i64; width], vec![0_i64; width]);
    for r in 0..height {
        sums.fill(stop * worth * r as i64);
        weights.fill(stop);
        for step in steps
            .iter()
            .filter(|step| step.down <= r && step.across < width)
        {
            let start = (r - step.down) * width;
            let from = &values[start..start + width - step.across];
            let into = sums[step.across..]
                .iter_mut()
                .zip(&mut weights[step.across..]);
            for ((sum, weight), value) in into.zip(from) {
                *sum += step.weight * value;
                *weight += step.weight;
            }
        }
        let row = &mut values[r * width..(r + 1) * width];
        for ((value, sum), weight) in row.iter_mut().zip(&sums).zip(&weights) {
            *value = sum / weight;
        }
    }
    Some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_formula_at_each_state() {
        let steps = [
            Step {
                down: 2,
                across: 1,
                weight: 7,
            },
            Step {
                down: 1,
                across: 0,
                weight: 3,
            },
            Step {
                down: 3,
                across: 9,
                weight: 100,
            },
        ];
        let values = expected_rest(6, 4, 5, 11, &steps).unwrap();
        for r in 0..6_usize {
            for c in 0..4_usize {
                let (mut sum, mut weight) = (5 * 11 * r as i64, 5);
                for step in steps.iter().filter(|s| s.down <= r && s.across <= c) {
                    sum += step.weight * values[(r - step.down) * 4 + c - step.across];
                    weight += step.weight;
                }
                assert_eq!(values[r * 4 + c], sum / weight);
            }
        }
    }

    #[test]
    fn refuses_what_could_overflow_or_never_ends() {
        let step = |down, weight| {
            [Step {
                down,
                across: 0,
                weight,
            }]
        };
        assert_eq!(expected_rest(4, 1, 1, 1, &step(0, 1)), None);
        assert_eq!(expected_rest(4, 1, 1, 1, &step(1, -1)), None);
        assert_eq!(expected_rest(4, 1, 0, 1, &step(1, 1)), None);
        assert_eq!(expected_rest(4, 1, 1, 1 << 40, &step(1, 1 << 40)), None);
    }
}
