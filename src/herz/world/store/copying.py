"""A journal's files in another place, from wherever it is kept."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from herz.errors import ConfigError, WorldError
from herz.world.store.evidence import Evidence
from herz.world.store.files import SEGMENT_BYTES_MAX, SUFFIX, term_bytes
from herz.world.store.frames import BATCH, segment_header
from herz.world.store.notes import NoteFile

_PRIVATE: Final = 0o600


def copied(source: Evidence, folder: Path) -> int:
    """Write a journal's files into a new folder: the appends as they are, byte for byte.

    Args:
        source: the journal; what is appended meanwhile is left out.
        folder: must not be there, or be empty.

    Returns:
        How many entries there are.

    Raises:
        AuditError: an entry, a blob or a checkpoint is damaged.
        ConfigError: the folder holds something.
        WorldError: the disk refused.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError("not empty", where="--to", value=str(folder), fix="name a new folder")
    size = source.count()
    try:
        for name in ("segments", "blobs"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        _copy_segments(source, folder / "segments", size)
        for digest in source.blobs():
            placed(folder / "blobs" / digest, source.get(digest), _PRIVATE)
        placed(folder / "term", term_bytes(source.leader_term()), _PRIVATE)
    except OSError as error:
        raise WorldError(f"cannot write {folder}: {error.strerror or error}") from error
    notes = NoteFile(folder / "checkpoints")
    for note in source.notes():
        notes.append(note)
    return size


def _copy_segments(source: Evidence, folder: Path, size: int) -> None:
    written, first, parts = 0, 0, [segment_header(0)]
    for data, batch in source.batches():
        if batch.first >= size:
            break
        if written >= SEGMENT_BYTES_MAX:
            placed(folder / f"{first:020}{SUFFIX}", b"".join(parts), _PRIVATE)
            written, first, parts = 0, batch.first, [segment_header(batch.first)]
        parts.append(data[batch.start - BATCH.size : batch.end])
        written += len(parts[-1])
    placed(folder / f"{first:020}{SUFFIX}", b"".join(parts), _PRIVATE)


def placed(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a file that is there whole or not at all, in a folder that is made.

    Raises:
        OSError: the disk refused.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
