"""A machine that decides only while its journal's proof mode allows it.

Signs a checkpoint when one is due. While too much is unsigned or unwitnessed for too long, a step
decides nothing, so that nothing is bound and nothing is logged; it asks to be woken again. Which
mode is in force is an entry, and so is each step back of the driver's clock: the machine is told
the latest time that it was ever told, for its time never goes back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from herz import signals
from herz.commit.audit.entry import Clock, Mode
from herz.commit.audit.exposure import CHECKPOINT_NS_MAX, Exposure, ProofMode
from herz.commit.audit.log import Log
from herz.model.effects import Effect, WakeAt
from herz.model.events import Event
from herz.ports import Deferring, Machine, Sync

RETRY_NS: Final = CHECKPOINT_NS_MAX
"""How long after a refusal, or after a signer failed, it is asked again."""


class Guarded(Deferring):
    """The machine (`herz.ports.Machine`), under a proof mode.

    Args:
        machine: one in a journal.
        log: the journal.
        mode: what is allowed.
        witnessed: entries that a quorum of witnesses has cosigned; None: there are no witnesses.
        now_ns: the driver's time.
        told_ns: the latest time in the journal, where another machine was told it.
    """

    def __init__(
        self,
        machine: Machine,
        log: Log,
        mode: ProofMode,
        *,
        witnessed: int | None,
        now_ns: int,
        told_ns: int = 0,
    ) -> None:
        self._machine = machine
        # Asked once: such a check reads every property, and `held` costs as much as there are pods.
        self._deferring = machine if isinstance(machine, Deferring) else None
        self._log = log
        self._mode = mode
        self._has_witnesses = witnessed is not None
        self.exposure = Exposure(log.committed, log.signed, witnessed or 0, now_ns)
        self.refusal = ""
        """Why the last step decided nothing; empty where it did."""
        self.signer_error = ""
        """Why the signer could not sign when it was asked last; empty where it could."""
        self._tried_ns = now_ns - RETRY_NS
        self._told_ns = told_ns
        # Whether the clock is behind what was told: one step back is one entry.
        self._is_behind = False
        self.clock_steps = 0
        """How often the driver's clock stepped back."""

    @property
    def ready(self) -> int:
        """See `herz.ports.Machine.ready`."""
        return self._machine.ready

    @property
    def held(self) -> Mapping[str, str]:
        """See `herz.ports.Machine.held`."""
        return self._machine.held

    def apply(self, event: Event) -> None:
        """See `herz.ports.Machine.apply`."""
        now_ns = self._on_time(event.time_ns)
        self._machine.apply(event if now_ns == event.time_ns else replace(event, time_ns=now_ns))

    def step(self, now_ns: int, limit: int) -> list[Effect]:
        """Decide, if the proof mode allows it.

        Returns:
            What the machine gives; or one wake-up, with the reason in `refusal`.

        Raises:
            WorldError: the journal cannot be written.
        """
        now_ns = self._on_time(now_ns)
        if self._refuses(now_ns):
            return [WakeAt(time_ns=now_ns + RETRY_NS)]
        effects = self._machine.step(now_ns, limit)
        self.tend(now_ns)
        return effects

    def decide(self, now_ns: int, limit: int) -> tuple[list[Effect], Sync | None]:
        """See `herz.ports.Deferring`; as `step`, if the proof mode allows it.

        Raises:
            WorldError: the journal cannot be written.
        """
        if self._deferring is None:
            return self.step(now_ns, limit), None
        now_ns = self._on_time(now_ns)
        if self._refuses(now_ns):
            return [WakeAt(time_ns=now_ns + RETRY_NS)], None
        effects, sync = self._deferring.decide(now_ns, limit)
        self.tend(now_ns)
        return effects, sync

    def rest(self) -> None:
        """See `herz.ports.Deferring`.

        Raises:
            WorldError: the journal cannot be written.
        """
        if self._deferring is not None:
            self._deferring.rest()

    def _refuses(self, now_ns: int) -> bool:
        self.tend(now_ns)
        self.refusal = self._mode.refusal(self.exposure, now_ns, has_witnesses=self._has_witnesses)
        return bool(self.refusal)

    def witnessed(self, size: int) -> None:
        """A quorum of witnesses has cosigned a checkpoint of that many entries."""
        self._has_witnesses = True
        self.exposure.witnessed(size)

    @property
    def mode(self) -> ProofMode:
        """The proof mode in force."""
        return self._mode

    def switch(self, mode: ProofMode, *, actor: str, reason: str, now_ns: int) -> int:
        """Put another proof mode in force, and say so; the index of the entry that does.

        Raises:
            WorldError: the journal cannot be written: the old mode stays.
        """
        now_ns = self._on_time(now_ns)
        told = Mode(actor=actor, mode=mode.name, reason=reason, time_ns=now_ns)
        index = self._log.write(told)
        self._log.commit()
        self._mode = mode
        return index

    def figures(self, now_ns: int) -> dict[str, float]:
        """What a metrics exporter shows: names of `herz.signals` and values, as they are now."""
        self.tend(now_ns)
        unsigned, unwitnessed = self.exposure.unsigned(now_ns), self.exposure.unwitnessed(now_ns)
        return {
            signals.AUDIT_UNSIGNED_ENTRIES: unsigned.entries,
            signals.AUDIT_UNSIGNED_SECONDS: unsigned.age_ns / 1e9,
            signals.AUDIT_UNWITNESSED_ENTRIES: unwitnessed.entries,
            signals.AUDIT_UNWITNESSED_SECONDS: unwitnessed.age_ns / 1e9,
            signals.AUDIT_CLOCK_STEPS: self.clock_steps,
        }

    def _on_time(self, now_ns: int) -> int:
        """The time that the machine is told; an entry says where the clock stepped back."""
        if now_ns >= self._told_ns:
            self._told_ns, self._is_behind = now_ns, False
        elif not self._is_behind:
            self._is_behind = True
            self.clock_steps += 1
            self._log.write(Clock(now_ns=now_ns, told_ns=self._told_ns))
        return self._told_ns

    def tend(self, now_ns: int) -> None:
        """Take in what was committed and signed, and sign if it is time, also between two steps.

        Raises:
            WorldError: the journal cannot be written.
        """
        self.exposure.appended(self._log.committed, now_ns)
        self.exposure.signed(self._log.signed)
        is_time = now_ns - self._tried_ns >= RETRY_NS
        if self.exposure.is_checkpoint_due(now_ns) and (is_time or not self.signer_error):
            self._tried_ns = now_ns
            self.signer_error = self._log.try_to_sign()
            self.exposure.signed(self._log.signed)
