"""NodeDeclaredFeatures: a pod goes only where the kubelet has the features that it needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from herz.model.features import needed_features
from herz.model.podinfo import PodInfo
from herz.place.plugins.single_reason import SingleReason
from herz.plugin import (
    SKIP,
    Change,
    Codes,
    EventKind,
    Hint,
    Reads,
    Rows,
    View,
)


class NodeDeclaredFeatures(SingleReason):
    """The pod's inferred features must be among `status.declaredFeatures`."""

    name: ClassVar[str] = "NodeDeclaredFeatures"
    reads: ClassVar[Reads] = Reads.FEATURES
    reason: ClassVar[str] = "node(s) didn't match Pod's required features"

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
        codes = [0 if state <= view.features(int(number)) else self.code for number in distinct]
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
