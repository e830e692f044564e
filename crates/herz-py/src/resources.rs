//! Kernels over columns of capacity and use.

use std::sync::Arc;

use numpy::ndarray::Dimension;
use numpy::{
    Element, IntoPyArray, PyArray, PyArray1, PyArray2, PyArrayMethods, PyReadwriteArray2,
    PyUntypedArrayMethods,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use herz_core::resources::{self as core, Books, Columns, DEMANDS_MAX, Fullness, Weighted};

use crate::{RowArray, with_rows};

pub(crate) type Matrix<'py> = Bound<'py, PyArray2<i64>>;

fn columns<'a>(matrix: &'a Matrix<'_>) -> PyResult<Columns<'a>> {
    Ok(Columns::new(values(matrix)?, matrix.shape()[1]))
}

/// What an array holds, without numpy's book of borrows: it costs half a microsecond a call here,
/// and forbids what cannot happen.
pub(crate) fn values<'a, T: Element, D: Dimension>(
    array: &'a Bound<'_, PyArray<T, D>>,
) -> PyResult<&'a [T]> {
    // SAFETY: the interpreter's lock is held as long as `Bound` lives; no function of this crate
    // gives it up or calls Python while it reads, and none of them writes to an array that it
    // reads. So nobody writes while the slice is in use.
    unsafe { array.as_slice() }.map_err(PyErr::from)
}

pub(crate) fn check(is_right: bool, what: &str) -> PyResult<()> {
    if is_right {
        Ok(())
    } else {
        Err(PyValueError::new_err(what.to_owned()))
    }
}

/// The three matrices as what kernels read; refused when their rows differ.
pub(crate) fn books<'a>(
    capacity: &'a Matrix<'_>,
    used: &'a Matrix<'_>,
    scored: &'a Matrix<'_>,
) -> PyResult<Books<'a>> {
    check(
        capacity.shape() == used.shape(),
        "capacity and used differ in shape",
    )?;
    check(
        capacity.shape()[1] == scored.shape()[1],
        "capacity and scored differ in rows",
    )?;
    Ok(Books {
        capacity: columns(capacity)?,
        used: columns(used)?,
        scored: columns(scored)?,
    })
}

/// A question about one request, answered row by row.
#[pyclass(frozen, module = "herz._native")]
pub struct Kernel(pub(crate) Arc<core::Kernel>);

#[pymethods]
impl Kernel {
    /// Bit masks of the demands (column, amount) that a row cannot meet.
    #[staticmethod]
    fn lacking(demands: Vec<(usize, i64)>) -> PyResult<Self> {
        check(
            demands.len() <= DEMANDS_MAX,
            "too many demands in one request",
        )?;
        Ok(Self(Arc::new(core::Kernel::Lacking(demands))))
    }

    /// Weighted mean of how full (or empty) a row would be, 0 to 100.
    ///
    /// `resources`: (column, is its use read from `scored`, amount, weight) each; `kind`:
    /// "least", "most", or "shape", which gives points by used percent.
    #[staticmethod]
    fn fullness(
        kind: &str,
        shape: Vec<(i64, i64)>,
        resources: Vec<(usize, bool, i64, i64)>,
    ) -> PyResult<Self> {
        let kind = match kind {
            "least" => Fullness::Least,
            "most" => Fullness::Most,
            "shape" => Fullness::Shape(shape),
            other => return Err(PyValueError::new_err(format!("unknown kind {other:?}"))),
        };
        let weighted = resources
            .into_iter()
            .map(|(column, is_scored, amount, weight)| Weighted {
                column,
                is_scored,
                amount,
                weight,
            });
        Ok(Self(Arc::new(core::Kernel::Fullness(
            kind,
            weighted.collect(),
        ))))
    }

    /// 50 + (50 + evenness with the request - evenness without it) / 2, over (column, amount).
    #[staticmethod]
    fn balance(resources: Vec<(usize, i64)>) -> PyResult<Self> {
        check(
            resources.len() <= DEMANDS_MAX,
            "too many resources in one request",
        )?;
        Ok(Self(Arc::new(core::Kernel::Balance(resources))))
    }

