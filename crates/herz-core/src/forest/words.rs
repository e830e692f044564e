//! Rows laid out by column, each value a word of 16 bits.
//!
//! What a forest asks of a column lies close together: a word that stops at both ends tells apart
//! all that the questions do. Where they lie too far apart, the word counts those that it reaches.

use super::{FAR, MISSING, Nodes, Ranges};

/// Rows of a tile: their words, the results that wait and the choices fit the first cache.
pub const ROWS: usize = 256;

/// Rows that one instruction chooses for.
pub const WIDE: usize = 32;

/// Rows that are laid out at once.
const GROUP: usize = 8;

/// What goes right of every question, and what goes left of every one.
const RIGHTMOST: i16 = i16::MAX;
const LEFTMOST: i16 = i16::MIN;

/// Questions that a forest may ask: a word counts those of a column.
pub const QUESTIONS_MAX: usize = 1 << 14;

/// How far apart the questions of a column may lie, and its ends.
const SPAN_MAX: i64 = (1 << 16) - 2;
const RANGE_MAX: i64 = 1 << 30;

/// One column's questions.
struct Column {
    low: i64,
    high: i64,
    /// What is subtracted from a value.
    base: i64,
    /// Those that a value is counted by, ascending; empty where it is subtracted from.
    counted: Vec<i64>,
}

impl Column {
    fn new(low: i64, high: i64, mut asked: Vec<i64>) -> Self {
        // A row in the range answers alike, wherever beyond it a question lies.
        for threshold in &mut asked {
            *threshold = (*threshold).clamp(low, high + 1);
        }
        asked.sort_unstable();
        asked.dedup();
        let (first, last) = (
            asked.first().map_or(low, |&t| t),
            asked.last().map_or(low, |&t| t),
        );
        let is_near = last - first <= SPAN_MAX && high - low <= RANGE_MAX;
        assert!(asked.len() <= QUESTIONS_MAX, "a word counts them");
        Self {
            low,
            high,
            base: first + i64::from(i16::MAX),
            counted: if is_near { Vec::new() } else { asked },
        }
    }

    /// The word of a value within the range.
    fn word(&self, value: i64) -> i16 {
        if self.counted.is_empty() {
            (value - self.base).clamp(LEFTMOST.into(), RIGHTMOST.into()) as i16
        } else {
            self.counted.partition_point(|&each| each <= value) as i16
        }
    }

    /// The word of a question: values below it have words below.
    fn below(&self, threshold: i64) -> i16 {
        self.word(threshold.clamp(self.low, self.high + 1))
    }
}

/// How rows become words.
pub struct Columns {
    all: Vec<Column>,
    /// Those whose values are counted.
    counted: Vec<usize>,
    #[cfg(target_arch = "x86_64")]
    chunks: Vec<avx2::Chunk>,
}

impl Columns {
    /// For the questions of these nodes, at most `QUESTIONS_MAX`.
    pub fn new(nodes: &Nodes, ranges: &Ranges) -> Self {
        let width = ranges.lows.len();
        let mut asked = vec![Vec::new(); width];
        for (&column, &threshold) in nodes.feature.iter().zip(&nodes.threshold) {
            if let Some(list) = usize::try_from(column)
                .ok()
                .and_then(|at| asked.get_mut(at))
            {
                list.push(threshold);
            }
        }
        let columns = asked
            .into_iter()
            .enumerate()
            .map(|(at, asked)| Column::new(ranges.lows[at], ranges.highs[at], asked))
            .collect::<Vec<_>>();
        let counted = (0..width)
            .filter(|&at| !columns[at].counted.is_empty())
            .collect();
        Self {
            #[cfg(target_arch = "x86_64")]
            chunks: avx2::chunks(&columns),
            all: columns,
            counted,
        }
    }

    /// How many there are.
    pub fn width(&self) -> usize {
        self.all.len()
    }

    /// The word of a question about a column.
    pub fn below(&self, column: usize, threshold: i64) -> i16 {
        self.all[column].below(threshold)
    }
}

/// Words of the rows of one instruction, in the order of `slot`.
pub type Pair = [[i16; WIDE / 2]; 2];

