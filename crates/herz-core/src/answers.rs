//! What one rule says of each row, for every table that asks the same question.

use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use crate::rows::Rows;

/// Answers by row, and how often they changed.
pub(crate) struct Column<T> {
    pub(crate) values: Vec<T>,
    pub(crate) version: u64,
    /// Whether every value is the default: most rules have nothing to say on most days, and
    /// readers then need not look. It may say no where yes were right.
    pub(crate) is_blank: bool,
}

/// A column that tables share.
pub struct Answers<T>(RwLock<Column<T>>);

impl<T: Copy + Default + PartialEq> Answers<T> {
    /// The default for each of `size` rows.
    #[must_use]
    pub fn new(size: usize) -> Self {
        Self(RwLock::new(Column {
            values: vec![T::default(); size],
            version: 0,
            is_blank: true,
        }))
    }

    /// The number of rows.
    #[must_use]
    pub fn size(&self) -> usize {
        self.read().values.len()
    }

    /// Stores the answers for the rows.
    ///
    /// # Panics
    /// When a row is out of range or the lengths differ.
    pub fn set(&self, rows: Rows, values: &[T]) {
        let mut column = self.0.write().unwrap_or_else(PoisonError::into_inner);
        assert!(rows.len() == values.len() && rows.within(column.values.len()));
        let mut is_changed = false;
        let is_blank = values.iter().all(|value| *value == T::default());
        column.is_blank = is_blank && (column.is_blank || matches!(rows, Rows::All(_)));
        rows.each(|position, row| {
            is_changed |= column.values[row] != values[position];
            column.values[row] = values[position];
        });
        column.version += u64::from(is_changed);
    }

    /// All answers. A lock whose holder panicked guards plain numbers: they are read on.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Column<T>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}
