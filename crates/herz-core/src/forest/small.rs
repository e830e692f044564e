//! Small trees: what a forest is asked of all nodes at once.
//!
//! A row is a word a column (`words`). A tree of at most 16 leaves answers with the number of a
//! leaf, a byte: each question chooses, for all rows of a tile, between two numbers or results,
//! 32 rows an instruction and without a branch. Leaves' values are looked up byte by byte, which
//! is an instruction, too, and added up by place.

use std::sync::OnceLock;

use super::words::{Columns, Pair, QUESTIONS_MAX, ROWS, WIDE, Words};
use super::{MISSING, Nodes, Ranges};

/// Leaves of a tree: what an instruction looks up.
const LEAVES_MAX: usize = 16;

/// Bytes of a leaf's value.
const PLACES: usize = 4;

/// Trees whose bytes are added up before a sum of 16 bits could overflow.
const TREES_MAX: usize = 256;

/// Thresholds of the shared column: a plan is kept for each answer.
const SPLITS_MAX: usize = 63;

/// Small trees, ready to be asked.
pub struct Small {
    columns: Columns,
    /// The shared column's thresholds, ascending.
    splits: Vec<i64>,
    /// By how many of them a value reaches, the trees that are left; first where it is missing.
    plans: Vec<OnceLock<Plan>>,
}

/// Trees whose questions about the shared column are answered.
#[derive(Default)]
struct Plan {
    batches: Vec<Batch>,
    /// The sum of their least leaves, above which the others are counted.
    base: i64,
}

/// Trees that are added up at once.
#[derive(Default)]
struct Batch {
    choices: Vec<Choice>,
    /// The values of each tree's leaves.
    tables: Vec<Table>,
}

/// By place, a byte of each leaf's value above the least one's.
struct Table([[u8; LEAVES_MAX]; PLACES]);

/// One step of a tree: for each row the first where its word is below, else the second.
#[derive(Clone, Copy)]
struct Choice {
    between: Between,
    /// The result that it makes, replacing what it reads.
    to: u8,
    /// Numbers of leaves.
    left: u8,
    right: u8,
    /// As `Words::seen`.
    asked: u16,
    below: i16,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Between {
    /// Two leaves.
    Leaves,
    /// A leaf and the result.
    LeafAndResult,
    /// The result and a leaf.
    ResultAndLeaf,
    /// The result and the next one.
    Results,
    /// No choice: the tree is done, and the result is the number of its leaf.
    Done,
}

impl Small {
    /// None where a tree is too large, or there are too many, of them or of questions.
    pub fn new(nodes: &Nodes, ranges: &Ranges) -> Option<Self> {
        let width = ranges.lows.len();
        let asks = nodes.feature.iter().filter(|&&column| column >= 0).count();
        let is_small = nodes.roots.len().max(asks) <= QUESTIONS_MAX
            && width <= usize::from(u16::MAX) / 2
            && nodes
                .roots
                .iter()
                .all(|&root| leaves_below(nodes, root) <= LEAVES_MAX);
        let mut splits: Vec<i64> = (nodes.feature.iter().zip(&nodes.threshold))
            .filter(|&(&column, _)| column == width as i64)
            .map(|(_, &threshold)| threshold)
            .collect();
        splits.sort_unstable();
        splits.dedup();
        (is_small && splits.len() <= SPLITS_MAX).then(|| Self {
            columns: Columns::new(nodes, ranges),
            plans: (0..splits.len() + 2).map(|_| OnceLock::new()).collect(),
            splits,
        })
    }

    /// As `Forest::answer`.
    pub fn answer(
        &self,
        nodes: &Nodes,
        ranges: &Ranges,
        rows: &[i64],
        shared: i64,
        sums: &mut [i64],
        known: &mut [bool],
        mut then: impl FnMut(&[i64], &mut [i64]),
    ) {
        let width = self.columns.width();
        let plan = self.plan(nodes, shared);
        let mut tile = Tile::new(&self.columns);
        let parts = sums.chunks_mut(ROWS).zip(known.chunks_mut(ROWS));
        for (at, (sums, known)) in parts.enumerate() {
            let rows = &rows[at * ROWS * width..][..sums.len() * width];
            tile.words.fill(rows, ranges, known);
            sums.fill(plan.base);
            tile.run(plan, sums);
            then(rows, sums);
        }
    }

    /// The trees that are left where the shared column has this value.
    fn plan(&self, nodes: &Nodes, shared: i64) -> &Plan {
        let reached = self.splits.partition_point(|&split| split <= shared);
        let at = if shared == MISSING { 0 } else { 1 + reached };
        self.plans[at].get_or_init(|| self.laid_out(nodes, shared))
    }