/// A column's words.
#[derive(Clone)]
#[repr(align(64))]
pub struct Lane {
    pub words: [Pair; ROWS / WIDE],
    // Lanes of a power of two would share few sets of the cache.
    _gap: [i16; 32],
}

impl Lane {
    const EMPTY: Self = Self {
        words: [[[0; WIDE / 2]; 2]; ROWS / WIDE],
        _gap: [0; 32],
    };

    fn set(&mut self, row: usize, word: i16) {
        self.words.as_flattened_mut().as_flattened_mut()[slot(row)] = word;
    }
}

/// Where a row's word is: the groups of an instruction's rows are in the order 0, 2, 1, 3, so
/// that two vectors of words, packed into one of bytes lane by lane, are in the order of rows.
fn slot(row: usize) -> usize {
    (row & !0x18) | ((row & 0x08) << 1) | ((row & 0x10) >> 1)
}

/// The words of a tile's rows.
pub struct Words<'a> {
    of: &'a Columns,
    /// By column; then those in which missing values go left, where a column has some.
    lanes: Vec<Lane>,
    /// By side and column, the lane.
    seen: Vec<usize>,
}

impl<'a> Words<'a> {
    pub fn new(of: &'a Columns) -> Self {
        Self {
            of,
            lanes: vec![Lane::EMPTY; 2 * of.width()],
            seen: vec![0; 2 * of.width()],
        }
    }

    /// The column that a question asks; from the width on, with missing values on the left.
    #[inline]
    pub fn seen(&self, asked: usize) -> &Lane {
        &self.lanes[self.seen[asked]]
    }

    /// Lays out rows, each value in its range, and says which lie within reach.
    pub fn fill(&mut self, rows: &[i64], ranges: &Ranges, known: &mut [bool]) {
        let (width, count) = (self.of.width(), known.len());
        assert!(count <= ROWS && rows.len() == count * width);
        for (at, lane) in self.seen.iter_mut().enumerate() {
            *lane = at % width;
        }
        let whole = count / GROUP;
        let mut beyond = self.lay_out(rows, whole);
        for row in whole * GROUP..count {
            let is_beyond = self.lay_row(&rows[row * width..][..width], row);
            beyond |= u32::from(is_beyond) << whole;
        }
        for &at in &self.of.counted {
            let column = &self.of.all[at];
            for row in 0..count {
                let value = rows[row * width + at].clamp(column.low, column.high);
                self.lanes[at].set(row, column.word(value));
            }
        }
        known.fill(ranges.reach >= 0);
        while beyond != 0 {
            let group = beyond.trailing_zeros() as usize;
            for row in group * GROUP..count.min((group + 1) * GROUP) {
                known[row] = self.amend(&rows[row * width..][..width], row, ranges);
            }
            beyond &= beyond - 1;
        }
    }

    /// Lays out so many groups of rows, as if all were in their ranges; gives a bit for each
    /// group where one is not.
    fn lay_out(&mut self, rows: &[i64], groups: usize) -> u32 {
        const { assert!(ROWS / GROUP <= 32, "a group has a bit") };
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") && !self.of.chunks.is_empty() {
            // SAFETY: this processor has AVX2, which is all that the function asks for.
            return unsafe { avx2::lay_out(self.of, &mut self.lanes, rows, groups) };
        }
        self.lay_out_anywhere(rows, groups)
    }

    fn lay_out_anywhere(&mut self, rows: &[i64], groups: usize) -> u32 {
        let width = self.of.width();
        let mut beyond = 0;
        for row in 0..groups * GROUP {
            let is_beyond = self.lay_row(&rows[row * width..][..width], row);
            beyond |= u32::from(is_beyond) << (row / GROUP);
        }
        beyond
    }

    fn lay_row(&mut self, values: &[i64], row: usize) -> bool {
        let mut is_beyond = false;
        for ((column, lane), &value) in self.of.all.iter().zip(&mut self.lanes).zip(values) {
            let near = value.clamp(column.low, column.high);
            is_beyond |= near != value;
            lane.set(row, column.word(near));
        }
        is_beyond
    }

    /// Puts a row's values into their ranges, and says whether it lies within reach.
    fn amend(&mut self, values: &[i64], row: usize, ranges: &Ranges) -> bool {
        let width = values.len();
        let (mut is_known, mut way) = (true, 0_i64);
        for (at, (&value, column)) in values.iter().zip(&self.of.all).enumerate() {
            let (low, high) = (column.low, column.high);
            let near = value.clamp(low, high);
            if near == value {
                continue;
            }
            let mut word = column.word(near);
            if value == MISSING && ranges.required[at] {
                word = column.word(low + (high - low) / 2);
                is_known = false;
            } else if value == MISSING {
                if self.seen[width + at] == at {
                    self.lanes[width + at] = self.lanes[at].clone();
                    self.seen[width + at] = width + at;
                }
                self.lanes[width + at].set(row, LEFTMOST);
                self.lanes[at].set(row, RIGHTMOST);
                continue;
            } else {
                // Bounded, so that no sum overflows; rounded up: a step beyond counts.
                let far = near.abs_diff(value).min(FAR) * 1024;
                way += far.div_ceil((high - low).max(1) as u64) as i64;
                is_known &= !ranges.strict[at];
            }
            self.lanes[at].set(row, word);
            self.lanes[width + at].set(row, word);
        }
        is_known && way <= ranges.reach
    }
}

