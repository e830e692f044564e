"""A machine in a journal: what reaches it and what it decides is on the disk before effects leave.

Inputs are added before they are applied, records as they are sealed; a step ends with one commit.
If that fails, the step gives no effects, and neither does any later one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Final, Protocol

from herz.commit.audit.entry import Content, Model, Start, State, Step
from herz.commit.audit.log import Log
from herz.commit.audit.projection import projected
from herz.errors import WorldError
from herz.model.effects import Effect, WakeAt
from herz.model.events import Event
from herz.model.journal import Kind
from herz.model.record import Record
from herz.ports import Machine, RecordSink, Sync

Take = Callable[[Machine], bytes | None]
"""Gives a machine's state; None where it cannot be taken now."""
STATE_EVERY: Final = 10_000
"""Any decision is had again within 10 s at 5,000 nodes: `python -m bench journal-explain`."""

OVERDUE: Final = 2
"""How many times as many decisions a driver that never rests is let make from state to state."""


class Force(Protocol):
    """Which models decide in a machine, and which one is on trial."""

    @property
    def digest(self) -> str:
        """Of the policy, as records name it."""

    @property
    def candidate(self) -> bytes:
        """The file of the model on trial; empty: there is none."""

    @property
    def models(self) -> Sequence[bytes]:
        """The files of the models that decide."""

    def adopt(self, machine: Machine, data: bytes) -> None:
        """Put a model in force between two steps; one that is in force changes nothing.

        Raises:
            ConfigError: it is no model.
        """


class Journaled:
    """The machine (`herz.ports.Machine`), with a journal.

    Args:
        log: the journal.
        start: what the machine is made of.
        make: makes it; its records go to the sinks.
        sinks: who else gets the records.
        take: gives the machine's state, or None where it cannot be taken now; None: none is ever.
        state_every: decisions from one state to the next, or a little more.
        annotations: keys of annotations that rules read, beside those that all may
            (`projection`).
        force: puts models in force; None: none ever is.
        is_acting: whether effects leave; where none does, none waits for the disk.
    """

    def __init__(
        self,
        log: Log,
        start: Start,
        make: Callable[[Sequence[RecordSink]], Machine],
        sinks: Sequence[RecordSink] = (),
        *,
        take: Take | None = None,
        state_every: int = STATE_EVERY,
        annotations: Collection[str] = (),
        force: Force | None = None,
        is_acting: bool = True,
    ) -> None:
        self._log = log
        self._is_acting = is_acting
        self.force = force
        self._annotations = frozenset(annotations)
        self._take = take
        self._state_every = state_every
        self._sequence, self._head = start.sequence, start.head
        self._state_at = start.sequence
        # The last record that a deferred sync covers.
        self._synced = start.sequence
        log.write(start)
        log.commit()
        self._machine = make((self, *sinks))

    @property
    def log(self) -> Log:
        """The journal."""
        return self._log

    @property
    def ready(self) -> int:
        """See `herz.ports.Machine.ready`."""
        return self._machine.ready

    @property
    def held(self) -> Mapping[str, str]:
        """See `herz.ports.Machine.held`."""
        return self._machine.held

    def apply(self, event: Event) -> None:
        """Take one event in, as far as rules read it; in the journal, too, if it is refused.

        Raises:
            ConfigError: the machine refuses the object.
            WorldError: the journal cannot be written.
        """
        event = projected(event, self._annotations)
        self._log.write(event)
        self._machine.apply(event)

    def step(self, now_ns: int, limit: int) -> list[Effect]:
        """Decide; the effects may leave, for what led to them is on the disk.

        Raises:
            WorldError: the journal cannot be written: nothing may be bound.
        """
        effects = self._decided(now_ns, limit)
        if self._is_acting:
            self._log.commit(sync=_leave(effects))
        elif not self._log.store.is_behind:
            self._log.begin(sync=False)
        self._keep_state_in_time(1)
        return effects

    def decide(self, now_ns: int, limit: int) -> tuple[list[Effect], Sync | None]:
        """See `herz.ports.Deferring`: what must be on the disk is what was decided.

        Effects that follow from answers alone, such as the event of a bind, wait for no disk: the
        decision behind them is on it. They wait for the store to take what led to them, for what a
        leader that was replaced tells must not leave. Where nothing leaves, nothing is waited for:
        what a store that is behind has not begun is kept with what comes next.

        Raises:
            WorldError: the journal cannot be written: nothing may be bound.
        """
        effects = self._decided(now_ns, limit)
        is_leaving, kept = _leave(effects), None
        if is_leaving or not self._log.store.is_behind:
            kept = self._log.begin(sync=is_leaving and self._sequence != self._synced)
        self._keep_state_in_time(OVERDUE)
        if not is_leaving:
            return effects, None
        self._synced = self._sequence
        return effects, kept

    def _decided(self, now_ns: int, limit: int) -> list[Effect]:
        self._log.write(Step(limit=limit, now_ns=now_ns))
        try:
            return self._machine.step(now_ns, limit)
        except BaseException:
            # A bug of ours: what led to it is kept, so that it can be had again.
            with suppress(WorldError):
                self._log.commit()
            raise

    def rest(self) -> None:
        """See `herz.ports.Deferring`: a state that is due is taken.

        Raises:
            WorldError: the journal cannot be written.
        """
        if self._keep_state_in_time(1):
            self._log.begin(sync=False)

    def _keep_state_in_time(self, factor: int) -> bool:
        """Take a state where so many times as many decisions as asked were made; whether it was."""
        is_due = self._sequence - self._state_at >= self._state_every * factor
        return is_due and self.keep_state()

    def keep_state(self) -> bool:
        """Put the machine's state into the journal, if it can be taken now; whether it could.

        Raises:
            WorldError: the journal cannot be written.
        """
        data = None if self._take is None else self._take(self._machine)
        if data is None:
            return False
        blob = self._log.store.put(data)
        self._log.write(State(blob=blob, head=self._head, sequence=self._sequence))
        self._state_at = self._sequence
        return True

    def promote(self, data: bytes, *, name: str, actor: str, reason: str, time_ns: int) -> None:
        """Put a model in force, from the next step on; who did it and why is in the journal.

        A model that is in force already stays: the entry says that it was judged, and why.

        Args:
            data: the model's file.
            name: the model's digest.
            actor: who.
            reason: why.
            time_ns: when, by the driver's clock.

        Raises:
            ConfigError: it is no model; the journal is as it was.
            WorldError: the journal cannot be written: the model may be in force, but nothing
                that it decides leaves.
        """
        assert self.force is not None, "who promotes said how"
        blob = self._log.store.put(data)
        self.force.adopt(self._machine, data)
        self._log.write(Model(actor=actor, blob=blob, name=name, reason=reason, time_ns=time_ns))
        self._log.commit()

    def tell(self, content: Content) -> int:
        """Put something into the journal that is no input: the index of its entry."""
        index = self._log.write(content)
        self._log.commit()
        return index

    def append(self, record: Record, canonical: bytes, digest: bytes) -> None:
        """Take a record from the chain (`herz.ports.RecordSink`)."""
        self._sequence, self._head = record.sequence, digest.hex()
        self._log.add(Kind.RECORD, canonical)

    def close(self) -> None:
        """End the journal: everything is on the disk and, where there is a signer, signed."""
        self._log.commit()
        self._log.sign()


def _leave(effects: Sequence[Effect]) -> bool:
    """Whether anything leaves: a wake-up is the driver's own, and changes nothing outside."""
    return any(type(effect) is not WakeAt for effect in effects)
