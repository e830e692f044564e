"""A journal that is gone on with: what is in it is computed once more, compared, and not written.

A run that follows from its inputs alone, as a simulation does, is begun anew after a kill. Its
first entries must be those that are there, byte for byte; what comes after them is appended. So
the journal is in the end the one that an undisturbed run would have written, and that the first
process decided what it recorded is shown on the way.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from herz.commit.audit.entry import Start, check_commitment, leaf_kind, opened
from herz.commit.audit.log import Log, Notary, Salts
from herz.errors import AuditError, ConfigError
from herz.model.journal import Kind, Sealed
from herz.ports import Store, Sync

_TOLD: Final = frozenset({Kind.KEY, Kind.ERASURE, Kind.HOLD})
"""What people put into a journal between two runs: no run says it again."""


class ResumedLog(Log):
    """A journal's writer (`Log`) for a run that is done again from its beginning.

    Args:
        store: where it is kept.
        salts: gives random bytes.
        origin: the log's name.
        notary: signs checkpoints; None: there are none.

    Raises:
        AuditError: the store's entries contradict its last checkpoint, or the first is no start.
        ConfigError: nothing is there to go on with, or it is of another log.
    """

    def __init__(
        self, store: Store, salts: Salts, origin: str, notary: Notary | None = None
    ) -> None:
        super().__init__(store, salts, origin, notary)
        self.repeated = 0
        """How many entries were there, and the same."""
        self._there: Iterator[tuple[int, Sealed]] | None = store.read()
        self.start = self._first(origin)

    @property
    def recovered(self) -> str:
        """What had to be mended before the run began."""
        return self.start.recovered

    def last_record(self) -> tuple[int, str]:
        """Number and digest of the record before the run: its own are decided once more."""
        return self.start.sequence, self.start.head

    def add(self, kind: Kind, payload: bytes) -> int:
        """Add an entry, or see that it is there; its index.

        Raises:
            AuditError: what is there is damaged.
            ConfigError: something else is there, or it is erased.
            WorldError: the store has failed.
        """
        found = self._next_there()
        if found is None:
            return super().add(kind, payload)
        index, entry = found
        if entry.is_erased:
            fix = "begin a new journal: what is erased cannot be compared"
            raise ConfigError(f"entry {index} is erased", where="--journal", fix=fix)
        check_commitment(entry)
        if leaf_kind(entry.leaf) is not kind or entry.payload != payload:
            raise _another_run(f"its entry {index} is not what this run says")
        self.repeated += 1
        return index

    def check_end(self) -> None:
        """See that the run said all that was there.

        Raises:
            ConfigError: it ended before.
        """
        left = self._next_there()
        if left is not None:
            raise _another_run(f"entry {left[0]} stands behind the end of this run")

    def commit(self, *, sync: bool = True) -> None:
        """Keep what was added; see `Log.commit`."""
        if self._there is None:
            super().commit(sync=sync)

    def begin(self, *, sync: bool) -> Sync | None:
        """Begin to keep what was added; see `Log.begin`."""
        return None if self._there is not None else super().begin(sync=sync)

    def _next_there(self) -> tuple[int, Sealed] | None:
        """The next entry that a run says; None once all that are there were said."""
        while self._there is not None:  # Bound: the journal's length.
            found = next(self._there, None)
            if found is None:
                self._there = None
            elif found[1].leaf[1] not in _TOLD:
                return found
        return None

    def _first(self, origin: str) -> Start:
        index, entry = next(self.store.read(), (0, None))
        if entry is None:
            fix = "leave --resume out"
            raise ConfigError("nothing is there to go on with", where="--journal", fix=fix)
        start = opened(entry)[1]
        if not isinstance(start, Start):
            raise AuditError(f"entry {index} is no start")
        if start.origin != origin:
            fix = "give the key that it was begun with, or none if it had none"
            where, value = "--key", start.origin
            raise ConfigError("the journal has another name", where=where, value=value, fix=fix)
        return start


def _another_run(what: str) -> ConfigError:
    fix = "give the scenario, policy, seed and options that it was begun with, to the same engine"
    return ConfigError(f"the journal is of another run: {what}", where="--journal", fix=fix)
