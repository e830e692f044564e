"""The API server's front: takes the machine's effects, answers them, and fails as told.

Comes in: effects. Goes out: changes of the cluster, and `BindFinished` answers after a latency.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from herz.model.effects import (
    Bind,
    DeletePod,
    Effect,
    EmitEvent,
    Evict,
    Nominate,
    PatchClaim,
    PatchPodStatus,
    PatchVolume,
    WakeAt,
)
from herz.model.events import WorldEvent
from herz.model.objects import Condition
from herz.model.outcomes import BindFinished, BindOutcome
from herz.world.sim.cluster import Cluster, Fate, PodState
from herz.world.sim.controllers import Controllers
from herz.world.sim.engine import Engine, Rank
from herz.world.sim.faults import Dice
from herz.world.sim.removals import Removals
from herz.world.sim.scenario import Timing
from herz.world.sim.storage import Storage

_CONFLICT = "Operation cannot be fulfilled: the object has been modified (injected)"
_FAILED = "Internal error occurred (injected)"
_NOT_LANDED = "the pod has no such node when read after the time-out"
_TIMEOUT = "context deadline exceeded (injected)"

# A bind on its way: the request, when its answer comes, and whether the answer gets lost.
_Flight = tuple[Bind, int, bool]


class ApiServer:
    """Carries out effects.

    Args:
        engine: virtual time.
        cluster: the objects.
        dice: faults.
        timing: latencies.
        controllers: take over what becomes of bound and deleted pods.
        removals: carry out what makes room.
        storage: carries out what is asked of claims and volumes.
        deliver: takes the answers.
    """

    def __init__(
        self,
        engine: Engine,
        cluster: Cluster,
        dice: Dice,
        timing: Timing,
        controllers: Controllers,
        removals: Removals,
        storage: Storage,
        deliver: Callable[[WorldEvent], None],
    ) -> None:
        self._engine = engine
        self._cluster = cluster
        self._dice = dice
        self._timing = timing
        self._controllers = controllers
        self._removals = removals
        self._storage = storage
        self._deliver = deliver
        self.effects: dict[str, int] = {}
        self.event_reasons: dict[str, int] = {}

    def carry_out(self, effect: Effect) -> None:
        """Do what the effect asks for, now or when its latency has passed."""
        kind = type(effect).__name__
        self.effects[kind] = self.effects.get(kind, 0) + 1
        if isinstance(effect, Bind):
            self._take_bind(effect)
        elif isinstance(effect, PatchPodStatus):
            self._patch(effect)
        elif isinstance(effect, EmitEvent):
            reason = effect.reason
            self.event_reasons[reason] = self.event_reasons.get(reason, 0) + 1
        elif isinstance(effect, Nominate):
            self._removals.nominate(effect)
        elif isinstance(effect, DeletePod | Evict):
            self._removals.take(effect)
        elif isinstance(effect, PatchClaim | PatchVolume):
            self._storage.patch(effect)
        else:
            # A WakeAt is the driver's; counting it is all that is to be done here.
            assert isinstance(effect, WakeAt), effect

    def _take_bind(self, request: Bind) -> None:
        now_ns, timing, dice = self._engine.now_ns, self._timing, self._dice
        took_ns = dice.between(*timing.bind_ns)
        if dice.is_bind_sound:
            flight = (request, now_ns + took_ns, False)
            self._engine.at(now_ns + took_ns // 2, Rank.API, self._land, flight)
            return
        if dice.strikes("bind_slow"):
            took_ns = min(took_ns * timing.slow_factor, timing.timeout_ns)
        if dice.strikes("bind_refused"):
            self._answer(now_ns + took_ns, request, BindOutcome.REFUSED, _CONFLICT, code=409)
            return
        if dice.strikes("bind_failed"):
            self._answer(now_ns + took_ns, request, BindOutcome.UNKNOWN, _FAILED, code=500)
            confirmed_ns = now_ns + took_ns + timing.confirm_ns
            self._engine.at(confirmed_ns, Rank.API, self._confirm, request)
            return
        if dice.strikes("bind_lost"):
            self._give_up(request)
            return
        if dice.strikes("bind_throttled"):
            # The client keeps the 429 to itself, and asks again when it may.
            took_ns += timing.retry_after_ns
        is_answer_lost = dice.strikes("bind_landed")
        if is_answer_lost:
            self._give_up(request)
        is_recreated = dice.strikes("recreated_in_flight")
        if is_recreated or dice.strikes("deleted_in_flight"):
            at_ns = now_ns + took_ns // 4
            self._engine.at(at_ns, Rank.API, self._interfere, (request, is_recreated))
        flight = (request, now_ns + took_ns, is_answer_lost)
        self._engine.at(now_ns + took_ns // 2, Rank.API, self._land, flight)

    def _land(self, flight: _Flight) -> None:
        request, answer_ns, is_answer_lost = flight
        refusal = self._cluster.bind(request)
        if not refusal:
            self._controllers.bound(self._cluster.by_key[f"{request.namespace}/{request.name}"])
        if is_answer_lost:
            return
        outcome = BindOutcome.REFUSED if refusal else BindOutcome.BOUND
        self._answer(answer_ns, request, outcome, refusal, code=409 if refusal else UNSET)

    def _answer(
        self,
        at_ns: int,
        request: Bind,
        outcome: BindOutcome,
        message: str,
        *,
        code: int | UnsetType = UNSET,
        resolved: Literal["read"] | UnsetType = UNSET,
    ) -> None:
        known = self._cluster.pods.get(request.uid) if outcome is BindOutcome.BOUND else None
        answer = BindFinished(
            time_ns=at_ns,
            uid=request.uid,
            decision=request.decision,
            outcome=outcome,
            message=message,
            resource_version=UNSET if known is None else known.pod.metadata.resource_version,
            code=code,
            resolved=resolved,
        )
        self._engine.at(at_ns, Rank.WATCH, self._deliver, answer)

    def _give_up(self, request: Bind) -> None:
        """The answer is lost: the machine hears of a time-out, and later what the API holds."""
        at_ns = self._engine.now_ns + self._timing.timeout_ns
        self._answer(at_ns, request, BindOutcome.UNKNOWN, _TIMEOUT)
        self._engine.at(at_ns + self._timing.confirm_ns, Rank.API, self._confirm, request)

    def _confirm(self, request: Bind) -> None:
        """Read the pod again, as a client does after a time-out, and answer by what it holds."""
        state = self._cluster.pods.get(request.uid)
        if state is None or state.is_gone:
            self._cluster.tell(request.uid)
            return
        is_there = state.pod.spec.node_name == request.node
        outcome = BindOutcome.BOUND if is_there else BindOutcome.REFUSED
        told = "" if is_there else _NOT_LANDED
        self._answer(self._engine.now_ns, request, outcome, told, resolved="read")

    def _interfere(self, what: tuple[Bind, bool]) -> None:
        request, is_recreated = what
        state = self._cluster.pods.get(request.uid)
        if state is not None and state.fate is Fate.PENDING:
            self._controllers.delete(state)
            if is_recreated:
                self._controllers.recreate(state)

    def _patch(self, effect: PatchPodStatus) -> None:
        state = self._cluster.pods.get(effect.uid)
        if state is None or state.is_gone or state.fate is not Fate.PENDING:
            return
        state.was_refused = True
        if self._timing.is_echoed:
            self._set_condition(state, effect)

    def _set_condition(self, state: PodState, effect: PatchPodStatus) -> None:
        condition = Condition(
            type="PodScheduled", status="False", reason=effect.reason, message=effect.message
        )
        if state.pod.status.conditions != (condition,):
            status = replace(state.pod.status, conditions=(condition,))
            self._cluster.update(state, replace(state.pod, status=status), is_echo=True)
