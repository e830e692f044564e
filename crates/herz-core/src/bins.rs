//! Small trees over bytes: what a forest is asked of all nodes at once.
//!
//! A forest asks few questions of each column, so a value is first put into its bin: how many of
//! the column's thresholds it reaches. A row is then a byte a column, a question compares bytes,
//! and a tree of at most 16 leaves answers with the number of a leaf, another byte: one instruction
//! serves 32 rows. Leaves' values are looked up byte by byte, which is an instruction, too, and
//! added up by place.

use crate::forest::{FAR, MISSING, Nodes, Ranges};

/// Rows of a block: their bins and results stay in the first cache.
const BLOCK: usize = 512;

/// Rows that one instruction is about; divides a block.
const WIDE: usize = 32;

/// Leaves of a tree: what an instruction looks up.
const LEAVES_MAX: usize = 16;

/// Thresholds of a column: a byte counts them, and one more value is for missing ones.
const THRESHOLDS_MAX: usize = 254;

/// What goes right of every question, and what goes left of every one.
const RIGHTMOST: u8 = u8::MAX;
const LEFTMOST: u8 = 0;

/// Width of a range whose bins are kept in a table.
const TABLE_MAX: i64 = 1 << 16;

/// Trees whose bytes are added up before a sum of 16 bits could overflow.
const TREES_MAX: usize = 256;

/// Lanes: of the numbers of leaves, each full of its own, and of the results that wait.
const LANES: usize = 2 * LEAVES_MAX + 1;

/// Bytes of a leaf's value.
const PLACES: usize = 4;

/// Small trees, ready to be asked.
pub struct Bins {
    columns: Vec<Column>,
}

/// One column's thresholds.
struct Column {
    low: i64,
    high: i64,
    thresholds: Vec<i64>,
    /// By value above the lowest, its bin; empty where the range is too wide.
    table: Vec<u8>,
}

impl Column {
    fn new(low: i64, high: i64, mut thresholds: Vec<i64>) -> Self {
        thresholds.sort_unstable();
        thresholds.dedup();
        let mut found = Self {
            low,
            high,
            thresholds,
            table: Vec::new(),
        };
        if high - low < TABLE_MAX {
            found.table = (low..=high).map(|value| found.searched(value)).collect();
        }
        found
    }

    /// How many thresholds a value reaches.
    fn searched(&self, value: i64) -> u8 {
        self.thresholds.partition_point(|&each| each <= value) as u8
    }
}

/// A question about bins: rows below go left.
#[derive(Clone, Copy)]
struct Question {
    column: usize,
    below: u8,
    missing_left: bool,
}

/// One step of a tree, over lanes of leaves' numbers.
#[derive(Clone, Copy)]
enum Choice {
    /// Between two lanes, into a third one, which may be one of them.
    Between {
        question: Question,
        lower: usize,
        upper: usize,
        to: usize,
    },
    /// The tree is done: the values of the lane's leaves are looked up, in so many bytes.
    Done(usize, [[u8; LEAVES_MAX]; PLACES], usize),
}

/// A tree while it is laid out.
struct Laying<'a> {
    nodes: &'a Nodes,
    bins: &'a Bins,
    shared: i64,
    choices: &'a mut Vec<Choice>,
    leaves: Vec<i64>,
}

impl Bins {
    /// The bins of a forest; none where a tree or a column has too many questions.
    #[must_use]
    pub fn new(nodes: &Nodes, ranges: &Ranges) -> Option<Self> {
        let width = ranges.lows.len();
        let mut asked = vec![Vec::new(); width];
        for (&column, &threshold) in nodes.feature.iter().zip(&nodes.threshold) {
            if let Some(thresholds) = usize::try_from(column)
                .ok()
                .and_then(|at| asked.get_mut(at))
            {
                thresholds.push(threshold);
            }
        }
        let columns: Vec<Column> = asked
            .into_iter()
            .enumerate()
            .map(|(at, thresholds)| Column::new(ranges.lows[at], ranges.highs[at], thresholds))
            .collect();
        let is_narrow = columns
            .iter()
            .all(|each| each.thresholds.len() <= THRESHOLDS_MAX);
        let is_small = nodes
            .roots
            .iter()
            .all(|&root| leaves_below(nodes, root) <= LEAVES_MAX);
        (is_narrow && is_small).then_some(Self { columns })
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
    ) {
        let width = self.columns.len();
        let (choices, base) = self.laid_out(nodes, shared);
        let mut block = Block::new(width);
        let parts = sums.chunks_mut(BLOCK).zip(known.chunks_mut(BLOCK));
        for (at, (sums, known)) in parts.enumerate() {
            let start = at * BLOCK * width;
            block.fill(
                &rows[start..start + sums.len() * width],
                self,
                ranges,
                known,
            );
            sums.fill(base);
            block.run(&choices, sums);
        }
    }

