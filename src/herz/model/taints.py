"""Taints of nodes and the tolerations of pods."""

from __future__ import annotations

from collections.abc import Iterable

from herz.model.node import Taint
from herz.model.pod import Toleration

NO_SCHEDULE = "NoSchedule"
PREFER_NO_SCHEDULE = "PreferNoSchedule"
NO_EXECUTE = "NoExecute"
TAINT_EFFECTS = (NO_SCHEDULE, PREFER_NO_SCHEDULE, NO_EXECUTE)
HARD_EFFECTS = frozenset((NO_SCHEDULE, NO_EXECUTE))
UNSCHEDULABLE_TAINT = Taint(key="node.kubernetes.io/unschedulable", effect=NO_SCHEDULE)


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    """Whether a toleration covers a taint.

    An empty effect or key covers all; an empty operator is Equal. The operators Gt and Lt cover
    nothing: they are off in Kubernetes 1.36, and so is any operator that isn't known.
    """
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    if toleration.operator in ("", "Equal"):
        return toleration.value == taint.value
    return toleration.operator == "Exists"


def find_untolerated(
    taints: Iterable[Taint],
    tolerations: Iterable[Toleration],
    effects: frozenset[str] = HARD_EFFECTS,
) -> Taint | None:
    """The first taint of these effects that no toleration covers; None where all are covered."""
    covering = tuple(tolerations)
    for taint in taints:
        if taint.effect in effects and not any(tolerates(item, taint) for item in covering):
            return taint
    return None
