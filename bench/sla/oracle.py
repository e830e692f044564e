"""A rule that knows the true curves: what no scheduler can know, as the ceiling of the table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from herz.model.labels import compile_selector
from herz.model.meta import LabelSelector
from herz.plugin import FINE_SCORE_MAX, Int64s, PodQuery, Reads, Rows, Score, View
from herz.world.sim.promises.monitor import MINUTE_NS, Monitor

SCALE = 1 << 20


class Oracle(Score):
    """The node on which one more pod costs all promises least, truly."""

    name: ClassVar[str] = "Oracle"
    # Samples come as time passes, and the true load moves with time.
    reads: ClassVar[Reads] = Reads.REQUESTED
    reads_all: ClassVar[Reads] = Reads.SIGNALS | Reads.REQUESTED
    points_max: ClassVar[int] = FINE_SCORE_MAX

    def __init__(self, monitor: Callable[[], Monitor | None]) -> None:
        self._find = monitor
        self._counted: list[Any] = []

    @classmethod
    def maker(cls, monitor: Callable[[], Monitor | None]) -> Callable[..., Oracle]:
        """Makes the rule, once the run's monitor is there."""
        return lambda _args, _reasons: cls(monitor)

    def _monitor(self) -> Monitor:
        found = self._find()
        assert found is not None, "the scenario has a truth"
        return found

    def sign(self, pod: Any) -> object:
        """The workload."""
        return pod.namespace, pod.pod.metadata.labels.get("app", "")

    def prepare_score(self, pod: Any, view: View) -> Any:
        """The workload."""
        namespace, app = pod.namespace, pod.pod.metadata.labels.get("app", "")
        keys = [one.key for one in self._monitor().truth.services]
        return keys.index(f"{namespace}/{app}")

    def score(self, state: int, view: View, rows: Rows) -> Int64s:
        """The true cost, turned over."""
        monitor = self._monitor()
        truth = monitor.truth
        if not self._counted:
            for one in truth.services:
                namespace, _, app = one.key.partition("/")
                matcher = compile_selector(LabelSelector(match_labels={"app": app}))
                query = PodQuery(((frozenset((namespace,)), matcher),))
                self._counted.append(view.follow(query))
        rows_of = [view.row(name) for name in monitor.nodes]
        at = np.array([-1 if row is None else row for row in rows_of])
        counts = np.stack([view.counted(one)[at] for one in self._counted])
        costs = truth.costs(counts, state, monitor.now_ns // MINUTE_NS)
        points = np.zeros(view.size, np.int64)
        middle = FINE_SCORE_MAX // 2
        points[at] = np.clip(middle - (costs * SCALE).astype(np.int64), 0, FINE_SCORE_MAX)
        return points[rows]