    /// All trees as choices, the shared column's questions answered; and the sum of their least
    /// leaves, above which the others are counted.
    fn laid_out(&self, nodes: &Nodes, shared: i64) -> (Vec<Choice>, i64) {
        let mut choices = Vec::with_capacity(nodes.feature.len());
        let mut base = 0;
        for &root in &nodes.roots {
            let mut laying = Laying {
                nodes,
                bins: self,
                shared,
                choices: &mut choices,
                leaves: Vec::with_capacity(LEAVES_MAX),
            };
            let lane = laying.lay_out(root, LEAVES_MAX);
            let leaves = laying.leaves;
            let least = leaves.iter().copied().min().unwrap_or(0);
            base += least;
            if lane >= LEAVES_MAX {
                let mut places = [[0; LEAVES_MAX]; PLACES];
                let mut used = 0;
                for (number, leaf) in leaves.iter().enumerate() {
                    // Leaves are within 2^30, so that a difference fits.
                    let bytes = ((leaf - least) as u32).to_le_bytes();
                    for (place, &byte) in bytes.iter().enumerate() {
                        places[place][number] = byte;
                        used = used.max(if byte == 0 { 0 } else { place + 1 });
                    }
                }
                choices.push(Choice::Done(lane, places, used));
            }
        }
        (choices, base)
    }
}

fn leaves_below(nodes: &Nodes, node: usize) -> usize {
    if nodes.feature[node] < 0 {
        return 1;
    }
    leaves_below(nodes, nodes.left[node]) + leaves_below(nodes, nodes.right[node])
}

impl Laying<'_> {
    /// The lane that holds the numbers of the leaves below a node; from `top` on they are free.
    fn lay_out(&mut self, node: usize, top: usize) -> usize {
        let nodes = self.nodes;
        let Ok(column) = usize::try_from(nodes.feature[node]) else {
            self.leaves.push(nodes.value[node]);
            return self.leaves.len() - 1;
        };
        let Some(asked) = self.bins.columns.get(column) else {
            let is_left = if self.shared == MISSING {
                nodes.missing_left[node]
            } else {
                self.shared < nodes.threshold[node]
            };
            let child = if is_left { &nodes.left } else { &nodes.right };
            return self.lay_out(child[node], top);
        };
        let question = Question {
            column,
            below: asked.searched(nodes.threshold[node]),
            missing_left: nodes.missing_left[node],
        };
        let lower = self.lay_out(nodes.left[node], top);
        let upper = self.lay_out(nodes.right[node], top + usize::from(lower >= LEAVES_MAX));
        self.choices.push(Choice::Between {
            question,
            lower,
            upper,
            to: top,
        });
        top
    }
}

/// Bytes of a block's rows.
type Lanes = [u8; BLOCK];

/// The bins of some rows, the results that wait for a choice, and sums by place.
struct Block {
    right: Vec<Lanes>,
    /// The same, where a column has missing values: they go left.
    left: Vec<Lanes>,
    is_split: Vec<bool>,
    lanes: [Lanes; LANES],
    places: [[u16; BLOCK]; PLACES],
}

impl Block {
    fn new(width: usize) -> Self {
        Self {
            right: vec![[0; BLOCK]; width],
            left: vec![[0; BLOCK]; width],
            is_split: vec![false; width],
            // Those of numbers hold them; the others are written before they are read.
            lanes: std::array::from_fn(|lane| [lane as u8; BLOCK]),
            places: [[0; BLOCK]; PLACES],
        }
    }

