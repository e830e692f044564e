//! Tables, change logs and multiset digests as Python classes.

use std::sync::{Arc, Mutex};

use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::exceptions::{PyIndexError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

use herz_core::rows::Rows;
use herz_core::top::Ties;
use herz_core::{changes, lthash, table};

use crate::resources::{Kernel, Matrix, books, check};
use crate::{RowArray, lock, with_rows};

/// Codes, points and totals by row for one kind of request.
#[pyclass(frozen, module = "herz._native")]
pub struct Table(Mutex<table::Table>);

/// Rows that began or ceased to fit; a (filter, value) to learn; a (scorer, row, points) too far.
type Refreshed = (usize, Option<(usize, i64)>, Option<(usize, usize, i64)>);
type BestRow<'py> = (usize, i64, Bound<'py, PyTuple>);

#[pymethods]
impl Table {
    #[new]
    fn new(size: usize, filters: usize, scorers: Vec<(i32, bool, i32)>) -> PyResult<Self> {
        if !scorers
            .iter()
            .all(|s| (1..=table::POINTS_MAX).contains(&s.2))
        {
            return Err(PyValueError::new_err("highest points out of range"));
        }
        Ok(Self(Mutex::new(table::Table::new(size, filters, &scorers))))
    }

    #[getter]
    fn size(&self) -> usize {
        lock(&self.0).size()
    }

    #[getter]
    fn fits(&self) -> usize {
        lock(&self.0).fits()
    }

    #[getter]
    fn bytes(&self) -> usize {
        lock(&self.0).bytes()
    }

    #[pyo3(signature = (index, rows, codes))]
    fn set_codes(
        &self,
        index: usize,
        rows: RowArray<'_>,
        codes: PyReadonlyArray1<'_, i16>,
    ) -> PyResult<()> {
        let mut table = lock(&self.0);
        with_rows(rows.as_ref(), table.size(), |rows| {
            same_length(rows.len(), codes.as_slice()?.len())?;
            table.set_codes(index, rows, codes.as_slice()?);
            Ok(())
        })
    }

    #[pyo3(signature = (rows))]
    fn settle_codes(&self, rows: RowArray<'_>) -> PyResult<usize> {
        let mut table = lock(&self.0);
        with_rows(rows.as_ref(), table.size(), |rows| {
            Ok(table.settle_codes(rows))
        })
    }

    #[pyo3(signature = (scorer, rows, values))]
    fn set_raw(
        &self,
        scorer: usize,
        rows: RowArray<'_>,
        values: PyReadonlyArray1<'_, i64>,
    ) -> PyResult<()> {
        let mut table = lock(&self.0);
        with_rows(rows.as_ref(), table.size(), |rows| {
            same_length(rows.len(), values.as_slice()?.len())?;
            table.set_raw(scorer, rows, values.as_slice()?);
            Ok(())
        })
    }

