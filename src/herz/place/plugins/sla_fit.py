"""SLAFit: nodes where promises will be kept; the pod's own, and those of who is there already.

Filters the nodes where the pod's own promise is less likely to hold than its class wants
(`below: prefer`; the rule gives way where there is no other), and scores by what all promises lose
by the placement. `SLARefuse` is the filter of classes with `below: refuse`, and does not give way.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import msgspec
import numpy as np

from herz.config.policy import Policy
from herz.errors import ConfigError
from herz.knowledge.sla.classes import CLASS_LABEL
from herz.knowledge.sla.state import WHOLE
from herz.model.podinfo import PodInfo
from herz.model.record import Promise
from herz.model.service_levels import SLAClassSpec
from herz.place.plugins.arguments import Arguments, read_arguments
from herz.place.plugins.sla_classes import Classes, SLAClasses
from herz.place.promises import Question, Risks
from herz.plugin import (
    FINE_SCORE_MAX,
    SCORE_MAX,
    SKIP_NOW,
    Codes,
    EventKind,
    Filter,
    Hint,
    Hints,
    Int64s,
    Kind,
    Mode,
    Reads,
    ReasonBook,
    Rows,
    Score,
    View,
)

REASON: Final = "node(s) where the pod's promise is at risk"
UNIT: Final = 10
"""The weight of a broken promise that costs all points, on the scale of 0 to 100."""


class PromiseArguments(Arguments, frozen=True):
    """What a rule about promises is given.

    Args:
        classes: by name, what an SLAClass object has under `spec`.
        model: the model's file, or several; a file of a policy names them, and their content
            becomes `modelData`.
        model_data: the models, in base64, in the same order; empty: the file could not be read.
        candidate: the file of a model on trial: it is asked and recorded, and decides nothing.
        candidate_data: that model, in base64.
        fine: whether `SLAFit` is the policy's only score, and may tell smaller differences.
    """

    classes: dict[str, Any] = msgspec.field(default_factory=dict)
    model: str | tuple[str, ...] = ""
    model_data: str | tuple[str, ...] | None = None
    candidate: str = ""
    candidate_data: str = ""
    fine: bool = False


class _Promising(Filter, Hints):
    """What both rules share; `below` says whose promises they filter for."""

    reads: ClassVar[Reads] = Reads.SIGNALS | Reads.REQUESTED | Reads.ALLOCATABLE | Reads.LABELS
    reads_all: ClassVar[Reads] = Reads.NOTHING
    reads_prepare: ClassVar[Reads] = Reads.NAMESPACES | Reads.PROMISES
    below: ClassVar[str]

    def __init__(self, args: Mapping[str, Any], reasons: ReasonBook) -> None:
        given = read_arguments(self.name, args, PromiseArguments)
        self._classes = Classes(given.classes, self.name)
        self._code = reasons.code(Kind.NEVER_FITS, self.name, (REASON,))
        self.risks = _risks(given)

    def renew(self, args: Mapping[str, Any]) -> None:
        """Other models are in force, or on trial, from now on; all else is as it was."""
        self.risks = _risks(read_arguments(self.name, args, PromiseArguments))

    def sign(self, pod: PodInfo) -> object:
        """Class, namespace and labels, which choose the profile, and what it asks."""
        labels = pod.pod.metadata.labels
        return (
            *(labels.get(CLASS_LABEL, ""), pod.namespace, dict(sorted(labels.items()))),
            *(pod.requests.get("cpu", 0), pod.requests.get("memory", 0)),
        )

    def prepare(self, pod: PodInfo, view: View) -> Any:
        """The question, where the pod's class wants such nodes refused."""
        own = self._own(pod, view)
        if own is None or own[1].below != self.below:
            return SKIP_NOW
        return self.risks.question(pod, own, view)

    def filter(self, state: Question, view: View, rows: Rows) -> Codes:
        """The code where the promise is less likely to hold than the class wants."""
        assert state.own.spec is not None, "who filters has a class"
        least = state.own.spec.minimum_probability_basis_points
        found = self.risks.own(state, view, rows).probability
        return np.where(found < least, self._code, 0).astype(np.int16)

    def hints(self) -> Mapping[EventKind, Hint | None]:
        """Whatever may change a node's load, or what is known of it."""
        return {
            EventKind.NODE_ADD: None,
            EventKind.NODE_UPDATE: None,
            EventKind.ASSIGNED_POD_DELETE: None,
            EventKind.ASSIGNED_POD_UPDATE: None,
            EventKind.OBJECT_ADD: None,
            EventKind.OBJECT_UPDATE: None,
            EventKind.OBJECT_DELETE: None,
            EventKind.UNSCHEDULED_POD_UPDATE: None,
        }

    def _own(self, pod: PodInfo, view: View) -> tuple[str, SLAClassSpec] | None:
        found = self._classes.of(pod, view)
        if found is None or not isinstance(found[1], SLAClassSpec):
            return None
        return found[0], found[1]


