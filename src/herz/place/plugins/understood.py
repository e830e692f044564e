"""Understood: refuses pods that ask for what this release cannot judge, instead of ignoring it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final

import numpy as np

from herz.model.podinfo import PodInfo
from herz.place.columns import AMOUNT_MAX
from herz.place.plugins.arguments import Arguments, read_arguments
from herz.plugin import (
    SKIP,
    Codes,
    EventKind,
    Filter,
    Hint,
    Hints,
    Kind,
    Mode,
    Reads,
    ReasonBook,
    Rows,
    Verdict,
    View,
    row_count,
)

VOLCANO_GROUP: Final = "scheduling.k8s.io/group-name"
"""The annotation by which Volcano's pods name their group."""


class UnderstoodArguments(Arguments, frozen=True):
    """`strict`: refuse pods with a spec field that this release does not know."""

    strict: bool = False


class Understood(Filter, Hints):
    """Fits everywhere, or rejects for all nodes with each thing that is not understood."""

    name: ClassVar[str] = "Understood"
    reads: ClassVar[Reads] = Reads.NOTHING
    reads_all: ClassVar[Reads] = Reads.NOTHING
    # Where a pod may go that nobody understands, no limit of time tells.
    modes: ClassVar[tuple[Mode, ...]] = (Mode.REFUSE,)

    def __init__(self, args: Mapping[str, Any], reasons: ReasonBook) -> None:
        self._is_strict = read_arguments(self.name, args, UnderstoodArguments).strict

    def sign(self, pod: PodInfo) -> object:
        """What is refused."""
        return self._refusals(pod)

    def prepare(self, pod: PodInfo, view: View) -> Any:
        """Nothing to ask of nodes."""
        refusals = self._refusals(pod)
        return Verdict(Kind.NEVER_FITS, self.name, refusals) if refusals else SKIP

    def filter(self, state: None, view: View, rows: Rows) -> Codes:
        """Never asked: `prepare` always answers for all nodes."""
        return np.zeros(row_count(view, rows), np.int16)

    def hints(self) -> Mapping[EventKind, Hint | None]:
        """Only a change of the pod itself can help."""
        return {EventKind.UNSCHEDULED_POD_UPDATE: None}

    def _refusals(self, pod: PodInfo) -> tuple[str, ...]:
        found = list(_refused(pod))
        if self._is_strict and pod.unlisted:
            found.append(f"spec fields unknown to this release: {', '.join(pod.unlisted)}")
        return tuple(f"pod asks for {what}, which Herz does not support" for what in found)


def _refused(pod: PodInfo) -> Iterator[str]:
    spec = pod.pod.spec
    if spec.resource_claims:
        yield "dynamic resource claims"
    if VOLCANO_GROUP in pod.pod.metadata.annotations:
        yield f"a Volcano PodGroup ({VOLCANO_GROUP})"
    for name, amount in pod.requests.items():
        if amount > AMOUNT_MAX:
            yield f"more than 2^52 of {name}"
