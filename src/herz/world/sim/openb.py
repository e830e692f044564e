"""The openb trace (Alibaba GPU cluster v2023) as a scenario: pods only arrive, one by one.

Protocol: the list's pods in name order are shuffled by the seed; while their GPU-milli are below
load times capacity, pods drawn with replacement are added behind them, and the first of which one
device's share would pass the mark ends it; where the list asks for more than that, pods drawn at
random are left out until it does not. A pod that fits somewhere is placed at once, one that fits
nowhere is dropped.
Source: "Beware of Fragmentation", ATC'23, and hkust-adsl/kubernetes-scheduler-simulator.
"""

from __future__ import annotations

import csv
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from herz.errors import ConfigError
from herz.model.mix import PodShape
from herz.model.objects import Node, ObjectMeta, Pod, PodSpec
from herz.world.sim.fit import GPU_COUNT, GPU_MILLI, GPU_MODEL
from herz.world.sim.make import SCHEDULER_NAME, make_affinity, make_container, make_node, one_of
from herz.world.sim.result import SECOND_NS
from herz.world.sim.scenario import Content, PodArrival, Protocol, Scenario, Timing

NODE_LIST = "openb_node_list_gpu_node.csv"
POD_LIST = "openb_pod_list_{}.csv"
LOAD_MAX = 10.0
ROWS_MAX = 1_000_000
NODE_PODS_MAX = 10_000
"""Pods a node may hold: the trace has no such limit."""
LOAD_MILLIONTH = 1_000_000


@dataclass(frozen=True, slots=True)
class TracePod:
    """One row of a pod list."""

    name: str
    cpu_milli: int
    memory_mib: int
    gpu_count: int
    gpu_milli: int
    models: tuple[str, ...]

    @property
    def gpu_milli_total(self) -> int:
        """Share of a device times devices."""
        return self.gpu_count * self.gpu_milli

    @property
    def shape(self) -> tuple[object, ...]:
        """What pods of one spec have in common."""
        return self.cpu_milli, self.memory_mib, self.gpu_count, self.gpu_milli, self.models


def openb_scenario(folder: Path, list_name: str, load: float) -> Scenario:
    """The scenario of one pod list at a load.

    Args:
        folder: holds the CSV files, itself or in a folder `openb`.
        list_name: `default`, `cpu050`, `gpuspec20`, …
        load: GPU-milli that arrive, as a multiple of the capacity; 1.3 in the paper.

    Raises:
        ConfigError: a file is missing or has a bad row, or the load is out of range.
    """
    if not 0 < load <= LOAD_MAX:
        fix = f"give a load above 0 and at most {LOAD_MAX:g}, such as 1.3"
        raise ConfigError("not a load", where="--load", value=load, fix=fix)
    folder, path = pod_list(folder, list_name)
    nodes, pods = read_nodes(folder / NODE_LIST), read_pods(path)
    capacity = sum(1000 * int(node.status.allocatable[GPU_COUNT]) for node in nodes)
    # The load is made whole once, so that no float takes part in the order of pods.
    target = capacity * round(load * LOAD_MILLIONTH) // LOAD_MILLIONTH

    shapes = Counter(
        PodShape(pod.cpu_milli, pod.gpu_count, pod.gpu_milli, pod.models if pod.gpu_count else ())
        for pod in pods
    )

    def open_(generator: random.Random) -> Content:
        sequence = arrange(pods, target, generator)
        return Content(
            nodes=nodes,
            arrivals=_arrivals(sequence),
            pods_expected=len(sequence),
            gpu_arrivals_capacity=capacity,
            notes=(
                f"openb {list_name}: {len(pods)} pods, {len(sequence)} arrive at load {load:g}",
                f"{len(nodes)} nodes with {capacity // 1000} GPUs",
            ),
        )

    return Scenario(
        name=f"openb/{list_name}@{load:g}",
        description=f"Alibaba GPU trace, list {list_name}, pods only arrive up to load {load:g}",
        open=open_,
        protocol=Protocol.ONE_BY_ONE,
        timing=Timing.instant(),
        classes=("gpu", "cpu"),
        is_every_fit_expected=False,
        workload=tuple(sorted(shapes.items())),
    )


def pod_list(folder: Path, list_name: str) -> tuple[Path, Path]:
    """The folder that holds the trace, and the pod list of that name.

    Raises:
        ConfigError: either is not there.
    """
    folder = _folder(folder)
    lists = sorted(path.stem.removeprefix("openb_pod_list_") for path in _pod_lists(folder))
    if list_name not in lists:
        raise ConfigError(
            "no such pod list",
            where="--list",
            value=list_name,
            fix=f"use one of {', '.join(lists)}",
        )
    return folder, folder / POD_LIST.format(list_name)


