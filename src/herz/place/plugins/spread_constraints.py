"""The constraints of PodTopologySpread: the pod's own, or the defaults with a deduced selector."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from herz.errors import ConfigError
from herz.model.labels import LabelMatcher, compile_label_map, compile_selector, merge_matchers
from herz.model.objects import (
    LabelSelector,
    Pod,
    ReplicaSet,
    ReplicationController,
    Service,
    StatefulSet,
    TopologySpreadConstraint,
)
from herz.plugin import Count, PodQuery, View

HOSTNAME: Final = "kubernetes.io/hostname"
HARD: Final = "DoNotSchedule"
SOFT: Final = "ScheduleAnyway"
HONOR: Final = "Honor"

SYSTEM_DEFAULTS: Final = (
    TopologySpreadConstraint(max_skew=3, topology_key=HOSTNAME, when_unsatisfiable=SOFT),
    TopologySpreadConstraint(
        max_skew=5, topology_key="topology.kubernetes.io/zone", when_unsatisfiable=SOFT
    ),
)


@dataclass(frozen=True, slots=True, eq=False)
class Constraint:
    """A constraint, ready to be asked.

    Args:
        key: the node label whose values are the domains.
        max_skew: by how many pods domains may differ.
        min_domains: fewer domains than this count as if one were empty.
        count: the pods that the selector means.
        is_of_pod: whether the selector means the incoming pod itself.
        honors_affinity: whether only nodes count that the pod's node affinity allows.
        honors_taints: whether only nodes count whose taints the pod tolerates.
    """

    key: str
    max_skew: int
    min_domains: int
    count: Count
    is_of_pod: bool
    honors_affinity: bool
    honors_taints: bool


def constraints_of(
    pod: Pod, when: str, defaults: Iterable[TopologySpreadConstraint], view: View
) -> tuple[Constraint, ...]:
    """The pod's constraints of this kind; where it has none at all, the defaults.

    Raises:
        ConfigError: a selector is malformed.
    """
    own = pod.spec.topology_spread_constraints
    if own:
        chosen = [(one, _own_matcher(one, pod)) for one in own if one.when_unsatisfiable == when]
    else:
        wanted = [one for one in defaults if one.when_unsatisfiable == when]
        matcher = default_matcher(pod, view) if wanted else LabelMatcher()
        chosen = [] if matcher.is_everything else [(one, matcher) for one in wanted]
    return tuple(_constraint(given, matcher, pod, view) for given, matcher in chosen)


def default_matcher(pod: Pod, view: View) -> LabelMatcher:
    """The selector that the pod's Services and its controller imply; everything when none does."""
    meta = pod.metadata
    merged: dict[str, str] = {}
    for service in view.objects(Service):
        selector = service.spec.selector
        is_here = service.metadata.namespace == meta.namespace
        if is_here and selector and compile_label_map(selector).matches(meta.labels):
            merged |= selector
    owner = next((one for one in meta.owner_references if one.controller), None)
    if owner is None:
        return compile_label_map(merged)
    key, kind = f"{meta.namespace}/{owner.name}", (owner.api_version, owner.kind)
    if kind == ("v1", "ReplicationController"):
        controller = view.object(ReplicationController, key)
        return compile_label_map(merged | (controller.spec.selector if controller else {}))
    extra = _set_selector(view, kind, key)
    matcher = compile_label_map(merged)
    try:
        # A set whose selector is absent or malformed adds nothing, as in Kubernetes.
        return merge_matchers(matcher, compile_selector(extra))
    except ConfigError:
        return matcher


def _set_selector(view: View, kind: tuple[str, str], key: str) -> LabelSelector | None:
    known: ReplicaSet | StatefulSet | None = None
    if kind == ("apps/v1", "ReplicaSet"):
        known = view.object(ReplicaSet, key)
    elif kind == ("apps/v1", "StatefulSet"):
        known = view.object(StatefulSet, key)
    return None if known is None else known.spec.selector


def _own_matcher(given: TopologySpreadConstraint, pod: Pod) -> LabelMatcher:
    matcher = compile_selector(given.label_selector)
    labels: Mapping[str, str] = pod.metadata.labels
    values = {key: labels[key] for key in given.match_label_keys if key in labels}
    if not values or matcher.is_nothing:
        return matcher
    return merge_matchers(compile_label_map(values), matcher)


def _constraint(
    given: TopologySpreadConstraint, matcher: LabelMatcher, pod: Pod, view: View
) -> Constraint:
    # An empty selector counts no pods, although it means the incoming one: Kubernetes' way.
    counted = LabelMatcher(is_nothing=True) if matcher.is_everything else matcher
    namespaces = frozenset((pod.metadata.namespace,))
    query = PodQuery(((namespaces, counted),), is_terminating_counted=False)
    return Constraint(
        key=given.topology_key,
        max_skew=given.max_skew,
        min_domains=1 if given.min_domains is None else given.min_domains,
        count=view.follow(query),
        is_of_pod=matcher.matches(pod.metadata.labels),
        honors_affinity=(given.node_affinity_policy or HONOR) == HONOR,
        honors_taints=given.node_taints_policy == HONOR,
    )
