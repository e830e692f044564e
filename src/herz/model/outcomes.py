"""Outcomes: what the API answered to an effect. Events, too; apart, for who reads only answers."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from herz.model.effects import PatchClaim, PatchVolume


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


Outcome: TypeAlias = BindFinished | PatchRefused | RemovalRefused
"""What the API answered."""
