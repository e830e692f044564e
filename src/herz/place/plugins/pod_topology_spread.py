"""PodTopologySpread: matching pods lie evenly over the values of a node label.

Source: kube-scheduler 1.36 `plugins/podtopologyspread`, checked by the oracle's `spread` family.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal

import numpy as np

from herz.errors import ConfigError
from herz.model.labels import LabelMatcher
from herz.model.objects import TopologySpreadConstraint
from herz.model.podinfo import PodInfo
from herz.place.plugins.arguments import Arguments, read_arguments
from herz.place.plugins.spread_constraints import (
    HARD,
    SOFT,
    SYSTEM_DEFAULTS,
    constraints_of,
    default_matcher,
)
from herz.place.plugins.spread_counts import Counted, Scored
from herz.plugin import (
    SKIP,
    SKIP_NOW,
    Based,
    Change,
    Codes,
    EventKind,
    Filter,
    Hint,
    Hints,
    Int64s,
    Kind,
    PreScore,
    Reads,
    ReasonBook,
    Rows,
    Verdict,
    Versioned,
    View,
    row_count,
)

REASON_SKEW: Final = "node(s) didn't match pod topology spread constraints"
REASON_LABEL: Final = f"{REASON_SKEW} (missing required label)"


class SpreadArguments(Arguments, frozen=True):
    """PodTopologySpreadArgs."""

    default_constraints: tuple[dict[str, Any], ...] = ()
    defaulting_type: Literal["System", "List"] = "System"


class PodTopologySpread(Filter, PreScore, Versioned, Based, Hints):
    """DoNotSchedule filters, ScheduleAnyway scores."""

    name: ClassVar[str] = "PodTopologySpread"
    # A label that makes domains moves the answers for all rows, and with them the version.
    reads: ClassVar[Reads] = Reads.NOTHING
    reads_all: ClassVar[Reads] = Reads.PODS | Reads.LABELS | Reads.TAINTS
    reads_prepare: ClassVar[Reads] = Reads.OWNERS

    def __init__(self, args: Mapping[str, Any], reasons: ReasonBook) -> None:
        given = read_arguments(self.name, args, SpreadArguments)
        self._is_system = given.defaulting_type == "System"
        self._defaults = _defaults(given, f"pluginConfig[{self.name}].args")
        self._skew_code = reasons.code(Kind.UNFIT, self.name, (REASON_SKEW,))
        self._label_code = reasons.code(Kind.NEVER_FITS, self.name, (REASON_LABEL,))

    def sign(self, pod: PodInfo) -> object:
        """The constraints, and all that says which pods and nodes count."""
        meta, spec = pod.pod.metadata, pod.pod.spec
        owners = [(o.api_version, o.kind, o.name) for o in meta.owner_references if o.controller]
        if not spec.topology_spread_constraints and not meta.labels and not owners:
            return ()
        nodes = (spec.node_selector, spec.affinity and spec.affinity.node_affinity)
        constraints = spec.topology_spread_constraints
        return meta.namespace, meta.labels, owners, constraints, nodes, spec.tolerations

    def basis(self, pod: PodInfo, view: View) -> LabelMatcher | None:
        """The selector that Services and controllers imply, for pods without constraints."""
        is_own = bool(pod.pod.spec.topology_spread_constraints)
        return None if is_own else default_matcher(pod.pod, view)

    def prepare(self, pod: PodInfo, view: View) -> Any:
        """The hard constraints."""
        return self._prepared(pod, view, HARD)

    def prepare_score(self, pod: PodInfo, view: View) -> Any:
        """The soft constraints."""
        return self._prepared(pod, view, SOFT)

    def version(self, state: Counted, view: View) -> object:
        """Of the counts, and of the nodes that count."""
        return state.version(view)

    def filter(self, state: Counted, view: View, rows: Rows) -> Codes:
        """The code of the first constraint that is not met."""
        codes = np.zeros(row_count(view, rows), np.int16)
        # Backwards, so that the first that is not met has the last word.
        for index in reversed(range(len(state.constraints))):
            constraint = state.constraints[index]
            domains = view.labels(constraint.key)
            totals, lowest = state.totals(index, view)
            skews = totals[domains] + (constraint.is_of_pod - lowest)
            codes[(skews > constraint.max_skew)[rows]] = self._skew_code
            codes[domains[rows] == 0] = self._label_code
        return codes

    def prescore(self, state: Counted, view: View, feasible: Int64s) -> Any:
        """The points of all rows: they depend on which nodes fit."""
        own_or_listed = state.has_own or not self._is_system
        return Scored(state, view, feasible, requires_all=own_or_listed).points()

    def score(self, state: Int64s, view: View, rows: Rows) -> Int64s:
        """Points from 0 to 100, not normalised further."""
        return state[rows]

    def hints(self) -> Mapping[EventKind, Hint | None]:
        """Pods that are counted came, went or changed; nodes came, went or changed."""
        return {
            EventKind.ASSIGNED_POD_ADD: _is_concerned,
            EventKind.ASSIGNED_POD_UPDATE: _is_concerned,
            EventKind.ASSIGNED_POD_DELETE: _is_concerned,
            EventKind.NODE_ADD: self._node_counts,
            EventKind.NODE_UPDATE: self._node_counts,
            EventKind.NODE_DELETE: self._node_counts,
            EventKind.UNSCHEDULED_POD_UPDATE: None,
            EventKind.OBJECT_ADD: _moves_defaults,
            EventKind.OBJECT_UPDATE: _moves_defaults,
            EventKind.OBJECT_DELETE: _moves_defaults,
        }

    def _prepared(self, pod: PodInfo, view: View, when: str) -> Any:
        own = pod.pod.spec.topology_spread_constraints
        given = own or self._defaults
        if not any(one.when_unsatisfiable == when for one in given):
            return SKIP
        try:
            constraints = constraints_of(pod.pod, when, self._defaults, view)
        except ConfigError as error:
            return Verdict(Kind.ERROR, self.name, (f"spread constraint: {error.message}",))
        return Counted(pod, constraints) if constraints else SKIP_NOW

    def _node_counts(self, pod: PodInfo, change: Change) -> bool:
        given = pod.pod.spec.topology_spread_constraints or self._defaults
        keys = [one.topology_key for one in given if one.when_unsatisfiable == HARD]
        nodes = [node for node in (change.old, change.new) if node is not None]
        if not any(all(key in node.metadata.labels for key in keys) for node in nodes):
            return False
        is_moved = Reads.LABELS | Reads.TAINTS
        return change.kind is not EventKind.NODE_UPDATE or bool(change.aspects & is_moved)


def _is_concerned(pod: PodInfo, change: Change) -> bool:
    """Whether pods that came, went or changed lie where constraints count."""
    seen = [one for one in (change.old, change.new) if one is not None]
    if all(one.namespace != pod.namespace for one in seen):
        return False
    return len(seen) == 1 or seen[0].group != seen[1].group


def _moves_defaults(_pod: PodInfo, change: Change) -> bool:
    return bool(change.aspects & Reads.OWNERS)


def _defaults(given: SpreadArguments, where: str) -> tuple[TopologySpreadConstraint, ...]:
    if given.defaulting_type == "System":
        if given.default_constraints:
            fix = "set defaultingType to List, or leave the constraints out"
            place = f"{where}.defaultConstraints"
            raise ConfigError("constraints beside the system's defaults", where=place, fix=fix)
        return SYSTEM_DEFAULTS
    found = []
    for index, item in enumerate(given.default_constraints):
        found.append(_default(item, f"{where}.defaultConstraints[{index}]"))
    pairs = [(one.topology_key, one.when_unsatisfiable) for one in found]
    for index, pair in enumerate(pairs):
        if pair in pairs[:index]:
            place = f"{where}.defaultConstraints[{index}]"
            fix = "name each pair of topologyKey and whenUnsatisfiable once"
            raise ConfigError("constraint given twice", where=place, value=list(pair), fix=fix)
    return tuple(found)


class _DefaultConstraint(Arguments, frozen=True):
    """One of `defaultConstraints`: as in a pod, without a selector."""

    max_skew: int
    topology_key: str
    when_unsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"]
    min_domains: int | None = None
    node_affinity_policy: Literal["Honor", "Ignore"] | None = None
    node_taints_policy: Literal["Honor", "Ignore"] | None = None


def _default(item: Mapping[str, Any], where: str) -> TopologySpreadConstraint:
    if item.get("labelSelector") is not None:
        fix = "leave it out: it is deduced from the pod's Services and controller"
        raise ConfigError("a default constraint has no selector", where=where, fix=fix)
    wanted = {key: value for key, value in item.items() if key != "labelSelector"}
    try:
        one = read_arguments(PodTopologySpread.name, wanted, _DefaultConstraint)
    except ConfigError as error:
        raise ConfigError(error.what, where=where, value=dict(item), fix=error.fix) from error
    if one.max_skew < 1 or not one.topology_key:
        fix = "give a maxSkew of at least 1 and a topologyKey"
        raise ConfigError("constraint out of range", where=where, value=dict(item), fix=fix)
    return TopologySpreadConstraint(
        max_skew=one.max_skew,
        topology_key=one.topology_key,
        when_unsatisfiable=one.when_unsatisfiable,
        min_domains=one.min_domains,
        node_affinity_policy=one.node_affinity_policy,
        node_taints_policy=one.node_taints_policy,
    )
