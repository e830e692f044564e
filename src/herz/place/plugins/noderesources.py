"""NodeResourcesFit and NodeResourcesBalancedAllocation: is there room, how full, how even.

Source: kube-scheduler 1.36 `plugins/noderesources`, checked by the oracle's `resources` family.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal

import msgspec
import numpy as np

from herz._native import Kernel
from herz.errors import ConfigError
from herz.model.podinfo import PodInfo
from herz.model.resources import node_allocatable
from herz.place.plugins.arguments import Arguments, read_arguments
from herz.plugin import (
    SCORE_MAX,
    SKIP,
    Change,
    Codes,
    EventKind,
    Filter,
    Hint,
    Hints,
    Int64s,
    Kind,
    Reads,
    ReasonBook,
    Rows,
    Score,
    View,
)

PLAIN: Final = ("cpu", "memory", "ephemeral-storage")
"""Reported first and in this order; counted even when the pod asks for none."""
SCORED: Final = ("cpu", "memory")
"""Whose use scoring counts with defaults for pods that ask for none; in the view's order."""
SHAPE_SCORE_MAX: Final = 10
"""Shape points are given as 0 to 10 in the configuration."""

_USE: Final = Reads.ALLOCATABLE | Reads.REQUESTED


class ResourceWeight(Arguments, frozen=True):
    """A resource and its weight, 1 to 100."""

    name: str
    weight: int = 1


class ShapePoint(Arguments, frozen=True):
    """Points (0 to 10) at a used percent (0 to 100)."""

    utilization: int
    score: int


class Ratio(Arguments, frozen=True):
    """The arguments of RequestedToCapacityRatio."""

    shape: tuple[ShapePoint, ...]


_CPU_AND_MEMORY: Final = (ResourceWeight("cpu"), ResourceWeight("memory"))


class ScoringStrategy(Arguments, frozen=True):
    """How room becomes points."""

    type: Literal["LeastAllocated", "MostAllocated", "RequestedToCapacityRatio"] = "LeastAllocated"
    resources: tuple[ResourceWeight, ...] = _CPU_AND_MEMORY
    requested_to_capacity_ratio: Ratio | None = None


class FitArguments(Arguments, frozen=True):
    """NodeResourcesFitArgs."""

    ignored_resources: tuple[str, ...] = ()
    ignored_resource_groups: tuple[str, ...] = ()
    scoring_strategy: ScoringStrategy = ScoringStrategy()


class BalancedArguments(Arguments, frozen=True):
    """NodeResourcesBalancedAllocationArgs."""

    resources: tuple[ResourceWeight, ...] = _CPU_AND_MEMORY


@dataclass(slots=True)
class _Demands:
    """What the pod asks, in the order of the kernel's bits, and the codes of its masks."""

    names: tuple[str, ...]
    kernel: Kernel
    amounts: Mapping[str, int]
    codes: dict[int, int] = field(default_factory=dict)


class NodeResourcesFit(Filter, Score, Hints):
    """Every request must fit into what is left; points by the chosen strategy."""

    name: ClassVar[str] = "NodeResourcesFit"
    reads: ClassVar[Reads] = _USE
    reads_all: ClassVar[Reads] = Reads.NOTHING

    def __init__(self, args: Mapping[str, Any], reasons: ReasonBook) -> None:
        given = read_arguments(self.name, args, FitArguments)
        strategy = given.scoring_strategy
        where = f"pluginConfig[{self.name}].args.scoringStrategy"
        _check_weights(strategy.resources, f"{where}.resources")
        self._ignored = frozenset(given.ignored_resources)
        self._ignored_groups = frozenset(given.ignored_resource_groups)
        self.ignores_any = bool(given.ignored_resources or given.ignored_resource_groups)
        self._resources = strategy.resources
        self._kind = {"LeastAllocated": "least", "MostAllocated": "most"}.get(
            strategy.type, "shape"
        )
        self._shape = _shape(strategy, where)
        self._book = reasons

    def sign(self, pod: PodInfo) -> object:
        """All requests, and cpu and memory as scoring counts them."""
        return pod.requests, pod.scoring

    def prepare(self, pod: PodInfo, view: View) -> _Demands:
        """What the pod asks of each column."""
        asked = {name: n for name, n in pod.requests.items() if not self.ignores(name)}
        scalars = [name for name in sorted(asked) if name not in (*PLAIN, "pods")]
        names = ("pods", *(name for name in PLAIN if name in asked), *scalars)
        amounts = [(view.resource(name), asked.get(name, 1)) for name in names]
        by_name = {name: asked.get(name, 1) for name in names}
        return _Demands(names, Kernel.lacking(amounts), by_name)

    def filter(self, state: _Demands, view: View, rows: Rows) -> Codes:
        """A code for each combination of resources that the row lacks."""
        masks = _values(state.kernel, view, rows)
        codes = np.zeros(len(masks), np.int16)
        for position in masks.nonzero()[0].tolist():
            codes[position] = self.code(state, masks.item(position))
        return codes

    def asks(self, state: _Demands) -> Mapping[str, int]:
        """What the pod asks of each resource."""
        return state.amounts

    def kernel(self, state: _Demands) -> Kernel:
        """What answers for `filter`, but for the codes."""
        return state.kernel

    def code(self, state: _Demands, mask: int) -> int:
        """The code of one combination of lacks."""
        code = state.codes.get(mask)
        if code is None:
            code = state.codes[mask] = self._new_code(state, mask)
        return code

    def prepare_score(self, pod: PodInfo, view: View) -> Kernel:
        """The kernel of the strategy."""
        found = []
        for resource in self._resources:
            amount = pod.requests.get(resource.name, 0)
            if resource.name in SCORED:
                place = SCORED.index(resource.name)
                found.append((place, True, pod.scoring[place], resource.weight))
            elif amount or resource.name in PLAIN:
                found.append((view.resource(resource.name), False, amount, resource.weight))
        return Kernel.fullness(self._kind, self._shape, found)

    def score(self, state: Kernel, view: View, rows: Rows) -> Int64s:
        """Weighted mean of the points of each resource."""
        return _values(state, view, rows)

    def score_kernel(self, state: Kernel) -> Kernel:
        """What answers for `score`."""
        return state

    def hints(self) -> Mapping[EventKind, Hint | None]:
        """Something became free, or a node came or grew that could hold the pod when empty."""
        return {
            EventKind.ASSIGNED_POD_DELETE: self._has_room_now,
            EventKind.ASSIGNED_POD_UPDATE: _takes_less,
            EventKind.NODE_ADD: self._could_hold,
            EventKind.NODE_UPDATE: self._could_hold_now,
            EventKind.UNSCHEDULED_POD_UPDATE: None,
        }

    def _has_room_now(self, pod: PodInfo, change: Change) -> bool:
        # What is ignored here is not counted there.
        return self.ignores_any or change.may_hold is None or change.may_hold(pod)

    def _could_hold(self, pod: PodInfo, change: Change) -> bool:
        allocatable = node_allocatable(change.new)
        return all(
            amount <= allocatable.get(name, 0)
            for name, amount in pod.requests.items()
            if not self.ignores(name)
        )

    def _could_hold_now(self, pod: PodInfo, change: Change) -> bool:
        if not change.aspects & Reads.ALLOCATABLE or not self._could_hold(pod, change):
            return False
        before, after = node_allocatable(change.old), node_allocatable(change.new)
        return any(after.get(name, 0) > before.get(name, 0) for name in pod.requests)

    def ignores(self, resource: str) -> bool:
        """Whether the arguments say not to look at this resource."""
        return resource in self._ignored or (
            "/" in resource and resource.split("/", 1)[0] in self._ignored_groups
        )

    def _new_code(self, state: _Demands, mask: int) -> int:
        lacks = [name for bit, name in enumerate(state.names) if mask >> bit & 1]
        # A lack of pod slots is never final: Kubernetes lets preemption try.
        finals = [bit for bit, name in enumerate(state.names) if name != "pods"]
        is_final = any(mask >> (32 + bit) & 1 for bit in finals)
        words = ["Too many pods" if name == "pods" else f"Insufficient {name}" for name in lacks]
        kind = Kind.NEVER_FITS if is_final else Kind.UNFIT
        return self._book.code(kind, self.name, tuple(words))


