"""Preemption at the API server: nominations, deletions and evictions that the machine asks for."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from herz.model.effects import DeletePod, Evict, Nominate
from herz.model.events import WorldEvent
from herz.model.objects import Condition
from herz.model.outcomes import RemovalRefused
from herz.model.pod import DISRUPTION_TARGET, PREEMPTED
from herz.world.sim.cluster import Cluster, Fate, PodState
from herz.world.sim.controllers import Controllers
from herz.world.sim.disruptions import Disruptions
from herz.world.sim.engine import Engine, Rank
from herz.world.sim.faults import Dice
from herz.world.sim.scenario import Timing

_ERROR = "Internal error occurred (injected)"


class Removals:
    """Carries out what makes room.

    Args:
        engine: virtual time.
        cluster: the objects.
        dice: faults.
        timing: latencies.
        controllers: take over what becomes of deleted pods.
        disruptions: say which evictions are allowed.
        deliver: takes the refusals.
    """

    def __init__(
        self,
        engine: Engine,
        cluster: Cluster,
        dice: Dice,
        timing: Timing,
        controllers: Controllers,
        disruptions: Disruptions,
        deliver: Callable[[WorldEvent], None],
    ) -> None:
        self._engine = engine
        self._cluster = cluster
        self._dice = dice
        self._timing = timing
        self._controllers = controllers
        self._disruptions = disruptions
        self._deliver = deliver

    def nominate(self, effect: Nominate) -> None:
        """Set the pod's nominated node, at once."""
        state = self._cluster.pods.get(effect.uid)
        if state is None or state.is_gone or state.fate is not Fate.PENDING:
            return
        if self._timing.is_echoed and state.pod.status.nominated_node_name != effect.node:
            status = replace(state.pod.status, nominated_node_name=effect.node)
            self._cluster.update(state, replace(state.pod, status=status), is_echo=True)

    def take(self, effect: DeletePod | Evict) -> None:
        """Carry out a removal when half its latency has passed."""
        took_ns = self._dice.between(*self._timing.bind_ns)
        self._engine.at(self._engine.now_ns + took_ns // 2, Rank.API, self._remove, effect)

    def _remove(self, effect: DeletePod | Evict) -> None:
        state = self._cluster.pods.get(effect.uid)
        if state is None or state.is_gone or state.fate not in (Fate.PENDING, Fate.RUNNING):
            return
        if self._dice.strikes("removal_refused"):
            self._refuse(effect.uid, _ERROR)
            return
        if isinstance(effect, Evict):
            # A pod without a node, or about to go, needs no budget.
            refusal = self._disruptions.evict(state.pod) if state.pod.is_assigned else ""
            if refusal:
                self._refuse(effect.uid, refusal)
                return
        else:
            self._mark(state, effect.message)
        self._controllers.preempt(state)

    def _mark(self, state: PodState, message: str) -> None:
        """The condition that tells a pod's owner why it ends."""
        condition = Condition(
            type=DISRUPTION_TARGET, status="True", reason=PREEMPTED, message=message
        )
        status = state.pod.status
        status = replace(status, conditions=(*status.conditions, condition))
        self._cluster.update(state, replace(state.pod, status=status))

    def _refuse(self, uid: str, message: str) -> None:
        now_ns = self._engine.now_ns
        refused = RemovalRefused(time_ns=now_ns, uid=uid, message=message)
        self._engine.at(now_ns, Rank.WATCH, self._deliver, refused)
