"""Machines that are wrong on purpose: for each checker one, and each is caught within 20 seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import msgspec
import pytest

from herz import app
from herz.config import PluginEntry, Policy
from herz.errors import InvariantError
from herz.model.effects import Bind, Effect, PatchPodStatus, PatchVolume
from herz.model.events import Event, ObjectApplied, ObjectDeleted
from herz.model.objects import Node, Pod, PodDisruptionBudget, PodGroup
from herz.model.outcomes import BindFinished, BindOutcome
from herz.model.record import PolicyReference
from herz.ports import Machine, MachineFactory, RecordSink
from herz.world.sim.chaos import chaos_scenario
from herz.world.sim.run import simulate

# One seed takes some seconds; a wrong machine is mostly caught in the first.
pytestmark = pytest.mark.timeout(300)

SEEDS_MAX = 20
DEFAULT = app.load_policy("default")
REFERENCE = PolicyReference(DEFAULT.digest, DEFAULT.name, DEFAULT.version)


class Wrong:
    """The machine, given other events than happened, or with other effects than decided."""

    def __init__(self, inner: Machine) -> None:
        self._inner = inner

    @property
    def ready(self) -> int:
        return self._inner.ready

    @property
    def held(self) -> Mapping[str, str]:
        return self._inner.held

    def apply(self, event: Event) -> None:
        self._inner.apply(event)

    def step(self, now_ns: int, limit: int) -> list[Effect]:
        return self._inner.step(now_ns, limit)


class Twice(Wrong):
    """Binds a pod again that is bound already."""

    def __init__(self, inner: Machine) -> None:
        super().__init__(inner)
        self._binds: dict[str, Bind] = {}
        self._again: list[Effect] = []

    def apply(self, event: Event) -> None:
        if isinstance(event, BindFinished) and event.outcome is BindOutcome.BOUND:
            self._again.append(self._binds[event.uid])
        super().apply(event)

    def step(self, now_ns: int, limit: int) -> list[Effect]:
        effects = super().step(now_ns, limit)
        self._binds.update({one.uid: one for one in effects if isinstance(one, Bind)})
        again, self._again = self._again, []
        return effects + again


class Leaking(Wrong):
    """Keeps the room of one in eight pods that are gone from their nodes."""

    def apply(self, event: Event) -> None:
        pod = event.object if isinstance(event, ObjectDeleted) else None
        if not isinstance(pod, Pod) or not pod.is_assigned or not _is_eighth(event):
            super().apply(event)


class Forgetful(Wrong):
    """Never hears of one in eight pods before they are on a node."""

    def apply(self, event: Event) -> None:
        pod = event.object if isinstance(event, ObjectApplied) else None
        if not isinstance(pod, Pod) or pod.is_assigned or not _is_eighth(event):
            super().apply(event)


class Impatient(Wrong):
    """Tries each pod once, and forgets those that had no place."""

    def __init__(self, inner: Machine) -> None:
        super().__init__(inner)
        self._pods: dict[str, Pod] = {}
        self._dropped: set[str] = set()

    def apply(self, event: Event) -> None:
        if isinstance(event, ObjectApplied) and isinstance(event.object, Pod):
            self._pods[event.object.metadata.uid] = event.object
            if event.object.metadata.uid in self._dropped:
                return
        super().apply(event)

    def step(self, now_ns: int, limit: int) -> list[Effect]:
        effects = super().step(now_ns, limit)
        for effect in effects:
            if isinstance(effect, PatchPodStatus) and effect.reason == "Unschedulable":
                self._dropped.add(effect.uid)
                self._inner.apply(ObjectDeleted(time_ns=now_ns, object=self._pods[effect.uid]))
        return effects


class Heaping(Wrong):
    """Thinks that every node has four times its processors."""

    def apply(self, event: Event) -> None:
        node = event.object if isinstance(event, ObjectApplied) else None
        if isinstance(node, Node):
            cpu = node.status.allocatable["cpu"]
            assert isinstance(cpu, int)
            allocatable = {**node.status.allocatable, "cpu": 4 * cpu}
            status = msgspec.structs.replace(node.status, allocatable=allocatable)
            node = msgspec.structs.replace(node, status=status)
            event = ObjectApplied(time_ns=event.time_ns, object=node)
        super().apply(event)


def _is_eighth(event: Event) -> bool:
    assert isinstance(event, ObjectApplied | ObjectDeleted)
    return sum(event.object.metadata.uid.encode()) % 8 == 0


def _with_priority(event: Event, change: Callable[[Pod], int]) -> Event:
    if isinstance(event, ObjectApplied) and isinstance(event.object, Pod):
        pod = event.object
        spec = msgspec.structs.replace(pod.spec, priority=change(pod))
        return msgspec.structs.replace(event, object=msgspec.structs.replace(pod, spec=spec))
    return event


class Inverted(Wrong):
    """Takes the least important first."""

    def apply(self, event: Event) -> None:
        super().apply(_with_priority(event, lambda pod: -pod.priority))


class Ruthless(Wrong):
    """Thinks that whoever is placed is of no importance."""

    def apply(self, event: Event) -> None:
        event = _with_priority(event, lambda pod: -5000 if pod.is_assigned else pod.priority)
        super().apply(event)


class Lawless(Wrong):
    """Thinks that budgets allow everything."""

    def apply(self, event: Event) -> None:
        budget = event.object if isinstance(event, ObjectApplied) else None
        if isinstance(budget, PodDisruptionBudget):
            status = msgspec.structs.replace(budget.status, disruptions_allowed=99)
            budget = msgspec.structs.replace(budget, status=status)
            event = ObjectApplied(time_ns=event.time_ns, object=budget)
        super().apply(event)


class Halving(Wrong):
    """Thinks that half of each group's pods would do, whichever API the group is of."""

    is_labelled = False

    def apply(self, event: Event) -> None:
        group = event.object if isinstance(event, ObjectApplied) else None
        if isinstance(group, PodGroup) and group.is_coscheduling == self.is_labelled:
            event = ObjectApplied(time_ns=event.time_ns, object=self._halved(group))
        super().apply(event)

    def _halved(self, group: PodGroup) -> PodGroup:
        half = group.min_count // 2
        replace = msgspec.structs.replace
        policy = group.spec.scheduling_policy
        if policy is None:
            return replace(group, spec=replace(group.spec, min_member=half))
        assert policy.gang is not None
        policy = replace(policy, gang=replace(policy.gang, min_count=half))
        return replace(group, spec=replace(group.spec, scheduling_policy=policy))


