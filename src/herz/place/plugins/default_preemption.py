"""DefaultPreemption: pods of lower priority make room for a pod that fits on no node.

The rule holds the settings; `herz.place.preemption` does the work.
Source: kube-scheduler 1.36 `plugins/defaultpreemption`; the oracle's `preemption` family.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from herz.errors import ConfigError
from herz.place.plugins.arguments import Arguments, read_arguments
from herz.plugin import PostFilter, PreemptionTerms, ReasonBook


class PreemptionArguments(Arguments, frozen=True):
    """DefaultPreemptionArgs, and two settings of our own."""

    min_candidate_nodes_percentage: int = 10
    min_candidate_nodes_absolute: int = 100
    budgets: Literal["soft", "hard"] = "soft"
    victims_must_fit_elsewhere: bool = False


class DefaultPreemption(PostFilter):
    """Kubernetes' preemption, over all nodes: the two numbers of candidates are only checked."""

    name: ClassVar[str] = "DefaultPreemption"

    def __init__(self, args: Mapping[str, Any], reasons: ReasonBook) -> None:
        given = read_arguments(self.name, args, PreemptionArguments)
        _check(given)
        self._terms = PreemptionTerms(
            is_budget_hard=given.budgets == "hard",
            is_room_needed=given.victims_must_fit_elsewhere,
        )

    @property
    def terms(self) -> PreemptionTerms:
        """What preemption may do."""
        return self._terms


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
