"""A machine that decides only while its journal's proof mode allows it.

Signs a checkpoint when one is due. While too much is unsigned or unwitnessed for too long, a step
decides nothing, so that nothing is bound and nothing is logged; it asks to be woken again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from herz.commit.audit.exposure import CHECKPOINT_NS_MAX, Exposure, ProofMode
from herz.commit.audit.log import Log
from herz.model.effects import Effect, WakeAt
from herz.model.events import Event
from herz.ports import Machine

RETRY_NS: Final = CHECKPOINT_NS_MAX
"""How long after a refusal, or after a signer failed, it is asked again."""


class Guarded(Machine):
    """The machine (`herz.ports.Machine`), under a proof mode.

    Args:
        machine: one in a journal.
        log: the journal.
        mode: what is allowed.
        witnessed: entries that a quorum of witnesses has cosigned; None: there are no witnesses.
        now_ns: the driver's time.
    """

    def __init__(
        self, machine: Machine, log: Log, mode: ProofMode, *, witnessed: int | None, now_ns: int
    ) -> None:
        self._machine = machine
        self._log = log
        self._mode = mode
        self._has_witnesses = witnessed is not None
        self.exposure = Exposure(log.committed, log.signed, witnessed or 0, now_ns)
        self.refusal = ""
        """Why the last step decided nothing; empty where it did."""
        self.signer_error = ""
        """Why the signer could not sign when it was asked last; empty where it could."""
        self._tried_ns = now_ns - RETRY_NS

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
        self._machine.apply(event)

    def step(self, now_ns: int, limit: int) -> list[Effect]:
        """Decide, if the proof mode allows it.

        Returns:
            What the machine gives; or one wake-up, with the reason in `refusal`.

        Raises:
            WorldError: the journal cannot be written.
        """
        self._look(now_ns)
        self.refusal = self._mode.refusal(self.exposure, now_ns, has_witnesses=self._has_witnesses)
        if self.refusal:
            return [WakeAt(time_ns=now_ns + RETRY_NS)]
        effects = self._machine.step(now_ns, limit)
        self._look(now_ns)
        return effects

    def witnessed(self, size: int) -> None:
        """A quorum of witnesses has cosigned a checkpoint of that many entries."""
        self._has_witnesses = True
        self.exposure.witnessed(size)

    def _look(self, now_ns: int) -> None:
        """Take in what was committed and signed, and sign if it is time."""
        self.exposure.appended(self._log.committed, now_ns)
        self.exposure.signed(self._log.signed)
        is_time = now_ns - self._tried_ns >= RETRY_NS
        if self.exposure.is_checkpoint_due(now_ns) and (is_time or not self.signer_error):
            self._tried_ns = now_ns
            self.signer_error = self._log.try_to_sign()
            self.exposure.signed(self._log.signed)