    /// The answers for the rows.
    #[pyo3(signature = (capacity, used, scored, rows))]
    fn values<'py>(
        &self,
        py: Python<'py>,
        capacity: Matrix<'py>,
        used: Matrix<'py>,
        scored: Matrix<'py>,
        rows: RowArray<'py>,
    ) -> PyResult<Bound<'py, PyArray1<i64>>> {
        let books = books(&capacity, &used, &scored)?;
        check(self.0.fits_into(&books), "the kernel names no column")?;
        with_rows(rows.as_ref(), books.capacity.rows(), |rows| {
            Ok(self.0.values(&books, rows).into_pyarray(py))
        })
    }
}

/// What is asked for, (column, amount) each, of the resources that have a column.
#[pyfunction]
pub fn demands(
    columns: Bound<'_, PyDict>,
    requests: Bound<'_, PyDict>,
) -> PyResult<Vec<(usize, i64)>> {
    let mut found = Vec::with_capacity(requests.len());
    for (name, amount) in requests {
        if let Some(column) = columns.get_item(name)? {
            found.push((column.extract()?, amount.extract()?));
        }
    }
    Ok(found)
}

/// Whether a row has at least this much of everything left.
#[pyfunction]
pub fn has_room(
    capacity: Matrix<'_>,
    used: Matrix<'_>,
    demands: Vec<(usize, i64)>,
    row: usize,
) -> PyResult<bool> {
    let (all, taken) = (columns(&capacity)?, columns(&used)?);
    check(
        capacity.shape() == used.shape(),
        "capacity and used differ in shape",
    )?;
    check(
        demands.iter().all(|d| d.0 < all.len()),
        "a demand names no column",
    )?;
    check(row < capacity.shape()[1], "the row is out of range")?;
    Ok(core::has_room(all, taken, &demands, row))
}

/// (name, how much of the row's capacity is used, in basis points, at most `most`) of each (name,
/// column) of which the row has any.
#[pyfunction]
pub fn levels<'py>(
    capacity: Matrix<'py>,
    used: Matrix<'py>,
    named: Vec<(Bound<'py, PyString>, usize)>,
    row: usize,
    most: i64,
) -> PyResult<Bound<'py, PyTuple>> {
    let (all, taken) = (columns(&capacity)?, columns(&used)?);
    check(
        capacity.shape() == used.shape(),
        "capacity and used differ in shape",
    )?;
    check(
        named.iter().all(|one| one.1 < all.len()) && row < all.rows(),
        "no such column or row",
    )?;
    let level = |column| core::level(all.at(column, row), taken.at(column, row), most);
    let known: Vec<_> = named
        .into_iter()
        .map(|(name, column)| (name, level(column)))
        .filter(|one| one.1 >= 0)
        .collect();
    PyTuple::new(capacity.py(), known)
}

/// Adds what a pod asks for to a row of the used columns, and what it counts in scores to the
/// scored ones, in place; with the sign -1, takes it off.
#[pyfunction]
pub fn shift_row(
    mut used: PyReadwriteArray2<'_, i64>,
    demands: Vec<(usize, i64)>,
    mut scored: PyReadwriteArray2<'_, i64>,
    nonzero: (i64, i64),
    row: usize,
    sign: i64,
) -> PyResult<()> {
    check(sign == 1 || sign == -1, "the sign is 1 or -1")?;
    add(&mut used, &demands, row, sign)?;
    add(&mut scored, &[(0, nonzero.0), (1, nonzero.1)], row, sign)
}

fn add(
    columns: &mut PyReadwriteArray2<'_, i64>,
    amounts: &[(usize, i64)],
    row: usize,
    sign: i64,
) -> PyResult<()> {
    let (count, stride) = (columns.shape()[0], columns.shape()[1]);
    check(
        amounts.iter().all(|a| a.0 < count),
        "an amount names no column",
    )?;
    check(row < stride, "the row is out of range")?;
    let values = columns.as_slice_mut()?;
    for (column, amount) in amounts {
        // Amounts are bounded far below an overflow; a wrap would be a silent wrong answer.
        let value = &mut values[column * stride + row];
        *value = value.checked_add(sign * amount).ok_or_else(|| {
            PyValueError::new_err(format!("column {column} overflows at row {row}"))
        })?;
    }
    Ok(())
}
