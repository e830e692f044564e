"""The last things that happened in a run, kept for the message of a violated checker."""

from __future__ import annotations

from collections import deque
from typing import NoReturn

from herz.errors import InvariantError
from herz.model.effects import Bind
from herz.model.objects import Node, Pod
from herz.model.outcomes import BindFinished

BRIEF_MAX = 240
"""Characters shown of one effect: messages of refused pods are long."""


class History:
    """The last things that happened, for the message of a violated checker.

    Args:
        scenario: its name.
        seed: of the run.
        entries_max: how many are kept.
    """

    def __init__(self, scenario: str, seed: int, entries_max: int) -> None:
        self._title = f"scenario {scenario}, seed {seed}"
        # Bound: `entries_max`.
        self._entries: deque[tuple[int, object]] = deque(maxlen=entries_max)

    def add(self, time_ns: int, thing: object) -> None:
        """Keep an event or an effect; it is written out only when something is wrong."""
        self._entries.append((time_ns, thing))

    def fail(self, what: str) -> NoReturn:
        """Raise the error that shows what is wrong, and what came before."""
        lines = [f"  {time_ns} {_brief(thing)}" for time_ns, thing in self._entries]
        text = "\n".join(lines) or "  (nothing)"
        raise InvariantError(f"{what} ({self._title}); the last events:\n{text}")


def _brief(thing: object) -> str:
    """One line on an event or effect."""
    if isinstance(thing, BindFinished | Bind):
        return str(thing)
    subject = getattr(thing, "object", None)
    if isinstance(subject, Pod):
        place = subject.spec.node_name or "no node"
        phase = f"{subject.status.phase}{' deleting' if subject.is_terminating else ''}"
        meta = subject.metadata
        return f"{type(thing).__name__} pod {meta.key} {meta.uid}, {place}, {phase}"
    if isinstance(subject, Node):
        return f"{type(thing).__name__} node {subject.name} v{subject.metadata.resource_version}"
    return str(thing)[:BRIEF_MAX]
