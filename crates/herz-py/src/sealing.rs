//! The journal's hashing and framing, over many entries at once and without the interpreter.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use herz_core::sealing::{self, COMMITMENT, FRAME, HASH, SALT};

type Hash = [u8; HASH];

/// The frames of entries, end to end, and the hashes of their leaves.
#[pyfunction]
pub fn seal_entries<'py>(
    py: Python<'py>,
    version: u8,
    kinds: &[u8],
    commitments: &[u8],
    salts: &[u8],
    payloads: Vec<Bound<'py, PyBytes>>,
) -> PyResult<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
    let count = payloads.len();
    if (kinds.len(), commitments.len(), salts.len()) != (count, count * COMMITMENT, count * SALT) {
        return Err(PyValueError::new_err(
            "each payload needs a kind, a commitment and a salt",
        ));
    }
    let said: Vec<&[u8]> = payloads.iter().map(PyBytesMethods::as_bytes).collect();
    let (frames, hashes) = py.detach(|| {
        let whole = said.iter().map(|one| one.len() + FRAME).sum();
        let mut frames = Vec::with_capacity(whole);
        let mut hashes = Vec::with_capacity(count * HASH);
        let given = commitments
            .chunks_exact(COMMITMENT)
            .zip(salts.chunks_exact(SALT));
        for ((kind, (commitment, salt)), payload) in kinds.iter().zip(given).zip(&said) {
            let head = [version, *kind];
            sealing::seal(head, commitment, salt, payload, &mut frames, &mut hashes);
        }
        (frames, hashes)
    });
    Ok((PyBytes::new(py, &frames), PyBytes::new(py, &hashes)))
}

/// An entry: its leaf, and salt ‖ payload, which is empty where they are erased.
type Entry<'py> = (Bound<'py, PyBytes>, Bound<'py, PyBytes>);

/// Entries from their frames, up to the first that is damaged or cut off, and the hashes of their
/// leaves.
#[pyfunction]
pub fn open_entries<'py>(
    py: Python<'py>,
    data: &[u8],
    start: usize,
    count: usize,
) -> (Vec<Entry<'py>>, Bound<'py, PyBytes>) {
    let found = py.detach(|| {
        let (mut found, mut begin) = (Vec::new(), start);
        for _ in 0..count {
            let Some(one) = sealing::open(data, begin) else {
                break;
            };
            begin = one.end;
            found.push(one);
        }
        found
    });
    let hashes: Vec<u8> = found.iter().flat_map(|one| one.hash).collect();
    let entries = found
        .iter()
        .map(|one| {
            let salted = if one.is_erased { one.end } else { one.salt };
            let leaf = PyBytes::new(py, &data[one.leaf..one.salt]);
            (leaf, PyBytes::new(py, &data[salted..one.end]))
        })
        .collect();
    (entries, PyBytes::new(py, &hashes))
}

/// Grows a tree by leaves' hashes: its peaks, and the hashes of higher tile levels that are
/// complete now, as (tile level, hash).
#[pyfunction]
#[allow(clippy::type_complexity)]
pub fn grow_tree<'py>(
    py: Python<'py>,
    size: u64,
    peaks: Vec<Hash>,
    hashes: &[u8],
) -> PyResult<(Vec<Bound<'py, PyBytes>>, Vec<(u32, Bound<'py, PyBytes>)>)> {
    if peaks.len() != size.count_ones() as usize || !hashes.len().is_multiple_of(HASH) {
        return Err(PyValueError::new_err(
            "not the peaks of a tree of that size",
        ));
    }
    let (mut peaks, mut told) = (peaks, Vec::new());
    py.detach(|| {
        for (added, leaf) in (0..).zip(hashes.chunks_exact(HASH)) {
            let leaf: Hash = leaf.try_into().expect("a chunk has its length");
            sealing::grow(size + added, &mut peaks, leaf, |level, hash| {
                told.push((level, hash));
            });
        }
    });
    let peaks = peaks.iter().map(|one| PyBytes::new(py, one)).collect();
    let told = told
        .iter()
        .map(|(level, hash)| (*level, PyBytes::new(py, hash)))
        .collect();
    Ok((peaks, told))
}
