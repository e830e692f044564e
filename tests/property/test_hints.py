"""Hints against the exhaustive answer: a pod that would fit is never left asleep.

After every event of a random life, each pod in the unschedulable room is decided once more by a
framework that remembers nothing. Time ends no wait here: no life is long enough for the flush.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from herz.app import build_plugins
from herz.commit.bind import DEVICES_ANNOTATION
from herz.config import Policies, Policy, Profile
from herz.intake.queue.item import QueuedPod
from herz.intake.queue.lifecycle import State
from herz.model.effects import Bind, DeletePod, PatchClaim, PatchVolume
from herz.model.objects import Node, PersistentVolume, PersistentVolumeClaim, Pod
from herz.model.outcomes import BindOutcome, PatchRefused, RemovalRefused
from herz.model.podinfo import PodInfo
from herz.place.advice import Advices
from herz.place.framework import Framework
from herz.place.gang import Gang, Gangs
from herz.place.outcome import Choice, NoFit
from herz.place.snapshot import SnapshotDigest
from herz.plugin import ReasonBook
from herz.profiles import Built, build_framework, profiles_of
from tests.support import strategies as some
from tests.support.lives import EVERY, KINDS, LITTLE, Kind, node_of, object_of, pod_of, tweaked
from tests.support.machine import KUBERNETES, SECOND, Harness, make_policy, only
from tests.support.objects import make_node
from tests.support.possessions import EVERY as OWNED_EVERY
from tests.support.possessions import KINDS as OWNED
from tests.support.possessions import completed, storage_of, with_devices
from tests.support.storage import make_volume

NODES = [f"n{number}" for number in range(3)]
ASPECTS = ("labels", "taints", "unschedulable", "allocatable", "declared_features")
LABELS: tuple[dict[str, str], ...] = (some.WEB, some.DB, {"app": "other"}, {"version": "2"})
PLAIN: Kind = (LITTLE, {})

DEFAULTS = {
    "PodTopologySpread": {
        "defaultingType": "List",
        "defaultConstraints": [
            {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
        ],
    }
}
ALONE = {
    rule: (make_policy((rule,), {r: a for r, a in DEFAULTS.items() if r == rule}), (*kinds, PLAIN))
    for rule, kinds in KINDS.items()
    if rule != "GangScheduling"
}
HOLDING = {rule: (make_policy((rule,)), (*kinds, PLAIN)) for rule, kinds in OWNED.items()}
LAX = make_policy(
    ("TaintToleration", "NodeResourcesFit", "NodePorts", "GangScheduling"),
    {"NodeResourcesFit": {"ignoredResources": ["example.com/special"]}},
)
WHOLE: Mapping[str, tuple[Policy | Policies, Sequence[Kind]]] = {
    "profiles": (
        Policies.of(
            [
                Profile("a", make_policy((*KUBERNETES, "DefaultPreemption"), DEFAULTS)),
                Profile("b", LAX),
            ]
        ),
        EVERY,
    ),
    "all rules": (make_policy(KUBERNETES, DEFAULTS), EVERY),
    "preemption": (make_policy((*KUBERNETES, "DefaultPreemption"), DEFAULTS), EVERY),
    "possessions": (
        make_policy((*KUBERNETES, "GpuShare"), DEFAULTS),
        (*OWNED_EVERY, *KINDS["NodeResourcesFit"][:2]),
    ),
    "possessions and preemption": (
        make_policy((*KUBERNETES, "GpuShare", "DefaultPreemption"), DEFAULTS),
        (*OWNED_EVERY, *KINDS["NodeResourcesFit"][:2]),
    ),
    "gangs": (
        make_policy(("TaintToleration", "NodeResourcesFit", "InterPodAffinity", "GangScheduling")),
        (*KINDS["GangScheduling"], *KINDS["TaintToleration"], *KINDS["NodeResourcesFit"][:2]),
    ),
}

Step = tuple[Any, ...]
BOUND = BindOutcome.BOUND


def a_step(chance: Random, *, is_holding: bool) -> Step:
    """Any event; with volumes and accelerators, or without."""
    name, number = chance.choice(NODES), chance.randrange(6)
    steps: tuple[tuple[int, Step], ...] = (
        (3, ("node", a_node(chance, name, is_holding=is_holding))),
        (6, ("tweak", a_node(chance, name, is_holding=is_holding), chance.choice(ASPECTS))),
        (1, ("drop", name)),
        (4, waits(chance)),
        (4, lies(chance)),
        (1, ("seen", number, name)),
        (3, ("gone", chance.choice("ph"), number)),
        (4, ("labels", chance.choice("pph"), number, chance.choice(LABELS))),
        (1, ("ending", number)),
        (1, ("resized", number, chance.choice(["100m", "2"]))),
        (2, ("tolerates", number)),
        (1, ("changes", number)),
        (1, ("nominated", number, chance.choice(["", *NODES]))),
        (3, ("object", object_of(chance))),
        (1, ("no object", object_of(chance))),
        (2, ("time", chance.randrange(9), chance.choice(list(BindOutcome)))),
        (2, ("killed", chance.random() < 0.5)),
    )
    if is_holding:
        steps += (
            (10, ("object", storage_of(chance, NODES))),
            (4, ("no object", storage_of(chance, NODES))),
        )
    return chance.choices([step for _, step in steps], [weight for weight, _ in steps])[0]


def a_node(chance: Random, name: str, *, is_holding: bool) -> Node:
    """A node."""
    node = node_of(chance, name)
    return with_devices(chance, node) if is_holding else node


def waits(chance: Random) -> Step:
    """A pod comes that is to be placed."""
    return "waits", chance.randrange(6), chance.randrange(99), chance.choice([0, 0, 5])


def lies(chance: Random) -> Step:
    """A pod is seen on a node."""
    space = chance.choice(["shop", "shop", "bank"])
    return "lies", chance.randrange(6), chance.randrange(99), chance.choice(NODES), space


def history_of(seed: int, *, is_holding: bool) -> list[Step]:
    """A crowd on few nodes, most of it decided; then events, with decisions between them."""
    chance = Random(seed)
    steps: list[Step] = [
        ("node", a_node(chance, name, is_holding=is_holding))
        for name in NODES[: chance.randint(1, 3)]
    ]
    if is_holding:
        steps += [("object", storage_of(chance, NODES)) for _ in range(chance.randint(0, 9))]
    steps += [("object", object_of(chance)) for _ in range(chance.randint(0, 3))]
    steps += [lies(chance) for _ in range(chance.randint(0, 6))]
    steps += [waits(chance) for _ in range(chance.randint(3, 9))]
    steps.append(("time", 1, BOUND))
    for _ in range(chance.randint(5, 25)):
        steps.append(a_step(chance, is_holding=is_holding))
        if chance.random() < 0.4:
            steps.append(("time", 1, BOUND))
    return steps


class Life:
    """A machine, and the API server's side of its pods.

    Args:
        policy: which rules; of several profiles, pods choose one by their number.
        kinds: of its pods.
    """

    def __init__(self, policy: Policy | Policies, kinds: Sequence[Kind]) -> None:
        self.kinds = kinds
        self.harness = Harness(policy)
        self.built = []
        for profile in profiles_of(policy):
            book = ReasonBook()
            rules = build_plugins(profile.policy, book)
            self.built.append(Built(profile.scheduler_name, profile.policy, rules, book))
        self.pods: dict[str, Pod] = {}
        self.made_from: dict[str, Kind] = {}
        self.open: dict[str, Bind] = {}
        self.victims: list[str] = []
        self.things: dict[tuple[type, str], Any] = {}
        self.patches: list[PatchClaim | PatchVolume] = []

    # ---- what happens ----------------------------------------------------------------------

    def act(self, step: Step) -> None:
        """One event."""
        harness = self.harness
        match step:
            case ("node", node):
                harness.apply(node)
            case ("tweak", like, aspect):
                row = harness.cluster.nodes.rows.get(like.name)
                node = None if row is None else harness.cluster.nodes.nodes[row]
                if node is not None:
                    harness.apply(tweaked(node, like, aspect))
            case ("drop", name):
                harness.delete(make_node(name))
            case ("object", thing):
                self.show_thing(thing)
            case ("no object", thing):
                self.things.pop((type(thing), thing.metadata.name), None)
                harness.delete(thing)
            case ("time", seconds, outcome):
                self.decide(seconds, outcome)
            case _:
                self.act_on_pods(step)

    def act_on_pods(self, step: Step) -> None:
        """One event of a pod."""
        match step:
            case ("waits", number, kind, priority) if f"p{number}" not in self.pods:
                chosen = self.made_from[f"p{number}"] = self.kinds[kind % len(self.kinds)]
                self.show(self.named(pod_of(chosen, f"p{number}", priority=priority), number))
            case ("lies", number, kind, node, namespace) if f"h{number}" not in self.pods:
                chosen = self.kinds[kind % len(self.kinds)]
                # Some devices of a node that may have none, or none of a node that has some.
                devices = {DEVICES_ANNOTATION: ("0", "1", "0,1")[kind % 3]} if kind % 4 else {}
                made = pod_of(chosen, f"h{number}", node=node, namespace=namespace)
                self.show(self.named(annotated(made, devices), number))
            case ("seen", number, node) if self.is_waiting(f"p{number}"):
                self.show(on_node(self.pods[f"p{number}"], node))
            case ("gone", letter, number):
                self.remove(f"{letter}{number}")
            case ("labels", letter, number, labels) if f"{letter}{number}" in self.pods:
                pod = self.pods[f"{letter}{number}"]
                meta = replace(pod.metadata, labels={**pod.metadata.labels, **labels})
                self.show(replace(pod, metadata=meta))
            case ("ending", number) if f"h{number}" in self.pods:
                pod = self.pods[f"h{number}"]
                meta = replace(pod.metadata, deletion_timestamp="2026-01-01T00:00:00Z")
                self.show(replace(pod, metadata=meta))
            case ("resized", number, cpu) if f"h{number}" in self.pods:
                self.show(resized(self.pods[f"h{number}"], cpu))
            case ("tolerates", number) if self.is_waiting(f"p{number}"):
                pod = self.pods[f"p{number}"]
                more = make_toleration()
                self.show(replace(pod, spec=replace(pod.spec, tolerations=more)))
            case ("changes", number) if self.is_waiting(f"p{number}"):
                pod, other = self.pods[f"p{number}"], pod_of(PLAIN, "x")
                # The API lets nobody change a pod's volumes.
                kept = {"priority": pod.spec.priority, "volumes": pod.spec.volumes}
                spec = replace(other.spec, **kept)
                self.show(self.named(replace(pod, spec=spec), number))
            case ("nominated", number, node) if self.is_waiting(f"p{number}"):
                pod = self.pods[f"p{number}"]
                self.show(replace(pod, status=replace(pod.status, nominated_node_name=node)))
            case ("killed", is_refused) if self.victims:
                self.kill(self.victims.pop(0), is_refused=is_refused)

    def named(self, pod: Pod, number: int) -> Pod:
        """The pod, with the scheduler that its number chooses."""
        name = self.built[number % len(self.built)].scheduler_name
        return replace(pod, spec=replace(pod.spec, scheduler_name=name))

    def is_waiting(self, name: str) -> bool:
        """Whether the API shows the pod without a node."""
        return name in self.pods and not self.pods[name].is_assigned

    def show(self, pod: Pod) -> None:
        """The API shows the pod so."""
        self.pods[pod.metadata.name] = pod
        if pod.is_assigned:
            self.open.pop(pod.metadata.name, None)
        self.harness.apply(pod)

    def remove(self, name: str) -> None:
        """The API has the pod no more."""
        if name in self.pods:
            self.open.pop(name, None)
            self.harness.delete(self.pods.pop(name))

    def kill(self, name: str, *, is_refused: bool) -> None:
        """A victim goes, or stays."""
        if not is_refused:
            self.remove(name)
        elif name in self.pods:
            uid = self.pods[name].metadata.uid
            self.harness.machine.apply(RemovalRefused(time_ns=self.harness.now, uid=uid))

    def decide(self, seconds: int, outcome: BindOutcome) -> None:
        """Let time pass, decide, and answer the binds; an unknown answer is bound the next time."""
        self.answer(BindOutcome.BOUND)
        self.answer_patches(BindOutcome.BOUND)
        effects = self.harness.step(seconds * SECOND)
        self.victims += [one.name for one in only(DeletePod, effects)]
        self.open |= {one.name: one for one in only(Bind, effects)}
        self.patches += [*only(PatchClaim, effects), *only(PatchVolume, effects)]
        self.answer(outcome)
        self.answer_patches(outcome)

    def show_thing(self, thing: Any) -> None:
        """The API shows an object."""
        self.things[type(thing), thing.metadata.name] = thing
        self.harness.apply(thing)

    def answer_patches(self, outcome: BindOutcome) -> None:
        """The API and the volume controller answer what was asked of claims and volumes."""
        if outcome is BindOutcome.UNKNOWN:
            return
        patches, self.patches = self.patches, []
        for patch in patches:
            kind = PersistentVolumeClaim if isinstance(patch, PatchClaim) else PersistentVolume
            held = self.things.get((kind, patch.name))
            claim = held if isinstance(patch, PatchClaim) else self.claim_of(patch)
            if held is None or claim is None or outcome is BindOutcome.REFUSED:
                refused = PatchRefused(time_ns=self.harness.now, effect=patch, message="no")
                self.harness.machine.apply(refused)
                continue
            notes = dict(patch.annotations)
            name = f"made-{patch.name}" if isinstance(patch, PatchClaim) else patch.name
            volume = make_volume(name, claim=claim.metadata.name, handle=name)
            if isinstance(patch, PatchVolume):
                spec = replace(held.spec, claim_ref=volume.spec.claim_ref)
                volume, notes = replace(annotated(held, notes), spec=spec), {}
            self.show_thing(annotated(claim, notes))
            self.show_thing(volume)
            self.show_thing(completed(claim, name, notes))

    def claim_of(self, patch: PatchVolume) -> Any:
        return self.things.get((PersistentVolumeClaim, patch.claim_name))

    def answer(self, outcome: BindOutcome) -> None:
        """The API answers the open binds."""
        for name, bind in list(self.open.items()):
            self.harness.answer(bind, outcome)
            if outcome is not BindOutcome.UNKNOWN:
                del self.open[name]
            if outcome is BindOutcome.BOUND:
                self.show(annotated(on_node(self.pods[name], bind.node), dict(bind.annotations)))

    # ---- what must hold --------------------------------------------------------------------

    def problem(self, step: Step) -> str:
        """Who sleeps and would fit; empty when nobody does.

        While a bind is under way the answer may be better than what has been told: that comes
        with the API's word, as in Kubernetes.
        """
        self.harness.queue.verify()
        assert self.harness.queue.counters.flushed == 0, "a life shorter than the flush"
        if any(not placed.is_bound for placed in self.placed()):
            return ""
        for queued in self.harness.queue:
            if queued.state is not State.UNSCHEDULABLE:
                continue
            node = self.would_fit(queued)
            if node:
                kind = self.made_from[queued.item.name]
                by = f"rejected by {queued.rejected_by}, waiting for {queued.pending_by}"
                return f"{queued.reference} {kind!r} sleeps, {by}; after {step!r} it fits on {node}"
        return ""

    def placed(self) -> list[Any]:
        ledger = self.harness.cluster.ledger
        return [ledger.get(uid) for uid in ledger.nodes()]

    def would_fit(self, queued: QueuedPod) -> str:
        """The node on which the pod would be placed now; empty when it would not."""
        pod, cluster = queued.item, self.harness.cluster
        assert isinstance(pod, PodInfo)
        frameworks = [build_framework(one, cluster, salt=7) for one in self.built]
        gang = self.gang(pod, frameworks) if pod.pod_group else None
        if isinstance(gang, tuple):
            return self.would_fit_together(pod, *gang)
        if isinstance(gang, NoFit):
            return ""
        found = frameworks[pod.profile].decide(pod)
        return found.node if isinstance(found, Choice) else ""

    def gang(
        self, pod: PodInfo, frameworks: Sequence[Framework]
    ) -> tuple[Gangs, Gang] | NoFit | None:
        cluster = self.harness.cluster
        none = [None for _ in frameworks]
        advice = Advices(cluster, frameworks, SnapshotDigest(), [{} for _ in none], (), none)
        gangs = Gangs(cluster, frameworks, advice)
        for queued in self.harness.queue:
            if isinstance(queued.item, PodInfo) and queued.item.pod_group:
                gangs.see(queued.item)
        judged = gangs.judge(pod, self.harness.now)
        return (gangs, judged) if isinstance(judged, Gang) else judged

    def would_fit_together(self, pod: PodInfo, gangs: Gangs, gang: Gang) -> str:
        """One that is awake brings all of its gang along."""
        found = [self.harness.queue.get(uid) for uid in gang.members]
        states = {one.state for one in found if one is not None}
        if states & {State.QUEUED, State.BACKING_OFF}:
            return ""
        taken = [one for one in found if one is not None and one.state is State.UNSCHEDULABLE]
        taken.sort(key=lambda one: (-one.item.priority, one.sequence))
        infos = [one.item for one in taken if isinstance(one.item, PodInfo)]
        together = gangs.place(gang, infos, self.harness.now)
        by_uid = {info.uid: info for info in infos}
        for uid, held in together.placed.items():
            self.harness.cluster.forget(uid)
            if held.nominated:
                self.harness.cluster.nominations.put(by_uid[uid], held.nominated)
        placed = together.placed.get(pod.uid)
        return "" if placed is None else placed.choice.node


def on_node(pod: Pod, node: str) -> Pod:
    return replace(pod, spec=replace(pod.spec, node_name=node))


def annotated(thing: Any, notes: Mapping[str, str]) -> Any:
    meta = thing.metadata
    return replace(thing, metadata=replace(meta, annotations={**meta.annotations, **notes}))


def resized(pod: Pod, cpu: str) -> Pod:
    asking = pod_of(({"cpu": cpu}, {}), "asking").spec.containers[0].resources
    containers = tuple(replace(one, resources=asking) for one in pod.spec.containers)
    return replace(pod, spec=replace(pod.spec, containers=containers))


def make_toleration() -> Any:
    return pod_of(
        (LITTLE, {"spec": {"tolerations": [{"operator": "Exists"}]}}), "x"
    ).spec.tolerations


def problem(policy: Policy | Policies, kinds: Sequence[Kind], history: Sequence[Step]) -> str:
    """What is wrong in this life; empty when nothing is."""
    life = Life(policy, kinds)
    for step in history:
        life.act(step)
        found = life.problem(step)
        if found:
            return found
    return ""


def live(policy: Policy | Policies, kinds: Sequence[Kind], seed: int) -> None:
    """Fails with a life that is as short as leaving steps out can make it."""
    history = history_of(seed, is_holding=bool(set(map(repr, kinds)) & set(map(repr, OWNED_EVERY))))
    found = problem(policy, kinds, history)
    at = len(history) if found else 0
    while at:  # Bound: the steps.
        at -= 1
        shorter = [*history[:at], *history[at + 1 :]]
        still = problem(policy, kinds, shorter)
        if still:
            history, found = shorter, still
    steps = "\n".join(repr(step) for step in history)
    assert not found, f"{found}\nafter this life:\n{steps}"


RANDOM = settings(
    max_examples=60,
    # The test makes a life shorter itself: a smaller seed is no shorter life.
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.too_slow],
)
seeds = st.integers(0, (1 << 32) - 1)


@pytest.mark.slow
@pytest.mark.parametrize("rule", sorted(ALONE))
@RANDOM
@given(seed=seeds)
def test_a_pod_that_one_rule_rejected_is_woken_when_it_would_fit(rule: str, seed: int) -> None:
    live(*ALONE[rule], seed)


@pytest.mark.slow
@pytest.mark.parametrize("rule", sorted(HOLDING))
@RANDOM
@given(seed=seeds)
def test_a_pod_that_wants_a_possession_is_woken_when_it_would_fit(rule: str, seed: int) -> None:
    live(*HOLDING[rule], seed)


@pytest.mark.slow
@pytest.mark.parametrize("machine", sorted(WHOLE))
@settings(RANDOM, max_examples=25)
@given(seed=seeds)
def test_a_pod_of_the_whole_machine_is_woken_when_it_would_fit(machine: str, seed: int) -> None:
    live(*WHOLE[machine], seed)
