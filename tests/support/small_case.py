"""A small case, run to its end: prints the records. Run as a module in a process of its own."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from msgspec.structs import replace

from herz.app import build_machine, load_policies
from herz.model.effects import Bind
from herz.model.events import ObjectApplied, ObjectDeleted
from herz.model.objects import Node
from herz.model.outcomes import BindFinished, BindOutcome
from herz.profiles import profiles_of
from tests.support.machine import SECOND, Kept
from tests.support.objects import MEBIBYTE, make_node, make_pod
from tests.support.strategies import KINDS, TAINTS, pod_of


def small_nodes() -> list[Node]:
    """Nine nodes that differ in everything that rules read."""
    return [
        make_node(
            f"n{number}",
            cpu=str(1 + number % 3),
            labels={"zone": "ab"[number % 2], "rank": str(number), f"own-{number}": "yes"},
            annotations={f"note-{number}": "x", "note": "y"},
            taints=TAINTS[number % 5 : number % 5 + 1],
            images={"web:1": 300 * MEBIBYTE, "db:2": 40 * MEBIBYTE} if number % 2 else {},
            more={"example.com/special": "2", "herz.dev/gpu-count": "2"} if number % 3 else {},
        )
        for number in range(9)
    ]


def run(policy: str = "default", seed: int = 5, nodes: Sequence[Node] = ()) -> Kept:
    """The records of the small case."""
    kept = Kept()
    chosen = load_policies(policy)
    machine = build_machine(chosen, seed, [kept])
    for node in nodes or small_nodes():
        machine.apply(ObjectApplied(time_ns=0, object=node))
    pods = [pod_of(number % len(KINDS), f"p{number}") for number in range(60)]
    pods += [make_pod(f"g{n}", {"cpu": "100m", "herz.dev/gpu-milli": "400"}) for n in range(6)]
    pods[7] = make_pod("p7", {"cpu": "1"}, annotations={"herz.dev/after": "p9,p11"})
    pods[9] = make_pod("p9", {"cpu": "1"}, annotations={"herz.dev/after": "p7"}, priority=3)
    names = [profile.scheduler_name for profile in profiles_of(chosen)]
    for number, pod in enumerate(pods):
        spec = replace(pod.spec, scheduler_name=names[number % len(names)])
        pods[number] = replace(pod, spec=spec)
    now = 0
    for number, pod in enumerate(pods):
        machine.apply(ObjectApplied(time_ns=now, object=pod, unlisted=("fresh",)[: number % 2]))
        if number % 11 == 0:
            now += 7 * SECOND
            for effect in machine.step(now, 4):
                if isinstance(effect, Bind):
                    outcome = BindOutcome.REFUSED if effect.decision % 5 == 0 else BindOutcome.BOUND
                    machine.apply(
                        BindFinished(
                            time_ns=now,
                            uid=effect.uid,
                            decision=effect.decision,
                            outcome=outcome,
                            message="conflict",
                        )
                    )
        if number % 17 == 3:
            machine.apply(ObjectDeleted(time_ns=now, object=pods[number // 2]))
    for _ in range(6):
        now += 11 * SECOND
        machine.step(now, 50)
    return kept


if __name__ == "__main__":
    sys.stdout.buffer.write(b"\n".join(run(sys.argv[1]).lines))
