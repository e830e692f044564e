"""What a rule answers: codes, and the rejections that they stand for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Final


class Skip(Enum):
    """The answers of a preparation, and of `prescore`, that take a rule out for this pod."""

    SKIP = "skip"
    SKIP_NOW = "skip now"


SKIP: Final = Skip.SKIP
"""The rule has nothing to say to pods of this signature, whatever happens."""
SKIP_NOW: Final = Skip.SKIP_NOW
"""It has nothing to say until something changes that its `reads_prepare` names."""


class Kind(Enum):
    """What a rejection leads to."""

    UNFIT = "Unschedulable"
    """Preemption of lower-priority pods may help."""
    NEVER_FITS = "UnschedulableAndUnresolvable"
    """Nothing that preemption can do helps."""
    WAIT = "Pending"
    """Something outside must happen first; the event that brings it wakes the pod at once."""
    ERROR = "Error"
    """The rule failed; the attempt fails and the error back-off applies."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A rejection as a value: for all nodes when `prepare` returns it.

    Args:
        kind: what it leads to.
        plugin: the rule's name.
        reasons: its words, in order; never empty.
    """

    kind: Kind
    plugin: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Narrowed:
    """The answer of `prepare` that restricts a pod to named nodes.

    Args:
        names: the nodes' names, sorted; names without a node are passed over.
        state: what `filter` and `score` are given.
    """

    names: tuple[str, ...]
    state: Any


class ReasonBook:
    """Interns (kind, plugin, reasons) as the int16 codes that filters return; 0 is "fits".

    One book serves one framework. Codes are process-local: a record holds the words.
    """

    LIMIT: Final = 32_767
    """Bound: codes are int16."""

    def __init__(self) -> None:
        self._verdicts: list[Verdict | None] = [None]
        self._codes: dict[tuple[Kind, str, tuple[str, ...]], int] = {}

    def code(self, kind: Kind, plugin: str, reasons: tuple[str, ...]) -> int:
        """The code of this rejection, made on first sight.

        Raises:
            OverflowError: more than `LIMIT` different rejections; a rule puts data that has
                no bound (a pod's name, a quantity) into its reasons.
        """
        key = (kind, plugin, reasons)
        found = self._codes.get(key)
        if found is not None:
            return found
        assert reasons, f"{plugin} rejects without a reason"
        if len(self._verdicts) > self.LIMIT:
            raise OverflowError(f"{plugin}: more than {self.LIMIT} different rejections")
        self._verdicts.append(Verdict(kind, plugin, reasons))
        self._codes[key] = len(self._verdicts) - 1
        return self._codes[key]

    def verdict(self, code: int) -> Verdict:
        """The rejection that a non-zero code stands for."""
        verdict = self._verdicts[code]
        assert verdict is not None, "code 0 is no rejection"
        return verdict

    def __len__(self) -> int:
        return len(self._verdicts)