class HalvingLabelled(Halving):
    """The same for groups whose pods join by label."""

    is_labelled = True


class Groupless(Wrong):
    """Never hears of groups, so that their pods wait for them."""

    def apply(self, event: Event) -> None:
        if not isinstance(event, ObjectApplied) or not isinstance(event.object, PodGroup):
            super().apply(event)


class Torn(Wrong):
    """Binds all but the last of the pods of a group that it decided upon."""

    def __init__(self, inner: Machine) -> None:
        super().__init__(inner)
        self._groups: dict[str, str] = {}

    def apply(self, event: Event) -> None:
        pod = event.object if isinstance(event, ObjectApplied) else None
        if isinstance(pod, Pod) and pod.spec.scheduling_group is not None:
            name = pod.spec.scheduling_group.pod_group_name or ""
            self._groups[pod.metadata.uid] = f"{pod.metadata.namespace}/{name}"
        super().apply(event)

    def step(self, now_ns: int, limit: int) -> list[Effect]:
        effects = super().step(now_ns, limit)
        last = {
            self._groups[one.uid]: one
            for one in effects
            if isinstance(one, Bind) and one.uid in self._groups
        }
        return [one for one in effects if one not in last.values()]


class Sharing(Wrong):
    """Gives the volume that it gave first to every claim."""

    first: PatchVolume | None = None

    def step(self, now_ns: int, limit: int) -> list[Effect]:
        return [
            self._shared(one) if isinstance(one, PatchVolume) else one
            for one in super().step(now_ns, limit)
        ]

    def _shared(self, patch: PatchVolume) -> PatchVolume:
        self.first = self.first or patch
        return msgspec.structs.replace(patch, name=self.first.name, uid=self.first.uid)


