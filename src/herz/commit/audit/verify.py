"""Verification: are the bytes of a journal what was written, in that order, and who vouches?

One pass over the entries: each is what its leaf commits to, in canonical form; records name the
one before them; starts go on where the last record ended; blobs have their digests; the tree over
the leaves has the roots of all checkpoints. The first entry at fault is named. What the machine
would have decided is another question (`replay`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, NoReturn

from herz.commit.audit.chain import NO_RECORD
from herz.commit.audit.checkpoint import Checkpoint, largest_first, parse_signed
from herz.commit.audit.entry import Content, Erasure, Key, Model, Start, State, opened, told
from herz.commit.audit.grouped import Group, grouped
from herz.commit.audit.rotation import check_key_change, followed
from herz.commit.audit.tree import (
    HASH_BYTES,
    TILE_WIDTH,
    Tile,
    TileHashes,
    Tree,
    peaks_of,
)
from herz.errors import AuditError
from herz.model.journal import Kind, Sealed, size_of
from herz.model.record import Record
from herz.ports import Journal

Judge = Callable[[bytes], str]
"""Says who vouches for a signed checkpoint, or raises AuditError."""

_LEAVES_AT_ONCE: Final = 16 * TILE_WIDTH


@dataclass(frozen=True, slots=True)
class Problem:
    """What does not verify.

    Args:
        entry: the first entry at fault; of a checkpoint, the first that it may be about.
        last: the last entry that it may be about.
        what: in words.
    """

    entry: int
    last: int
    what: str

    def __str__(self) -> str:
        if self.entry == self.last:
            return f"entry {self.entry}: {self.what}"
        return f"entries {self.entry} to {self.last}: {self.what}"


@dataclass(slots=True)
class Verified:
    """What a verification came to.

    Args:
        first: the first entry that was looked at.
        size: the entries that are there.
        records: records among those that were looked at.
        bytes: of their payloads.
        checkpoints: signed checkpoints whose roots are right.
        covered: entries that the last such checkpoint covers.
        vouched: entries that the last checkpoint covers for which somebody vouches.
        by: who.
        erased: (first, last, the entry that tells of it) of erased entries.
        cut: where the last append is cut off, in words; nobody was told that it is kept.
        follows: which log, whose key was stolen, this one takes the place of, and from where.
        problem: the first; None: everything verifies.
    """

    first: int = 0
    size: int = 0
    records: int = 0
    bytes: int = 0
    checkpoints: int = 0
    covered: int = 0
    vouched: int = 0
    by: str = ""
    erased: list[tuple[int, int, int]] = field(default_factory=list)
    cut: str = ""
    follows: str = ""
    problem: Problem | None = None


class Verification:
    """One verification.

    Args:
        journal: what is verified.
        first: the first entry to look at; the tree before it is taken from kept hashes, which
            the next checkpoint must confirm.
        end: the entry to stop before; None: all.
        since: a checkpoint from outside that the journal must not contradict.
        judge: says who vouches for a checkpoint; None: nobody is asked.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        first: int = 0,
        end: int | None = None,
        since: Checkpoint | None = None,
        judge: Judge | None = None,
    ) -> None:
        self._journal = journal
        self._first = first
        self._end = end
        self._since = since
        self._judge = judge
        self._tree = Tree()
        # The hashes of leaves that are not in the tree yet. Bound: `_LEAVES_AT_ONCE` and a group.
        self._leaves = bytearray()
        # The group that is looked at, and the first entry whose hash is not among those yet.
        self._group: Group | None = None
        self._given = first
        # Digest and number of the last record; None where they are not known.
        self._head: str | None = NO_RECORD if first == 0 else None
        self._sequence: int | None = 0 if first == 0 else None
        self._record_at = first
        self._origin = ""
        # By the origin that a checkpoint names, the size of the last one.
        self._origins: dict[str, int] = {}
        self._erased: list[int] = []
        self._erasures: list[tuple[int, int, int]] = []
        # The first entry whose kept hash is another, until a checkpoint decides which is right.
        self._suspect: int | None = None
        self._sound = first
        self.found = Verified(first=first)

    def run(self) -> Verified:
        """Verify, up to the first problem."""
        try:
            self._run()
        except _FoundError as found:
            self.found.problem = found.problem
        self.found.cut = self._journal.cut
        return self.found

    def _run(self) -> None:
        found = self.found
        roots = self._roots()
        self._tree = self._begun(roots)
        found.size = self._first
        for group in self._groups():
            digests = iter(group.digests)
            self._group, self._given = group, group.first
            for at, entry in enumerate(group.entries):
                digest = next(digests) if entry.leaf[1] == _RECORD else ""
                self._look(group.first + at, entry, digest, is_sound=at < group.sound)
                found.size += 1
                if found.size in roots:
                    self._grow(found.size)
                    for root, is_given in roots[found.size]:
                        self._compare(found.size, root, is_given=is_given)
            self._give(found.size)
            if len(self._leaves) >= _LEAVES_AT_ONCE * HASH_BYTES:
                self._grow()
        self._grow()
        if self._suspect is not None:
            self._fail(self._suspect, "it is not the entry whose hash the tree was made of")
        if self._end is None:
            self._check_end(roots)
        self._check_origins()
        self._check_erasures()
        self._vouch()

    # ---- entries ----------------------------------------------------------------------------

    def _groups(self) -> Iterator[Group]:
        try:
            yield from grouped(self._journal.read(self._first, self._end))
        except AuditError as error:
            index = getattr(error, "index", self.found.size)
            raise _FoundError(Problem(index, index, _without_place(error, index))) from error

    def _look(self, index: int, entry: Sealed, digest: str, *, is_sound: bool) -> None:
        """Look at one entry by itself, and at what it says of those before it.

        Args:
            index: which one.
            entry: the entry.
            digest: of a record's payload.
            is_sound: whether it is known to be what its leaf commits to.
        """
        if entry.is_erased:
            self._erased.append(index)
            if entry.leaf[1] == Kind.RECORD:
                self._head = None
                self._sequence = None if self._sequence is None else self._sequence + 1
            return
        try:
            kind, content = told(entry) if is_sound else opened(entry)
            self.found.bytes += len(entry.payload)
            if kind is Kind.RECORD:
                assert isinstance(content, Record), "as its kind says"
                self._link(index, content, digest)
            elif kind not in _PLAIN:
                self._check(index, content)
        except AuditError as error:
            self._fail(index, str(error))

    def _link(self, index: int, record: Record, digest: str) -> None:
        self.found.records += 1
        if self._sequence is not None and record.sequence != self._sequence + 1:
            what = f"record {record.sequence} follows record {self._sequence}"
            self._break(index, f"{what}: entries were removed, inserted or reordered")
        if self._head is not None and record.previous != self._head:
            what = f"record {record.sequence} names another record before it than is there"
            self._break(index, f"{what}: one of the two was changed")
        self._record_at = index
        self._sequence = record.sequence
        self._head = digest

    def _check(self, index: int, content: Content) -> None:
        match content:
            case Start():
                self._origin = content.origin
                for name, digest in (("policy", content.policy_blob), *content.models):
                    self._blob(digest, name)
                self._same(index, content.sequence, content.head)
            case State():
                self._blob(content.blob, "state")
                self._same(index, content.sequence, content.head)
            case Model():
                self._blob(content.blob, "model")
            case Key():
                if self._origin:  # Not known where the log's start was not looked at.
                    check_key_change(self._origin, content)
                    self._follow(content)
            case Erasure():
                self._erasures += [(*ends, index) for ends in content.ranges]
            case _:
                pass

    def _follow(self, content: Key) -> None:
        before = followed(content)
        if before is not None:
            self.found.follows = f"{before.origin}, after its first {before.size} entries"

    def _blob(self, digest: str, name: str) -> None:
        try:
            self._journal.get(digest)
        except AuditError as error:
            raise AuditError(f"its {name}: {error}") from error

    def _same(self, index: int, sequence: int, head: str) -> None:
        """A start or a state names the last record."""
        if self._sequence is not None and sequence != self._sequence:
            what = f"it follows record {sequence}, but record {self._sequence} is there"
            self._break(index, what)
        if self._head is not None and head != self._head:
            self._break(index, f"record {sequence} is another than it says")
        self._sequence, self._head = sequence, head

    def _check_erasures(self) -> None:
        told = sorted(self._erasures)
        begins = [first for first, _, _ in told]
        for index in self._erased:
            at = bisect_right(begins, index) - 1
            if at < 0 or told[at][1] < index:
                self._fail(index, "it is erased, and no entry tells of it")
            by = told[at][2]
            erased = self.found.erased
            if erased and erased[-1][1:] == (index - 1, by):
                erased[-1] = (erased[-1][0], index, by)
            else:
                erased.append((index, index, by))

    # ---- the tree ---------------------------------------------------------------------------

    def _roots(self) -> dict[int, list[tuple[bytes, bool]]]:
        """By size, the roots that checkpoints name, and whether somebody outside gave them."""
        roots: dict[int, list[tuple[bytes, bool]]] = {}
        try:
            for note in self._journal.notes():
                checkpoint = parse_signed(note)[0]
                roots.setdefault(checkpoint.size, []).append((checkpoint.root, False))
                self._origins[checkpoint.origin] = checkpoint.size
        except AuditError as error:
            self._fail(0, str(error))
        if self._since is not None:
            roots.setdefault(self._since.size, []).append((self._since.root, True))
            self._origins[self._since.origin] = self._since.size
        return roots

    def _check_origins(self) -> None:
        for origin, size in self._origins.items():
            if self._origin and origin != self._origin:
                what = f"a checkpoint is of the log {origin!r}, the entries are of {self._origin!r}"
                raise _FoundError(Problem(0, max(0, size - 1), what))

    def _begun(self, roots: dict[int, list[tuple[bytes, bool]]]) -> Tree:
        """The tree over what stands before the first entry."""
        if self._first == 0:
            return Tree()
        try:
            tree = Tree(self._first, peaks_of(TileHashes(self._tile, self._first), self._first))
        except AuditError as error:
            self._fail(self._first, f"the tree before it is not kept, begin with entry 0: {error}")
        for root, is_given in roots.get(self._first, ()):
            self._tree = tree
            self._compare(self._first, root, is_given=is_given)
        return tree

    def _tile(self, tile: Tile) -> bytes:
        return self._journal.read_hashes(tile.level, tile.index * TILE_WIDTH, tile.width)

    def _give(self, end: int) -> None:
        """Have the leaves of the group wait, up to the entry before `end`."""
        if self._group is None or end <= self._given:
            return
        begin = self._given - self._group.first
        self._leaves += self._group.hashes[
            begin * HASH_BYTES : (end - self._group.first) * HASH_BYTES
        ]
        self._given = end

    def _grow(self, end: int = 0) -> None:
        """Put the leaves that wait, and those before `end`, into the tree.

        Finds the first whose kept hash is another.
        """
        self._give(end)
        leaves, first = bytes(self._leaves), self._tree.size
        kept = self._journal.read_hashes(0, first, len(leaves) // HASH_BYTES)
        if self._suspect is None and not leaves.startswith(kept):
            self._suspect = first + next(
                at // HASH_BYTES
                for at in range(0, len(kept), HASH_BYTES)
                if kept[at : at + HASH_BYTES] != leaves[at : at + HASH_BYTES]
            )
        self._tree.extend(leaves)
        self._leaves.clear()

    def _compare(self, size: int, root: bytes, *, is_given: bool) -> None:
        if self._tree.root() == root:
            if self._suspect is not None:
                what = "the hash that is kept of it is damaged; the entry is sound"
                self._fail(self._suspect, what)
            self._sound = size
            self.found.covered = max(self.found.covered, size)
            self.found.checkpoints += not is_given
            return
        if self._suspect is not None:
            self._fail(self._suspect, "it was changed: its checkpoint has another root")
        whose = "the given checkpoint" if is_given else "the checkpoint"
        what = f"an entry was changed, or {whose} of {size} entries is another log's"
        raise _FoundError(Problem(self._sound, max(self._sound, size - 1), what))

    def _check_end(self, roots: dict[int, list[tuple[bytes, bool]]]) -> None:
        size = self.found.size
        largest = max(roots, default=0)
        if largest > size:
            what = f"a checkpoint covers {largest} entries, but {size} are there: some are missing"
            raise _FoundError(Problem(size, largest - 1, what))

    def _vouch(self) -> None:
        if self._judge is None:
            return
        for note in largest_first(self._journal.notes()):
            try:
                self.found.by = self._judge(note)
            except AuditError:
                continue
            self.found.vouched = min(size_of(note), self.found.size)
            return

    def _break(self, index: int, what: str) -> NoReturn:
        """An entry contradicts the last record: either may be at fault, or what is between."""
        self._grow(index + 1)
        if self._suspect is not None:
            self._fail(index, what)
        raise _FoundError(Problem(self._record_at, index, what))

    def _fail(self, index: int, what: str) -> NoReturn:
        self._grow(index + 1)
        if self._suspect is not None and self._suspect < index:
            index, what = self._suspect, f"it was changed: of entry {index}, {what}"
        raise _FoundError(Problem(index, index, what))


_PLAIN: Final = frozenset({Kind.INPUT, Kind.STEP, Kind.OUTCOME})
_RECORD: Final = Kind.RECORD.value


class _FoundError(Exception):
    """Ends a verification."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(str(problem))


def _without_place(error: AuditError, index: int) -> str:
    return str(error).removeprefix(f"entry {index}: ")
