"""NodeDeclaredFeatures: a pod goes only where the kubelet has the features that it needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

import numpy as np

from herz.model.features import needed_features
from herz.model.podinfo import PodInfo
from herz.place.plugins.arguments import NoArguments, read_arguments
from herz.plugin import (
    SKIP,
    Change,
    Codes,
    EventKind,
    Filter,
    Hint,
    Hints,
    Kind,
    Reads,
    ReasonBook,
    Rows,
    View,
)

REASON: Final = "node(s) didn't match Pod's required features"


class NodeDeclaredFeatures(Filter, Hints):
    """The pod's inferred features must be among `status.declaredFeatures`."""

    name: ClassVar[str] = "NodeDeclaredFeatures"
    reads: ClassVar[Reads] = Reads.FEATURES
    reads_all: ClassVar[Reads] = Reads.NOTHING

    def __init__(self, args: Mapping[str, Any], reasons: ReasonBook) -> None:
        read_arguments(self.name, args, NoArguments)
        self._code = reasons.code(Kind.NEVER_FITS, self.name, (REASON,))

    def sign(self, pod: PodInfo) -> object:
        """The features."""
        return needed_features(pod.pod)

    def prepare(self, pod: PodInfo, view: View) -> Any:
        """The features, as a set."""
        needed = needed_features(pod.pod)
        return frozenset(needed) if needed else SKIP

    def filter(self, state: frozenset[str], view: View, rows: Rows) -> Codes:
        """The code at nodes that lack one."""
        sets = view.feature_sets[rows]
        distinct, where = np.unique(sets, return_inverse=True)
        codes = [0 if state <= view.features(int(number)) else self._code for number in distinct]
        return np.array(codes, np.int16)[where]

    def hints(self) -> Mapping[EventKind, Hint | None]:
        """A node came or declares other features, or the pod changed."""
        return {
            EventKind.NODE_ADD: None,
            EventKind.NODE_UPDATE: _features_changed,
            EventKind.UNSCHEDULED_POD_UPDATE: None,
        }


def _features_changed(_pod: PodInfo, change: Change) -> bool:
    return bool(change.aspects & Reads.FEATURES)
