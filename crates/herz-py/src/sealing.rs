//! The journal's hashing and framing, over many entries at once and without the interpreter.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use herz_core::sealing::{self, Entry, FRAME, HASH, Kept, SALT};
use herz_core::{hashes, signatures};

type Hash = [u8; HASH];

/// A longer message is hashed without the interpreter, as hashlib does it.
const LONG: usize = 2047;

fn hashed<'py, const N: usize>(
    py: Python<'py>,
    message: &[u8],
    hash: fn(&[u8]) -> [u8; N],
) -> Bound<'py, PyBytes> {
    let digest = if message.len() > LONG {
        py.detach(|| hash(message))
    } else {
        hash(message)
    };
    PyBytes::new(py, &digest)
}

/// SHA-256 of a message.
#[pyfunction]
pub fn sha256<'py>(py: Python<'py>, message: &[u8]) -> Bound<'py, PyBytes> {
    hashed(py, message, hashes::sha256)
}

/// SHA3-384 of a message.
#[pyfunction]
pub fn sha3_384<'py>(py: Python<'py>, message: &[u8]) -> Bound<'py, PyBytes> {
    hashed(py, message, hashes::sha3_384)
}

/// Whether this is the key's Ed25519 signature of a message.
#[pyfunction]
pub fn is_ed25519(py: Python<'_>, public: [u8; 32], message: &[u8], signature: [u8; 64]) -> bool {
    py.detach(|| signatures::is_ed25519(&public, message, &signature))
}

/// The frames of entries, end to end, and the hashes of their leaves.
#[pyfunction]
pub fn seal_entries<'py>(
    py: Python<'py>,
    version: u8,
    kinds: &[u8],
    salts: &[u8],
    payloads: Vec<Bound<'py, PyBytes>>,
) -> PyResult<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
    let count = payloads.len();
    if (kinds.len(), salts.len()) != (count, count * SALT) {
        return Err(PyValueError::new_err(
            "each payload needs a kind and a salt",
        ));
    }
    let said: Vec<&[u8]> = payloads.iter().map(PyBytesMethods::as_bytes).collect();
    let (frames, hashes) = py.detach(|| {
        let whole = said.iter().map(|one| one.len() + FRAME).sum();
        let mut frames = Vec::with_capacity(whole);
        let mut hashes = Vec::with_capacity(count * HASH);
        let given = kinds.iter().zip(salts.chunks_exact(SALT)).zip(&said);
        let entries: Vec<Entry> = given
            .map(|((kind, salt), payload)| Entry {
                head: [version, *kind],
                salt,
                payload,
            })
            .collect();
        sealing::seal(&entries, &mut frames, &mut hashes);
        (frames, hashes)
    });
    Ok((PyBytes::new(py, &frames), PyBytes::new(py, &hashes)))
}

/// An entry that is kept: its leaf, its salt and its payload, which are empty where it is erased.
type Parts<'py> = (
    Bound<'py, PyBytes>,
    Bound<'py, PyBytes>,
    Bound<'py, PyBytes>,
);

/// Entries from their frames, up to the first that is damaged or cut off, each with where it ends.
#[pyfunction]
pub fn open_entries<'py>(
    py: Python<'py>,
    data: &[u8],
    start: usize,
    count: usize,
) -> Vec<(Parts<'py>, usize)> {
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
    let bytes = |begin, end| PyBytes::new(py, &data[begin..end]);
    found
        .iter()
        .map(|one| {
            let leaf = bytes(one.leaf, one.salt);
            let (salt, payload) = if one.is_erased {
                (bytes(one.end, one.end), bytes(one.end, one.end))
            } else {
                (bytes(one.salt, one.payload), bytes(one.payload, one.end))
            };
            ((leaf, salt, payload), one.end)
        })
        .collect()
}

/// How many entries, from the first, are what their leaves commit to; the hashes of all leaves;
/// and SHA3-384 of the payloads of one kind.
#[pyfunction]
pub fn check_entries<'py>(
    py: Python<'py>,
    entries: Vec<Parts<'py>>,
    kind: u8,
) -> (usize, Bound<'py, PyBytes>, Bound<'py, PyBytes>) {
    let kept: Vec<Kept> = entries
        .iter()
        .map(|(leaf, salt, payload)| Kept {
            leaf: leaf.as_bytes(),
            salt: salt.as_bytes(),
            payload: payload.as_bytes(),
        })
        .collect();
    let found = py.detach(|| sealing::check(&kept, kind));
    let hashes = PyBytes::new(py, &found.hashes);
    (found.sound, hashes, PyBytes::new(py, &found.digests))
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