class SLARefuse(_Promising):
    """The filter of classes with `below: refuse`."""

    name: ClassVar[str] = "SLARefuse"
    below: ClassVar[str] = "refuse"


class SLAFit(_Promising, Score):
    """The filter of classes with `below: prefer`, and the score of all pods."""

    name: ClassVar[str] = "SLAFit"
    below: ClassVar[str] = "prefer"
    modes: ClassVar[tuple[Mode, ...]] = (Mode.PREFER, Mode.REFUSE)

    def prepare_score(self, pod: PodInfo, view: View) -> Question:
        """The question, also of a pod that promises nothing: it may disturb others."""
        return self.risks.question(pod, self._own(pod, view), view)

    def score(self, state: Question, view: View, rows: Rows) -> Int64s:
        """What is left of 100 when what promises lose is taken off."""
        lost = self.risks.losses(state, view, rows)
        points: Int64s = np.maximum(SCORE_MAX - lost * SCORE_MAX // (UNIT * WHOLE), 0)
        return points

    def tell(self, state: Question, view: View, rows: Int64s) -> tuple[Promise, ...]:
        """For the record: what is predicted of the pod's own promise on the best rows."""
        return self.risks.tell(state, view, rows)


class FineSLAFit(SLAFit):
    """SLAFit as the only score of a policy: the loss itself decides."""

    points_max: ClassVar[int] = FINE_SCORE_MAX

    def score(self, state: Question, view: View, rows: Rows) -> Int64s:
        """The highest points less what promises lose."""
        lost = self.risks.losses(state, view, rows)
        points: Int64s = np.maximum(FINE_SCORE_MAX - lost, 0)
        return points


def check_together(names: Sequence[str], policy: Policy) -> None:
    """SLAFit alone would pass over what the other two rules refuse.

    Raises:
        ConfigError: one of them is not in the policy.
    """
    for needed in (SLAClasses.name, SLARefuse.name) if SLAFit.name in names else ():
        if needed not in names:
            raise ConfigError(
                f"{SLAFit.name} without {needed}",
                where=f"policy {policy.name} plugins",
                fix=f"add {needed}: classes that are not known, or that refuse, are its own",
            )


def make_sla_fit(args: Mapping[str, Any], reasons: ReasonBook) -> SLAFit:
    """The rule, by its argument `fine`."""
    kind = FineSLAFit if args.get("fine") is True else SLAFit
    return kind(args, reasons)


def _risks(given: PromiseArguments) -> Risks:
    return Risks(_files(given), _decoded(given.candidate_data))


def _files(given: PromiseArguments) -> list[bytes]:
    """The models' files, as far as models are named."""
    named, data = given.model, given.model_data
    if data is None:
        return [b"" for one in ((named,) if isinstance(named, str) else named) if one]
    return [_decoded(one) for one in ((data,) if isinstance(data, str) else data)]


def _decoded(data: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return b"corrupt"
