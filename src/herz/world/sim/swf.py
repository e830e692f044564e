"""Job logs in the Standard Workload Format as a scenario: queueing and waiting on real arrivals.

A job becomes pods that ask for cpu as the log's processors say and run as long as the log says. One
that needs more processors than the largest node has is split into tasks, each of a whole node but
the last, and this is counted; the tasks are placed singly (the log's all-or-nothing start is not
modelled), so the wait of a split job's tasks is each task's own. Memory is not read: the logs
disagree on its unit. Jobs without a run time or processors are left out and counted.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from herz.errors import ConfigError
from herz.model.objects import Node, ObjectMeta, Pod, PodSpec
from herz.world.sim.make import SCHEDULER_NAME, make_container, make_node
from herz.world.sim.result import SECOND_NS
from herz.world.sim.scenario import HOUR_NS, Content, Limits, PodArrival, Scenario
from herz.world.sim.units import TIME_NS_MAX

LINES_MAX = 5_000_000
LINE_FIELDS_MIN = 12
TASKS_MAX = 5_000_000
NODE_PODS_MAX = 1000


@dataclass(frozen=True, slots=True)
class Job:
    """One line of a log: seconds since the log's first job, run time and processors."""

    number: int
    submit_s: int
    run_s: int
    processors: int


@dataclass(frozen=True, slots=True)
class JobLog:
    """A log that was read, and what was left out of it."""

    jobs: list[Job]
    left_out: int


