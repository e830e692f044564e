//! The face of the forest of integer trees.

use numpy::{IntoPyArray, PyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use herz_core::forest::{Forest, Nodes, Ranges};

/// A number and a yes or no for each row.
type Answer<'py> = (Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<bool>>);

/// A forest of decision trees over integer columns.
#[pyclass(frozen, module = "herz._native")]
pub struct IntegerForest(Forest);

#[pymethods]
impl IntegerForest {
    /// `nodes`: (feature, threshold, left, right, missing goes left, value) each.
    /// `ranges`: (low, high, is strict, is required) of each column.
    #[new]
    fn new(
        roots: Vec<usize>,
        nodes: Vec<(i64, i64, usize, usize, bool, i64)>,
        ranges: Vec<(i64, i64, bool, bool)>,
        reach: i64,
    ) -> PyResult<Self> {
        let mut lists = Nodes {
            roots,
            ..Nodes::default()
        };
        for (feature, threshold, left, right, missing_left, value) in nodes {
            lists.feature.push(feature);
            lists.threshold.push(threshold);
            lists.left.push(left);
            lists.right.push(right);
            lists.missing_left.push(missing_left);
            lists.value.push(value);
        }
        let mut bounds = Ranges {
            reach,
            ..Ranges::default()
        };
        for (low, high, strict, required) in ranges {
            bounds.lows.push(low);
            bounds.highs.push(high);
            bounds.strict.push(strict);
            bounds.required.push(required);
        }
        Forest::new(lists, bounds)
            .map(Self)
            .map_err(PyValueError::new_err)
    }

    /// The sum of the leaves of each row, and whether the row lies within reach.
    fn answer<'py>(
        &self,
        py: Python<'py>,
        rows: PyReadonlyArray2<'py, i64>,
        shared: i64,
    ) -> PyResult<Answer<'py>> {
        let (count, width) = (rows.shape()[0], rows.shape()[1]);
        if width != self.0.columns() {
            return Err(PyValueError::new_err("rows of another width"));
        }
        let (mut sums, mut known) = (vec![0; count], vec![false; count]);
        self.0
            .answer(rows.as_slice()?, shared, &mut sums, &mut known);
        Ok((sums.into_pyarray(py), known.into_pyarray(py)))
    }
}
