//! Answers, tables, change logs and multiset digests as Python classes.

use std::sync::{Arc, Mutex};

use numpy::{IntoPyArray, PyArray1, PyArray2, PyReadonlyArray1};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

use herz_core::answers::Answers;
use herz_core::resources::Books;
use herz_core::rows::Rows;
use herz_core::scorer::Source;
use herz_core::table::{Filter, Open};
use herz_core::top::Ties;
use herz_core::{changes, lthash, table};

use crate::resources::{Kernel, books, check, values};
use crate::{RowArray, lock, with_rows};

type BestRow<'py> = (usize, i64, Bound<'py, PyTuple>);

/// A rule's codes by row, for the tables of all requests that it cannot tell apart.
#[pyclass(frozen, module = "herz._native")]
pub struct Codes(Arc<Answers<i16>>);

#[pymethods]
impl Codes {
    #[new]
    fn new(size: usize) -> Self {
        Self(Arc::new(Answers::new(size)))
    }

    /// Stores codes; False when one is not below the limit: then nothing is stored.
    #[pyo3(signature = (rows, values, limit))]
    fn set(
        &self,
        rows: RowArray<'_>,
        values: PyReadonlyArray1<'_, i16>,
        limit: usize,
    ) -> PyResult<bool> {
        let values = values.as_slice()?;
        let is_known = |code: &i16| usize::try_from(*code).is_ok_and(|code| code < limit);
        if !values.iter().all(is_known) {
            return Ok(false);
        }
        store(&self.0, rows.as_ref(), values).map(|()| true)
    }

    /// Stores -1 where a row is no node, 0 where it is one.
    #[pyo3(signature = (rows, is_live))]
    fn set_live(&self, rows: RowArray<'_>, is_live: PyReadonlyArray1<'_, bool>) -> PyResult<()> {
        let is_live = is_live.as_slice()?;
        let codes: Vec<i16> = is_live.iter().map(|live| i16::from(*live) - 1).collect();
        store(&self.0, rows.as_ref(), &codes)
    }
}

/// A rule's raw points by row, likewise.
#[pyclass(frozen, module = "herz._native")]
pub struct RawPoints(Arc<Answers<i64>>);

#[pymethods]
impl RawPoints {
    #[new]
    fn new(size: usize) -> Self {
        Self(Arc::new(Answers::new(size)))
    }

    #[pyo3(signature = (rows, values))]
    fn set(&self, rows: RowArray<'_>, values: PyReadonlyArray1<'_, i64>) -> PyResult<()> {
        store(&self.0, rows.as_ref(), values.as_slice()?)
    }
}

fn store<T: Copy + Default + PartialEq>(
    answers: &Answers<T>,
    rows: Option<&PyReadonlyArray1<'_, i64>>,
    values: &[T],
) -> PyResult<()> {
    with_rows(rows, answers.size(), |rows| {
        check(
            rows.len() == values.len(),
            &format!("{} values for {} rows", values.len(), rows.len()),
        )?;
        answers.set(rows, values);
        Ok(())
    })
}

