"""DefaultPreemption: pods of lower priority make room for a pod that fits on no node.

The rule holds the settings; `herz.place.preemption` does the work.
Source: kube-scheduler 1.36 `plugins/defaultpreemption`; the oracle's `preemption` family.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from herz.errors import ConfigError
from herz.model.objects import PodDisruptionBudget
from herz.model.podinfo import PodInfo
from herz.place.plugins.arguments import Arguments, read_arguments
from herz.plugin import (
    Change,
    EventKind,
    Hint,
    Hints,
    PostFilter,
    PreemptionTerms,
    ReasonBook,
)


class PreemptionArguments(Arguments, frozen=True):
    """DefaultPreemptionArgs, and two settings of our own."""

    min_candidate_nodes_percentage: int = 10
    min_candidate_nodes_absolute: int = 100
    budgets: Literal["soft", "hard"] = "soft"
    victims_must_fit_elsewhere: bool = False


class DefaultPreemption(PostFilter, Hints):
    """Kubernetes' preemption, over all nodes: the two numbers of candidates are only checked."""

    name: ClassVar[str] = "DefaultPreemption"

    def __init__(self, args: Mapping[str, Any], reasons: ReasonBook) -> None:
        given = read_arguments(self.name, args, PreemptionArguments)
        _check(given)
        self._terms = PreemptionTerms(
            is_budget_hard=given.budgets == "hard",
            is_room_needed=given.victims_must_fit_elsewhere,
        )

    def hints(self) -> Mapping[EventKind, Hint | None]:
        """Where budgets are limits: one relaxed, or a pod is no longer held by one."""
        if not self._terms.is_budget_hard:
            return {}
        return {
            EventKind.OBJECT_UPDATE: _relaxes,
            EventKind.OBJECT_DELETE: _relaxes,
            EventKind.ASSIGNED_POD_UPDATE: _frees,
        }

    @property
    def terms(self) -> PreemptionTerms:
        """What preemption may do."""
        return self._terms


def _relaxes(_pod: PodInfo, change: Change) -> bool:
    """Whether a budget, in any namespace, allows more disruptions than before."""
    old, new = change.old, change.new
    if not isinstance(old, PodDisruptionBudget):
        return False
    if new is None or old.spec.selector != new.spec.selector:
        return True
    before, after = old.status, new.status
    is_more = after.disruptions_allowed > before.disruptions_allowed
    # A pod that the budget has counted already costs it nothing more.
    return is_more or not set(after.disrupted_pods) <= set(before.disrupted_pods)


def _frees(pod: PodInfo, change: Change) -> bool:
    """Whether a pod of lower priority may have left a budget."""
    old, new = change.old, change.new
    return bool(new.priority < pod.priority and old.group.labels != new.group.labels)


def _check(given: PreemptionArguments) -> None:
    """As Kubernetes checks them.

    Raises:
        ConfigError: a number is out of range.
    """
    percentage = given.min_candidate_nodes_percentage
    absolute = given.min_candidate_nodes_absolute
    where = f"pluginConfig[{DefaultPreemption.name}].args"
    if not 0 <= percentage <= 100:
        raise ConfigError(
            "not in valid range [0, 100]",
            where=f"{where}.minCandidateNodesPercentage",
            value=percentage,
            fix="give 0 to 100",
        )
    if absolute < 0:
        raise ConfigError(
            "not in valid range [0, inf)",
            where=f"{where}.minCandidateNodesAbsolute",
            value=absolute,
            fix="give 0 or more",
        )
    if not percentage and not absolute:
        raise ConfigError(
            "cannot be zero at the same time as minCandidateNodesAbsolute",
            where=f"{where}.minCandidateNodesPercentage",
            value=0,
            fix="give one of the two",
        )