/// Eight rows of four columns at a time.
#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::{
        __m128i, __m256i, _mm256_castps_si256, _mm256_castsi256_ps, _mm256_castsi256_si128,
        _mm256_cmpgt_epi64, _mm256_extracti128_si256, _mm256_or_si256, _mm256_packs_epi32,
        _mm256_setr_epi8, _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_shuffle_ps,
        _mm256_sub_epi32, _mm256_testz_si256, _mm256_unpackhi_epi64, _mm256_unpacklo_epi64,
    };
    use std::mem::transmute;

    use super::{Column, Columns, GROUP, Lane};

    /// Columns that are laid out at once.
    const WIDTH: usize = 4;

    /// Four neighbours.
    pub struct Chunk {
        first: usize,
        lows: [i64; WIDTH],
        highs: [i64; WIDTH],
        /// In the order in which the low halves of two rows' values come to lie.
        bases: [i32; 2 * WIDTH],
    }

    /// All columns by fours, the last four perhaps once more; none where there are fewer.
    pub fn chunks(columns: &[Column]) -> Vec<Chunk> {
        let Some(last) = columns.len().checked_sub(WIDTH) else {
            return Vec::new();
        };
        let starts = (0..last).step_by(WIDTH).chain([last]);
        let chunk = |first: usize| {
            let of = |get: fn(&Column) -> i64| std::array::from_fn(|at| get(&columns[first + at]));
            Chunk {
                first,
                lows: of(|column| column.low),
                highs: of(|column| column.high),
                // A column that is counted is overwritten, whatever its base.
                bases: [0, 1, 0, 1, 2, 3, 2, 3].map(|at| columns[first + at].base as i32),
            }
        };
        starts.map(chunk).collect()
    }

    /// As `Words::lay_out_anywhere`.
    #[target_feature(enable = "avx2")]
    pub fn lay_out(of: &Columns, lanes: &mut [Lane], rows: &[i64], groups: usize) -> u32 {
        let mut beyond = 0;
        let values = rows.chunks_exact(GROUP * of.width()).take(groups);
        for (group, values) in values.enumerate() {
            let mut is_beyond = _mm256_setzero_si256();
            for chunk in &of.chunks {
                let four = &mut lanes[chunk.first..][..WIDTH];
                is_beyond = _mm256_or_si256(is_beyond, lay_chunk(chunk, four, values, group));
            }
            let is_beyond = _mm256_testz_si256(is_beyond, is_beyond) == 0;
            beyond |= u32::from(is_beyond) << group;
        }
        beyond
    }

    /// Eight rows of four columns; gives what is not zero where a value lies beyond its range.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn lay_chunk(chunk: &Chunk, lanes: &mut [Lane], values: &[i64], group: usize) -> __m256i {
        let (lows, highs) = (longs(&chunk.lows), longs(&chunk.highs));
        // SAFETY: a vector is eight numbers of four bytes, all of which mean something.
        let bases = unsafe { transmute::<[i32; 8], __m256i>(chunk.bases) };
        let width = values.len() / GROUP;
        let mut is_beyond = _mm256_setzero_si256();
        let mut row = |at: usize| {
            let found = longs(
                values[at * width + chunk.first..]
                    .first_chunk()
                    .expect("a row's"),
            );
            is_beyond = _mm256_or_si256(is_beyond, _mm256_cmpgt_epi64(lows, found));
            is_beyond = _mm256_or_si256(is_beyond, _mm256_cmpgt_epi64(found, highs));
            found
        };
        let mut pair = |at: usize| {
            let (one, two) = (
                _mm256_castsi256_ps(row(at)),
                _mm256_castsi256_ps(row(at + 1)),
            );
            let low_halves = _mm256_castps_si256(_mm256_shuffle_ps::<0x88>(one, two));
            _mm256_sub_epi32(low_halves, bases)
        };
        // Packing saturates: that is where a word stops.
        let (first, last) = (
            _mm256_packs_epi32(pair(0), pair(2)),
            _mm256_packs_epi32(pair(4), pair(6)),
        );
        let (first, last) = (by_column(first), by_column(last));
        let (even, odd) = (
            _mm256_unpacklo_epi64(first, last),
            _mm256_unpackhi_epi64(first, last),
        );
        store(&mut lanes[0], group, _mm256_castsi256_si128(even));
        store(&mut lanes[1], group, _mm256_castsi256_si128(odd));
        store(&mut lanes[2], group, _mm256_extracti128_si256::<1>(even));
        store(&mut lanes[3], group, _mm256_extracti128_si256::<1>(odd));
        is_beyond
    }

    /// From rows of two columns each to columns of four rows each.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn by_column(rows: __m256i) -> __m256i {
        let order = _mm256_setr_epi8(
            0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15, 0, 1, 4, 5, 8, 9, 12, 13, 2, 3,
            6, 7, 10, 11, 14, 15,
        );
        _mm256_shuffle_epi8(rows, order)
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn longs(numbers: &[i64; WIDTH]) -> __m256i {
        // SAFETY: a vector is four numbers of eight bytes, all of which mean something.
        unsafe { transmute::<[i64; WIDTH], __m256i>(*numbers) }
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn store(lane: &mut Lane, group: usize, words: __m128i) {
        // SAFETY: a vector is eight words, all of which mean something.
        let words = unsafe { transmute::<__m128i, [i16; GROUP]>(words) };
        let all = lane.words.as_flattened_mut().as_flattened_mut();
        all[super::slot(group * GROUP)..][..GROUP].copy_from_slice(&words);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{drawn, made_up, ranges_of};
    use super::*;

    /// What this processor has instructions for is the same without them.
    #[test]
    fn rows_are_laid_out_alike_on_every_processor() {
        let mut state = 11;
        for (width, span) in [
            (3, 50),
            (4, 50),
            (7, 65_534),
            (38, 65_540),
            (9, (1 << 31) - 2),
        ] {
            let nodes = made_up(9, 4, width, span, &mut state);
            let columns = Columns::new(&nodes, &ranges_of(width as usize, span));
            let rows: Vec<i64> = (0..ROWS * columns.width())
                .map(|_| match drawn(&mut state, 500) {
                    0 => MISSING,
                    1 => i64::MAX,
                    _ => drawn(&mut state, span) as i64 - (span / 2) as i64,
                })
                .collect();
            let (mut one, mut other) = (Words::new(&columns), Words::new(&columns));
            let beyond = one.lay_out(&rows, ROWS / GROUP);
            assert_eq!(beyond, other.lay_out_anywhere(&rows, ROWS / GROUP));
            assert_ne!(beyond, 0);
            for (at, column) in columns.all.iter().enumerate() {
                for group in (0..ROWS / GROUP).filter(|group| beyond >> group & 1 == 0) {
                    let words = |lanes: &Words| {
                        let all = lanes.lanes[at].words.as_flattened().as_flattened();
                        all[slot(group * GROUP)..][..GROUP].to_vec()
                    };
                    // The others' words are counted afterwards, or amended.
                    assert!(!column.counted.is_empty() || words(&one) == words(&other));
                }
            }
        }
    }
}