    /// Puts the rows' values into bins, column by column, and says which lie within reach.
    fn fill(&mut self, rows: &[i64], bins: &Bins, ranges: &Ranges, known: &mut [bool]) {
        let (width, count) = (bins.columns.len(), known.len());
        let mut beyond = [0_i64; BLOCK];
        known.fill(true);
        for (at, column) in bins.columns.iter().enumerate() {
            let (low, high) = (column.low, column.high);
            let laid = &mut self.right[at][..count];
            let values = rows[at..].iter().step_by(width);
            let mut is_plain = true;
            if column.table.is_empty() {
                for (bin, &value) in laid.iter_mut().zip(values) {
                    is_plain &= value >= low && value <= high;
                    *bin = column.searched(value.clamp(low, high));
                }
            } else {
                for (bin, &value) in laid.iter_mut().zip(values) {
                    is_plain &= value >= low && value <= high;
                    *bin = column.table[(value.clamp(low, high) - low) as usize];
                }
            }
            self.is_split[at] = !is_plain;
            if !is_plain {
                self.fill_beyond(rows, column, at, ranges, known, &mut beyond);
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
        column: &Column,
        place: usize,
        ranges: &Ranges,
        known: &mut [bool],
        beyond: &mut [i64; BLOCK],
    ) {
        let (low, high) = (column.low, column.high);
        let span = (high - low).max(1);
        self.left[place] = self.right[place];
        let values = rows[place..].iter().step_by(ranges.lows.len());
        for (at, (&value, known)) in values.zip(known.iter_mut()).enumerate() {
            if value == MISSING {
                let (right, left) = if ranges.required[place] {
                    let middle = column.searched(low + (high - low) / 2);
                    (middle, middle)
                } else {
                    (RIGHTMOST, LEFTMOST)
                };
                *known &= !ranges.required[place];
                self.right[place][at] = right;
                self.left[place][at] = left;
            } else if value < low || value > high {
                // Bounded, so that no sum overflows; rounded up: a step beyond counts.
                let way = value.clamp(low, high).abs_diff(value).min(FAR) * 1024;
                beyond[at] += way.div_ceil(span as u64) as i64;
                *known &= !ranges.strict[place];
            }
        }
    }

    /// Answers every choice for the rows of the block, and adds the trees to their sums.
    fn run(&mut self, choices: &[Choice], sums: &mut [i64]) {
        // Whole instructions: what stands behind the last row is nobody's.
        let size = sums.len().next_multiple_of(WIDE);
        let mut trees = 0;
        for choice in choices {
            match choice {
                Choice::Between {
                    question,
                    lower,
                    upper,
                    to,
                } => {
                    let seen = seen(&self.left, &self.right, &self.is_split, *question);
                    choose(
                        &mut self.lanes,
                        &seen[..size],
                        question.below,
                        [*lower, *upper, *to],
                    );
                }
                Choice::Done(lane, tables, used) => {
                    let leaves = &self.lanes[*lane][..size];
                    for (table, total) in tables.iter().zip(&mut self.places).take(*used) {
                        look_up(table, leaves, &mut total[..size]);
                    }
                    trees += 1;
                    if trees == TREES_MAX {
                        self.add_up(sums);
                        trees = 0;
                    }
                }
            }
        }
        self.add_up(sums);
    }

    fn add_up(&mut self, sums: &mut [i64]) {
        for (place, total) in self.places.iter_mut().enumerate() {
            for (sum, part) in sums.iter_mut().zip(total.iter()) {
                *sum += i64::from(*part) << (8 * place);
            }
            *total = [0; BLOCK];
        }
    }
}

/// Writes, row by row, one of two lanes into a third, by whether the bin is below.
fn choose(lanes: &mut [Lanes; LANES], seen: &[u8], below: u8, at: [usize; 3]) {
    assert!(seen.len() <= BLOCK && seen.len().is_multiple_of(WIDE));
    assert!(at.iter().all(|&lane| lane < LANES));
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("avx2") {
        // SAFETY: this processor has AVX2; lengths and lanes were looked at above.
        unsafe { choose_avx2(lanes, seen, below, at) };
        return;
    }
    choose_anywhere(lanes, seen, below, at);
}

fn choose_anywhere(lanes: &mut [Lanes; LANES], seen: &[u8], below: u8, at: [usize; 3]) {
    let [lower, upper, to] = at;
    for (row, &bin) in seen.iter().enumerate() {
        let (low, high) = (lanes[lower][row], lanes[upper][row]);
        lanes[to][row] = if bin < below { low } else { high };
    }
}

/// The same, 32 rows an instruction.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
#[allow(clippy::cast_ptr_alignment)] // these loads and stores need none
// SAFETY: called where the processor has AVX2, the lanes are there, and the rows are whole wides of
// at most a block.
unsafe fn choose_avx2(lanes: &mut [Lanes; LANES], seen: &[u8], below: u8, at: [usize; 3]) {
    use std::arch::x86_64::{
        __m256i, _mm256_blendv_epi8, _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_max_epu8,
        _mm256_set1_epi8, _mm256_storeu_si256,
    };
    let first = lanes.as_mut_ptr().cast::<u8>();
    // SAFETY: each is one of the lanes, as the caller saw.
    let [lower, upper, to] = at.map(|lane| unsafe { first.add(lane * BLOCK) });
    let limit = _mm256_set1_epi8(below.cast_signed());
    for row in (0..seen.len()).step_by(WIDE) {
        // SAFETY: 32 bytes from here on lie in `seen` and in each lane; both lanes are read before
        // the third is written, so that it may be one of them.
        unsafe {
            let bins = _mm256_loadu_si256(seen.as_ptr().add(row).cast::<__m256i>());
            let is_right = _mm256_cmpeq_epi8(_mm256_max_epu8(bins, limit), bins);
            let low = _mm256_loadu_si256(lower.add(row).cast::<__m256i>());
            let high = _mm256_loadu_si256(upper.add(row).cast::<__m256i>());
            let chosen = _mm256_blendv_epi8(low, high, is_right);
            _mm256_storeu_si256(to.add(row).cast::<__m256i>(), chosen);
        }
    }
}

/// Adds each leaf's byte to its row's total.
fn look_up(table: &[u8; LEAVES_MAX], leaves: &[u8], total: &mut [u16]) {
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("avx2") {
        // SAFETY: this processor has AVX2, as was asked just now.
        unsafe { look_up_avx2(table, leaves, total) };
        return;
    }
    look_up_anywhere(table, leaves, total);
}

fn look_up_anywhere(table: &[u8; LEAVES_MAX], leaves: &[u8], total: &mut [u16]) {
    for (total, &leaf) in total.iter_mut().zip(leaves) {
        *total += u16::from(table[usize::from(leaf) % LEAVES_MAX]);
    }
}

/// The same, 32 rows an instruction.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
#[allow(clippy::cast_ptr_alignment)] // these loads and stores need none
// SAFETY: called where the processor was asked whether it has AVX2.
unsafe fn look_up_avx2(table: &[u8; LEAVES_MAX], leaves: &[u8], total: &mut [u16]) {
    use std::arch::x86_64::{
        __m128i, __m256i, _mm_loadu_si128, _mm256_add_epi16, _mm256_broadcastsi128_si256,
        _mm256_castsi256_si128, _mm256_cvtepu8_epi16, _mm256_extracti128_si256, _mm256_loadu_si256,
        _mm256_shuffle_epi8, _mm256_storeu_si256,
    };
    // SAFETY: the table has 16 bytes; loads need no alignment.
    let table =
        unsafe { _mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().cast::<__m128i>())) };
    for (leaves, total) in leaves.chunks_exact(32).zip(total.chunks_exact_mut(32)) {
        // SAFETY: 32 bytes are read, and 32 numbers of two bytes are read and written.
        unsafe {
            let found =
                _mm256_shuffle_epi8(table, _mm256_loadu_si256(leaves.as_ptr().cast::<__m256i>()));
            let (first, second) = (
                _mm256_cvtepu8_epi16(_mm256_castsi256_si128(found)),
                _mm256_cvtepu8_epi16(_mm256_extracti128_si256::<1>(found)),
            );
            let (low, high) = (
                total.as_mut_ptr().cast::<__m256i>(),
                total.as_mut_ptr().add(16).cast::<__m256i>(),
            );
            _mm256_storeu_si256(low, _mm256_add_epi16(_mm256_loadu_si256(low), first));
            _mm256_storeu_si256(high, _mm256_add_epi16(_mm256_loadu_si256(high), second));
        }
    }
}

/// The column that a question asks, with missing values on its side.
#[inline(always)]
#[allow(clippy::inline_always)] // as the passes that read it
fn seen<'a>(left: &'a [Lanes], right: &'a [Lanes], is_split: &[bool], asks: Question) -> &'a Lanes {
    if asks.missing_left && is_split[asks.column] {
        &left[asks.column]
    } else {
        &right[asks.column]
    }
}
