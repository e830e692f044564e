"""PodDisruptionBudgets: whose preemption breaks one.

Source: kube-scheduler 1.36 `filterPodsWithPDBViolation`. As limits (`is_budget_hard`) they are
what the eviction API holds to.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

from herz.errors import ConfigError
from herz.model.labels import LabelMatcher, compile_selector
from herz.model.objects import PodDisruptionBudget
from herz.model.podinfo import PodInfo
from herz.place.ledger import Placed
from herz.plugin import View


@dataclass(frozen=True, slots=True)
class _Budget:
    """One that can match a pod."""

    key: str
    matcher: LabelMatcher
    allowed: int
    disrupted: frozenset[str]


class Budgets:
    """All budgets as they are now.

    Args:
        view: the cluster.
    """

    def __init__(self, view: View) -> None:
        self._by_namespace: dict[str, list[_Budget]] = {}
        for thing in view.objects(PodDisruptionBudget):
            matcher = _matcher(thing)
            if matcher is None:
                continue
            budget = _Budget(
                thing.metadata.key,
                matcher,
                thing.status.disruptions_allowed,
                frozenset(thing.status.disrupted_pods),
            )
            self._by_namespace.setdefault(thing.metadata.namespace, []).append(budget)

    def __bool__(self) -> bool:
        return bool(self._by_namespace)

    def changed(self, before: Budgets) -> frozenset[str] | None:
        """The budgets whose state differs; None when which pods they match may differ."""
        mine, theirs = self._all(), before._all()
        if mine.keys() != theirs.keys():
            return None
        differ = [key for key, budget in mine.items() if budget != theirs[key]]
        if any(mine[key].matcher != theirs[key].matcher for key in differ):
            return None
        return frozenset(differ)

    def matched(self, pods: Iterable[PodInfo]) -> frozenset[str]:
        """The budgets that match any of the pods."""
        if not self._by_namespace:
            return frozenset()
        return frozenset(
            budget.key
            for pod in pods
            for budget in self._by_namespace.get(pod.namespace, ())
            if budget.matcher.matches(pod.pod.metadata.labels)
        )

    def holding(self, pod: PodInfo) -> tuple[Hashable, ...]:
        """The budgets that hold the pod, as they are: what an eviction's answer follows from."""
        return tuple(self._of(pod))

    def split(self, pods: Sequence[Placed]) -> tuple[list[Placed], list[Placed]]:
        """The pods whose preemption breaks a budget, and the others; each in the given order.

        Every pod counts against all the budgets that match it, whether it breaks one or not.
        """
        if not self._by_namespace:
            return [], list(pods)
        left: dict[str, int] = {}
        breaking: list[Placed] = []
        others: list[Placed] = []
        for placed in pods:
            is_breaking = False
            for budget in self._of(placed.pod):
                left[budget.key] = left.get(budget.key, budget.allowed) - 1
                is_breaking |= left[budget.key] < 0
            (breaking if is_breaking else others).append(placed)
        return breaking, others

    def evictable(self, pods: Sequence[Placed]) -> list[Placed]:
        """The pods that may all be evicted together, in the given order (most important first).

        The least important use a budget up. The eviction API refuses pods with two budgets; a pod
        that is being deleted needs no eviction.
        """
        if not self._by_namespace:
            return list(pods)
        left: dict[str, int] = {}
        kept = []
        for placed in reversed(pods):
            budgets = [] if placed.pod.pod.is_terminating else self._of(placed.pod)
            if len(budgets) > 1:
                continue
            if budgets:
                key = budgets[0].key
                left[key] = left.get(key, budgets[0].allowed) - 1
                if left[key] < 0:
                    continue
            kept.append(placed)
        kept.reverse()
        return kept

    def _of(self, pod: PodInfo) -> list[_Budget]:
        """The budgets that match the pod and have not counted it yet."""
        known = self._by_namespace.get(pod.namespace)
        labels = pod.pod.metadata.labels
        if known is None or not labels:
            return []
        return [
            budget
            for budget in known
            if budget.matcher.matches(labels) and pod.name not in budget.disrupted
        ]

    def _all(self) -> dict[str, _Budget]:
        return {one.key: one for known in self._by_namespace.values() for one in known}


def _matcher(budget: PodDisruptionBudget) -> LabelMatcher | None:
    """Its selector; None when that matches no pod: absent, empty or malformed, as in Kubernetes."""
    try:
        matcher = compile_selector(budget.spec.selector)
    except ConfigError:
        return None
    return None if matcher.is_nothing or matcher.is_everything else matcher