    #[pyo3(signature = (scorer, rows))]
    fn raw<'py>(
        &self,
        py: Python<'py>,
        scorer: usize,
        rows: RowArray<'py>,
    ) -> PyResult<Bound<'py, PyArray1<i64>>> {
        let table = lock(&self.0);
        with_rows(rows.as_ref(), table.size(), |rows| {
            Ok(table.raw(scorer, rows).into_pyarray(py))
        })
    }

    fn extent(&self, scorer: usize) -> Option<(i64, i64)> {
        lock(&self.0).extent(scorer)
    }

    /// Stores points; gives (row, points) of the first that is out of range.
    #[pyo3(signature = (scorer, rows, values))]
    fn set_points(
        &self,
        scorer: usize,
        rows: RowArray<'_>,
        values: PyReadonlyArray1<'_, i64>,
    ) -> PyResult<Option<(usize, i64)>> {
        let mut table = lock(&self.0);
        with_rows(rows.as_ref(), table.size(), |rows| {
            same_length(rows.len(), values.as_slice()?.len())?;
            Ok(table.set_points(scorer, rows, values.as_slice()?).err())
        })
    }

    /// Sums the points; gives (scorer, row, points) of the first that is out of range.
    #[pyo3(signature = (rows))]
    fn settle_totals(&self, rows: RowArray<'_>) -> PyResult<Option<(usize, usize, i64)>> {
        let mut table = lock(&self.0);
        with_rows(rows.as_ref(), table.size(), |rows| {
            Ok(table.settle_totals(rows).err())
        })
    }

    fn attach_filter(&self, index: usize, kernel: &Kernel) {
        lock(&self.0).attach_filter(index, Arc::clone(&kernel.0));
    }

    fn attach_scorer(&self, scorer: usize, kernel: &Kernel) {
        lock(&self.0).attach_scorer(scorer, Arc::clone(&kernel.0));
    }

    fn learn(&self, index: usize, value: i64, code: i16) {
        lock(&self.0).learn(index, value, code);
    }

    /// Asks the filters' kernels about the rows and concludes which fit.
    ///
    /// Gives (how many rows changed between fitting and not, None), or (0, (filter, value)) for
    /// a value without a code: learn it and call again.
    fn refresh_codes(
        &self,
        rows: PyReadonlyArray1<'_, i64>,
        capacity: Matrix<'_>,
        used: Matrix<'_>,
        scored: Matrix<'_>,
    ) -> PyResult<(usize, Option<(usize, i64)>)> {
        let mut table = lock(&self.0);
        let books = books(&capacity, &used, &scored)?;
        check(
            table.size() <= books.capacity.rows(),
            "the table has more rows than the columns",
        )?;
        let rows = index_array(&rows, table.size())?;
        Ok(match table.refresh_codes(rows, &books) {
            Ok(flips) => (flips, None),
            Err(unknown) => (0, Some((unknown.filter, unknown.value))),
        })
    }

    /// `refresh_codes`, `refresh_points` and `settle_totals` in one, for rows that only kernels
    /// answer for.
    fn refresh(
        &self,
        rows: PyReadonlyArray1<'_, i64>,
        capacity: Matrix<'_>,
        used: Matrix<'_>,
        scored: Matrix<'_>,
    ) -> PyResult<Refreshed> {
        let mut table = lock(&self.0);
        let books = books(&capacity, &used, &scored)?;
        check(
            table.size() <= books.capacity.rows(),
            "the table has more rows than the columns",
        )?;
        let rows = index_array(&rows, table.size())?;
        let flips = match table.refresh_codes(rows, &books) {
            Ok(flips) => flips,
            Err(unknown) => return Ok((0, Some((unknown.filter, unknown.value)), None)),
        };
        table.refresh_points(rows, &books);
        Ok((flips, None, table.settle_totals(Rows::Some(rows)).err()))
    }

    /// Asks the scorers' kernels about the rows; their points are still to be summed.
    fn refresh_points(
        &self,
        rows: PyReadonlyArray1<'_, i64>,
        capacity: Matrix<'_>,
        used: Matrix<'_>,
        scored: Matrix<'_>,
    ) -> PyResult<()> {
        let mut table = lock(&self.0);
        let books = books(&capacity, &used, &scored)?;
        check(
            table.size() <= books.capacity.rows(),
            "the table has more rows than the columns",
        )?;
        let rows = index_array(&rows, table.size())?;
        table.refresh_points(rows, &books);
        Ok(())
    }

    fn first<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i16>> {
        lock(&self.0).first().to_vec().into_pyarray(py)
    }

    fn fitting<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        lock(&self.0).fitting().into_pyarray(py)
    }

    fn points<'py>(&self, py: Python<'py>, scorer: usize) -> Bound<'py, PyArray1<i32>> {
        lock(&self.0).points(scorer).to_vec().into_pyarray(py)
    }

    fn totals<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        lock(&self.0).totals().to_vec().into_pyarray(py)
    }

    fn histogram(&self) -> Vec<(i16, usize)> {
        lock(&self.0).histogram()
    }

    /// The best k rows as (row, total, weighted points), and how many share the best total.
    ///
    /// Equal totals go by the mixed hash of key and salt, or by the key alone without a salt.
    #[pyo3(signature = (k, keys, salt))]
    fn top<'py>(
        &self,
        py: Python<'py>,
        k: usize,
        keys: PyReadonlyArray1<'py, u64>,
        salt: Option<u64>,
    ) -> PyResult<(Vec<BestRow<'py>>, usize)> {
        let table = lock(&self.0);
        let keys = keys.as_slice()?;
        if k == 0 {
            return Err(PyValueError::new_err("no row is asked for"));
        }
        if keys.len() < table.size() {
            return Err(PyValueError::new_err("fewer keys than rows"));
        }
        let ties = salt.map_or(Ties::Keyed, Ties::Hashed);
        let (best, tied) = table.top(k, keys, ties);
        let rows = best
            .into_iter()
            .map(|b| Ok((b.row, b.total, PyTuple::new(py, b.points)?)))
            .collect::<PyResult<_>>()?;
        Ok((rows, tied))
    }
}

