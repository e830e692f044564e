//! The face of the forest of integer trees, and of the line and the table around it.

use numpy::{IntoPyArray, PyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use herz_core::forest::{Forest, Nodes, Ranges};
use herz_core::odds::{Line, Odds, Table};

/// A number and a yes or no for each row.
type Answer<'py> = (Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<bool>>);

/// A forest of decision trees over integer columns, a line beside it and a table behind it.
#[pyclass(frozen, module = "herz._native")]
pub struct IntegerForest(Odds);

#[pymethods]
impl IntegerForest {
    /// `nodes`: (feature, threshold, left, right, missing goes left, value) each.
    /// `ranges`: (low, high, is strict, is required) of each column.
    /// `line`: bias, weight of the last column, (column, weight) each.
    /// `table`: the sum at the first knot, the knots.
    #[new]
    fn new(
        roots: Vec<usize>,
        nodes: Vec<(i64, i64, usize, usize, bool, i64)>,
        ranges: Vec<(i64, i64, bool, bool)>,
        reach: i64,
        line: (i64, i64, Vec<(usize, i64)>),
        table: (i64, Vec<i64>),
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
        let (bias, shared, weights) = line;
        let line = Line {
            bias,
            shared,
            weights,
        };
        let (first, knots) = table;
        Forest::new(lists, bounds)
            .and_then(|forest| Odds::new(forest, line, Table { first, knots }))
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
        let forest = self.0.forest();
        self.answered(py, &rows, |rows, sums, known| {
            forest.answer(rows, shared, sums, known);
        })
    }

    /// What the table has for the sum of leaves and line, and whether the row lies within reach.
    fn share<'py>(
        &self,
        py: Python<'py>,
        rows: PyReadonlyArray2<'py, i64>,
        shared: i64,
    ) -> PyResult<Answer<'py>> {
        self.answered(py, &rows, |rows, answers, known| {
            self.0.answer(rows, shared, answers, known);
        })
    }
}

impl IntegerForest {
    fn answered<'py>(
        &self,
        py: Python<'py>,
        rows: &PyReadonlyArray2<'py, i64>,
        answer: impl Fn(&[i64], &mut [i64], &mut [bool]),
    ) -> PyResult<Answer<'py>> {
        let (count, width) = (rows.shape()[0], rows.shape()[1]);
        if width != self.0.forest().columns() {
            return Err(PyValueError::new_err("rows of another width"));
        }
        if !rows.is_c_contiguous() {
            return Err(PyValueError::new_err("rows not one after the other"));
        }
        let (mut numbers, mut known) = (vec![0; count], vec![false; count]);
        answer(rows.as_slice()?, &mut numbers, &mut known);
        Ok((numbers.into_pyarray(py), known.into_pyarray(py)))
    }
}