    fn laid_out(&self, nodes: &Nodes, shared: i64) -> Plan {
        let mut plan = Plan::default();
        for roots in nodes.roots.chunks(TREES_MAX) {
            let mut batch = Batch::default();
            for &root in roots {
                plan.base += self.lay_out(nodes, shared, root, &mut batch);
            }
            plan.batches.push(batch);
        }
        plan
    }

    /// Adds a tree to a batch; gives its least leaf.
    fn lay_out(&self, nodes: &Nodes, shared: i64, root: usize, batch: &mut Batch) -> i64 {
        let mut laying = Laying {
            nodes,
            columns: &self.columns,
            shared,
            choices: &mut batch.choices,
            leaves: Vec::with_capacity(LEAVES_MAX),
        };
        let made = laying.lay_out(root, 0);
        let leaves = laying.leaves;
        let least = leaves.iter().copied().min().unwrap_or(0);
        if made.is_none() {
            batch.choices.push(Choice::DONE);
            batch.tables.push(Table::new(&leaves, least));
        }
        least
    }
}

fn leaves_below(nodes: &Nodes, node: usize) -> usize {
    if nodes.feature[node] < 0 {
        return 1;
    }
    leaves_below(nodes, nodes.left[node]) + leaves_below(nodes, nodes.right[node])
}

impl Table {
    fn new(leaves: &[i64], least: i64) -> Self {
        let mut places = [[0; LEAVES_MAX]; PLACES];
        for (number, leaf) in leaves.iter().enumerate() {
            // Values are within 31 bits, so that a difference fits.
            let bytes = ((leaf - least) as u32).to_le_bytes();
            for (place, byte) in places.iter_mut().zip(bytes) {
                place[number] = byte;
            }
        }
        Self(places)
    }

    /// By leaf, its value.
    fn values(&self) -> [i64; LEAVES_MAX] {
        std::array::from_fn(|leaf| u32::from_le_bytes(self.0.map(|place| place[leaf])).into())
    }
}

impl Choice {
    const DONE: Self = Self {
        between: Between::Done,
        to: 0,
        left: 0,
        right: 0,
        asked: 0,
        below: 0,
    };
}

/// A tree while it is laid out.
struct Laying<'a> {
    nodes: &'a Nodes,
    columns: &'a Columns,
    shared: i64,
    choices: &'a mut Vec<Choice>,
    leaves: Vec<i64>,
}

impl Laying<'_> {
    /// The leaf that a node comes to; none where it comes to a result, which is made at `top`.
    fn lay_out(&mut self, node: usize, top: u8) -> Option<u8> {
        let nodes = self.nodes;
        let Ok(column) = usize::try_from(nodes.feature[node]) else {
            self.leaves.push(nodes.value[node]);
            return Some(self.leaves.len() as u8 - 1);
        };
        let (threshold, missing_left) = (nodes.threshold[node], nodes.missing_left[node]);
        let width = self.columns.width();
        if column == width {
            let is_left = if self.shared == MISSING {
                missing_left
            } else {
                self.shared < threshold
            };
            let child = if is_left { &nodes.left } else { &nodes.right };
            return self.lay_out(child[node], top);
        }
        let left = self.lay_out(nodes.left[node], top);
        let right = self.lay_out(nodes.right[node], top + u8::from(left.is_none()));
        let between = match (left, right) {
            (Some(_), Some(_)) => Between::Leaves,
            (Some(_), None) => Between::LeafAndResult,
            (None, Some(_)) => Between::ResultAndLeaf,
            (None, None) => Between::Results,
        };
        self.choices.push(Choice {
            between,
            to: top,
            left: left.unwrap_or(0),
            right: right.unwrap_or(0),
            asked: (column + if missing_left { width } else { 0 }) as u16,
            below: self.columns.below(column, threshold),
        });
        None
    }
}

/// Bytes of a tile's rows.
type Bytes = [[u8; WIDE]; ROWS / WIDE];

/// Sums of a tile's rows: of each 32 those of even number, then the others.
#[cfg(target_arch = "x86_64")]
type Sums = [[[u16; WIDE / 2]; 2]; ROWS / WIDE];

/// Some rows, the results that wait for a choice, and sums by place.
struct Tile<'a> {
    words: Words<'a>,
    /// A tree of 16 leaves has no more of them.
    results: [Bytes; LEAVES_MAX],
    #[cfg(target_arch = "x86_64")]
    places: [Sums; PLACES],
}

