//! Which rows a kernel works on: all of them, or an index list.

/// A selection of rows.
#[derive(Clone, Copy)]
pub enum Rows<'a> {
    /// Rows `0..n`.
    All(usize),
    /// These rows, in this order; each below the columns' length.
    Some(&'a [i64]),
}

impl Rows<'_> {
    /// How many rows are selected.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Rows::All(n) => *n,
            Rows::Some(rows) => rows.len(),
        }
    }

    /// Whether no row is selected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether every selected row is below `n`.
    #[must_use]
    pub fn within(&self, n: usize) -> bool {
        match self {
            Rows::All(all) => *all <= n,
            Rows::Some(rows) => rows.iter().all(|&row| row >= 0 && (row as usize) < n),
        }
    }

    /// Calls `f(position, row)` for each selected row.
    #[inline]
    pub fn each(&self, mut f: impl FnMut(usize, usize)) {
        match self {
            // Two loops, so that the first is contiguous and the compiler can vectorise it.
            Rows::All(n) => (0..*n).for_each(|row| f(row, row)),
            Rows::Some(rows) => {
                for (position, &row) in rows.iter().enumerate() {
                    f(position, row as usize);
                }
            }
        }
    }
}
