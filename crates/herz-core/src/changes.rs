//! A bounded log of changed rows; each reader keeps a position and asks what came since.

/// Which rows changed, and in which aspects (a bit mask that the caller defines).
pub struct ChangeLog {
    entries: Vec<(u32, u32)>,
    /// Number of the next entry; entries `end - entries.len()..end` are still held.
    end: u64,
    // Bound: readers further behind than this look at all rows, which then costs no more.
    capacity: usize,
    /// A bit a row, to give each once and in order.
    // Invariant: all zero between calls.
    seen: Vec<u64>,
}

impl ChangeLog {
    /// A log that holds the last `capacity` changes (a power of two).
    ///
    /// # Panics
    /// When the capacity is no power of two.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        assert!(capacity.is_power_of_two());
        Self {
            entries: Vec::with_capacity(capacity),
            end: 0,
            capacity,
            seen: Vec::new(),
        }
    }

    /// Notes that `row` changed in the aspects of `mask`.
    pub fn append(&mut self, row: u32, mask: u32) {
        if self.entries.len() < self.capacity {
            self.entries.push((row, mask));
        } else {
            let slot = (self.end & (self.capacity as u64 - 1)) as usize;
            self.entries[slot] = (row, mask);
        }
        self.end += 1;
    }

    /// The position behind the newest change.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.end
    }

    fn entry(&self, number: u64) -> (u32, u32) {
        self.entries[(number & (self.capacity as u64 - 1)) as usize]
    }

    /// All aspects changed since `position`; `None` when the log no longer reaches back.
    #[must_use]
    pub fn mask_since(&self, position: u64) -> Option<u32> {
        if self.end - position > self.entries.len() as u64 {
            return None;
        }
        Some((position..self.end).fold(0, |mask, number| mask | self.entry(number).1))
    }

    /// The distinct rows, ascending, changed since `position` in any aspect of `mask`.
    ///
    /// # Panics
    /// When the log no longer reaches back (`mask_since` said `None`).
    pub fn rows_since(&mut self, position: u64, mask: u32) -> Vec<i64> {
        let count = self.end - position;
        assert!(count <= self.entries.len() as u64);
        if count == 1 {
            let (row, aspects) = self.entry(position);
            return if aspects & mask == 0 {
                Vec::new()
            } else {
                vec![i64::from(row)]
            };
        }
        let mut rows = Vec::new();
        for number in position..self.end {
            let (row, aspects) = self.entry(number);
            if aspects & mask != 0 {
                self.mark(row);
            }
        }
        for (word, bits) in self.seen.iter_mut().enumerate() {
            while *bits != 0 {
                rows.push((word * 64) as i64 + i64::from(bits.trailing_zeros()));
                *bits &= *bits - 1;
            }
        }
        rows
    }

    /// What a reader at `position` that wants the aspects of `wanted` must know: all aspects
    /// changed since, and the distinct rows of the wanted ones; `None` when the log no longer
    /// reaches back.
    pub fn since(&mut self, position: u64, wanted: u32) -> Option<(u32, Vec<i64>)> {
        let mask = self.mask_since(position)?;
        Some((
            mask,
            if mask & wanted == 0 {
                Vec::new()
            } else {
                self.rows_since(position, wanted)
            },
        ))
    }

    fn mark(&mut self, row: u32) {
        let word = row as usize / 64;
        if word >= self.seen.len() {
            self.seen.resize(word + 1, 0);
        }
        self.seen[word] |= 1 << (row % 64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_distinct_sorted_rows_of_the_asked_aspects() {
        let mut log = ChangeLog::new(8);
        for (row, mask) in [(70, 1), (3, 2), (70, 1), (1, 3)] {
            log.append(row, mask);
        }
        assert_eq!(log.rows_since(0, 1), vec![1, 70]);
        assert_eq!(log.rows_since(0, 2), vec![1, 3]);
        assert_eq!(log.rows_since(3, 1), vec![1]);
        assert_eq!(log.mask_since(4), Some(0));
        assert_eq!(log.since(3, 2), Some((3, vec![1])));
        assert_eq!(log.since(0, 4), Some((3, vec![])));
    }

    #[test]
    fn says_when_it_no_longer_reaches_back() {
        let mut log = ChangeLog::new(4);
        for row in 0..6 {
            log.append(row, 1);
        }
        assert_eq!(log.mask_since(1), None);
        assert_eq!(log.since(1, 1), None);
        assert_eq!(log.mask_since(2), Some(1));
        assert_eq!(log.rows_since(2, 1), vec![2, 3, 4, 5]);
    }
}
