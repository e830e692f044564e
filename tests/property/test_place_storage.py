"""What is kept of storage objects is memory only: a cluster that was always so answers alike.

After every few events of a random history each kind of pod is decided by the world that lived
through it and by one that is made anew of what is there.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from herz.model.objects import KubernetesObject, PersistentVolume, Pod
from herz.place.catalog import ASPECTS
from herz.place.outcome import Choice
from herz.place.volumes.attaching import attachments_of
from tests.support.machine import World
from tests.support.objects import make_node
from tests.support.storage import (
    DRIVER,
    DYNAMIC,
    IMMEDIATE,
    LOCAL,
    make_attachment,
    make_capacity,
    make_claim,
    make_class,
    make_csi_node,
    make_driver,
    make_volume,
    using,
)

HOSTS = [f"n{number}" for number in range(4)]
CLAIMS = [f"c{number}" for number in range(4)]
VOLUMES = [f"v{number}" for number in range(7)]
CLASSES = (LOCAL, LOCAL, DYNAMIC, DYNAMIC, IMMEDIATE, "")
GCE = {"gcePersistentDisk": {"pdName": "disk"}}
PLUGIN = "kubernetes.io/gce-pd"
ONCE = ("ReadWriteOncePod",)

SPECS: tuple[dict[str, Any], ...] = ({}, {}, {"volumeMode": "Block"}, {**GCE, "csi": None})

Step = tuple[Any, ...]


def pods() -> list[Pod]:
    """Pods with one claim and with several, one of them twice, and with disks of their own."""
    made = [using(f"with-{claim}", claim) for claim in CLAIMS]
    made += [using("two", *CLAIMS[:2]), using("twice", CLAIMS[0], CLAIMS[0])]
    made += [using("all", *CLAIMS), using("disk", CLAIMS[2], volumes=[GCE]), using("none")]
    return made


def a_claim(chance: Random) -> KubernetesObject:
    return make_claim(
        chance.choice(CLAIMS),
        chance.choice(CLASSES),
        size=chance.choice(["1Gi", "1Gi", "2Gi", ""]),
        volume=chance.choice(["", "", "", *VOLUMES[:3]]),
        selected=chance.choice(["", "", "", *HOSTS[:2]]),
        modes=chance.choice([("ReadWriteOnce",), ("ReadWriteOnce",), ("ReadWriteMany",), ONCE]),
        spec=chance.choice([{}, {}, {}, {"selector": {"matchLabels": {"kind": "fast"}}}]),
        is_deleted=chance.random() < 0.05,
        phase=chance.choice(["", "", "", "", "Lost"]),
    )


def a_volume(chance: Random) -> KubernetesObject:
    return make_volume(
        chance.choice(VOLUMES),
        chance.choice(CLASSES),
        size=chance.choice(["1Gi", "1Gi", "2Gi", "3Gi"]),
        claim=chance.choice(["", "", "", "", *CLAIMS[:2]]),
        claim_uid=chance.choice([None, None, None, "", "another"]),
        zone=chance.choice(["", "", "a", "b"]),
        host=chance.choice(["", *HOSTS]),
        labels=chance.choice([{}, {"kind": "fast"}, {"topology.kubernetes.io/zone": "a"}]),
        modes=chance.choice([("ReadWriteOnce",), ("ReadWriteOnce", "ReadWriteMany", *ONCE)]),
        phase=chance.choice(["", "", "", "Released"]),
        handle=chance.choice(["", "handle-1", "handle-2"]),
        spec=chance.choice(SPECS),
    )


def an_object(chance: Random) -> KubernetesObject:
    """Any object that the volume rules read."""
    host = chance.choice(HOSTS)
    limits: dict[str, int | None] = chance.choice([{}, {DRIVER: 1}, {DRIVER: 2}, {DRIVER: None}])
    limits = limits | chance.choice([{}, {"pd.csi.storage.gke.io": 1}])
    name = chance.choice([DYNAMIC, LOCAL, IMMEDIATE])
    zones = chance.choice([(), (), ("a",), ("b",)])
    found: tuple[tuple[int, Any], ...] = (
        (6, a_claim(chance)),
        (6, a_volume(chance)),
        (2, make_csi_node(host, limits, migrated=chance.choice(["", PLUGIN]))),
        (1, make_class(name, chance.choice([DRIVER, PLUGIN]), zones=zones)),
        (1, make_class(LOCAL, "kubernetes.io/no-provisioner")),
        (1, make_driver(has_capacity=chance.choice([True, False, None]))),
        (2, a_capacity(chance)),
        (2, make_attachment(chance.choice("xyz"), host, chance.choice(["", *VOLUMES]))),
    )
    thing: KubernetesObject = chance.choices([o for _, o in found], [w for w, _ in found])[0]
    return thing


def a_capacity(chance: Random) -> KubernetesObject:
    return make_capacity(
        chance.choice("pqr"),
        chance.choice(["a", "b", None]),
        chance.choice([None, "1Gi", "2Gi"]),
        largest=chance.choice([None, None, "1Gi"]),
        storage_class=chance.choice([DYNAMIC, LOCAL]),
    )


def a_step(chance: Random) -> Step:
    """One event, or an assumption."""
    host, number = chance.choice(HOSTS), chance.randrange(len(pods()))
    zone = chance.choice([{}, {"zone": "a"}, {"zone": "b"}])
    gke = {"topology.gke.io/zone": "a", "topology.kubernetes.io/zone": "a"}
    label = {"host": host, **zone, **chance.choice([{}, gke])}
    steps: tuple[tuple[int, Step], ...] = (
        (12, ("object", an_object(chance))),
        (4, ("no object", an_object(chance))),
        (3, ("node", make_node(host, pods="3", labels=label))),
        (1, ("drop", host)),
        (4, ("pod", number, host)),
        (2, ("no pod", number)),
        (2, ("assume", chance.choice(VOLUMES), chance.choice(CLAIMS))),
        (2, ("restore", chance.choice(VOLUMES))),
    )
    return chance.choices([step for _, step in steps], [weight for weight, _ in steps])[0]


class Lived:
    """A world, and what is there in it."""

    def __init__(self) -> None:
        self.world = World()
        self.nodes: dict[str, Any] = {}
        self.pods: dict[int, str] = {}
        self.assumed: dict[str, str] = {}

    def act(self, step: Step) -> None:
        """One event."""
        cluster = self.world.cluster
        match step:
            case ("object", thing):
                cluster.catalog.apply(thing)
            case ("no object", thing):
                cluster.catalog.remove(thing)
                if isinstance(thing, PersistentVolume):
                    self.assumed.pop(thing.metadata.name, None)
            case ("node", node):
                self.nodes[node.name] = node
                cluster.apply_node(node)
            case ("drop", name):
                self.nodes.pop(name, None)
                cluster.remove_node(name)
            case ("pod", number, host):
                self.pods[number] = host
                self.world.assign(pods()[number], host)
            case ("no pod", number):
                self.pods.pop(number, None)
                cluster.forget(pods()[number].metadata.uid)
            case ("assume", name, claim):
                is_there = cluster.catalog.get(PersistentVolume, name) is not None
                if is_there and name not in self.assumed:
                    self.assumed[name] = claim
                    cluster.catalog.assume(PersistentVolume, name, lambda v: taken(v, claim))
            case ("restore", name) if name in self.assumed:
                del self.assumed[name]
                cluster.catalog.restore(PersistentVolume, name)

    def anew(self) -> World:
        """A world that was always as this one is now."""
        world = World()
        catalog = self.world.cluster.catalog
        for kind in ASPECTS:
            things: Iterator[KubernetesObject] = catalog.all(kind)
            for thing in things:
                world.cluster.catalog.apply(thing)
        for name in sorted(self.nodes):
            world.cluster.apply_node(self.nodes[name])
        for number, host in sorted(self.pods.items()):
            world.assign(pods()[number], host)
        return world


def taken(volume: PersistentVolume, claim: str) -> PersistentVolume:
    """The volume, bound ahead to a claim."""
    reference = make_volume("other", claim=claim).spec.claim_ref
    return replace(volume, spec=replace(volume.spec, claim_ref=reference))


def plans(world: World, number: int, pod: Pod) -> object:
    """The answer, and what is to be done for it."""
    info = world.read(replace(pod, metadata=replace(pod.metadata, uid=f"asked-{number}")))
    found = world.decide(info)
    plan = world.framework.plan_volumes(info, found.row) if isinstance(found, Choice) else None
    # Rows are numbered in the order in which nodes came.
    return (replace_row(found), plan) if isinstance(found, Choice) else found


def replace_row(found: Choice) -> object:
    return found.node, found.top, found.tied, found.path


@pytest.mark.slow
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, (1 << 32) - 1))
def test_a_history_of_storage_leaves_no_trace_in_the_answers(seed: int) -> None:
    chance, lived = Random(seed), Lived()
    for host in HOSTS[:2]:
        lived.act(("node", make_node(host, pods="3", labels={"host": host, "zone": "a"})))
    for _ in range(12):
        lived.act(("object", an_object(chance)))
    for turn in range(chance.randint(5, 60)):
        lived.act(a_step(chance))
        if chance.random() < 0.25 or turn == 4:
            anew = lived.anew()
            for number, pod in enumerate(pods()):
                here, there = plans(lived.world, number, pod), plans(anew, number, pod)
                assert here == there, f"{pod.key} after {turn} turns"


@pytest.mark.slow
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, (1 << 32) - 1))
def test_attachments_are_those_that_are_worked_from_the_ground(seed: int) -> None:
    chance, lived = Random(seed), Lived()
    for _ in range(60):
        lived.act(a_step(chance))
        cluster = lived.world.cluster
        view, nodes = cluster.view, cluster.nodes
        kept = attachments_of(view)
        for row in sorted(nodes.rows.values()):
            held = kept.held_on(row, view)
            assert all(row in kept.rows(volume, view) for volume in held)
            count = sum(volume.driver == DRIVER for volume in held)
            assert kept.counts(DRIVER, view)[row] == count
