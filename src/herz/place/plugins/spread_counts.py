"""How many matching pods lie in each domain, and what that is worth to a soft constraint."""

from __future__ import annotations

from functools import reduce
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from herz.model.logarithm import LN_BITS, ln
from herz.model.podinfo import PodInfo
from herz.model.taints import find_untolerated
from herz.place.plugins.spread_constraints import HOSTNAME, Constraint
from herz.place.selecting import required_nodes, rows_required
from herz.plugin import SCORE_MAX, Int64s, View

_ALL_ROWS: Final = slice(None)
_HALF: Final = 1 << (LN_BITS - 1)

Mask: TypeAlias = npt.NDArray[np.bool_]


class Counted:
    """A pod's constraints of one kind, with the nodes whose pods count.

    Args:
        pod: the pod.
        constraints: at least one.
    """

    def __init__(self, pod: PodInfo, constraints: tuple[Constraint, ...]) -> None:
        self.constraints = constraints
        self.has_own = bool(pod.pod.spec.topology_spread_constraints)
        self._tolerations = pod.pod.spec.tolerations
        self._required = required_nodes(pod.pod)
        self._reads_affinity = self._required is not None and any(
            one.honors_affinity for one in constraints
        )
        self._reads_taints = any(one.honors_taints for one in constraints)
        # What the masks were made from, and the masks; the distinct domains beside each.
        self._made_from: tuple[int, ...] | None = None
        self._counting: list[tuple[Int64s, Int64s]] = []

    def version(self, view: View) -> tuple[int, ...]:
        """Moves whenever a total may."""
        return (*self._nodes_version(view), *(one.count.version for one in self.constraints))

    def totals(self, index: int, view: View) -> tuple[Int64s, int]:
        """Matching pods by domain (the label's id), and the fewest in any domain that counts."""
        constraint = self.constraints[index]
        rows, domains = self.counting(view)[index]
        totals = by_domain(constraint, view, rows)
        is_few = len(domains) < constraint.min_domains
        return totals, 0 if is_few or not len(domains) else int(totals[domains].min())

    def counting(self, view: View) -> list[tuple[Int64s, Int64s]]:
        """By constraint: the rows that have every key and count, and their domains."""
        version = self._nodes_version(view)
        if version != self._made_from:
            has_all = reduce(np.logical_and, [view.labels(c.key) != 0 for c in self.constraints])
            self._counting = [self._domains(one, has_all, view) for one in self.constraints]
            self._made_from = version
        return self._counting

    def admitted(self, constraint: Constraint, view: View) -> Mask:
        """By row: whether the constraint's policies let the node count."""
        mask = np.ones(view.size, np.bool_)
        if constraint.honors_affinity and self._required is not None:
            mask &= rows_required(self._required, view, _ALL_ROWS)
        if constraint.honors_taints:
            sets = view.taint_sets
            refused = [
                number
                for number in np.flatnonzero(np.bincount(sets)).tolist()
                if find_untolerated(view.taints(number), self._tolerations) is not None
            ]
            mask &= ~np.isin(sets, refused)
        return mask

    def _domains(self, constraint: Constraint, has_all: Mask, view: View) -> tuple[Int64s, Int64s]:
        rows = np.flatnonzero(has_all & self.admitted(constraint, view))
        return rows, np.flatnonzero(np.bincount(view.labels(constraint.key)[rows]))

    def _nodes_version(self, view: View) -> tuple[int, ...]:
        keys: list[str | None] = [one.key for one in self.constraints]
        if self._reads_affinity:
            keys.append(None)
        labels = tuple(view.labels_version(key) for key in keys)
        return (view.size, *labels, view.taints_version if self._reads_taints else 0)


class Scored:
    """The points of soft constraints, among the nodes that fit.

    Args:
        counted: the constraints.
        view: the cluster.
        feasible: the rows that fit.
        requires_all: whether nodes without one of the keys are left out; the system's defaults
            let a node without a zone take part by its name.
    """

    def __init__(
        self, counted: Counted, view: View, feasible: Int64s, *, requires_all: bool
    ) -> None:
        self._counted = counted
        self._view = view
        self._requires_all = requires_all
        self._taking_part = feasible
        if requires_all:
            keys = [view.labels(one.key)[feasible] != 0 for one in counted.constraints]
            self._taking_part = feasible[reduce(np.logical_and, keys)]

    def points(self) -> Int64s:
        """Points by row, 0 to 100; 0 where the node takes no part or does not fit."""
        points = np.zeros(self._view.size, np.int64)
        at = self._taking_part
        if not len(at):
            return points
        raw = self._raw()[at]
        low, high = int(raw.min()), int(raw.max())
        points[at] = SCORE_MAX if high == 0 else SCORE_MAX * (high + low - raw) // high
        return points

    def _raw(self) -> Int64s:
        """Pods near each row, those in domains of many values weighing more; rounded."""
        total = np.zeros(self._view.size, np.int64)
        for index, constraint in enumerate(self._counted.constraints):
            domains = self._view.labels(constraint.key)
            if constraint.key == HOSTNAME:
                size = len(self._taking_part)
                near = self._view.counted(constraint.count)
            else:
                size = int(np.count_nonzero(np.bincount(domains[self._taking_part])))
                near = by_domain(constraint, self._view, self._counting(index))[domains]
            worth = near * ln(size + 2) + ((constraint.max_skew - 1) << LN_BITS)
            total += np.where(domains != 0, worth, 0)
        return (total + _HALF) >> LN_BITS

    def _counting(self, index: int) -> Int64s:
        if self._requires_all:
            return self._counted.counting(self._view)[index][0]
        constraint = self._counted.constraints[index]
        return np.flatnonzero(self._counted.admitted(constraint, self._view))


def by_domain(constraint: Constraint, view: View, rows: Int64s) -> Int64s:
    """Matching pods on the rows, by the id of their label; as long as any id of the column."""
    domains, counts = view.labels(constraint.key), view.counted(constraint.count)
    size = int(domains.max(initial=0)) + 1
    # Sums of whole numbers below 2^53 are exact in doubles.
    return np.bincount(domains[rows], counts[rows], size).astype(np.int64)
