"""Ports: what the scheduler and its drivers ask of each other, as Protocols.

`world/*` implements or drives these; `app` chooses. Nothing here does anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from herz.model.effects import Effect
from herz.model.events import Event
from herz.model.record import Record


class Machine(Protocol):
    """The scheduler as its drivers see it: a state machine without I/O.

    Same construction, same calls in the same order: same effects and same records, byte for
    byte, in any process on any machine.
    """

    def apply(self, event: Event) -> None:
        """Take one event in. Decides nothing.

        Raises:
            ConfigError: the object is refused (the pod is parked with a condition instead
                where it can be; see docs/reference/events.md); the state is unchanged.
        """
        ...

    def step(self, now_ns: int, limit: int) -> list[Effect]:
        """Decide at most `limit` pods and give what is to be done about them, in order.

        Args:
            now_ns: the driver's time; never before an earlier call's or event's.
            limit: the bound, a count and never a duration; at least 1.

        Returns:
            Effects in the order in which they must be carried out; empty when nothing is
            ready.
        """
        ...

    @property
    def ready(self) -> int:
        """How many pods a step could decide now: the length of the active queue."""
        ...

    @property
    def held(self) -> Mapping[str, str]:
        """What room is taken for: node by the uid of each pod that is there, or on its way there.

        For checks; costs as many look-ups as pods.
        """
        ...


class RecordSink(Protocol):
    """Where each record goes, once, in order, before its effect leaves."""

    def append(self, record: Record, canonical: bytes, digest: bytes) -> None:
        """Keep the record.

        Args:
            record: the decision.
            canonical: its canonical JSON (RFC 8785), which is what was hashed.
            digest: SHA3-384 over `canonical`, 48 bytes.
        """
        ...


class Progress(Protocol):
    """Tells a person how far long work has come."""

    def advance(self, done: int, total: int, note: str) -> None:
        """Show that `done` of `total` units are done; `note` is one short phrase."""
        ...


MachineFactory = Callable[[int, Sequence[RecordSink]], Machine]
"""Makes a machine from a seed (the tie key of a simulated log) and the sinks of its records."""
