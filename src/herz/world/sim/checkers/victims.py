"""Preemption: whose removal is asked for, for whom, and within which budgets."""

from __future__ import annotations

from herz.model.effects import DeletePod, Effect, Evict, Nominate
from herz.model.objects import Pod, PodDisruptionBudget
from herz.world.sim.checkers.history import History
from herz.world.sim.checkers.mirror import Mirror
from herz.world.sim.checkers.selecting import is_selected


class VictimChecker:
    """Judges each removal against the nomination before it in the same step.

    Rules: a removal follows the nomination of its preemptor; the victim is on the node, of lower
    priority, and the preemptor may preempt. Where budgets are hard, victims go through the eviction
    API, and no decision takes more of a budget than it was known to allow.

    Args:
        mirror: what the machine knows.
        history: for the message.
        is_budget_hard: whether preemption must hold to disruption budgets.
    """

    def __init__(self, mirror: Mirror, history: History, *, is_budget_hard: bool) -> None:
        self._mirror = mirror
        self._history = history
        self._is_budget_hard = is_budget_hard
        self._preemptor: Pod | None = None
        self._node = ""
        self._taken: dict[str, int] = {}

    def begin(self) -> None:
        """A step begins: nothing is nominated in it yet."""
        self._preemptor, self._node = None, ""

    def judge(self, effect: Effect) -> None:
        """Check an effect before it is carried out."""
        if isinstance(effect, Nominate):
            self._nominate(effect)
        elif isinstance(effect, DeletePod | Evict):
            self._remove(effect)

    def _nominate(self, effect: Nominate) -> None:
        if not effect.node:
            return
        pod = self._mirror.pods.get(effect.uid)
        if pod is None or effect.uid in self._mirror.held:
            self._history.fail(f"wrong nomination: {effect.name} is gone, or has a node")
        if effect.node not in self._mirror.nodes:
            self._history.fail(f"wrong nomination of {pod.key}: no node {effect.node}")
        self._preemptor, self._node, self._taken = pod, effect.node, {}

    def _remove(self, effect: DeletePod | Evict) -> None:
        where = f"wrong removal of {effect.namespace}/{effect.name} ({effect.uid})"
        preemptor, held = self._preemptor, self._mirror.held.get(effect.uid)
        if preemptor is None:
            self._history.fail(f"{where}: nobody was nominated")
        if held is None or held.node != self._node:
            self._history.fail(f"{where}: it is not on {self._node}, where {preemptor.key} goes")
        victim = self._mirror.pods[effect.uid]
        if victim.priority >= preemptor.priority:
            why = f"its priority {victim.priority} is not below {preemptor.priority}"
            self._history.fail(f"{where}: {why} of {preemptor.key}")
        if preemptor.spec.preemption_policy == "Never":
            self._history.fail(f"{where}: {preemptor.key} never preempts")
        if self._is_budget_hard:
            self._count_budgets(effect, held.pod, where)

    def _count_budgets(self, effect: DeletePod | Evict, victim: Pod, where: str) -> None:
        if isinstance(effect, DeletePod):
            self._history.fail(f"{where}: budgets are hard, but it is deleted, not evicted")
        for key, budget in self._mirror.budgets.items():
            if victim.is_terminating or not _protects(budget, victim):
                continue
            taken = self._taken[key] = self._taken.get(key, 0) + 1
            allowed = budget.status.disruptions_allowed
            if taken > allowed:
                self._history.fail(f"{where}: budget {key} allows {allowed}, {taken} are taken")


def _protects(budget: PodDisruptionBudget, pod: Pod) -> bool:
    """Whether the budget means the pod, and has not counted its end yet."""
    selector, meta = budget.spec.selector, pod.metadata
    return (
        selector is not None
        and bool(selector.match_labels or selector.match_expressions)
        and budget.metadata.namespace == meta.namespace
        and meta.name not in budget.status.disrupted_pods
        and is_selected(selector, meta.labels)
    )