def arrange(pods: list[TracePod], target: int, generator: random.Random) -> list[TracePod]:
    """The pods in order of arrival: shuffled, then padded or thinned to the target."""
    total = sum(pod.gpu_milli_total for pod in pods)
    by_name = sorted(pods, key=lambda pod: pod.name)
    sequence = list(by_name)
    # Fisher-Yates with randrange alone: the order depends on no library's shuffle.
    for index in range(len(sequence) - 1, 0, -1):
        other = generator.randrange(index + 1)
        sequence[index], sequence[other] = sequence[other], sequence[index]
    while total > target and sequence:
        total -= sequence.pop(generator.randrange(len(sequence))).gpu_milli_total
    if sum(pod.gpu_milli_total for pod in pods) >= target:
        return sequence
    if total == 0:
        raise ConfigError("no pod of the list asks for a GPU", where="--list", fix="use another")
    # Bound: `ROWS_MAX`; each round adds a pod, and the mean pod asks for something.
    for _ in range(ROWS_MAX):
        pod = by_name[generator.randrange(len(by_name))]
        # The published runs stop by the share of one device, so that several may pass the mark.
        if total + pod.gpu_milli > target:
            break
        total += pod.gpu_milli_total
        sequence.append(pod)
    return sequence


def read_nodes(path: Path) -> tuple[Node, ...]:
    """The nodes of a node list."""
    nodes = []
    for row, where in rows(path):
        count = number(row, "gpu", where)
        allocatable: dict[str, str | int] = {
            "cpu": f"{number(row, 'cpu_milli', where)}m",
            "memory": f"{number(row, 'memory_mib', where)}Mi",
            "pods": NODE_PODS_MAX,
            GPU_COUNT: count,
            GPU_MILLI: 1000 * count,
        }
        nodes.append(make_node(_text(row, "sn", where), allocatable, {GPU_MODEL: row["model"]}))
    return tuple(nodes)


def read_pods(path: Path) -> list[TracePod]:
    """The pods of a pod list."""
    pods = []
    for row, where in rows(path):
        models = tuple(sorted({part for part in (row.get("gpu_spec") or "").split("|") if part}))
        count, milli = number(row, "num_gpu", where), number(row, "gpu_milli", where)
        if count and not 0 < milli <= 1000:
            fix = "use 1 to 1000"
            raise ConfigError("not a share", where=f"{where} gpu_milli", value=milli, fix=fix)
        pods.append(
            TracePod(
                name=_text(row, "name", where),
                cpu_milli=number(row, "cpu_milli", where),
                memory_mib=number(row, "memory_mib", where),
                gpu_count=count,
                gpu_milli=milli if count else 0,
                models=models,
            )
        )
    return pods


def _arrivals(sequence: list[TracePod]) -> Iterator[PodArrival]:
    specs: dict[tuple[object, ...], PodSpec] = {}
    copies: dict[str, int] = {}
    for index, pod in enumerate(sequence):
        spec = specs.get(pod.shape)
        if spec is None:
            spec = specs[pod.shape] = spec_of(pod)
        copy = copies[pod.name] = copies.get(pod.name, 0) + 1
        name = pod.name if copy == 1 else f"{pod.name}-copy-{copy - 1}"
        meta = ObjectMeta(name=name, namespace="openb", uid=f"uid-{name}")
        yield PodArrival(
            time_ns=(index + 1) * SECOND_NS,
            pod=Pod(metadata=meta, spec=spec),
            class_name="gpu" if pod.gpu_count else "cpu",
        )


def spec_of(pod: TracePod) -> PodSpec:
    """The spec of a trace's pod."""
    requests: dict[str, str | int] = {
        "cpu": f"{pod.cpu_milli}m",
        "memory": f"{pod.memory_mib}Mi",
    }
    if pod.gpu_count:
        requests[GPU_MILLI] = pod.gpu_milli
        requests[GPU_COUNT] = pod.gpu_count
    required = (one_of(GPU_MODEL, pod.models),) if pod.models else ()
    return PodSpec(
        containers=(make_container(requests),),
        affinity=make_affinity(required),
        scheduler_name=SCHEDULER_NAME,
    )


def _folder(folder: Path) -> Path:
    for candidate in (folder, folder / "openb"):
        if (candidate / NODE_LIST).is_file():
            return candidate
    fix = f"give the folder that holds {NODE_LIST}"
    raise ConfigError("no openb trace here", where="--data", value=str(folder), fix=fix)


def _pod_lists(folder: Path) -> list[Path]:
    return sorted(folder.glob(POD_LIST.format("*")))


def rows(path: Path) -> Iterator[tuple[dict[str, str], str]]:
    """The rows of a CSV file with their place for errors."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for line, row in enumerate(csv.DictReader(file), start=2):
                if line > ROWS_MAX:
                    fix = f"stay below {ROWS_MAX} rows"
                    raise ConfigError("too long", where=str(path), value=line, fix=fix)
                yield row, f"{path}:{line}"
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        fix = "check the file"
        raise ConfigError(f"can't be read: {error}", where=str(path), fix=fix) from error


def number(row: dict[str, str], name: str, where: str) -> int:
    """A whole number of a row.

    Raises:
        ConfigError: it is none.
    """
    text = row.get(name) or ""
    if not text.isdigit() or len(text) > 15:
        fix = "give a whole number"
        raise ConfigError("not a number", where=f"{where} {name}", value=text, fix=fix)
    return int(text)


def _text(row: dict[str, str], name: str, where: str) -> str:
    text = row.get(name) or ""
    if not text:
        raise ConfigError("missing", where=f"{where} {name}", fix="fill the column")
    return text