impl<'a> Tile<'a> {
    fn new(columns: &'a Columns) -> Self {
        Self {
            words: Words::new(columns),
            results: [[[0; WIDE]; ROWS / WIDE]; LEAVES_MAX],
            #[cfg(target_arch = "x86_64")]
            places: [[[[0; WIDE / 2]; 2]; ROWS / WIDE]; PLACES],
        }
    }

    /// Adds to each sum the trees' answers for its row.
    fn run(&mut self, plan: &Plan, sums: &mut [i64]) {
        for batch in &plan.batches {
            #[cfg(target_arch = "x86_64")]
            if std::arch::is_x86_feature_detected!("avx2") {
                // Whole instructions: what stands behind the last row is nobody's.
                let wides = sums.len().div_ceil(WIDE);
                // SAFETY: this processor has AVX2, which is all that the function asks for.
                unsafe { avx2::run(self, batch, wides) };
                self.add_up(sums);
                continue;
            }
            self.run_anywhere(batch, sums);
        }
    }

    fn run_anywhere(&mut self, batch: &Batch, sums: &mut [i64]) {
        let wides = sums.len().div_ceil(WIDE);
        let mut tables = batch.tables.iter();
        for choice in &batch.choices {
            if choice.between == Between::Done {
                let values = tables.next().expect("a tree that is done has one").values();
                for (sum, &leaf) in sums.iter_mut().zip(self.results[0].as_flattened()) {
                    *sum += values[usize::from(leaf) % LEAVES_MAX];
                }
                continue;
            }
            let (made, next) = self.results[usize::from(choice.to)..].split_at_mut(1);
            let seen = &self.words.seen(choice.asked.into()).words[..wides];
            for (at, (words, made)) in seen.iter().zip(&mut made[0]).enumerate() {
                let (left, right) = match choice.between {
                    Between::Leaves => ([choice.left; WIDE], [choice.right; WIDE]),
                    Between::LeafAndResult => ([choice.left; WIDE], *made),
                    Between::ResultAndLeaf => (*made, [choice.right; WIDE]),
                    Between::Results | Between::Done => (*made, next[0][at]),
                };
                *made = chosen(words, choice.below, &left, &right);
            }
        }
    }

    /// Adds the sums by place to those of the rows, and begins anew.
    #[cfg(target_arch = "x86_64")]
    fn add_up(&mut self, sums: &mut [i64]) {
        for (place, totals) in self.places.iter_mut().enumerate() {
            for (sums, totals) in sums.chunks_mut(WIDE).zip(totals) {
                for (at, sum) in sums.iter_mut().enumerate() {
                    *sum += i64::from(totals[at % 2][at / 2]) << (8 * place);
                }
                *totals = [[0; WIDE / 2]; 2];
            }
        }
    }
}

/// By row the byte on the left where its word is below, else the one on the right.
fn chosen(words: &Pair, below: i16, left: &[u8; WIDE], right: &[u8; WIDE]) -> [u8; WIDE] {
    let mut found = *right;
    // As `slot` has them.
    for (at, [vector, half]) in [[0, 0], [1, 0], [0, 1], [1, 1]].into_iter().enumerate() {
        for (row, word) in words[vector][8 * half..][..8].iter().enumerate() {
            let row = 8 * at + row;
            found[row] = if *word < below { left[row] } else { right[row] };
        }
    }
    found
}

