//! A forest of decision trees over integer columns, evaluated for many rows at once.
//!
//! Rows are taken in blocks and laid out by column; a tree is a list of choices, children before
//! parents, and each choice is one pass over the block without a branch. The last column is the
//! same for all rows of a call, so questions about it are answered once, before the rows.
//! Forests of small trees, which are all that are learned, are asked by bytes (`bins`).

use crate::bins::Bins;

/// Marks a value that is not there.
pub const MISSING: i64 = i64::MIN;

/// Rows of a block: a pass is long enough that choosing it costs little.
const BLOCK: usize = 128;

/// Bound of the way beyond a range.
pub(crate) const FAR: u64 = 1 << 40;

/// Questions on the longest path.
pub const DEPTH_MAX: usize = 16;

/// A forest as parallel lists, one entry a node; a child stands behind its parent.
#[derive(Clone, Debug, Default)]
pub struct Nodes {
    /// The first node of each tree.
    pub roots: Vec<usize>,
    /// The column that the node asks; negative in a leaf.
    pub feature: Vec<i64>,
    /// Rows below it go left.
    pub threshold: Vec<i64>,
    /// The node for them.
    pub left: Vec<usize>,
    /// The node for the others.
    pub right: Vec<usize>,
    /// Rows without the value go left.
    pub missing_left: Vec<bool>,
    /// What a leaf adds.
    pub value: Vec<i64>,
}

/// Ranges of the columns, and how rows beyond them are told apart.
#[derive(Clone, Debug, Default)]
pub struct Ranges {
    /// The least value of each column.
    pub lows: Vec<i64>,
    /// The greatest.
    pub highs: Vec<i64>,
    /// Columns whose range is strict.
    pub strict: Vec<bool>,
    /// Columns that must have a value.
    pub required: Vec<bool>,
    /// How far a row may lie beyond, the sum over columns in 1/1024 of each range.
    pub reach: i64,
}

