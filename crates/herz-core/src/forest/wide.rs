//! Trees of whatever size.
//!
//! Rows are taken in blocks and laid out by column; a tree is a list of choices, children before
//! parents, and each choice is one pass over the block without a branch.

use super::{DEPTH_MAX, FAR, Forest, MISSING, Ranges};

/// Rows of a block: a pass is long enough that choosing it costs little.
const BLOCK: usize = 128;

/// One choice of a tree, for the rows of a block.
#[derive(Clone, Copy)]
enum Choice {
    /// Between two numbers.
    Leaves(Question, i32, i32),
    /// Between the two topmost results, which it replaces.
    Results(Question),
    /// Between a number on the left and the topmost result.
    LeafLeft(Question, i32),
    /// Between the topmost result and a number on the right.
    LeafRight(Question, i32),
    /// No choice: a number.
    Number(i32),
    /// The tree is done: its result goes to the sum.
    Done,
}

#[derive(Clone, Copy)]
struct Question {
    column: usize,
    threshold: i32,
    missing_left: bool,
}

/// What is known of a subtree while it is laid out.
enum Part {
    Leaf(i32),
    Computed,
}

impl Forest {
    /// As `answer_by`, for trees of whatever size.
    pub(super) fn answer_wide(
        &self,
        rows: &[i64],
        shared: i64,
        sums: &mut [i64],
        known: &mut [bool],
        mut then: impl FnMut(&[i64], &mut [i64]),
    ) {
        let width = self.columns();
        let choices = self.laid_out(shared);
        let mut block = Block::new(width);
        let parts = sums.chunks_mut(BLOCK).zip(known.chunks_mut(BLOCK));
        for (at, (sums, known)) in parts.enumerate() {
            let start = at * BLOCK * width;
            let rows = &rows[start..start + sums.len() * width];
            block.fill(rows, &self.ranges, known);
            block.run(&choices);
            sums.copy_from_slice(&block.sums[..sums.len()]);
            then(rows, sums);
        }
    }

    /// All trees as choices, with the shared column's questions answered.
    fn laid_out(&self, shared: i64) -> Vec<Choice> {
        let mut choices = Vec::with_capacity(self.nodes.feature.len());
        for &root in &self.nodes.roots {
            if let Part::Leaf(value) = self.lay_out(root, shared, &mut choices) {
                choices.push(Choice::Number(value));
            }
            choices.push(Choice::Done);
        }
        choices
    }

    fn lay_out(&self, node: usize, shared: i64, choices: &mut Vec<Choice>) -> Part {
        let nodes = &self.nodes;
        let Ok(column) = usize::try_from(nodes.feature[node]) else {
            return Part::Leaf(nodes.value[node] as i32);
        };
        if column == self.columns() {
            let is_left = if shared == MISSING {
                nodes.missing_left[node]
            } else {
                shared < nodes.threshold[node]
            };
            let child = if is_left {
                nodes.left[node]
            } else {
                nodes.right[node]
            };
            return self.lay_out(child, shared, choices);
        }
        let question = Question {
            column,
            threshold: nodes.threshold[node] as i32,
            missing_left: nodes.missing_left[node],
        };
        let left = self.lay_out(nodes.left[node], shared, choices);
        let right = self.lay_out(nodes.right[node], shared, choices);
        choices.push(match (left, right) {
            (Part::Leaf(left), Part::Leaf(right)) => Choice::Leaves(question, left, right),
            (Part::Leaf(left), Part::Computed) => Choice::LeafLeft(question, left),
            (Part::Computed, Part::Leaf(right)) => Choice::LeafRight(question, right),
            (Part::Computed, Part::Computed) => Choice::Results(question),
        });
        Part::Computed
    }
}

/// The columns of some rows, and the results that wait for a choice.
struct Block {
    /// By column, missing values as the greatest number: they go right.
    right: Vec<[i32; BLOCK]>,
    /// The same, missing values as the least: they go left.
    left: Vec<[i32; BLOCK]>,
    /// By column, whether the two differ.
    is_split: Vec<bool>,
    results: [[i32; BLOCK]; DEPTH_MAX + 1],
    sums: [i64; BLOCK],
}

impl Block {
    fn new(width: usize) -> Self {
        Self {
            right: vec![[0; BLOCK]; width],
            left: vec![[0; BLOCK]; width],
            is_split: vec![false; width],
            results: [[0; BLOCK]; DEPTH_MAX + 1],
            sums: [0; BLOCK],
        }
    }

    /// Lays the rows out by column, each value in its range, and says which lie within reach.
    fn fill(&mut self, rows: &[i64], ranges: &Ranges, known: &mut [bool]) {
        let width = ranges.lows.len();
        let count = known.len();
        let mut beyond = [0_i64; BLOCK];
        known.fill(true);
        for column in 0..width {
            let (low, high) = (ranges.lows[column], ranges.highs[column]);
            let laid = &mut self.right[column];
            let mut is_plain = true;
            for at in 0..count {
                let value = rows[at * width + column];
                let near = value.max(low).min(high);
                is_plain &= near == value;
                laid[at] = near as i32;
            }
            self.is_split[column] = false;
            if !is_plain {
                self.fill_beyond(rows, ranges, column, known, &mut beyond);
            }
        }
        for (known, beyond) in known.iter_mut().zip(beyond) {
            *known &= beyond <= ranges.reach;
        }
    }

