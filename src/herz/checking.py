"""Before a start: every configured comparator and rule is tried on fixed cases.

The seed and the counts are fixed, so that a start either always passes or never does. It is a
sample, small enough not to slow a start down; `herz fuzz` looks deeper.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Final

from herz import app
from herz.commit.audit.entry import Check
from herz.config import Policies, Policy
from herz.engine import third_party
from herz.errors import ConfigError
from herz.intake.arrive import Arrivals
from herz.intake.fuzz import Asked, Refuted, Source, search, words_of
from herz.intake.fuzz.pods import QueuedPods
from herz.model.objects import Pod
from herz.model.podinfo import PodInfo
from herz.place.fuzz import Broken, RuleCase, check_case
from herz.plugin import ReasonBook
from herz.profiles import profiles_of

SEED: Final = 0
POOLS: Final = 12
"""Pools of queued pods for a comparator: about 600 calls."""
CASES: Final = 8
"""Made clusters for a rule of another package."""
OWN_CASES: Final = 1
"""For one of Herz's own, which its tests and the engine's digest vouch for."""


def check_start(policy: Policy | Policies) -> Check:
    """Try what the policy names; the result, for the journal.

    Raises:
        ConfigError: a comparator or a rule failed; names it, and what was seen.
    """
    comparators: list[tuple[str, int]] = []
    rules: list[tuple[str, int]] = []
    for profile in profiles_of(policy):
        plugins = app.build_plugins(profile.policy, ReasonBook())
        comparator = app.queue_sort(profile.policy, plugins)
        if comparator is not None:
            _check_comparator(comparator.name, comparator.less)
            comparators.append((comparator.name, POOLS))
        for entry in profile.policy.plugins:
            cases = CASES if entry.name in third_party() else OWN_CASES
            case = RuleCase(app.maker(entry.name, profile.policy), entry.args, (), _read)
            _check_rule(entry.name, case, cases)
            rules.append((entry.name, cases))
    return Check(comparators=tuple(comparators), rules=tuple(rules), seed=SEED)


def _check_comparator(name: str, less: Callable[..., Any]) -> None:
    asked = Asked(less)
    source = Source(random.Random(SEED), words_of(less))
    domain = QueuedPods()
    try:
        search(asked, domain, source, lambda: True, pools_max=POOLS)
    except Refuted as refuted:
        found = refuted.finding
        raise ConfigError(
            f"the comparator {found.flaw.value}: {'; '.join(found.says)}",
            where=f"queueSort {name}",
            value=[pod.reference for pod in found.arguments],
            fix="look with herz fuzz comparator MODULE:CLASS, or leave queue.sort out",
        ) from None


def _check_rule(name: str, case: RuleCase, cases: int) -> None:
    words = words_of(case.make).texts if cases > OWN_CASES else []
    case = RuleCase(case.make, case.args, words, case.read)
    for number in range(cases):
        try:
            check_case(case, random.Random(SEED + number), 2 + number)
        except Broken as broken:
            raise ConfigError(
                f"the rule {broken.clause.value}: {'; '.join(broken.says)}"[:400],
                where=f"rule {name}",
                fix="look with herz fuzz plugin MODULE:CLASS, or leave the rule out of the policy",
            ) from None


def _read(sign: Callable[[PodInfo], bytes]) -> Callable[[Pod], PodInfo]:
    arrivals = Arrivals([], sign, order_salt=b"check")
    return lambda pod: arrivals.read(pod, ())
