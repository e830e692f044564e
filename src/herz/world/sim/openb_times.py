"""The openb trace with its own times: pods arrive, run as long as the trace says, and depart.

A pod that the trace never saw scheduled runs from its creation on. Nothing is left to chance, and
what fits nowhere waits: this is no benchmark of placement (`openb` is), but months of a real
cluster's comings and goings.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import msgspec

from herz.errors import ConfigError
from herz.model.objects import ObjectMeta, Pod, PodSpec
from herz.world.sim.openb import (
    NODE_LIST,
    TracePod,
    number,
    pod_list,
    read_nodes,
    read_pods,
    rows,
    spec_of,
)
from herz.world.sim.result import SECOND_NS
from herz.world.sim.scenario import DAY_NS, Content, Limits, PodArrival, Scenario

FASTER_MAX = 10_000


class Life(msgspec.Struct, frozen=True):
    """A pod, when it comes, and how long it runs; in seconds."""

    pod: TracePod
    arrives: int
    runs: int


def openb_times_scenario(folder: Path, list_name: str, load: float | None) -> Scenario:
    """The scenario of one pod list.

    Args:
        folder: holds the CSV files, itself or in a folder `openb`.
        list_name: `default`, `cpu050`, `gpuspec20`, …
        load: so many times as fast do pods come; None: as in the trace.

    Raises:
        ConfigError: a file is missing or has a bad row, or the load is out of range.
    """
    factor = 1.0 if load is None else load
    if not 0.01 <= factor <= FASTER_MAX:
        fix = f"give a factor from 0.01 to {FASTER_MAX} by which pods come faster"
        raise ConfigError("not a load", where="--load", value=load, fix=fix)
    folder, path = pod_list(folder, list_name)
    nodes, lives = read_nodes(folder / NODE_LIST), read_lives(path)
    if not lives:
        raise ConfigError("no pod in the list", where=str(path), fix="use another list")
    percent = round(factor * 100)
    last_s = max(life.arrives * 100 // percent + life.runs for life in lives)

    def open_(generator: random.Random) -> Content:
        del generator  # A trace leaves nothing to chance.
        return Content(
            nodes=nodes,
            arrivals=_arrivals(lives, percent),
            pods_expected=len(lives),
            notes=(f"openb {list_name}: {len(lives)} pods on {len(nodes)} nodes",),
        )

    return Scenario(
        name=f"openb-times/{list_name}" + ("" if load is None else f"@{factor:g}"),
        description=f"Alibaba GPU trace, list {list_name}, with its arrivals and departures",
        open=open_,
        limits=Limits(time_ns_max=2 * last_s * SECOND_NS + DAY_NS),
        classes=("gpu", "cpu"),
    )


def read_lives(path: Path) -> list[Life]:
    """The pods of a pod list with their times, in order of arrival; the first comes at once.

    Raises:
        ConfigError: a row is wrong.
    """
    lives = []
    for pod, (row, where) in zip(read_pods(path), rows(path), strict=True):
        created, deleted = number(row, "creation_time", where), number(row, "deletion_time", where)
        begun = number(row, "scheduled_time", where) if row.get("scheduled_time") else created
        if deleted < created:
            fix = "give a time at or after its creation"
            place = f"{where} deletion_time"
            raise ConfigError("deleted before it is made", where=place, value=deleted, fix=fix)
        lives.append(Life(pod, created, max(1, deleted - max(begun, created))))
    lives.sort(key=lambda life: (life.arrives, life.pod.name))
    first = lives[0].arrives if lives else 0
    return [Life(life.pod, life.arrives - first, life.runs) for life in lives]


def _arrivals(lives: list[Life], percent: int) -> Iterator[PodArrival]:
    specs: dict[tuple[object, ...], PodSpec] = {}
    for life in lives:
        pod = life.pod
        spec = specs.get(pod.shape)
        if spec is None:
            spec = specs[pod.shape] = spec_of(pod)
        meta = ObjectMeta(name=pod.name, namespace="openb", uid=f"uid-{pod.name}")
        yield PodArrival(
            time_ns=life.arrives * SECOND_NS * 100 // percent,
            pod=Pod(metadata=meta, spec=spec),
            run_ns=life.runs * SECOND_NS,
            class_name="gpu" if pod.gpu_count else "cpu",
        )
