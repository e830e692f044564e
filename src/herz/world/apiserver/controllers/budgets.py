"""Disruption budgets: how many of their pods are healthy, and how many may go.

Source: pkg/controller/disruption (facts).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from herz.model.decode import convert
from herz.model.labels import LabelMatcher, compile_selector
from herz.model.meta import LabelSelector
from herz.world.apiserver.controllers.plan import (
    Plan,
    View,
    condition_of,
    controller_uid,
    is_active,
    is_deleted,
    is_ready,
    status_write,
)
from herz.world.apiserver.objects.kinds import kind_of
from herz.world.apiserver.registry.times import age_s, seconds_text
from herz.world.apiserver.store import Change, Key, Version

Content = dict[str, Any]

BUDGETS = kind_of("poddisruptionbudgets.policy")
DISRUPTED_S = 120
"""How long an eviction that was allowed counts though its pod is still there."""


class Budgets:
    """Keeps each budget's status."""

    def concerned(self, change: Change, view: View) -> Iterable[Key]:
        """The budget, or those of the pod's namespace."""
        key = change.version.key
        if key.resource == BUDGETS.stored:
            return [] if change.is_deletion else [key]
        if key.resource not in ("pods", "replicasets.apps", "deployments.apps"):
            return []
        return [item.key for item in view.items(BUDGETS.stored, key.namespace)]

    def reconcile(self, key: Key, view: View, at: datetime) -> Plan:
        """Count, and say so."""
        budget = view.get(key)
        if budget is None or is_deleted(budget):
            return Plan()
        matcher = _matcher(budget)
        pods = [
            pod
            for pod in view.items("pods", key.namespace)
            if matcher.matches(pod.metadata.get("labels", {})) and _counts(pod)
        ]
        disrupted, again_s = _disrupted(budget, pods, at)
        healthy = sum(
            is_ready(pod) and is_active(pod) and pod.key.name not in disrupted for pod in pods
        )
        expected, desired = _expected(budget, pods, view)
        allowed = max(0, healthy - desired) if expected > 0 else 0
        status: Content = {
            "observedGeneration": budget.metadata.get("generation", 0),
            "disruptionsAllowed": allowed,
            "currentHealthy": healthy,
            "desiredHealthy": desired,
            "expectedPods": expected,
            "conditions": [_condition(budget, allowed, at)],
        }
        if disrupted:
            status["disruptedPods"] = disrupted
        return Plan(status_write(BUDGETS, budget, status), again_s)


def _matcher(budget: Version) -> LabelMatcher:
    selector = budget.content["spec"].get("selector")
    return compile_selector(None if selector is None else convert(LabelSelector, selector))


def _counts(pod: Version) -> bool:
    return pod.content.get("status", {}).get("phase") not in ("Succeeded", "Failed")


def _disrupted(budget: Version, pods: list[Version], at: datetime) -> tuple[Content, float | None]:
    """The evictions that have not shown yet, and when the first of them is given up."""
    there = {pod.key.name for pod in pods if not is_deleted(pod)}
    found, waits = {}, []
    for name, time in budget.content.get("status", {}).get("disruptedPods", {}).items():
        left_s = DISRUPTED_S - age_s(time, at)
        if name in there and left_s > 0:
            found[name] = time
            waits.append(left_s)
    return found, min(waits) if waits else None


def _expected(budget: Version, pods: list[Version], view: View) -> tuple[int, int]:
    """How many pods there should be, and how many healthy ones there must be."""
    spec = budget.content["spec"]
    if spec.get("maxUnavailable") is not None:
        expected = _scale(pods, view)
        return expected, max(0, expected - _share(spec["maxUnavailable"], expected))
    least = spec.get("minAvailable", 1)
    if isinstance(least, int):
        return len(pods), least
    expected = _scale(pods, view)
    return expected, _share(least, expected)


def _scale(pods: list[Version], view: View) -> int:
    """The replicas of all that manage the pods; a pod that nobody manages stands for itself."""
    scales: dict[str, int] = {}
    for pod in pods:
        owner = _manager(pod, view)
        if owner is None:
            scales[pod.uid] = 1
        else:
            scales[owner.uid] = int(owner.content.get("spec", {}).get("replicas", 1))
    return sum(scales.values())


def _manager(pod: Version, view: View) -> Version | None:
    """The topmost of the pod's managers."""
    found: Version | None = None
    item = pod
    # Bound: a pod's managers are a set and a deployment.
    for _ in range(2):
        key = view.key_of(controller_uid(item.content))
        above = None if key is None else view.get(key)
        if above is None:
            return found
        found = item = above
    return found


def _share(amount: int | str, of: int) -> int:
    if isinstance(amount, int):
        return amount
    return -(-of * int(amount.removesuffix("%")) // 100)


def _condition(budget: Version, allowed: int, at: datetime) -> Content:
    status = "True" if allowed else "False"
    before = condition_of(budget.content, "DisruptionAllowed")
    is_same = before.get("status") == status
    return {
        "type": "DisruptionAllowed",
        "status": status,
        "observedGeneration": budget.metadata.get("generation", 0),
        "lastTransitionTime": before["lastTransitionTime"] if is_same else seconds_text(at),
        "reason": "SufficientPods" if allowed else "InsufficientPods",
        "message": "",
    }