def swf_scenario(folder: Path, list_name: str, load: float | None = None) -> Scenario:
    """The scenario of one log.

    Args:
        folder: holds `NAME.swf` and `NAME.swf.machines`, itself or in a folder `swf`.
        list_name: the NAME.
        load: arrival times are divided by it (2 brings the jobs twice as fast); None is 1.

    Raises:
        ConfigError: a file is missing or has a bad line.
    """
    factor = 1.0 if load is None else load
    if not 0.01 <= factor <= 100:
        fix = "give a factor from 0.01 to 100 by which jobs come faster"
        raise ConfigError("not a load", where="--load", value=load, fix=fix)
    path = _find(folder, list_name)
    nodes = read_machines(path.with_name(path.name + ".machines"))
    log = read_log(path)
    if not log.jobs:
        raise ConfigError("no job in the log", where=str(path), fix="use another log")
    largest = max(_cpus(node) for node in nodes)
    split = [job for job in log.jobs if job.processors > largest]
    tasks = sum(-(-job.processors // largest) for job in log.jobs)
    if tasks > TASKS_MAX:
        fix = f"stay below {TASKS_MAX} tasks"
        raise ConfigError("too many tasks", where=str(path), value=tasks, fix=fix)
    capacity = sum(map(_cpus, nodes))
    notes = (
        f"{len(log.jobs)} jobs in {tasks} pods on {len(nodes)} nodes with {capacity} cpus",
        f"{len(split)} jobs are larger than a node ({largest} cpus) and were split into tasks",
        f"{log.left_out} jobs without run time or processors were left out",
    )
    percent = round(factor * 100)
    last_s = max(job.submit_s * 100 // percent + job.run_s for job in log.jobs)
    work_s = sum(job.run_s * job.processors for job in log.jobs) // max(capacity, 1)
    end_ns = (last_s + 2 * work_s) * SECOND_NS + HOUR_NS

    def open_(generator: random.Random) -> Content:
        del generator  # A log leaves nothing to chance.
        return Content(
            nodes=nodes,
            arrivals=_arrivals(log.jobs, largest, percent),
            pods_expected=tasks,
            notes=notes,
        )

    suffix = "" if load is None else f"@{factor:g}"
    return Scenario(
        name=f"swf/{list_name}{suffix}",
        description=f"job log {list_name} in the Standard Workload Format",
        open=open_,
        limits=Limits(time_ns_max=min(end_ns, 2 * TIME_NS_MAX)),
        classes=("serial", "parallel", "split"),
    )


def read_log(path: Path) -> JobLog:
    """The jobs of a log in order of arrival."""
    jobs: list[Job] = []
    left_out, first_s = 0, None
    for line, text in _lines(path):
        fields = text.split(None, LINE_FIELDS_MIN)
        if text.lstrip().startswith(";") or not fields:
            continue
        where = f"{path}:{line}"
        if len(fields) < LINE_FIELDS_MIN:
            fix = f"give at least {LINE_FIELDS_MIN} fields"
            raise ConfigError("a short line", where=where, value=text.strip(), fix=fix)
        number, submit_s, run_s = (_whole(fields[index], where) for index in (0, 1, 3))
        used, asked = _whole(fields[4], where), _whole(fields[7], where)
        first_s = submit_s if first_s is None else first_s
        processors = asked if asked > 0 else used
        if run_s < 0 or processors <= 0 or submit_s < first_s:
            left_out += 1
            continue
        jobs.append(Job(number, submit_s - first_s, run_s, processors))
    jobs.sort(key=lambda job: (job.submit_s, job.number))
    return JobLog(jobs, left_out)


def read_machines(path: Path) -> tuple[Node, ...]:
    """The nodes: lines of id, name, node count, cpus of each, speed, memory of each in KiB."""
    nodes: list[Node] = []
    for line, text in _lines(path):
        fields = text.split()
        if not fields:
            continue
        where = f"{path}:{line}"
        if len(fields) < 6:
            fix = "give id, name, nodes, cpus, speed and memory"
            raise ConfigError("a short line", where=where, value=text.strip(), fix=fix)
        count, cpus, memory = (_whole(fields[index], where) for index in (2, 3, 5))
        for index in range(count):
            amounts: dict[str, str | int] = {
                "cpu": cpus,
                "memory": f"{memory}Ki",
                "pods": NODE_PODS_MAX,
            }
            nodes.append(make_node(f"{fields[1]}-{index:04d}", amounts, {}))
    if not nodes:
        raise ConfigError("no machine", where=str(path), fix="describe at least one")
    return tuple(nodes)


def _arrivals(jobs: list[Job], largest: int, percent: int) -> Iterator[PodArrival]:
    specs: dict[int, PodSpec] = {}
    for job in jobs:
        count = -(-job.processors // largest)
        class_name = "split" if count > 1 else ("parallel" if job.processors > 1 else "serial")
        for task in range(count):
            cpus = min(largest, job.processors - task * largest)
            spec = specs.get(cpus)
            if spec is None:
                container = make_container({"cpu": cpus})
                spec = specs[cpus] = PodSpec(containers=(container,), scheduler_name=SCHEDULER_NAME)
            name = f"job-{job.number}-{task}"
            meta = ObjectMeta(name=name, namespace="swf", uid=f"uid-{name}")
            yield PodArrival(
                time_ns=job.submit_s * SECOND_NS * 100 // percent,
                pod=Pod(metadata=meta, spec=spec),
                run_ns=max(job.run_s, 1) * SECOND_NS,
                class_name=class_name,
            )


def _cpus(node: Node) -> int:
    return int(node.status.allocatable["cpu"])


def _find(folder: Path, list_name: str) -> Path:
    folders = [folder, folder / "swf"]
    for candidate in folders:
        path = candidate / f"{list_name}.swf"
        if path.is_file() and "/" not in list_name:
            return path
    known = sorted({path.stem for place in folders for path in place.glob("*.swf")})
    if not known:
        fix = "give the folder that holds NAME.swf and NAME.swf.machines"
        raise ConfigError("no job log here", where="--data", value=str(folder), fix=fix)
    fix = f"use one of {', '.join(known)}"
    raise ConfigError("no such log", where="--list", value=list_name, fix=fix)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            for line, text in enumerate(file, start=1):
                if line > LINES_MAX:
                    fix = f"stay below {LINES_MAX} lines"
                    raise ConfigError("too long", where=str(path), value=line, fix=fix)
                yield line, text
    except OSError as error:
        fix = "check the file"
        raise ConfigError(f"can't be read: {error.strerror}", where=str(path), fix=fix) from error


def _whole(text: str, where: str) -> int:
    """A number of the log, cut to whole; logs write some with decimals."""
    whole, _, decimals = text.partition(".")
    is_number = whole.lstrip("-").isdigit() and (not decimals or decimals.isdigit())
    if not is_number or len(text) > 20:
        raise ConfigError("not a number", where=where, value=text, fix="correct the field")
    return int(whole)
