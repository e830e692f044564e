"""Events: everything that reaches a decision from outside, each with its own time.

The machine (`herz.ports.Machine`) is a state machine without I/O: a driver turns what it sees
(a watch event, a bind's answer) into one of these and calls `apply`. Nothing else may reach a
decision, which is what makes replay possible (ADR 0001).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from herz.model.effects import PatchClaim, PatchVolume
from herz.model.objects import KubernetesObject


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


class BindOutcome(StrEnum):
    """What the API answered to a Bind."""

    BOUND = "bound"
    """The API holds the pod on the node."""
    REFUSED = "refused"
    """The API did not and will not do it: the reservation is released, the pod tries again."""
    UNKNOWN = "unknown"
    """A time-out or a 5xx: the reservation is held until the driver has read the pod again and
    answers `bound` or `refused`, or the pod is seen with a node."""


class BindFinished(msgspec.Struct, frozen=True, tag="bind", kw_only=True):
    """The answer to a `Bind` effect.

    Args:
        time_ns: when the answer came.
        uid: the pod's uid.
        decision: the sequence of the record that decided the bind.
        outcome: bound, refused or unknown.
        message: the API's own words; empty when bound.
        resource_version: of the pod that the API confirmed.
        code: the HTTP status that refused it, or failed.
        resolved: where an unknown answer was found out later: by reading the pod again (`read`),
            or by another process than the one that had asked (`restart`).

    The last three are for the journal, and decide nothing; unset, they are in no entry.
    """

    time_ns: int
    uid: str
    decision: int
    outcome: BindOutcome
    message: str = ""
    resource_version: str | UnsetType = UNSET
    code: int | UnsetType = UNSET
    resolved: Literal["read", "restart"] | UnsetType = UNSET


class RemovalRefused(msgspec.Struct, frozen=True, tag="removal", kw_only=True):
    """The API refused a `DeletePod` or an `Evict`: the pod stays.

    Args:
        time_ns: when the answer came.
        uid: the pod's uid.
        message: the API's own words.
        code: the HTTP status; for the journal.
    """

    time_ns: int
    uid: str
    message: str = ""
    code: int | UnsetType = UNSET


class PatchRefused(msgspec.Struct, frozen=True, tag="patch", kw_only=True):
    """The API did not and will not carry out a `PatchClaim` or `PatchVolume`.

    A patch that landed has no answer of its own: the object shows it.

    Args:
        time_ns: when the answer came.
        effect: what was asked.
        message: the API's own words.
        code: the HTTP status; for the journal.
    """

    time_ns: int
    effect: PatchClaim | PatchVolume
    message: str
    code: int | UnsetType = UNSET


class OrderLimited(msgspec.Struct, frozen=True, tag="order", kw_only=True):
    """The driver measured that ordering takes too long: the next batch begins on this rung.

    The measurement stays outside; what it led to is an event, which replay obeys.

    Args:
        time_ns: when.
        rung: 1 to 3, of the next batch only.
    """

    time_ns: int
    rung: int


WorldEvent: TypeAlias = ObjectApplied | ObjectDeleted | BindFinished | PatchRefused | RemovalRefused
"""What the cluster tells."""
Event: TypeAlias = WorldEvent | OrderLimited
"""What reaches a decision: what the cluster tells, and what the driver measured."""
