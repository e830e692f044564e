"""The disruption controller, and what the eviction API asks of it.

It follows the pods on the watch, as the real one does, and keeps each budget's status a second
behind them; an eviction counts at once.
"""

from __future__ import annotations

from msgspec.structs import replace

from herz.model.events import ObjectApplied, WorldEvent
from herz.model.objects import Pod, PodDisruptionBudget
from herz.model.outcomes import BindFinished, PatchRefused, RemovalRefused
from herz.world.sim.checkers.selecting import Matches
from herz.world.sim.engine import Engine, Rank
from herz.world.sim.result import SECOND_NS
from herz.world.sim.watch import Watch

_DELAY_NS = SECOND_NS
_FINAL = ("Succeeded", "Failed")


class Disruptions:
    """All budgets of a run; without any it does nothing.

    Args:
        engine: virtual time.
        watch: where a changed status goes out.
    """

    def __init__(self, engine: Engine, watch: Watch) -> None:
        self._engine = engine
        self._watch = watch
        self._matches = Matches()
        self._budgets: dict[str, PodDisruptionBudget] = {}
        self._members: dict[str, dict[str, Pod]] = {}
        self._of: dict[str, tuple[str, ...]] = {}
        self._stale: dict[str, None] = {}

    def add(self, budget: PodDisruptionBudget) -> None:
        """Take a budget over."""
        key = budget.metadata.key
        self._budgets[key] = budget
        self._members[key] = {}

    def see(self, event: WorldEvent) -> None:
        """Follow a pod."""
        if not self._budgets or isinstance(event, BindFinished | PatchRefused | RemovalRefused):
            return
        pod = event.object
        if not isinstance(pod, Pod):
            return
        is_there = isinstance(event, ObjectApplied) and pod.status.phase not in _FINAL
        uid = pod.metadata.uid
        keys = self._matching(pod) if is_there else ()
        before = self._of.pop(uid, ())
        for key in before:
            if key not in keys:
                del self._members[key][uid]
                self._touch(key)
        if keys:
            self._of[uid] = keys
        for key in keys:
            self._members[key][uid] = pod
            self._touch(key)

    def evict(self, pod: Pod) -> str:
        """Count an eviction of a pod on a node; why it is refused (429, 500), or empty."""
        keys = self._matching(pod)
        if len(keys) > 1:
            return "This pod has more than one PodDisruptionBudget, which the eviction API refuses"
        for key in keys:
            budget = self._budgets[key]
            status = budget.status
            if status.disruptions_allowed <= 0:
                name = budget.metadata.name
                return f"Cannot evict pod as it would violate the pod's disruption budget {name}"
            disrupted = {**status.disrupted_pods, pod.metadata.name: "now"}
            self._tell(key, status.disruptions_allowed - 1, disrupted)
        return ""

    def _matching(self, pod: Pod) -> tuple[str, ...]:
        labels, namespace = pod.metadata.labels, pod.metadata.namespace
        return tuple(
            key
            for key, budget in self._budgets.items()
            if budget.metadata.namespace == namespace
            and self._matches.of(budget.spec.selector, labels)
        )

    def _touch(self, key: str) -> None:
        if not self._stale:
            self._engine.at(self._engine.now_ns + _DELAY_NS, Rank.USER, self._renew)
        self._stale[key] = None

    def _renew(self, _: None) -> None:
        stale, self._stale = self._stale, {}
        for key in stale:
            budget = self._budgets[key]
            pods = list(self._members[key].values())
            ending = {pod.metadata.name for pod in pods if pod.is_terminating}
            staying = {pod.metadata.name for pod in pods} - ending
            disrupted = {
                name: at for name, at in budget.status.disrupted_pods.items() if name in staying
            }
            names = (pod.metadata.name for pod in pods if pod.is_assigned)
            healthy = sum(name in staying and name not in disrupted for name in names)
            allowed = max(healthy - _desired(budget, len(pods)), 0)
            self._tell(key, allowed, disrupted)

    def _tell(self, key: str, allowed: int, disrupted: dict[str, str]) -> None:
        budget = self._budgets[key]
        status = replace(budget.status, disruptions_allowed=allowed, disrupted_pods=disrupted)
        if status != budget.status:
            self._budgets[key] = changed = replace(budget, status=status)
            self._watch.applied(changed)


def _desired(budget: PodDisruptionBudget, expected: int) -> int:
    """How many of the pods must stay."""
    spec = budget.spec
    if spec.max_unavailable is not None:
        return expected - _share(spec.max_unavailable, expected)
    return 0 if spec.min_available is None else _share(spec.min_available, expected)


def _share(amount: int | str, whole: int) -> int:
    """A count, or a percentage of the whole, rounded up."""
    if isinstance(amount, int):
        return amount
    return -(-int(amount.rstrip("%")) * whole // 100)