    /// The rows of a column whose value is missing or beyond its range.
    fn fill_beyond(
        &mut self,
        rows: &[i64],
        ranges: &Ranges,
        column: usize,
        known: &mut [bool],
        beyond: &mut [i64; BLOCK],
    ) {
        let (width, low, high) = (ranges.lows.len(), ranges.lows[column], ranges.highs[column]);
        let span = (high - low).max(1);
        self.left[column] = self.right[column];
        self.is_split[column] = true;
        for (at, known) in known.iter_mut().enumerate() {
            let value = rows[at * width + column];
            if value == MISSING {
                let middle = (low + (high - low) / 2) as i32;
                let (right, left) = if ranges.required[column] {
                    (middle, middle)
                } else {
                    (i32::MAX, i32::MIN)
                };
                *known &= !ranges.required[column];
                self.right[column][at] = right;
                self.left[column][at] = left;
            } else if value < low || value > high {
                // Bounded, so that no sum overflows; rounded up: a step beyond counts.
                let way = value.clamp(low, high).abs_diff(value).min(FAR) * 1024;
                beyond[at] += way.div_ceil(span as u64) as i64;
                *known &= !ranges.strict[column];
            }
        }
    }

    /// Answers every choice for all rows of the block.
    fn run(&mut self, choices: &[Choice]) {
        #[cfg(target_arch = "x86_64")]
        if std::is_x86_feature_detected!("avx2") {
            // SAFETY: this processor has AVX2, as was asked just now.
            unsafe { self.run_avx2(choices) };
            return;
        }
        self.run_anywhere(choices);
    }

    /// The same passes, compiled for eight rows an instruction.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    // SAFETY: called where the processor was asked whether it has AVX2.
    unsafe fn run_avx2(&mut self, choices: &[Choice]) {
        self.run_anywhere(choices);
    }

    #[inline(always)]
    #[allow(clippy::inline_always)] // or the passes are not compiled for AVX2
    #[allow(clippy::needless_range_loop)]
    fn run_anywhere(&mut self, choices: &[Choice]) {
        let Self {
            right,
            left,
            is_split,
            results,
            sums,
        } = self;
        *sums = [0; BLOCK];
        let mut top = 0;
        for choice in choices {
            match *choice {
                Choice::Leaves(question, lower, upper) => {
                    let seen = seen(left, right, is_split, question);
                    let result = &mut results[top];
                    // By index: a zipped loop is not laid open to the vectoriser.
                    for at in 0..BLOCK {
                        result[at] = if seen[at] < question.threshold {
                            lower
                        } else {
                            upper
                        };
                    }
                    top += 1;
                }
                Choice::LeafLeft(question, lower) => {
                    let seen = seen(left, right, is_split, question);
                    let result = &mut results[top - 1];
                    // Both sides are read before the choice: a read that depends on it is slow.
                    for at in 0..BLOCK {
                        let upper = result[at];
                        let is_left = seen[at] < question.threshold;
                        result[at] = if is_left { lower } else { upper };
                    }
                }
                Choice::LeafRight(question, upper) => {
                    let seen = seen(left, right, is_split, question);
                    let result = &mut results[top - 1];
                    for at in 0..BLOCK {
                        let lower = result[at];
                        let is_left = seen[at] < question.threshold;
                        result[at] = if is_left { lower } else { upper };
                    }
                }
                Choice::Results(question) => {
                    let seen = seen(left, right, is_split, question);
                    let (below, above) = results.split_at_mut(top - 1);
                    let (result, other) = (&mut below[top - 2], &above[0]);
                    for at in 0..BLOCK {
                        let (lower, upper) = (result[at], other[at]);
                        let is_left = seen[at] < question.threshold;
                        result[at] = if is_left { lower } else { upper };
                    }
                    top -= 1;
                }
                Choice::Number(value) => {
                    results[top] = [value; BLOCK];
                    top += 1;
                }
                Choice::Done => {
                    top -= 1;
                    let result = &results[top];
                    for at in 0..BLOCK {
                        sums[at] += i64::from(result[at]);
                    }
                }
            }
        }
    }
}

/// The column that a question asks, with missing values on its side.
#[inline(always)]
#[allow(clippy::inline_always)] // as the passes that read it
fn seen<'a>(
    left: &'a [[i32; BLOCK]],
    right: &'a [[i32; BLOCK]],
    is_split: &[bool],
    question: Question,
) -> &'a [i32; BLOCK] {
    if question.missing_left && is_split[question.column] {
        &left[question.column]
    } else {
        &right[question.column]
    }
}