#[derive(FromPyObject)]
enum FilterSource<'py> {
    Codes(PyRef<'py, Codes>),
    Kernel(PyRef<'py, Kernel>),
}

#[derive(FromPyObject)]
enum ScoreSource<'py> {
    Raw(PyRef<'py, RawPoints>),
    Kernel(PyRef<'py, Kernel>),
}

/// Codes, points and totals by row for one kind of request, over these matrices.
#[pyclass(frozen, module = "herz._native")]
pub struct Table {
    concluded: Mutex<table::Table>,
    capacity: Py<PyArray2<i64>>,
    used: Py<PyArray2<i64>>,
    scored: Py<PyArray2<i64>>,
}

#[pymethods]
impl Table {
    /// `scorers`: (weight, highest points, source, whether points are made of the raw ones) each.
    /// The matrices are those that the kernels read; they are read anew at each call.
    #[new]
    fn new(
        size: usize,
        filters: Vec<FilterSource<'_>>,
        scorers: Vec<(i32, i32, ScoreSource<'_>, bool)>,
        capacity: Bound<'_, PyArray2<i64>>,
        used: Bound<'_, PyArray2<i64>>,
        scored: Bound<'_, PyArray2<i64>>,
    ) -> PyResult<Self> {
        let range = 1..=table::POINTS_MAX;
        check(
            scorers.iter().all(|s| range.contains(&s.1)),
            "highest points out of range",
        )?;
        let is_right = |rows: usize| check(rows == size, "answers of another size");
        let mut judges = Vec::new();
        for filter in filters {
            judges.push(match filter {
                FilterSource::Codes(codes) => {
                    is_right(codes.0.size())?;
                    Filter::Codes(Arc::clone(&codes.0))
                }
                FilterSource::Kernel(kernel) => Filter::Kernel(Arc::clone(&kernel.0)),
            });
        }
        let mut sources = Vec::new();
        for (weight, most, source, is_scaled) in scorers {
            let source = match source {
                ScoreSource::Kernel(kernel) => Source::Kernel(Arc::clone(&kernel.0)),
                ScoreSource::Raw(raw) => {
                    is_right(raw.0.size())?;
                    let raw = Arc::clone(&raw.0);
                    if is_scaled {
                        Source::Scaled(raw)
                    } else {
                        Source::Plain(raw)
                    }
                }
            };
            sources.push((weight, most, source));
        }
        let books = books(&capacity, &used, &scored)?;
        check(
            size <= books.capacity.rows(),
            "the table has more rows than the columns",
        )?;
        Ok(Self {
            concluded: Mutex::new(table::Table::new(size, judges, sources)),
            capacity: capacity.unbind(),
            used: used.unbind(),
            scored: scored.unbind(),
        })
    }

    #[getter]
    fn size(&self) -> usize {
        lock(&self.concluded).size()
    }

    #[getter]
    fn fits(&self) -> usize {
        lock(&self.concluded).fits()
    }

    #[getter]
    fn bytes(&self) -> usize {
        lock(&self.concluded).bytes()
    }

    /// Concludes for the rows which fit, their points and totals. None, or what must be learned
    /// before it is called again: (filter, value of its kernel); (scorer, raw values, low, high);
    /// or (scorer,) whose points are out of range, for which there is no cure.
    #[pyo3(signature = (rows))]
    fn settle<'py>(
        &self,
        py: Python<'py>,
        rows: RowArray<'py>,
    ) -> PyResult<Option<Bound<'py, PyTuple>>> {
        self.conclude(py, rows.as_ref(), table::Table::settle)
    }

    /// The half of `settle` that concludes which rows fit.
    #[pyo3(signature = (rows))]
    fn settle_codes<'py>(
        &self,
        py: Python<'py>,
        rows: RowArray<'py>,
    ) -> PyResult<Option<Bound<'py, PyTuple>>> {
        self.conclude(py, rows.as_ref(), table::Table::settle_codes)
    }

    /// The half of `settle` that concludes points and totals.
    #[pyo3(signature = (rows))]
    fn settle_points<'py>(
        &self,
        py: Python<'py>,
        rows: RowArray<'py>,
    ) -> PyResult<Option<Bound<'py, PyTuple>>> {
        self.conclude(py, rows.as_ref(), table::Table::settle_points)
    }

    fn learn_code(&self, index: usize, value: i64, code: i16) {
        lock(&self.concluded).learn_code(index, value, code);
    }

    /// Points by raw value; False when one is out of range: then nothing is learned.
    fn learn_points(
        &self,
        scorer: usize,
        values: PyReadonlyArray1<'_, i64>,
        points: PyReadonlyArray1<'_, i64>,
    ) -> PyResult<bool> {
        let (values, points) = (values.as_slice()?, points.as_slice()?);
        check(
            values.len() == points.len(),
            &format!("{} points for {} values", points.len(), values.len()),
        )?;
        Ok(lock(&self.concluded).learn_points(scorer, values, points))
    }

    fn first<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i16>> {
        lock(&self.concluded).first().to_vec().into_pyarray(py)
    }

    fn fitting<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        lock(&self.concluded).fitting().into_pyarray(py)
    }

    /// Points by row of one scorer; 0 at rows that do not fit.
    fn points<'py>(&self, py: Python<'py>, scorer: usize) -> PyResult<Bound<'py, PyArray1<i64>>> {
        let table = lock(&self.concluded);
        self.read(py, |books| Ok(table.points(scorer, books).into_pyarray(py)))
    }

    fn totals<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        lock(&self.concluded).totals().to_vec().into_pyarray(py)
    }

    fn histogram(&self) -> Vec<(i16, usize)> {
        lock(&self.concluded).histogram()
    }

    /// The best k rows as (row, total, weighted points); how many share the best total; whether
    /// the first two share their rank as well, so that nothing but the row's number decided.
    ///
    /// Equal totals go by the mixed hash of key and salt, or by the key alone without a salt.
    #[pyo3(signature = (k, keys, salt))]
    fn top<'py>(
        &self,
        py: Python<'py>,
        k: usize,
        keys: Bound<'py, PyArray1<u64>>,
        salt: Option<u64>,
    ) -> PyResult<(Vec<BestRow<'py>>, usize, bool)> {
        let table = lock(&self.concluded);
        let keys = values(&keys)?;
        if k == 0 {
            return Err(PyValueError::new_err("no row is asked for"));
        }
        if keys.len() < table.size() {
            return Err(PyValueError::new_err("fewer keys than rows"));
        }
        let ties = salt.map_or(Ties::Keyed, Ties::Hashed);
        let (best, found) = self.read(py, |books| Ok(table.top(k, keys, ties, books)))?;
        let rows = best
            .into_iter()
            .map(|b| Ok((b.row, b.total, PyTuple::new(py, b.points)?)))
            .collect::<PyResult<_>>()?;
        Ok((rows, found.tied, found.is_even))
    }
}

