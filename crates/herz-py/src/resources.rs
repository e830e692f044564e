//! Kernels over columns of capacity and use.

use numpy::{
    IntoPyArray, PyArray1, PyReadonlyArray2, PyReadwriteArray2, PyUntypedArrayMethods,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use herz_core::resources::{self as core, Balanced, Columns, DEMANDS_MAX, Fullness, Weighted};

use crate::{RowArray, with_rows};

type Matrix<'py> = PyReadonlyArray2<'py, i64>;

fn columns<'a>(matrix: &'a Matrix<'_>) -> PyResult<Columns<'a>> {
    Ok(Columns::new(matrix.as_slice()?, matrix.shape()[1]))
}

fn check(is_right: bool, what: &str) -> PyResult<()> {
    if is_right { Ok(()) } else { Err(PyValueError::new_err(what.to_owned())) }
}

/// Bit masks of the demands that each row cannot meet.
#[pyfunction]
#[pyo3(signature = (capacity, used, demands, rows))]
pub fn lacking<'py>(
    py: Python<'py>,
    capacity: Matrix<'py>,
    used: Matrix<'py>,
    demands: Vec<(usize, i64)>,
    rows: RowArray<'py>,
) -> PyResult<Bound<'py, PyArray1<i64>>> {
    let (all, taken) = (columns(&capacity)?, columns(&used)?);
    check(capacity.shape() == used.shape(), "capacity and used differ in shape")?;
    check(demands.len() <= DEMANDS_MAX, "too many demands in one request")?;
    check(demands.iter().all(|d| d.0 < all.len()), "a demand names no column")?;
    with_rows(rows.as_ref(), capacity.shape()[1], |rows| {
        Ok(core::lacking(all, taken, &demands, rows).into_pyarray(py))
    })
}

/// Weighted mean of how full (or empty) each row would be, 0 to 100.
///
/// `resources`: (capacity column, matrix of use, column in it, amount, weight) each; `shape`:
/// "least", "most", or points by used percent.
#[pyfunction]
#[pyo3(signature = (capacity, used, resources, kind, shape, rows))]
pub fn fullness<'py>(
    py: Python<'py>,
    capacity: Matrix<'py>,
    used: Vec<Matrix<'py>>,
    resources: Vec<(usize, usize, usize, i64, i64)>,
    kind: &str,
    shape: Vec<(i64, i64)>,
    rows: RowArray<'py>,
) -> PyResult<Bound<'py, PyArray1<i64>>> {
    let all = columns(&capacity)?;
    let stride = capacity.shape()[1];
    let taken = used.iter().map(columns).collect::<PyResult<Vec<_>>>()?;
    check(used.iter().all(|m| m.shape()[1] == stride), "used differs from capacity in rows")?;
    let is_known = |r: &(usize, usize, usize, i64, i64)| {
        r.0 < all.len() && r.1 < taken.len() && r.2 < taken[r.1].len()
    };
    check(resources.iter().all(is_known), "a resource names no column")?;
    let weighted: Vec<Weighted> = resources
        .iter()
        .map(|r| Weighted { capacity: r.0, used: r.2, amount: r.3, weight: r.4 })
        .collect();
    let matrix: Vec<usize> = resources.iter().map(|r| r.1).collect();
    let kind = match kind {
        "least" => Fullness::Least,
        "most" => Fullness::Most,
        "shape" => Fullness::Shape(&shape),
        other => return Err(PyValueError::new_err(format!("unknown kind {other:?}"))),
    };
    with_rows(rows.as_ref(), stride, |rows| {
        Ok(core::fullness(all, &taken, &weighted, &matrix, kind, rows).into_pyarray(py))
    })
}

/// 50 + (50 + evenness with the request - evenness without it) / 2, by row.
#[pyfunction]
#[pyo3(signature = (capacity, used, resources, rows))]
pub fn balance<'py>(
    py: Python<'py>,
    capacity: Matrix<'py>,
    used: Matrix<'py>,
    resources: Vec<(usize, i64)>,
    rows: RowArray<'py>,
) -> PyResult<Bound<'py, PyArray1<i64>>> {
    let (all, taken) = (columns(&capacity)?, columns(&used)?);
    check(capacity.shape() == used.shape(), "capacity and used differ in shape")?;
    check(resources.iter().all(|r| r.0 < all.len()), "a resource names no column")?;
    let balanced: Vec<Balanced> =
        resources.iter().map(|&(column, amount)| Balanced { column, amount }).collect();
    with_rows(rows.as_ref(), capacity.shape()[1], |rows| {
        Ok(core::balance(all, taken, &balanced, rows).into_pyarray(py))
    })
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
    check(capacity.shape() == used.shape(), "capacity and used differ in shape")?;
    check(demands.iter().all(|d| d.0 < all.len()), "a demand names no column")?;
    check(row < capacity.shape()[1], "the row is out of range")?;
    Ok(core::has_room(all, taken, &demands, row))
}

/// Adds amounts to a row's columns, in place.
#[pyfunction]
pub fn add_to_row(
    mut columns: PyReadwriteArray2<'_, i64>,
    amounts: Vec<(usize, i64)>,
    row: usize,
) -> PyResult<()> {
    let (count, stride) = (columns.shape()[0], columns.shape()[1]);
    check(amounts.iter().all(|a| a.0 < count), "an amount names no column")?;
    check(row < stride, "the row is out of range")?;
    let values = columns.as_slice_mut()?;
    for (column, amount) in amounts {
        // Amounts are bounded far below an overflow; a wrap would be a silent wrong answer.
        let value = &mut values[column * stride + row];
        *value = value.checked_add(amount).ok_or_else(|| {
            PyValueError::new_err(format!("column {column} overflows at row {row}"))
        })?;
    }
    Ok(())
}
