"""Events: everything that reaches a decision from outside, each with its own time.

The machine (`herz.ports.Machine`) is a state machine without I/O: a driver turns what it sees
(a watch event, a bind's answer) into one of these and calls `apply`. Nothing else may reach a
decision, which is what makes replay possible (ADR 0001).
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from herz.model.objects import KubernetesObject
from herz.model.outcomes import Outcome


class ObjectApplied(msgspec.Struct, frozen=True, tag="applied", kw_only=True):
    """An object exists in this form: added, or changed since it was last applied.

    Args:
        time_ns: when the driver saw it, in its own logical or monotonic nanoseconds.
        object: the whole object as it is now.
        unlisted: top-level fields of a pod's spec that this release does not know.
    """

    time_ns: int
    object: KubernetesObject
    unlisted: tuple[str, ...] = ()


class ObjectDeleted(msgspec.Struct, frozen=True, tag="deleted", kw_only=True):
    """An object is gone.

    Args:
        time_ns: when the driver saw it.
        object: its last known form; for pods only the uid is relied upon.
    """

    time_ns: int
    object: KubernetesObject


class OrderLimited(msgspec.Struct, frozen=True, tag="order", kw_only=True):
    """The driver measured that ordering takes too long: the next batch begins on this rung.

    The measurement stays outside; what it led to is an event, which replay obeys.

    Args:
        time_ns: when.
        rung: 1 to 3, of the next batch only.
    """

    time_ns: int
    rung: int


WorldEvent: TypeAlias = ObjectApplied | ObjectDeleted | Outcome
"""What the cluster tells."""
Event: TypeAlias = WorldEvent | OrderLimited
"""What reaches a decision: what the cluster tells, and what the driver measured."""
