"""Pods with volumes in the simulator: the default policy, a volume controller, a provisioner."""

from __future__ import annotations

import random
from pathlib import Path

from herz.app import run_simulation
from herz.model.effects import PatchClaim
from herz.model.events import ObjectApplied, WorldEvent
from herz.model.objects import PersistentVolume, PersistentVolumeClaim
from herz.model.outcomes import PatchRefused
from herz.world.sim.cluster import Cluster
from herz.world.sim.engine import Engine
from herz.world.sim.faults import Dice, Faults
from herz.world.sim.result import SECOND_NS, Summary
from herz.world.sim.storage import Storage
from herz.world.sim.watch import Watch
from tests.support.storage import DYNAMIC, make_claim, make_class

SCENARIO = Path(__file__).parents[1] / "data" / "scenarios" / "volumes.yaml"


def simulated(seed: int) -> Summary:
    return run_simulation(
        scenario=str(SCENARIO),
        policy="default",
        seed=seed,
        runs=1,
        data=None,
        list_name=None,
        load=None,
        progress=None,
    )


def test_pods_wait_for_their_volumes_and_are_bound() -> None:
    """Of four pods one needs the local volume that another was given."""
    pods = {name: spread.mean for name, spread in simulated(0).pods.items()}
    assert (pods["arrived"], pods["bound"], pods["unschedulable"]) == (4, 3, 1)


def test_volumes_leave_nothing_to_chance() -> None:
    assert simulated(3).runs[0].decisions_digest == simulated(3).runs[0].decisions_digest


def test_a_patch_of_what_has_changed_is_refused() -> None:
    engine, told = Engine(), list[WorldEvent]()
    dice = Dice(Faults(), random.Random(1))
    watch = Watch(engine, dice, 1, 1, told.append)
    storage = Storage(engine, Cluster(engine, watch), watch, dice, told.append)
    storage.add(make_class(DYNAMIC))
    claim = storage.add(make_claim("c"))
    for _ in range(2):
        patch = PatchClaim(
            namespace="shop",
            name="c",
            uid="uid-c",
            resource_version=claim.metadata.resource_version,
            annotations=(("volume.kubernetes.io/selected-node", "a"),),
            pod="uid-p",
            decision=1,
        )
        storage.patch(patch)
        engine.advance(engine.now_ns + 60 * SECOND_NS)
    *shown, last = told
    kinds = [type(event.object) for event in shown if isinstance(event, ObjectApplied)]
    assert kinds == [PersistentVolumeClaim, PersistentVolume, PersistentVolumeClaim]
    assert isinstance(last, PatchRefused)
    assert "has been modified" in last.message