fn index_array<'a>(rows: &'a PyReadonlyArray1<'_, i64>, size: usize) -> PyResult<&'a [i64]> {
    let rows = rows.as_slice()?;
    if Rows::Some(rows).within(size) {
        return Ok(rows);
    }
    Err(PyIndexError::new_err(format!("a row is not below {size}")))
}

fn same_length(rows: usize, values: usize) -> PyResult<()> {
    if rows == values {
        return Ok(());
    }
    Err(PyValueError::new_err(format!(
        "{values} values for {rows} rows"
    )))
}

/// A bounded log of changed rows.
#[pyclass(frozen, module = "herz._native")]
pub struct ChangeLog(Mutex<changes::ChangeLog>);

#[pymethods]
impl ChangeLog {
    #[new]
    fn new(capacity: usize) -> PyResult<Self> {
        if !capacity.is_power_of_two() {
            return Err(PyValueError::new_err("the capacity is no power of two"));
        }
        Ok(Self(Mutex::new(changes::ChangeLog::new(capacity))))
    }

    fn append(&self, row: u32, mask: u32) {
        lock(&self.0).append(row, mask);
    }

    #[getter]
    fn end(&self) -> u64 {
        lock(&self.0).end()
    }

    fn mask_since(&self, position: u64) -> Option<u32> {
        lock(&self.0).mask_since(position)
    }

    /// (aspects changed since, rows of the wanted ones); None when the log reaches no longer back.
    fn since<'py>(
        &self,
        py: Python<'py>,
        position: u64,
        wanted: u32,
    ) -> Option<(u32, Bound<'py, PyArray1<i64>>)> {
        let found = lock(&self.0).since(position, wanted);
        found.map(|(mask, rows)| (mask, rows.into_pyarray(py)))
    }

    fn rows_since<'py>(
        &self,
        py: Python<'py>,
        position: u64,
        mask: u32,
    ) -> PyResult<Bound<'py, PyArray1<i64>>> {
        let mut log = lock(&self.0);
        if log.mask_since(position).is_none() {
            return Err(PyValueError::new_err(
                "the log no longer reaches back that far",
            ));
        }
        Ok(log.rows_since(position, mask).into_pyarray(py))
    }
}

/// A digest of a multiset of byte strings (`LtHash16` over SHAKE128).
#[pyclass(frozen, module = "herz._native")]
pub struct LtHash(Mutex<lthash::LtHash>);

#[pymethods]
impl LtHash {
    #[new]
    fn new() -> Self {
        Self(Mutex::new(lthash::LtHash::default()))
    }

    fn add(&self, element: &[u8]) {
        lock(&self.0).add(element);
    }

    fn remove(&self, element: &[u8]) {
        lock(&self.0).remove(element);
    }

    fn digest<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &lock(&self.0).digest())
    }
}

/// A bijection on 64 bits that spreads every bit.
#[pyfunction]
pub fn mix64(value: u64) -> u64 {
    herz_core::top::mix64(value)
}
