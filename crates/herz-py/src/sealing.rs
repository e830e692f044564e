//! The journal's hashing and framing, over many entries at once and without the interpreter.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use herz_core::sealing::{self, FRAME, HASH, SALT};

type Hash = [u8; HASH];

/// The frames of entries, end to end, and the hashes of their leaves.
#[pyfunction]
pub fn seal_entries<'py>(
    py: Python<'py>,
    version: u8,
    kinds: &[u8],
    payloads: Vec<Bound<'py, PyBytes>>,
    salts: &[u8],
) -> PyResult<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
    if kinds.len() != payloads.len() || salts.len() != payloads.len() * SALT {
        return Err(PyValueError::new_err(
            "as many kinds and salts as payloads are needed",
        ));
    }
    let said: Vec<&[u8]> = payloads.iter().map(PyBytesMethods::as_bytes).collect();
    let (frames, hashes) = py.detach(|| {
        let whole = said.iter().map(|one| one.len() + FRAME).sum();
        let mut frames = Vec::with_capacity(whole);
        let mut hashes = Vec::with_capacity(said.len() * HASH);
        for ((kind, salt), payload) in kinds.iter().zip(salts.chunks_exact(SALT)).zip(&said) {
            sealing::seal([version, *kind], salt, payload, &mut frames, &mut hashes);
        }
        (frames, hashes)
    });
    Ok((PyBytes::new(py, &frames), PyBytes::new(py, &hashes)))
}

/// Entries from their frames: (kind, payload), the payload None where it is erased; their leaves'
/// hashes; the SHA3-384 of each payload of the kind `digested`, else None; and how many are sound
/// and committed to, from the first.
#[pyfunction]
#[allow(clippy::type_complexity)]
pub fn open_entries<'py>(
    py: Python<'py>,
    data: &[u8],
    start: usize,
    count: usize,
    digested: u8,
) -> (
    Vec<(u8, Option<Bound<'py, PyBytes>>)>,
    Bound<'py, PyBytes>,
    Vec<Option<Bound<'py, PyBytes>>>,
) {
    let found = py.detach(|| {
        let (mut found, mut begin) = (Vec::new(), start);
        for _ in 0..count {
            let Some(one) = sealing::open(data, begin) else {
                break;
            };
            if !one.is_committed {
                break;
            }
            begin = one.end;
            let kind = data[one.begin + 10];
            let digest = (kind == digested && !one.is_erased)
                .then(|| sealing::digest(&data[one.payload..one.end]));
            found.push((kind, one, digest));
        }
        found
    });
    let hashes: Vec<u8> = found.iter().flat_map(|(_, one, _)| one.hash).collect();
    let digests = found
        .iter()
        .map(|(_, _, digest)| digest.as_ref().map(|one| PyBytes::new(py, one)))
        .collect();
    let entries = found
        .iter()
        .map(|(kind, one, _)| {
            let payload = (!one.is_erased).then(|| PyBytes::new(py, &data[one.payload..one.end]));
            (*kind, payload)
        })
        .collect();
    (entries, PyBytes::new(py, &hashes), digests)
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
