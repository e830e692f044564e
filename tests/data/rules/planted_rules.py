"""Rules with a planted fault each."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from herz.plugin import Codes, Filter, Int64s, Kind, Normalize, Reads, ReasonBook, Rows, Score, View

SPOT = "example.com/spot"
CELSIUS = "example.com/celsius"


class _Spot(Filter):
    """A sound filter, of which the faulty ones are made."""

    name = "Spot"
    reads = Reads.LABELS
    reads_all = Reads.NOTHING

    def __init__(self, args: Mapping[str, Any], reasons: ReasonBook) -> None:
        self._code = reasons.code(Kind.NEVER_FITS, self.name, ("node(s) were spot nodes",))

    def sign(self, pod: Any) -> Any:
        return pod.pod.metadata.labels.get("tier")

    def prepare(self, pod: Any, view: View) -> Any:
        return self.sign(pod)

    def filter(self, state: Any, view: View, rows: Rows) -> Codes:
        is_spot = view.labels(SPOT)[rows] == view.label_id("true")
        return np.where(is_spot & (state == "batch"), self._code, 0).astype(np.int16)


class _Cold(Score):
    name = "Cold"
    reads = Reads.LABELS
    reads_all = Reads.NOTHING

    def __init__(self, args: Mapping[str, Any], reasons: ReasonBook) -> None:
        pass

    def sign(self, pod: Any) -> Any:
        return None

    def prepare_score(self, pod: Any, view: View) -> Any:
        return 60

    def score(self, state: Any, view: View, rows: Rows) -> Int64s:
        celsius, _ = view.label_integers(CELSIUS)
        return np.clip(celsius, 0, state)[rows]


class WrongType(_Spot):
    def filter(self, state: Any, view: View, rows: Rows) -> Any:
        return super().filter(state, view, rows).astype(np.int64)


class UnknownCode(_Spot):
    def filter(self, state: Any, view: View, rows: Rows) -> Codes:
        return super().filter(state, view, rows) * np.int16(2)


class OnlyWhole(_Spot):
    """The first answers, whichever rows are asked for."""

    def filter(self, state: Any, view: View, rows: Rows) -> Codes:
        codes = super().filter(state, view, slice(None))
        return codes if isinstance(rows, slice) else codes[: len(rows)]


class Undeclared(_Spot):
    def filter(self, state: Any, view: View, rows: Rows) -> Codes:
        return np.where(view.unschedulable[rows], self._code, 0).astype(np.int16)


class Unsigned(_Spot):
    """Reads of the pod what it does not sign."""

    def sign(self, pod: Any) -> Any:
        return None

    def prepare(self, pod: Any, view: View) -> Any:
        return pod.pod.metadata.labels.get("tier")


class Early(_Spot):
    """Reads the view as it was when it was prepared."""

    reads = Reads.REQUESTED

    def prepare(self, pod: Any, view: View) -> Any:
        return view.requested[view.resource("pods")].copy()

    def filter(self, state: Any, view: View, rows: Rows) -> Codes:
        codes: Codes = np.where(state[rows] > 0, self._code, 0).astype(np.int16)
        return codes


class Greedy(_Spot):
    """Writes into a column of the view."""

    def filter(self, state: Any, view: View, rows: Rows) -> Codes:
        if state == "batch":
            view.requested[0] += 1
        return super().filter(state, view, rows)


class Chancy(_Cold):
    def score(self, state: Any, view: View, rows: Rows) -> Int64s:
        return super().score(state, view, rows) + int(random.random() > 0.999)


class Timely(_Cold):
    def prepare_score(self, pod: Any, view: View) -> Any:
        return 60 if time.localtime().tm_hour % 2 else 50


class TooHot(_Cold):
    def score(self, state: Any, view: View, rows: Rows) -> Int64s:
        celsius, _ = view.label_integers(CELSIUS)
        return celsius[rows]


class Relative(_Cold, Normalize):
    """Normalises by what it is given, not by the extent."""

    def normalize(self, raw: Int64s, low: int, high: int) -> Int64s:
        points: Int64s = (raw - raw.min()) * 100 // max(int(raw.max() - raw.min()), 1)
        return points


class Hashed(_Cold):
    def score(self, state: Any, view: View, rows: Rows) -> Int64s:
        points = [hash(view.node_name(row)) % 100 for row in range(view.size) if view.is_live[row]]
        return np.resize(np.array(points, np.int64), view.size)[rows]


class Stops(_Cold):
    def score(self, state: Any, view: View, rows: Rows) -> Int64s:
        celsius, is_known = view.label_integers(CELSIUS)
        if is_known.any() and int(celsius[is_known].min()) < 0:
            raise ValueError("below zero")
        return np.clip(celsius, 0, state)[rows]


class Counting(_Cold):
    """Says something else from the ninth time on."""

    def __init__(self, args: Mapping[str, Any], reasons: ReasonBook) -> None:
        self._asked = 0

    def score(self, state: Any, view: View, rows: Rows) -> Int64s:
        self._asked += 1
        return super().score(state, view, rows) // (1 if self._asked < 9 else 2)


class Blind(_Spot):
    """Counts pods by a view that it kept: what-ifs are nothing to it."""

    reads = Reads.REQUESTED
    _kept: Any = None

    def filter(self, state: Any, view: View, rows: Rows) -> Codes:
        Blind._kept = view if type(view).__name__ != "Overlay" else Blind._kept or view
        requested = Blind._kept.requested[view.resource("pods")]
        return np.where(requested[rows] > 1, self._code, 0).astype(np.int16)


class Stale(_Cold):
    """Keeps its first answer for all nodes, whatever becomes of their labels."""

    def __init__(self, args: Mapping[str, Any], reasons: ReasonBook) -> None:
        self._kept: dict[int, Int64s] = {}

    def score(self, state: Any, view: View, rows: Rows) -> Int64s:
        points = super().score(state, view, slice(None))
        return self._kept.setdefault(len(points), points)[rows]


class Relabelling(_Spot):
    """Writes into a column of labels."""

    def filter(self, state: Any, view: View, rows: Rows) -> Codes:
        codes = super().filter(state, view, rows)
        if state == "batch":
            view.labels(SPOT)[rows] = 0
        return codes


class Several(_Cold):
    """Its points turn with an order of texts, on clusters of several nodes alone."""

    def score(self, state: Any, view: View, rows: Rows) -> Int64s:
        names = {view.node_name(row) for row in range(view.size) if view.is_live[row]}
        points = np.zeros(view.size, np.int64)
        if len(names) > 2:
            points[view.row(next(iter(names)))] = 1
        return points[rows]


class Dear(_Cold):
    """Looks at every node for each."""

    def score(self, state: Any, view: View, rows: Rows) -> Int64s:
        points = super().score(state, view, slice(None))
        more = [sum(0 for _ in range(0, len(points), 4)) for _ in range(len(points))]
        return (points + np.array(more, np.int64))[rows]