def wrong(make: Callable[[Machine], Machine], policy: Policy = DEFAULT) -> MachineFactory:
    def factory(seed: int, sinks: Sequence[RecordSink]) -> Machine:
        return make(app.build_machine(policy, seed, sinks))

    return factory


def without(rule: str) -> MachineFactory:
    plugins = tuple(one for one in DEFAULT.plugins if one.name != rule)
    assert len(plugins) == len(DEFAULT.plugins) - 1, rule
    return partial(app.build_machine, msgspec.structs.replace(DEFAULT, plugins=plugins))


def hard() -> Policy:
    """The default policy with hard budgets."""
    plugins = tuple(
        PluginEntry(one.name, args={"budgets": "hard"}) if one.name == "DefaultPreemption" else one
        for one in DEFAULT.plugins
    )
    return msgspec.structs.replace(DEFAULT, plugins=plugins)


def caught(factory: MachineFactory, *, is_budget_hard: bool = False) -> str:
    """What the first seed says that catches the machine."""
    scenario = chaos_scenario(is_budget_hard=is_budget_hard)
    scenario = replace(scenario, limits=msgspec.structs.replace(scenario.limits, history_max=4))
    for seed in range(SEEDS_MAX):
        try:
            simulate(scenario, factory, REFERENCE, seed)
        except InvariantError as error:
            return str(error)
    return "nothing"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("NodePorts", ("host port",)),
        ("InterPodAffinity", ("required anti-affinity", "required affinity")),
        ("PodTopologySpread", ("hard spread",)),
        ("TaintToleration", ("untolerated taint",)),
        ("NodeAffinity", ("node selector", "required node affinity")),
        ("NodeUnschedulable", ("were unschedulable",)),
        ("VolumeBinding", ("is not bound", "out of reach")),
        ("VolumeZone", ("out of reach",)),
        ("NodeVolumeLimits", ("the node holds",)),
        ("VolumeRestrictions", ("is for one pod",)),
    ],
)
def test_rule_that_is_left_out_is_missed(rule: str, words: tuple[str, ...]) -> None:
    told = caught(without(rule))
    assert "wrong bind" in told
    assert any(word in told for word in words)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (Twice, "it is assigned"),
        (Leaking, "leaked reservation"),
        (Heaping, "over-committed"),
        (Inverted, "wrong order"),
        (Ruthless, "wrong removal"),
        (Forgetful, "was lost: it never had its turn"),
        (Impatient, "was lost"),
        (Halving, "half a group"),
        (HalvingLabelled, "half a group"),
        (Groupless, "waiting for pod group"),
        (Torn, "waits for no volume"),
        (Sharing, "one volume for two claims"),
    ],
)
def test_machine_that_is_wrong_is_caught(make: Callable[[Machine], Machine], words: str) -> None:
    assert words in caught(wrong(make))


@pytest.mark.slow
def test_deletion_past_the_eviction_api_is_caught() -> None:
    told = caught(wrong(Wrong), is_budget_hard=True)
    assert "budgets are hard" in told


@pytest.mark.slow
def test_eviction_beyond_a_budget_is_caught() -> None:
    told = caught(wrong(Lawless, hard()), is_budget_hard=True)
    assert "are taken" in told


@pytest.mark.slow
def test_hard_budgets_are_kept() -> None:
    scenario = chaos_scenario(is_budget_hard=True)
    result = simulate(scenario, partial(app.build_machine, hard()), REFERENCE, 4)
    assert result.effects["Evict"] >= 5
    assert "DeletePod" not in result.effects
