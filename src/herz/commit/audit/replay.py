"""Replay: the inputs of a journal go to a machine, which must decide what the journal says.

What comes in: entries, and a factory of machines. What goes out: how many records are the same,
byte for byte, and the first that is not. Nothing is written, and no clock is read: the time is
what the entries say.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, cast

from herz.commit.audit.entry import Content, Model, Start, State, Step, opened, told
from herz.commit.audit.grouped import checked
from herz.errors import AuditError, ConfigError
from herz.model.events import Event
from herz.model.journal import Kind, Sealed
from herz.model.record import Record
from herz.ports import Machine, RecordSink

Make = Callable[[Start, Sequence[RecordSink]], Machine]
"""Makes the machine that a start tells of; refuses another engine."""
Take = Callable[[Machine], bytes | None]
"""Gives a machine's state; None where it cannot be taken now."""
Restore = Callable[[Machine, State], Machine]
"""Puts a state into a new machine."""
Adopt = Callable[[Machine, Model], None]
"""Puts the model of an entry in force."""
INPUTS: Final = (Kind.INPUT, Kind.OUTCOME)


@dataclass(frozen=True, slots=True)
class Difference:
    """A record, or the digest of a state, that replay does not give.

    Args:
        entry: the entry that stands at that place; where nothing stands there, the next one.
        logged: the journal's bytes; empty: the journal has no such record.
        replayed: what replay gives; empty: it gives none.
    """

    entry: int
    logged: bytes
    replayed: bytes


@dataclass(slots=True)
class Replayed:
    """What a replay came to.

    Args:
        inputs: events and answers that were applied.
        steps: how often the machine was asked to decide.
        records: how many are the same.
        states: how many states are the same.
        starts: how many machines there were.
        first: the first difference, where replay ends; None: there is none.
        lost: (first, last entry) of what cannot be recomputed, since an entry of it is erased.
        tail: records that replay gives beyond the end of the journal, which ends in a step.
    """

    inputs: int = 0
    steps: int = 0
    records: int = 0
    states: int = 0
    starts: int = 0
    first: Difference | None = None
    lost: list[tuple[int, int]] = field(default_factory=list)
    tail: int = 0


class Replay:
    """One pass over a journal.

    Args:
        make: makes machines.
        take: gives a machine's state, which must be the one that the journal names; None: states
            are passed over.
        restore: puts a state's bytes into a new machine; None: nothing begins with a state.
        adopt: puts a model in force; None: promotions are passed over.
    """

    def __init__(
        self,
        make: Make,
        take: Take | None = None,
        restore: Restore | None = None,
        adopt: Adopt | None = None,
    ) -> None:
        self._make = make
        self._adopt = adopt
        # The models that the running machine was given. Bound: the promotions of one machine.
        self._models: list[Model] = []
        self._take_state = take
        self._restore = restore
        self._start: Start | None = None
        self._machine: Machine | None = None
        # The first entry of a range that cannot be recomputed, while it lasts.
        self._lost: int | None = None
        # What the last step decided and no entry has been compared with yet.
        # Bound: the decisions of one step.
        self._made: deque[bytes] = deque()
        self.found = Replayed()

    @property
    def machine(self) -> Machine | None:
        """The machine, as it is after the entries that were read."""
        return self._machine

    def append(self, record: Record, canonical: bytes, digest: bytes) -> None:
        """Take a record from the machine (`herz.ports.RecordSink`)."""
        del record, digest
        self._made.append(canonical)

    def run(self, entries: Iterable[tuple[int, Sealed]]) -> Replayed:
        """Replay entries, up to the first difference.

        Raises:
            AuditError: an entry is not what its leaf commits to, or the journal does not begin
                with a start.
            ConfigError: an engine that is not this one decided.
        """
        found, last = self.found, 0
        for last, entry, is_sound in checked(entries):
            if entry.is_erased:
                self._lose(last)
                continue
            try:
                kind, content = told(entry) if is_sound else opened(entry)
            except AuditError as error:
                raise AuditError(f"entry {last}: {error}") from error
            if not self._take(last, kind, content, entry.payload):
                return found
        if self._lost is not None:
            self._found_again(last + 1)
        # A journal that was cut off may end inside a step.
        found.tail = len(self._made)
        return found

    def _take(self, index: int, kind: Kind, content: Content, payload: bytes) -> bool:
        """Replay one entry; whether to go on."""
        if kind is Kind.START:
            assert isinstance(content, Start), "as its kind says"
            self._begin(index, content)
        if kind is Kind.STATE and self._lost is not None and self._restore is not None:
            assert isinstance(content, State), "as its kind says"
            self._found_again(index)
            self.begin_with(content, models=tuple(self._models))
            return True
        if kind is Kind.MODEL and not self._made:
            assert isinstance(content, Model), "as its kind says"
            self._promote(content)
            return True
        if self._lost is not None:
            return True
        if kind is Kind.RECORD:
            return self._compare(index, payload)
        if self._made:
            self.found.first = Difference(index, b"", self._made.popleft())
            return False
        if kind is Kind.STEP:
            assert isinstance(content, Step), "as its kind says"
            self.found.steps += 1
            self._running(index).step(content.now_ns, content.limit)
        elif kind is Kind.STATE and self._take_state is not None:
            assert isinstance(content, State), "as its kind says"
            return self._compare_state(index, content)
        elif kind in INPUTS:
            self.found.inputs += 1
            # The machine refused it then, and does now: its state is unchanged.
            with suppress(ConfigError):
                self._running(index).apply(cast(Event, content))
        return True

    def begin_with(
        self, state: State, start: Start | None = None, models: Sequence[Model] = ()
    ) -> None:
        """Go on from a state.

        Args:
            state: the state.
            start: of its machine, where it is not the last one that was read.
            models: what was put in force between the two, in order.

        Raises:
            AuditError: the state is not there, or is damaged.
        """
        self._start = start or self._start
        assert self._restore is not None, "who asks gave it"
        if self._start is None:
            raise AuditError("no machine has begun before the state")
        self._machine = self._make(self._start, (self,))
        self._models.clear()
        for model in models:
            self._promote(model)
        self._machine = self._restore(self._machine, state)

    def _promote(self, model: Model) -> None:
        self._models.append(model)
        if self._adopt is not None and self._machine is not None:
            self._adopt(self._machine, model)

    def _compare_state(self, index: int, state: State) -> bool:
        assert self._take_state is not None, "asked before"
        data = self._take_state(self._running(index))
        found = "" if data is None else hashlib.sha3_384(data).hexdigest()
        if found != state.blob:
            self.found.first = Difference(index, state.blob.encode(), found.encode())
            return False
        self.found.states += 1
        return True

    def _begin(self, index: int, start: Start) -> None:
        self.found.starts += 1
        self._found_again(index)
        self._start = start
        self._models.clear()
        self._machine = self._make(start, (self,))

    def _compare(self, index: int, logged: bytes) -> bool:
        made = self._made.popleft() if self._made else b""
        if made != logged:
            self.found.first = Difference(index, logged, made)
            return False
        self.found.records += 1
        return True

    def _lose(self, index: int) -> None:
        if self._lost is None:
            self._lost, self._machine = index, None
            self._made.clear()

    def _found_again(self, index: int) -> None:
        if self._lost is not None:
            self.found.lost.append((self._lost, index - 1))
        self._lost = None

    def _running(self, index: int) -> Machine:
        if self._machine is None:
            raise AuditError(f"entry {index}: no machine has begun before it")
        return self._machine