class NodeResourcesBalancedAllocation(Score):
    """Points for placements that make the used fractions of a node more equal."""

    name: ClassVar[str] = "NodeResourcesBalancedAllocation"
    reads: ClassVar[Reads] = _USE
    reads_all: ClassVar[Reads] = Reads.NOTHING

    def __init__(self, args: Mapping[str, Any], reasons: ReasonBook) -> None:
        given = read_arguments(self.name, args, BalancedArguments)
        _check_weights(given.resources, f"pluginConfig[{self.name}].args.resources")
        self._resources = tuple(resource.name for resource in given.resources)

    def sign(self, pod: PodInfo) -> object:
        """All requests."""
        return pod.requests

    def prepare_score(self, pod: PodInfo, view: View) -> Any:
        """(column, amount) by resource; pods that ask for none of them are not scored."""
        amounts = {name: pod.requests.get(name, 0) for name in self._resources}
        if not any(amounts.values()):
            return SKIP
        found = []
        for name, amount in amounts.items():
            if amount or name in PLAIN:
                found.append((view.resource(name), amount))
        return Kernel.balance(found)

    def score(self, state: Kernel, view: View, rows: Rows) -> Int64s:
        """50 to 100: 75 when the balance stays as it is."""
        return _values(state, view, rows)

    def score_kernel(self, state: Kernel) -> Kernel:
        """What answers for `score`."""
        return state


def _values(kernel: Kernel, view: View, rows: Rows) -> Int64s:
    at = None if isinstance(rows, slice) else rows
    return kernel.values(view.allocatable, view.requested, view.nonzero, at)


def _takes_less(pod: PodInfo, change: Change) -> bool:
    before, after = change.old.requests, change.new.requests
    return any(after.get(name, 0) < before.get(name, 0) for name in pod.requests)


def _check_weights(resources: tuple[ResourceWeight, ...], where: str) -> None:
    for index, resource in enumerate(resources):
        if not 1 <= resource.weight <= 100:
            raise ConfigError(
                "weight out of range",
                where=f"{where}[{index}].weight",
                value=resource.weight,
                fix="give a weight from 1 to 100",
            )


def _shape(strategy: ScoringStrategy, where: str) -> list[tuple[int, int]]:
    ratio = strategy.requested_to_capacity_ratio
    if strategy.type != "RequestedToCapacityRatio":
        return []
    where = f"{where}.requestedToCapacityRatio.shape"
    if ratio is None or not ratio.shape:
        raise ConfigError("no shape", where=where, fix="give at least one point")
    last = -1
    for index, point in enumerate(ratio.shape):
        is_right = last < point.utilization <= 100 and 0 <= point.score <= SHAPE_SCORE_MAX
        if not is_right:
            raise ConfigError(
                "shape point out of range or order",
                where=f"{where}[{index}]",
                value=msgspec.to_builtins(point),
                fix="give rising utilization from 0 to 100 and scores from 0 to 10",
            )
        last = point.utilization
    scale = SCORE_MAX // SHAPE_SCORE_MAX
    return [(point.utilization, point.score * scale) for point in ratio.shape]