/// A forest with the ranges of its columns.
pub struct Forest {
    nodes: Nodes,
    ranges: Ranges,
    /// None where trees are too large, or a column is asked too much.
    bins: Option<Bins>,
}

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
    /// A forest over as many columns as there are ranges, and one more, last, that all rows share.
    ///
    /// Gives what is wrong where the lists do not make trees, or a number leaves 31 bits.
    ///
    /// # Errors
    ///
    /// The sentence that names the list.
    pub fn new(nodes: Nodes, ranges: Ranges) -> Result<Self, &'static str> {
        let (count, columns) = (nodes.feature.len(), ranges.lows.len());
        let alike = [nodes.threshold.len(), nodes.left.len(), nodes.right.len()];
        if alike.iter().any(|&length| length != count)
            || nodes.missing_left.len() != count
            || nodes.value.len() != count
        {
            return Err("lists of nodes differ in length");
        }
        let alike = [
            ranges.highs.len(),
            ranges.strict.len(),
            ranges.required.len(),
        ];
        if alike.iter().any(|&length| length != columns) {
            return Err("lists of ranges differ in length");
        }
        let narrow =
            |value: &i64| i32::try_from(*value).is_ok_and(|v| v != i32::MAX && v != i32::MIN);
        let numbers = [&nodes.threshold, &nodes.value, &ranges.lows, &ranges.highs];
        if !numbers.into_iter().flatten().all(narrow) {
            return Err("a number leaves 31 bits");
        }
        if (0..columns).any(|column| ranges.lows[column] > ranges.highs[column]) {
            return Err("a range ends before it starts");
        }
        if nodes.roots.iter().any(|&root| root >= count) {
            return Err("a root is no node");
        }
        let mut depth = vec![0; count];
        for node in 0..count {
            if nodes.feature[node] < 0 {
                continue;
            }
            if nodes.feature[node] as usize > columns || depth[node] >= DEPTH_MAX {
                return Err("a node asks no column, or lies too deep");
            }
            for child in [nodes.left[node], nodes.right[node]] {
                if child <= node || child >= count {
                    return Err("a child does not stand behind its parent");
                }
                depth[child] = depth[child].max(depth[node] + 1);
            }
        }
        let bins = Bins::new(&nodes, &ranges);
        Ok(Self {
            nodes,
            ranges,
            bins,
        })
    }

    /// How many columns a row has.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.ranges.lows.len()
    }

    /// The sum of the leaves of each row, after its values are put into their ranges, and whether
    /// the row lies within reach.
    ///
    /// `rows`: one after the other. `shared`: the last column's value. A required value that is
    /// missing counts as the middle of its range.
    ///
    /// # Panics
    ///
    /// The slices are not of as many rows each.
    pub fn answer(&self, rows: &[i64], shared: i64, sums: &mut [i64], known: &mut [bool]) {
        let width = self.columns();
        assert!(rows.len() == sums.len() * width && sums.len() == known.len());
        match &self.bins {
            Some(bins) => bins.answer(&self.nodes, &self.ranges, rows, shared, sums, known),
            None => self.answer_wide(rows, shared, sums, known),
        }
    }

    /// The same for trees of whatever size.
    fn answer_wide(&self, rows: &[i64], shared: i64, sums: &mut [i64], known: &mut [bool]) {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// One tree: column 0 below 5 gives 1; else the shared column below 7 gives 2, else 3.
    fn small() -> Forest {
        let nodes = Nodes {
            roots: vec![0],
            feature: vec![0, -1, 1, -1, -1],
            threshold: vec![5, 0, 7, 0, 0],
            left: vec![1, 1, 3, 3, 4],
            right: vec![2, 1, 4, 3, 4],
            missing_left: vec![true, false, false, false, false],
            value: vec![0, 1, 0, 2, 3],
        };
        let ranges = Ranges {
            lows: vec![0],
            highs: vec![10],
            strict: vec![false],
            required: vec![false],
            reach: 103,
        };
        Forest::new(nodes, ranges).expect("it is a forest")
    }

    fn ask(rows: &[i64], shared: i64) -> (Vec<i64>, Vec<bool>) {
        let (mut sums, mut known) = (vec![0; rows.len()], vec![false; rows.len()]);
        small().answer(rows, shared, &mut sums, &mut known);
        (sums, known)
    }

    #[test]
    fn rows_go_their_way() {
        assert_eq!(ask(&[4, 5, MISSING], 6).0, [1, 2, 1]);
        assert_eq!(ask(&[4, 5, MISSING], 7).0, [1, 3, 1]);
    }

    #[test]
    fn rows_beyond_reach_are_known_as_such() {
        // A tenth of the range is 102.4 of 1,024: rounded up within reach, two tenths are not.
        assert_eq!(
            ask(&[11, 12, -1, -2, i64::MAX], 6).1,
            [true, false, true, false, false]
        );
    }

    #[test]
    fn blocks_meet_without_a_seam() {
        let rows: Vec<i64> = (0..1000).map(|at| at % 11).collect();
        let expected: Vec<i64> = rows.iter().map(|&x| if x < 5 { 1 } else { 2 }).collect();
        assert_eq!(ask(&rows, 0).0, expected);
    }

    /// Trees of this depth with questions, missing sides and leaves from a counter.
    fn made_up(trees: usize, depth: u32, state: &mut u64) -> Nodes {
        let mut drawn = |below: u64| {
            *state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(99);
            (*state >> 33) % below
        };
        let mut nodes = Nodes::default();
        for _ in 0..trees {
            let first = nodes.feature.len();
            nodes.roots.push(first);
            let inner = (1_usize << depth) - 1;
            for at in 0..=(2 * inner) {
                let is_leaf = at >= inner;
                let here = first + at;
                nodes
                    .feature
                    .push(if is_leaf { -1 } else { drawn(5) as i64 });
                nodes.threshold.push(drawn(90) as i64 - 40);
                nodes
                    .left
                    .push(if is_leaf { here } else { first + 2 * at + 1 });
                nodes
                    .right
                    .push(if is_leaf { here } else { first + 2 * at + 2 });
                nodes.missing_left.push(drawn(2) == 1);
                nodes.value.push(drawn(1 << 31) as i64 - (1 << 30));
            }
        }
        nodes
    }

    #[test]
    fn bytes_answer_as_the_trees_do() {
        let mut state = 7;
        for (trees, depth, span) in [(1, 1, 90), (40, 3, 90), (300, 4, 90), (20, 4, 1 << 20)] {
            let nodes = made_up(trees, depth, &mut state);
            let ranges = Ranges {
                lows: vec![-30, -45, 0, -10],
                highs: vec![30, -45 + span, 40, 10],
                strict: vec![false, false, false, true],
                required: vec![false, true, false, false],
                reach: 700,
            };
            let forest = Forest::new(nodes, ranges).expect("it is a forest");
            assert!(forest.bins.is_some());
            let count = 1_100;
            let rows: Vec<i64> = (0..count * 4)
                .map(|at| match (at * 7919) % 31 {
                    0 => MISSING,
                    1 => i64::MAX,
                    _ => (at as i64 * 104_729) % 97 - 45,
                })
                .collect();
            for shared in [MISSING, -41, 3, 60] {
                let (mut sums, mut known) = (vec![0; count], vec![false; count]);
                let (mut others, mut seen) = (vec![0; count], vec![false; count]);
                forest.answer(&rows, shared, &mut sums, &mut known);
                forest.answer_wide(&rows, shared, &mut others, &mut seen);
                assert_eq!(sums, others);
                assert_eq!(known, seen);
            }
            assert!(rows.len() > 1_000);
        }
    }

    #[test]
    fn large_trees_are_asked_too() {
        let nodes = made_up(3, 5, &mut 1);
        let ranges = small().ranges;
        let lows = vec![-50; 4];
        let ranges = Ranges {
            highs: vec![50; 4],
            strict: vec![false; 4],
            required: vec![false; 4],
            lows,
            ..ranges
        };
        let forest = Forest::new(nodes, ranges).expect("it is a forest");
        assert!(forest.bins.is_none());
        let (mut sums, mut known) = ([0; 2], [false; 2]);
        forest.answer(&[1, 2, 3, 4, -9, MISSING, 0, 50], 4, &mut sums, &mut known);
        assert_eq!(known, [true, true]);
        assert_ne!(sums[0], 0);
    }

    #[test]
    fn lists_that_are_no_trees_are_refused() {
        let forest = small();
        let broken = |change: fn(&mut Nodes)| {
            let mut nodes = forest.nodes.clone();
            change(&mut nodes);
            Forest::new(nodes, forest.ranges.clone()).is_err()
        };
        assert!(broken(|nodes| nodes.left[0] = 0));
        assert!(broken(|nodes| nodes.right[0] = 9));
        assert!(broken(|nodes| nodes.feature[0] = 2));
        assert!(broken(|nodes| nodes.threshold[0] = i64::from(i32::MAX)));
        assert!(broken(|nodes| nodes.roots[0] = 5));
        assert!(broken(|nodes| {
            nodes.value.pop();
        }));
    }
}
