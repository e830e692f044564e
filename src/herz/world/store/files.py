"""The journal in a folder: `segments/`, `blobs/`, the leader's term, a lock.

One process writes at a time, and holds a lock of its term. Each append takes another lock and
compares the leader's term and the end of the last segment with what it knows, so a leader that was
replaced while it was away cannot append. After a failed write or sync nothing more is appended:
what the disk holds is then known only by reading it again (`FileStore.open`).
"""

from __future__ import annotations

import fcntl
import os
import zlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from struct import Struct
from typing import TYPE_CHECKING, Final

from herz._native import sha3_384
from herz.errors import AuditError, ConfigError, WorldError
from herz.model import journal
from herz.world.store.evidence import HASH_BYTES, BusyWriterError, Evidence, StaleWriterError
from herz.world.store.frames import (
    SEGMENT,
    Batch,
    CutOffError,
    DamageError,
    batch_header,
    check_segment,
    entries_of,
    erased,
    frames_of,
    later_batch,
    read_batch,
    segment_header,
)
from herz.world.store.notes import NoteFile

if TYPE_CHECKING:
    from herz.ports import Sync

SEGMENT_BYTES_MAX: Final = 64 << 20
"""A segment that has reached this is followed by another."""
SUFFIX: Final = ".seg"
_TERM_BYTES: Final = 12
_LOCK: Final = Struct("hhqqi4x")
"""`struct flock` of Linux, on 64 bits: a lock of the open file, not of the process."""
_PLACE_MAX: Final = 2**62


