"""What a Prometheus server says of nodes and promises, as objects and outcomes.

Samples become `NodeSignals` objects, whole numbers in the signals' units; a signal whose query
failed is left out, and where all did there is no sample: what was known goes stale. Indicators of
classes become outcomes of their pods. What went wrong is counted by name.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

from herz.knowledge.sla.state import COUNTERS, SIGNALS, measured
from herz.model.meta import ObjectMeta
from herz.model.service_levels import NodeSignals, NodeSignalsStatus, SLAClassSpec
from herz.world.prometheus.client import ABSENT, MetricsError, Prometheus, Series

PROBLEMS: Final = 'herz_metrics_problems_total{{reason="{reason}"}}'
"""Queries that gave nothing to go by, by the name of the reason."""
WHOLE: Final = 10_000
_MILLISECOND_S: Final = 1e-3


class Pod(NamedTuple):
    """A pod whose promise is watched."""

    namespace: str
    name: str
    uid: str


class Kept(NamedTuple):
    """What became of a pod's promise.

    Attributes:
        uid: the pod's.
        is_kept: whether it was kept.
        latency_ns: the indicator, where the promise is about a time; else 0.
    """

    uid: str
    is_kept: bool
    latency_ns: int


class Source:
    """What one server says.

    Args:
        server: the server.
    """

    def __init__(self, server: Prometheus) -> None:
        self._server = server
        self.counters: Counter[str] = Counter()
        self.problems: dict[str, str] = {}
        """By signal or class, what is wrong with its query now, in words."""

    async def sample(self, nodes: Collection[str]) -> list[NodeSignals]:
        """A sample of each of the nodes of which anything is known, by name.

        Args:
            nodes: names of the nodes that there are; series of others do not count.
        """
        settings = self._server.settings
        names = sorted(settings.signals)
        answers = await asyncio.gather(
            *(self._asked(f"signal {name}", settings.signals[name]) for name in names)
        )
        values: dict[str, dict[str, float]] = {}
        for signal, series in zip(names, answers, strict=True):
            seen = {one.labels.get(settings.node_label, ""): one.value for one in series}
            ours = {node: value for node, value in seen.items() if node in nodes}
            if series and not ours:
                label = f"no series of {len(series)} names a node in {settings.node_label!r}"
                self._note(f"signal {signal}", MetricsError(ABSENT, label))
            for node, value in ours.items():
                values.setdefault(node, {})[signal] = value
        return [
            NodeSignals(
                metadata=ObjectMeta(name=node),
                status=NodeSignalsStatus(
                    feature_set=_feature_set(values[node]),
                    valid_milliseconds=settings.valid_seconds * 1_000,
                    signals=measured(values[node]),
                ),
            )
            for node in sorted(values)
        ]

    async def outcomes(self, name: str, spec: SLAClassSpec, pods: Collection[Pod]) -> list[Kept]:
        """What became of the promises of a class's pods in the window that ends now.

        A series tells of the pods that its labels `namespace` and `pod` name; one that has neither
        tells of all the class's pods. Of a time the query gives seconds, of a completion a share.

        Args:
            name: the class's.
            spec: the class.
            pods: those of the class that are on nodes.
        """
        if not pods or not spec.indicator.query:
            return []
        series = await self._asked(f"class {name}", spec.indicator.query)
        found = []
        for pod in pods:
            values = [one.value for one in series if _tells_of(one, pod)]
            if values:
                # The worst: a promise is broken where one of a pod's series breaks it.
                found.append(_judged(pod.uid, spec, values))
        if series and not found:
            what = f"no series of {len(series)} tells of one of {len(pods)} pods"
            self._note(f"class {name}", MetricsError(ABSENT, what))
        return found

    async def _asked(self, what: str, query: str) -> list[Series]:
        try:
            series = await self._server.query(query)
        except MetricsError as error:
            self._note(what, error)
            return []
        self.problems.pop(what, None)
        return series

    def _note(self, what: str, error: MetricsError) -> None:
        self.counters[PROBLEMS.format(reason=error.name)] += 1
        self.problems[what] = f"{error.name}: {error}"


def _feature_set(values: Mapping[str, float]) -> str:
    if any(name in values for name in COUNTERS):
        return "counters"
    return "psi+schedstat" if set(values) - {"requested_cpu"} else "requests-only"


def _tells_of(one: Series, pod: Pod) -> bool:
    labels = one.labels
    return labels.get("namespace", pod.namespace) == pod.namespace and (
        labels.get("pod", pod.name) == pod.name
    )


def _judged(uid: str, spec: SLAClassSpec, values: Collection[float]) -> Kept:
    objective = spec.objective
    if objective.kind == "completion":
        return Kept(uid, min(values) * WHOLE >= (objective.share_basis_points or 0), 0)
    worst = max(values)
    target = (objective.target_milliseconds or 0) * _MILLISECOND_S
    return Kept(uid, worst <= target, round(worst * 1e9))


assert set(COUNTERS) < set(SIGNALS)