/// The same, 32 rows an instruction.
#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::{
        __m128i, __m256i, _mm256_add_epi16, _mm256_and_si256, _mm256_blendv_epi8,
        _mm256_broadcastsi128_si256, _mm256_cmpgt_epi16, _mm256_packs_epi16, _mm256_set1_epi8,
        _mm256_set1_epi16, _mm256_shuffle_epi8, _mm256_srli_epi16,
    };
    use std::mem::transmute;

    use super::{Batch, Between, Bytes, Choice, LEAVES_MAX, Pair, Sums, Table, Tile, WIDE};

    /// As `Tile::run_anywhere`.
    #[target_feature(enable = "avx2")]
    pub fn run(tile: &mut Tile, batch: &Batch, wides: usize) {
        let mut tables = batch.tables.iter();
        for choice in &batch.choices {
            if choice.between == Between::Done {
                let Table(bytes) = tables.next().expect("a tree that is done has one");
                let places = bytes.iter().zip(&mut tile.places);
                // Most trees need three of four.
                for (table, sums) in places.filter(|(table, _)| **table != [0; LEAVES_MAX]) {
                    look_up(table, &tile.results[0][..wides], sums);
                }
                continue;
            }
            let (made, next) = tile.results[usize::from(choice.to)..].split_at_mut(1);
            let seen = &tile.words.seen(choice.asked.into()).words[..wides];
            choose(*choice, seen, &mut made[0], next.first());
        }
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn choose(choice: Choice, seen: &[Pair], made: &mut Bytes, next: Option<&Bytes>) {
        let below = _mm256_set1_epi16(choice.below);
        let left = _mm256_set1_epi8(choice.left.cast_signed());
        let right = _mm256_set1_epi8(choice.right.cast_signed());
        let rows = seen.iter().zip(made);
        match choice.between {
            Between::Leaves => rows.for_each(|(words, made)| {
                *made = bytes(_mm256_blendv_epi8(right, left, is_left(words, below)));
            }),
            Between::LeafAndResult => rows.for_each(|(words, made)| {
                *made = bytes(_mm256_blendv_epi8(
                    vector(made),
                    left,
                    is_left(words, below),
                ));
            }),
            Between::ResultAndLeaf => rows.for_each(|(words, made)| {
                *made = bytes(_mm256_blendv_epi8(
                    right,
                    vector(made),
                    is_left(words, below),
                ));
            }),
            Between::Results | Between::Done => {
                let next = next.expect("a choice between two results has both");
                rows.zip(next).for_each(|((words, made), next)| {
                    let is_left = is_left(words, below);
                    *made = bytes(_mm256_blendv_epi8(vector(next), vector(made), is_left));
                });
            }
        }
    }

    /// By row all bits, where its word is below.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn is_left(words: &Pair, below: __m256i) -> __m256i {
        // SAFETY: 16 words are a vector: the same bytes, all of which mean something.
        let [one, two] = unsafe { transmute::<Pair, [__m256i; 2]>(*words) };
        let (one, two) = (
            _mm256_cmpgt_epi16(below, one),
            _mm256_cmpgt_epi16(below, two),
        );
        _mm256_packs_epi16(one, two)
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn look_up(table: &[u8; LEAVES_MAX], leaves: &[[u8; WIDE]], sums: &mut Sums) {
        // SAFETY: 16 bytes are a vector, all of which mean something.
        let table = unsafe { transmute::<[u8; LEAVES_MAX], __m128i>(*table) };
        let table = _mm256_broadcastsi128_si256(table);
        let low = _mm256_set1_epi16(0xff);
        for (leaves, sums) in leaves.iter().zip(sums) {
            let found = _mm256_shuffle_epi8(table, vector(leaves));
            let found = [_mm256_and_si256(found, low), _mm256_srli_epi16::<8>(found)];
            for (sums, found) in sums.iter_mut().zip(found) {
                // SAFETY: 16 numbers of two bytes are a vector, all of which mean something.
                *sums = unsafe {
                    let seen = transmute::<[u16; WIDE / 2], __m256i>(*sums);
                    transmute::<__m256i, [u16; WIDE / 2]>(_mm256_add_epi16(seen, found))
                };
            }
        }
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn vector(bytes: &[u8; WIDE]) -> __m256i {
        // SAFETY: 32 bytes are a vector, all of which mean something.
        unsafe { transmute::<[u8; WIDE], __m256i>(*bytes) }
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn bytes(vector: __m256i) -> [u8; WIDE] {
        // SAFETY: as above.
        unsafe { transmute::<__m256i, [u8; WIDE]>(vector) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{drawn, made_up, ranges_of};
    use super::*;

    /// What this processor has instructions for is the same without them.
    #[test]
    fn trees_answer_alike_on_every_processor() {
        let mut state = 3;
        let nodes = made_up(70, 4, 6, 40, &mut state);
        let ranges = ranges_of(6, 40);
        let small = Small::new(&nodes, &ranges).expect("its trees are small");
        let plan = small.plan(&nodes, 5);
        for count in [1, 33, ROWS] {
            let rows: Vec<i64> = (0..count * 6)
                .map(|_| drawn(&mut state, 44) as i64 - 22)
                .collect();
            let (mut one, mut other) = (Tile::new(&small.columns), Tile::new(&small.columns));
            let (mut sums, mut others) = (vec![0; count], vec![0; count]);
            one.words.fill(&rows, &ranges, &mut vec![false; count]);
            one.run(plan, &mut sums);
            other.words.fill(&rows, &ranges, &mut vec![false; count]);
            for batch in &plan.batches {
                other.run_anywhere(batch, &mut others);
            }
            assert_eq!(sums, others);
            assert!(sums.iter().all(|&sum| sum != 0));
        }
    }
}