class Reader(Evidence):
    """The segments of a journal, read only; they may grow meanwhile.

    Args:
        folder: the journal.

    Raises:
        ConfigError: there is no journal.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._notes = NoteFile(folder / "checkpoints")
        self.cut = ""
        # The segments that `batches` saw last.
        self._begins: list[int] = []
        if not (folder / "segments").is_dir():
            fix = "name a folder that --journal wrote"
            raise ConfigError("no journal", where="--journal", value=str(folder), fix=fix)

    @property
    def name(self) -> str:
        """See `Evidence.name`."""
        return str(self.folder)

    @property
    def beside(self) -> Path:
        """See `Evidence.beside`."""
        return self.folder

    def segments(self) -> list[tuple[int, Path]]:
        """First entry and file of each segment, in order."""
        names = sorted((self.folder / "segments").glob(f"*{SUFFIX}"))
        return [(int(path.stem), path) for path in names if path.stem.isdigit()]

    def batches(self, first: int = 0) -> Iterator[tuple[bytes, Batch]]:
        """The segments' bytes with the batches, from the one that holds entry `first`.

        They end before an append that was cut off (`cut`). A segment that ends early, or a gap
        between two, is an error.

        Raises:
            DamageError: at the first entry that cannot be read.
        """
        segments = self.segments()
        self._begins = [begins for begins, _ in segments]
        start = max(0, bisect_right(self._begins, first) - 1)
        expected = 0 if start == 0 else segments[start][0]
        for begins, path in segments[start:]:
            if begins != expected:
                what = f"the next segment begins with entry {begins}"
                raise DamageError(what, min(expected, begins), 0)
            data = _read(path)
            check_segment(data, begins)
            offset = SEGMENT.size
            while offset < len(data):
                try:
                    batch = read_batch(data, offset, expected)
                except CutOffError as error:
                    if path != segments[-1][1]:
                        raise
                    self.cut = f"{len(data) - offset} bytes of an append that was cut off: {error}"
                    return
                if first < expected + batch.entries:
                    yield data, batch
                expected += batch.entries
                offset = batch.end

    def segment_of(self, batch: Batch) -> int:
        """See `Evidence.segment_of`."""
        return self._begins[bisect_right(self._begins, batch.first) - 1]

    def bytes_at(self, segment: int, offset: int, count: int) -> bytes:
        """See `Evidence.bytes_at`."""
        path = self._segment(segment)
        try:
            with open(path, "rb") as file:
                return os.pread(file.fileno(), count, offset)
        except OSError as error:
            raise WorldError(f"cannot read {path}: {error.strerror or error}") from error

    def end(self) -> tuple[int, int] | None:
        """See `Evidence.end`."""
        segments = self.segments()
        return (segments[-1][0], segments[-1][1].stat().st_size) if segments else None

    def count(self) -> int:
        """See `Evidence.count`. Cost: reads the last segment."""
        segments, size = self.segments(), 0
        for _, batch in self.batches(segments[-1][0] if segments else 0):
            size = batch.first + batch.entries
        return size or (segments[-1][0] if segments else 0)

    def read_hashes(self, level: int, first: int, count: int) -> bytes:
        """See `herz.ports.Journal.read_hashes`."""
        try:
            with open(self.folder / "tiles" / str(level), "rb") as file:
                return os.pread(file.fileno(), count * HASH_BYTES, first * HASH_BYTES)
        except FileNotFoundError:
            return b""

    def notes_from(self, place: int) -> list[tuple[int, bytes]]:
        """See `Evidence.notes_from`."""
        return self._notes.read_from(place)

    def note_at(self, place: int) -> bytes | None:
        """See `Evidence.note_at`."""
        return self._notes.at(place)

    def get(self, digest: str) -> bytes:
        """See `herz.ports.Journal.get`."""
        try:
            data = (self.folder / "blobs" / digest).read_bytes()
        except OSError as error:
            raise AuditError(f"blob {digest}: {error.strerror}") from error
        if sha3_384(data).hex() != digest:
            raise AuditError(f"blob {digest}: its bytes have another digest")
        return data

    def blobs(self) -> list[str]:
        """See `Evidence.blobs`."""
        return sorted(path.name for path in (self.folder / "blobs").iterdir() if not path.suffix)

    def leader_term(self) -> int:
        """See `Evidence.leader_term`."""
        path = self.folder / "term"
        return _term_of(_read(path) if path.exists() else b"", self.folder)

    def make_certain(self) -> None:
        """See `Evidence.make_certain`."""
        try:
            for _, path in self.segments()[-1:]:
                with open(path, "rb") as file:
                    os.fsync(file.fileno())
        except OSError as error:
            raise WorldError(f"cannot sync {self.folder}: {error.strerror or error}") from error

    def keep_note(self, note: bytes) -> None:
        """See `herz.ports.Store.keep_note`."""
        self._notes.append(note)

    def _segment(self, first: int) -> Path:
        return self.folder / "segments" / f"{first:020}{SUFFIX}"


class FileStore(Reader):
    """The writer of a journal (`herz.ports.Store`); made by `open`.

    Args:
        folder: the journal.
        term: the leader's term.
        segment_bytes_max: when the next segment begins.
    """

    def __init__(self, folder: Path, term: int, segment_bytes_max: int = SEGMENT_BYTES_MAX) -> None:
        super().__init__(folder)
        self.term = term
        self.recovered = ""
        """What opening had to mend, in words; empty when nothing."""
        self._bytes_max = segment_bytes_max
        self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._term_file = os.open(folder / "term", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._turn = os.open(folder / "writer", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._file = -1
        # Bound: eight levels.
        self._tiles: dict[int, int] = {}
        self._size = 0
        self._end = 0
        self._failed = ""
        self._is_synced = True

    @classmethod
    def open(
        cls, folder: Path, term: int = 0, *, segment_bytes_max: int = SEGMENT_BYTES_MAX
    ) -> FileStore:
        """The journal in the folder, made where there is none; what a crash left is mended.

        An append that a crash cut off is moved aside, into `torn/`: nothing in it was
        acknowledged. Damage that no crash explains is refused.

        Args:
            folder: where.
            term: the leader's term; not below the last writer's.
            segment_bytes_max: when the next segment begins.

        Raises:
            AuditError: the journal is damaged, and not only by a cut-off append.
            WorldError: the disk refused, or a later leader has written.
        """
        try:
            for name in ("segments", "blobs"):
                (folder / name).mkdir(parents=True, exist_ok=True)
            store = cls(folder, term, segment_bytes_max)
            try:
                with store._locked():
                    store._promote()
                    store._recover()
            except BaseException:
                store.close()
                raise
        except OSError as error:
            raise WorldError(f"cannot open {folder}: {error.strerror or error}") from error
        return store

    @property
    def size(self) -> int:
        """See `herz.ports.Store.size`."""
        return self._size

    @property
    def is_for_certain(self) -> bool:
        """See `herz.ports.Store.is_for_certain`."""
        return self._is_synced

    def append(self, batch: journal.Batch, *, expected: int, sync: bool) -> None:
        """See `herz.ports.Store.append`."""
        if self._failed:
            raise WorldError(f"the journal {self.folder} takes nothing more: {self._failed}")
        try:
            with self._locked():
                self._check_turn(expected)
                if batch.entries:
                    self._write(batch)
                    self._size += batch.entries
                    self._is_synced = False
            if sync and not self._is_synced:
                os.fdatasync(self._file)
                self._is_synced = True
        except OSError as error:
            self._failed = error.strerror or str(error)
            # What was written in part is cut off, where the disk still lets us.
            with suppress(OSError):
                os.ftruncate(self._file, self._end)
            raise WorldError(f"cannot write {self.folder}: {self._failed}") from error
        except StaleWriterError as error:
            self._failed = str(error)
            raise

    @property
    def is_behind(self) -> bool:
        """See `herz.ports.Store.is_behind`: the system has what was begun."""
        return False

    def begin(self, batch: journal.Batch, *, expected: int, sync: bool) -> Sync | None:
        """See `herz.ports.Store.begin`: only the disk is waited for elsewhere."""
        self.append(batch, expected=expected, sync=False)
        return self._detached_sync() if sync else None

    def _detached_sync(self) -> Sync:
        # Its own descriptor: the segment may be ended meanwhile, which syncs it, too.
        descriptor = os.dup(self._file)

        def sync() -> None:
            try:
                os.fdatasync(descriptor)
            except OSError as error:
                self._failed = error.strerror or str(error)
                raise WorldError(f"cannot write {self.folder}: {self._failed}") from error
            finally:
                os.close(descriptor)

        return sync

    def put(self, data: bytes) -> str:
        """See `herz.ports.Store.put`."""
        digest = sha3_384(data).hex()
        path = self.folder / "blobs" / digest
        if path.exists():
            return digest
        beside = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            with open(beside, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
            _sync_folder(path.parent)
        except OSError as error:
            with suppress(OSError):
                beside.unlink()
            raise WorldError(f"cannot write {path}: {error.strerror or error}") from error
        return digest

    def keep_hashes(self, level: int, first: int, hashes: bytes) -> None:
        """See `herz.ports.Store.keep_hashes`."""
        try:
            if level not in self._tiles:
                (self.folder / "tiles").mkdir(exist_ok=True)
                path = self.folder / "tiles" / str(level)
                self._tiles[level] = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.pwrite(self._tiles[level], hashes, first * HASH_BYTES)
        except OSError as error:
            raise WorldError(f"cannot write {self.folder}: {error.strerror or error}") from error

    def erase(self, entries: Sequence[int], blobs: Sequence[str]) -> None:
        """See `herz.ports.Store.erase`. The index, which has names, goes, too."""
        wanted, at = list(entries), 0
        segments = self.segments()
        begins = [first for first, _ in segments]
        try:
            with self._locked():
                self._check_turn(self._size)
                for data, batch in self.batches(wanted[0] if wanted else 0):
                    if at == len(wanted):
                        break
                    path = segments[bisect_right(begins, batch.first) - 1][1]
                    frames = list(frames_of(data, batch))
                    with open(path, "r+b") as file:
                        while at < len(wanted) and wanted[at] < batch.first + batch.entries:
                            start, end = frames[wanted[at] - batch.first]
                            os.pwrite(file.fileno(), erased(data[start:end]), start)
                            at += 1
                        os.fsync(file.fileno())
                for digest in blobs:
                    (self.folder / "blobs" / digest).unlink(missing_ok=True)
                _sync_folder(self.folder / "blobs")
                (self.folder / "index.sqlite").unlink(missing_ok=True)
        except OSError as error:
            raise WorldError(f"cannot erase in {self.folder}: {error.strerror or error}") from error
        assert at == len(wanted), "what is erased is there"

    def close(self) -> None:
        """Sync what was appended, and let the files go."""
        if self._file >= 0 and not self._failed and not self._is_synced:
            os.fdatasync(self._file)
            self._is_synced = True
        for descriptor in (
            self._file,
            self._lock,
            self._turn,
            self._term_file,
            *self._tiles.values(),
        ):
            if descriptor >= 0:
                os.close(descriptor)
        self._tiles.clear()
        self._file = self._lock = self._turn = self._term_file = -1
        self._failed = self._failed or "it is closed"

    # ---- whose turn it is -----------------------------------------------------------------

    @contextmanager
    def _locked(self) -> Iterator[None]:
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def _leader_term(self) -> int:
        return _term_of(os.pread(self._term_file, _TERM_BYTES, 0), self.folder)

    def _promote(self) -> None:
        leader = self._leader_term()
        if leader > self.term:
            raise StaleWriterError(f"term {self.term} is over: the leader's is {leader}")
        if not _is_taken(self._turn, self.term):
            raise BusyWriterError(self.name, self.term)
        os.pwrite(self._term_file, term_bytes(self.term), 0)
        os.fsync(self._term_file)

    def _check_turn(self, expected: int) -> None:
        leader = self._leader_term()
        if leader != self.term:
            raise StaleWriterError(f"term {self.term} is over: the leader's is {leader}")
        there = os.fstat(self._file).st_size
        if expected != self._size or there != self._end:
            raise StaleWriterError(
                f"the journal is not as this writer left it: {self._size} entries and "
                f"{self._end} bytes are known, {expected} expected, {there} bytes there"
            )

    # ---- the file ---------------------------------------------------------------------------

    def _write(self, batch: journal.Batch) -> None:
        if self._end >= self._bytes_max:
            os.fdatasync(self._file)
            os.close(self._file)
            self._begin(self._size)
        parts = [batch_header(batch, self._size, self.term), batch.frames]
        length = sum(map(len, parts))
        written = os.writev(self._file, parts)
        view = memoryview(b"".join(parts))[written:] if written < length else memoryview(b"")
        while view:
            view = view[os.write(self._file, view) :]
        self._end += length

    def _begin(self, first: int) -> None:
        path = self._segment(first)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        self._file = os.open(path, flags, 0o600)
        header = segment_header(first)
        os.write(self._file, header)
        os.fsync(self._file)
        _sync_folder(path.parent)
        self._end = len(header)

    def _recover(self) -> None:
        """Find the end of the last segment; cut off what a crash left behind it."""
        segments = self.segments()
        if segments and segments[-1][1].stat().st_size < SEGMENT.size:
            # The crash came between the file's making and its header.
            self._set_aside(segments.pop()[1], 0, "the last segment has no header")
        if not segments:
            self._begin(0)
            return
        first, path = segments[-1]
        data = _read(path)
        check_segment(data, first)
        offset, size = SEGMENT.size, first
        while offset < len(data):
            try:
                batch = read_batch(data, offset, size)
                for _ in entries_of(data, batch):
                    pass
            except DamageError as error:
                self._check_torn(data, offset, size, error)
                self._set_aside(path, offset, str(error))
                break
            offset, size = batch.end, size + batch.entries
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self._end, self._size = offset, size
        # Whoever wrote it may have been killed before its sync.
        self._is_synced = False

    def _check_torn(self, data: bytes, offset: int, size: int, error: DamageError) -> None:
        """Refuse damage that is followed by a sound batch: a crash damages the last append only."""
        if (begins := later_batch(data, offset, size)) is not None:
            raise AuditError(
                f"{error}; entry {begins} stands behind it, so this is no cut-off append"
            ) from error

    def _set_aside(self, path: Path, offset: int, why: str) -> None:
        data = _read(path)[offset:]
        aside = self.folder / "torn"
        aside.mkdir(exist_ok=True)
        name = f"{path.stem}-{offset}-{sha3_384(data).hex()[:16]}"
        with open(aside / name, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        _sync_folder(aside)
        if offset:
            with open(path, "r+b") as file:
                file.truncate(offset)
                os.fsync(file.fileno())
        else:
            path.unlink()
            _sync_folder(path.parent)
        self.recovered = (
            f"{len(data)} bytes of an append that was cut off were set aside as torn/{name}: {why}"
        )


def _is_taken(descriptor: int, term: int) -> bool:
    """Lock the byte whose place is the term, while the descriptor is open; whether nobody had it.

    A later leader has another byte: one that is away, and lives, is in nobody's way.
    """
    lock = _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, min(term, _PLACE_MAX), 1, 0)
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, lock)
    except BlockingIOError:
        return False
    return True


def term_bytes(term: int) -> bytes:
    """What the file of the leader's term holds."""
    number = term.to_bytes(8, "big")
    return number + zlib.crc32(number).to_bytes(4, "big")


def _term_of(data: bytes, folder: Path) -> int:
    if not data:
        return 0
    if zlib.crc32(data[:8]).to_bytes(4, "big") != data[8:]:
        raise AuditError(f"{folder / 'term'} is damaged")
    return int.from_bytes(data[:8], "big")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise WorldError(f"cannot read {path}: {error.strerror or error}") from error


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
