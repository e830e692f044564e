"""The cycle's acts where a promise is at stake: what is counted, and told to people."""

from __future__ import annotations

from collections import Counter

from herz import signals
from herz.commit import bind
from herz.model.effects import Effect
from herz.model.podinfo import PodInfo
from herz.place.outcome import Choice
from herz.place.plugins.sla_fit import REASON


def promised(pod: PodInfo, choice: Choice, counters: Counter[str]) -> list[Effect]:
    """Count a placement by what was predicted of it; a warning where nobody could tell.

    Args:
        pod: the pod.
        choice: where it goes, and why.
        counters: of the cycle.
    """
    if any(reason == REASON for stage in choice.path for reason, _ in stage.reasons):
        counters[signals.TURNED_AWAY] += 1
    taken = next((one for one in choice.promises if one.node == choice.node), None)
    if taken is not None and taken.propensity >= 0 and taken is not choice.promises[0]:
        counters[signals.PROMISES_EXPLORED] += 1
    if taken is None or not taken.abstained:
        return []
    counters[signals.PROMISES_UNKNOWN.format(reason=taken.abstained)] += 1
    note = f"no model answers for the promise on {taken.node} ({taken.abstained}): placed with care"
    return [bind.warning(pod, "PromiseUnknown", "Scheduling", note)]