type Settle = fn(&mut table::Table, Rows<'_>, &Books<'_>) -> Result<(), Open>;

impl Table {
    /// What the matrices hold now.
    fn read<T>(&self, py: Python<'_>, f: impl FnOnce(&Books<'_>) -> PyResult<T>) -> PyResult<T> {
        let [capacity, used, scored] =
            [&self.capacity, &self.used, &self.scored].map(|matrix| matrix.bind(py));
        f(&books(capacity, used, scored)?)
    }

    fn conclude<'py>(
        &self,
        py: Python<'py>,
        rows: Option<&PyReadonlyArray1<'py, i64>>,
        settle: Settle,
    ) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let mut table = lock(&self.concluded);
        let done = self.read(py, |books| {
            with_rows(rows, table.size(), |rows| {
                Ok(settle(&mut table, rows, books))
            })
        })?;
        let open = match done {
            Ok(()) => return Ok(None),
            Err(Open::Code { filter, value }) => (filter, value).into_pyobject(py)?,
            Err(Open::Points {
                scorer,
                low,
                high,
                values,
            }) => (scorer, values.into_pyarray(py), low, high).into_pyobject(py)?,
            Err(Open::Range { scorer }) => (scorer,).into_pyobject(py)?,
        };
        Ok(Some(open))
    }
}

type Since<'py> = (u32, Option<Bound<'py, PyArray1<i64>>>);

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

    /// (aspects changed since, rows of the wanted ones or None when there are none); None when the
    /// log reaches no longer back.
    fn since<'py>(&self, py: Python<'py>, position: u64, wanted: u32) -> Option<Since<'py>> {
        let (mask, rows) = lock(&self.0).since(position, wanted)?;
        let rows = (!rows.is_empty()).then(|| rows.into_pyarray(py));
        Some((mask, rows))
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

    /// The one whose `state` this was.
    #[staticmethod]
    fn from_state(state: &[u8]) -> PyResult<Self> {
        lthash::LtHash::from_state(state)
            .map(|made| Self(Mutex::new(made)))
            .ok_or_else(|| PyValueError::new_err("a state has 2,048 bytes"))
    }

    fn add(&self, element: &[u8]) {
        lock(&self.0).add(element);
    }

    fn remove(&self, element: &[u8]) {
        lock(&self.0).remove(element);
    }

    fn state<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &lock(&self.0).state())
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
