//! A forest of decision trees over integer columns, evaluated for many rows at once.
//!
//! The last column is the same for all rows of a call, so questions about it are answered once,
//! before the rows. Forests of small trees, which are all that are learned, are asked by words and
//! bytes (`small`), the others by whole numbers (`wide`).

mod small;
mod wide;
mod words;

use small::Small;

/// Marks a value that is not there.
pub const MISSING: i64 = i64::MIN;

/// Bound of the way beyond a range.
const FAR: u64 = 1 << 40;

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
    small: Option<Small>,
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
        let small = Small::new(&nodes, &ranges);
        Ok(Self {
            nodes,
            ranges,
            small,
        })
    }

    /// How many columns a row has.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.ranges.lows.len()
    }

    /// The least and the greatest value of a column.
    #[must_use]
    pub fn range(&self, column: usize) -> (i64, i64) {
        (self.ranges.lows[column], self.ranges.highs[column])
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
        self.answer_by(rows, shared, sums, known, |_, _| ());
    }

    /// The same; `then` is called with some rows and their sums, while they are near.
    ///
    /// # Panics
    ///
    /// As `answer`.
    pub fn answer_by(
        &self,
        rows: &[i64],
        shared: i64,
        sums: &mut [i64],
        known: &mut [bool],
        then: impl FnMut(&[i64], &mut [i64]),
    ) {
        let width = self.columns();
        assert!(rows.len() == sums.len() * width && sums.len() == known.len());
        match &self.small {
            Some(small) => small.answer(&self.nodes, &self.ranges, rows, shared, sums, known, then),
            None => self.answer_wide(rows, shared, sums, known, then),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
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

    /// A number of a sequence that looks like chance.
    pub fn drawn(state: &mut u64, below: u64) -> u64 {
        *state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(99);
        (*state >> 33) % below
    }

    /// Trees of this depth with questions within the span, missing sides and leaves.
    pub fn made_up(trees: usize, depth: u32, width: u64, span: u64, state: &mut u64) -> Nodes {
        let mut drawn = |below: u64| drawn(state, below);
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
                    .push(if is_leaf { -1 } else { drawn(width + 1) as i64 });
                nodes.threshold.push(drawn(span) as i64 - (span / 2) as i64);
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

    /// Ranges of so many columns, of about this span around 0.
    pub fn ranges_of(width: usize, span: u64) -> Ranges {
        let low = -(span as i64) / 2;
        let columns = 0..width as i64;
        Ranges {
            lows: columns.clone().map(|at| low + at % 5 * 3).collect(),
            highs: columns.map(|at| -low - at % 3 * 2).collect(),
            strict: (0..width).map(|at| at % 4 == 3).collect(),
            required: (0..width).map(|at| at % 3 == 1).collect(),
            reach: 700,
        }
    }

    /// What each row's way through the trees comes to, node by node.
    fn walked(nodes: &Nodes, ranges: &Ranges, row: &[i64], shared: i64) -> i64 {
        let near = |at: usize| match (row[at], ranges.lows[at], ranges.highs[at]) {
            (MISSING, low, high) if ranges.required[at] => low + (high - low) / 2,
            (MISSING, ..) => MISSING,
            (value, low, high) => value.clamp(low, high),
        };
        let mut sum = 0;
        for &root in &nodes.roots {
            let mut node = root;
            while let Ok(column) = usize::try_from(nodes.feature[node]) {
                let seen = if column == row.len() {
                    shared
                } else {
                    near(column)
                };
                let is_left = if seen == MISSING {
                    nodes.missing_left[node]
                } else {
                    seen < nodes.threshold[node]
                };
                let child = if is_left { &nodes.left } else { &nodes.right };
                node = child[node];
            }
            sum += nodes.value[node];
        }
        sum
    }

    #[test]
    fn small_trees_answer_as_the_way_through_them() {
        let mut state = 7;
        // Trees, depth, columns, and how far apart questions lie: beyond what a word holds, too.
        let cases: [(usize, u32, usize, u64); 6] = [
            (1, 1, 1, 90),
            (40, 3, 4, 90),
            (300, 4, 4, 60),
            (20, 4, 9, 65_534),
            (20, 4, 9, 65_540),
            (20, 4, 6, (1 << 31) - 2),
        ];
        for (trees, depth, width, span) in cases {
            let nodes = made_up(trees, depth, width as u64, span, &mut state);
            let low = -(span as i64) / 2;
            let ranges = ranges_of(width, span);
            let forest = Forest::new(nodes, ranges).expect("it is a forest");
            assert!(forest.small.is_some());
            for count in [0, 1, 7, 8, 40, 256, 1_100] {
                let rows: Vec<i64> = (0..count * width)
                    .map(|_| match drawn(&mut state, 400) {
                        0 => MISSING,
                        1 => i64::MAX,
                        2 => low - 1,
                        _ => low + drawn(&mut state, span) as i64,
                    })
                    .collect();
                for shared in [MISSING, low, 3, -low] {
                    holds(&forest, &rows, shared, count);
                }
            }
        }
    }

    fn holds(forest: &Forest, rows: &[i64], shared: i64, count: usize) {
        let (mut sums, mut known) = (vec![0; count], vec![false; count]);
        let (mut others, mut seen) = (vec![0; count], vec![false; count]);
        forest.answer(rows, shared, &mut sums, &mut known);
        forest.answer_wide(rows, shared, &mut others, &mut seen, |_, _| ());
        assert_eq!(sums, others);
        assert_eq!(known, seen);
        for (row, sum) in rows.chunks_exact(forest.columns()).zip(sums) {
            assert_eq!(walked(&forest.nodes, &forest.ranges, row, shared), sum);
        }
    }

    /// One tree for each question about column 0, which adds 1 on its right, or what is given.
    fn questions(thresholds: &[i64], right: i64) -> Nodes {
        let mut nodes = Nodes::default();
        for (at, &threshold) in thresholds.iter().enumerate() {
            let first = 3 * at;
            nodes.roots.push(first);
            nodes.feature.extend([0, -1, -1]);
            nodes.threshold.extend([threshold, 0, 0]);
            nodes.left.extend([first + 1, first + 1, first + 2]);
            nodes.right.extend([first + 2, first + 1, first + 2]);
            nodes.missing_left.extend([at % 2 == 0; 3]);
            nodes.value.extend([0, 0, right]);
        }
        nodes
    }

    #[test]
    fn questions_at_the_ends_of_a_word_are_told_apart() {
        for apart in (65_470..65_550).chain([(1 << 31) - 200]) {
            for (low, high) in [(-100, apart + 90), (-100, apart - 3), (7, apart)] {
                let (first, last) = (-90_i64.min(high), apart - 90);
                let ranges = Ranges {
                    lows: vec![low - 90],
                    highs: vec![high - 90],
                    ..small().ranges
                };
                let nodes = questions(&[first, first + 1, last - 1, last, last + 50], 1);
                let forest = Forest::new(nodes, ranges).expect("it is a forest");
                let ends = [low - 90, first, last, last + 50, high - 90];
                let near = ends
                    .iter()
                    .flat_map(|end| (end - 2..end + 3).chain([MISSING]));
                let rows: Vec<i64> = near.collect();
                holds(&forest, &rows, 0, rows.len());
            }
        }
    }

    #[test]
    fn sums_of_many_trees_do_not_overflow() {
        let forest = Forest::new(questions(&[5; 700], 0xff_ffff), small().ranges);
        holds(&forest.expect("it is a forest"), &[4, 5, 6], 0, 3);
    }

    #[test]
    fn the_shared_column_is_asked_exactly() {
        let forest = small();
        for shared in [6, 7, 8, MISSING, 6, 7, 8, MISSING] {
            holds(&forest, &[4, 5, MISSING], shared, 3);
        }
    }

    #[test]
    fn too_many_questions_are_asked_as_those_of_large_trees() {
        let ranges = Ranges {
            lows: vec![-40],
            highs: vec![40],
            ..small().ranges
        };
        for (trees, depth, span, is_small) in [
            (5_461, 2, 60, true),
            (5_462, 2, 60, false),
            (500, 1, 1 << 20, false),
        ] {
            let nodes = made_up(trees, depth, 1, span, &mut 1);
            let forest = Forest::new(nodes, ranges.clone()).expect("it is a forest");
            assert_eq!(forest.small.is_some(), is_small);
            holds(&forest, &[-40, -7, MISSING, 0, 5, 40], 2, 6);
        }
    }

    #[test]
    fn large_trees_are_asked_too() {
        let nodes = made_up(3, 5, 4, 90, &mut 1);
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
        assert!(forest.small.is_none());
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
