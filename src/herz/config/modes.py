"""Which rules of a policy may give way, and when: those that Kubernetes does not have.

`rule_terms` is the one place that says whose refusals a policy may take as advice. What
kube-scheduler refuses stays refused, and so does what cannot be had twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from herz.config.intree import EXTENDS
from herz.config.policy import PluginEntry, Policy
from herz.errors import ConfigError
from herz.plugin import Filter, Mode, Plugin, PreBind, Reserve, Summing

RESERVATIONS: Final = "Reservations"
"""The name under which room that is kept (`queue.starvation`) is a rule like others."""
FALL_BACK_AFTER_SECONDS: Final = 300
"""For how long a rule refuses that a policy set to refuse, where it does not say."""

_SECOND_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class RuleTerms:
    """When a rule gives way.

    Args:
        mode: at once, or after its limit.
        fall_back_after_ns: the limit, from the pod's first refusal by such rules alone; 0: never.
    """

    mode: Mode
    fall_back_after_ns: int = 0


def rule_terms(policy: Policy, rules: Sequence[tuple[Plugin, int]]) -> Mapping[str, RuleTerms]:
    """The terms of all rules that have some, by name, sorted; of the others none gives way.

    Args:
        policy: the policy.
        rules: what it names, built, in its order, with weights.

    Raises:
        ConfigError: a mode or limit is set where the rule cannot have it.
    """
    found = {}
    for index, (entry, (rule, _)) in enumerate(zip(policy.plugins, rules, strict=True)):
        terms = _terms_of(entry, rule, f"policy {policy.name} plugins[{index}]")
        if terms is not None:
            found[entry.name] = terms
    kept = policy.queue.starvation
    if kept.after_seconds:
        limit = kept.fall_back_after_seconds * _SECOND_NS
        found[RESERVATIONS] = RuleTerms(Mode(kept.mode), limit)
    return dict(sorted(found.items()))


def lasting(
    rules: Iterable[tuple[Plugin, int]], terms: Mapping[str, RuleTerms]
) -> list[tuple[Plugin, int]]:
    """The rules in the order in which they are asked: those with terms last.

    What Kubernetes' rules refuse is then told in their words, and a node that a rule with terms
    is the first to refuse is one that all others let through.
    """
    return sorted(rules, key=lambda rule: rule[0].name in terms)


def _terms_of(entry: PluginEntry, rule: Plugin, where: str) -> RuleTerms | None:
    modes = _modes(entry, rule)
    limit = entry.fall_back_after_seconds
    if entry.mode is None and limit is None:
        # Unless somebody says so, a rule that refuses does so for ever.
        return RuleTerms(Mode.PREFER) if modes[0] is Mode.PREFER else None
    key, value = ("mode", entry.mode) if limit is None else ("fall_back_after_seconds", limit)
    if Mode.PREFER not in modes or (entry.mode is not None and Mode(entry.mode) not in modes):
        raise ConfigError(
            f"{entry.name} {_why(entry, rule)}",
            where=f"{where}.{key}",
            value=value,
            fix=f"leave {key} out",
        )
    mode = modes[0] if entry.mode is None else Mode(entry.mode)
    if mode is Mode.PREFER:
        if limit is None:
            return RuleTerms(mode)
        fix = "leave it out, or set mode to Refuse"
        where = f"{where}.fall_back_after_seconds"
        raise ConfigError("limit of a rule that prefers", where=where, value=limit, fix=fix)
    return RuleTerms(mode, (FALL_BACK_AFTER_SECONDS if limit is None else limit) * _SECOND_NS)


def _modes(entry: PluginEntry, rule: Plugin) -> tuple[Mode, ...]:
    """How the rule may be run, the default first."""
    is_filter = isinstance(rule, Filter) and "filter" not in entry.off
    if not is_filter or entry.name in (*EXTENDS, RESERVATIONS) or _is_capacity(rule):
        return (Mode.REFUSE,)
    assert isinstance(rule, Filter), "seen above"
    return tuple(rule.modes) or (Mode.REFUSE,)


def _is_capacity(rule: Plugin) -> bool:
    return isinstance(rule, Summing | Reserve | PreBind)


def _why(entry: PluginEntry, rule: Plugin) -> str:
    """Why the rule cannot be run so, after its name."""
    if entry.name in EXTENDS:
        return "is kube-scheduler's and refuses as kube-scheduler does"
    if entry.name == RESERVATIONS:
        return "has the name by which queue.starvation gives way"
    if not isinstance(rule, Filter) or "filter" in entry.off:
        return "refuses no node"
    if _is_capacity(rule):
        return "guards what cannot be given away twice and always refuses"
    return "does not offer this mode"
