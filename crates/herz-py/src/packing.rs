//! Kernels for packing slots: expected rests and what a mix of requests loses.

use numpy::{
    IntoPyArray, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2,
    PyUntypedArrayMethods,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use herz_core::recurrence::{self, Step};
use herz_core::slots::{self, KINDS_MAX, Request, Take};

use crate::{RowArray, with_rows};

/// Expected rest of a stock under random draws, by (first, second) dimension.
///
/// `steps`: (taken of the first dimension, of the second, weight) each.
#[pyfunction]
pub fn expected_rest(
    py: Python<'_>,
    height: usize,
    width: usize,
    stop: i64,
    worth: i64,
    steps: Vec<(usize, usize, i64)>,
) -> PyResult<Bound<'_, PyArray2<i64>>> {
    let steps: Vec<Step> = steps
        .into_iter()
        .map(|(down, across, weight)| Step {
            down,
            across,
            weight,
        })
        .collect();
    let values = recurrence::expected_rest(height, width, stop, worth, &steps)
        .ok_or_else(|| PyValueError::new_err("the sums of the recurrence leave 63 bits"))?;
    values.into_pyarray(py).reshape([height, width])
}

/// A mix of requests for slots of rows.
#[pyclass(frozen, module = "herz._native")]
pub struct RequestMix(slots::Mix);

#[pymethods]
impl RequestMix {
    /// `requests`: (other, share, count, kinds as bits, weight) each.
    #[new]
    fn new(requests: Vec<(i64, i64, i64, u64, i64)>, kinds: usize) -> PyResult<Self> {
        if kinds > KINDS_MAX {
            return Err(PyValueError::new_err("too many kinds of rows"));
        }
        let requests: Vec<Request> = requests
            .into_iter()
            .map(|(other, share, count, kinds, weight)| Request {
                other,
                share,
                count,
                kinds,
                weight,
            })
            .collect();
        Ok(Self(slots::Mix::new(&requests, kinds)))
    }

    /// How much taking (other, share, count) lowers what is lost, by row and slot.
    #[pyo3(signature = (slots, other, kinds, take, rows))]
    fn drops<'py>(
        &self,
        py: Python<'py>,
        slots: PyReadonlyArray2<'py, i64>,
        other: PyReadonlyArray1<'py, i64>,
        kinds: PyReadonlyArray1<'py, i64>,
        take: (i64, i64, usize),
        rows: RowArray<'py>,
    ) -> PyResult<Bound<'py, PyArray2<i64>>> {
        let (size, width) = (slots.shape()[0], slots.shape()[1]);
        let (all, other, kinds) = (slots.as_slice()?, other.as_slice()?, kinds.as_slice()?);
        if kinds
            .iter()
            .any(|&kind| kind < 0 || kind as usize >= self.0.kinds())
        {
            return Err(PyValueError::new_err(
                "a row of a kind that the mix does not know",
            ));
        }
        let take = Take {
            other: take.0,
            share: take.1,
            count: take.2,
        };
        with_rows(rows.as_ref(), size, |rows| {
            if rows.len() != other.len() || rows.len() != kinds.len() {
                return Err(PyValueError::new_err("a value for each row, please"));
            }
            let found = self.0.drops(all, width, other, kinds, take, rows);
            found.into_pyarray(py).reshape([rows.len(), width.max(1)])
        })
    }
}
