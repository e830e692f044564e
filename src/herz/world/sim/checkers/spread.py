"""Hard topology spread, at the moment of the decision.

Kubernetes' definition, worked out anew for each pod: a node counts when it has the keys of all hard
constraints, and as the constraint's policies say; a domain's count is of the pods that the selector
means and that are not being deleted; the skew is against the emptiest domain, or against zero when
there are fewer domains than `minDomains`.
"""

from __future__ import annotations

from herz.model.objects import (
    LabelSelector,
    LabelSelectorRequirement,
    Node,
    Pod,
    TopologySpreadConstraint,
)
from herz.world.sim.checkers.mirror import Mirror
from herz.world.sim.checkers.selecting import Matches, is_selected
from herz.world.sim.fit import affinity_refusal, taint_refusal


class SpreadRules:
    """Judges by the pods that the mirror holds.

    Args:
        mirror: what the machine knows.
        matches: selectors.
    """

    def __init__(self, mirror: Mirror, matches: Matches) -> None:
        self._mirror = mirror
        self._matches = matches

    def look(self, pod: Pod) -> SpreadView:
        """How the pod's hard constraints stand now."""
        hard = tuple(
            constraint
            for constraint in pod.spec.topology_spread_constraints
            if constraint.when_unsatisfiable == "DoNotSchedule"
        )
        if not hard:
            return SpreadView(pod, ())
        keys = {constraint.topology_key for constraint in hard}
        nodes = [
            node for node in self._mirror.nodes.values() if keys <= node.metadata.labels.keys()
        ]
        return SpreadView(pod, tuple((one, *self._count(one, pod, nodes)) for one in hard))

    def _count(
        self, constraint: TopologySpreadConstraint, pod: Pod, nodes: list[Node]
    ) -> tuple[LabelSelector | None, dict[str, int]]:
        """The constraint's selector, and how many pods it means in each domain."""
        selector = _selector(constraint, pod)
        counts: dict[str, int] = {}
        for node in nodes:
            if (constraint.node_affinity_policy or "Honor") == "Honor" and affinity_refusal(
                pod, node
            ):
                continue
            if constraint.node_taints_policy == "Honor" and taint_refusal(pod, node):
                continue
            value = node.metadata.labels[constraint.topology_key]
            counts[value] = counts.get(value, 0) + self._count_on(node.name, selector, pod)
        return selector, counts

    def _count_on(self, node: str, selector: LabelSelector | None, pod: Pod) -> int:
        count, namespace = 0, pod.metadata.namespace
        for held in self._mirror.on(node):
            meta = held.pod.metadata
            if meta.namespace == namespace and meta.deletion_timestamp is None:
                count += self._matches.of(selector, meta.labels)
        return count


class SpreadView:
    """How the hard constraints of one pod stand.

    Args:
        pod: the pod.
        counted: each constraint, its selector and its domains' counts.
    """

    def __init__(
        self,
        pod: Pod,
        counted: tuple[tuple[TopologySpreadConstraint, LabelSelector | None, dict[str, int]], ...],
    ) -> None:
        self._pod = pod
        self._counted = counted

    def refusal(self, node: Node) -> str:
        """Why the pod must not go to the node; empty when it may."""
        labels = self._pod.metadata.labels
        for constraint, selector, counts in self._counted:
            value = node.metadata.labels.get(constraint.topology_key)
            if value is None:
                return f"hard spread: no label {constraint.topology_key}"
            least = min(counts.values(), default=0)
            if len(counts) < (constraint.min_domains or 1):
                least = 0
            own = selector is not None and is_selected(selector, labels)
            skew = counts.get(value, 0) + own - least
            if skew > constraint.max_skew:
                where = f"{constraint.topology_key}={value}"
                return f"hard spread: skew {skew} > {constraint.max_skew}, on {where}"
        return ""


def _selector(constraint: TopologySpreadConstraint, pod: Pod) -> LabelSelector | None:
    """The constraint's selector, with the pod's own values of `matchLabelKeys`."""
    selector, labels = constraint.label_selector, pod.metadata.labels
    keys = [key for key in constraint.match_label_keys if key in labels]
    if selector is None or not keys:
        return selector
    more = tuple(
        LabelSelectorRequirement(key=key, operator="In", values=(labels[key],)) for key in keys
    )
    return LabelSelector(
        match_labels=selector.match_labels,
        match_expressions=(*selector.match_expressions, *more),
    )
