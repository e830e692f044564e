"""End to end on a live cluster: pods created to bound, Herz beside a loop that decides nothing.

    python -m bench.live [--nodes 1000] [--pods 5000] [--rounds 2] [--kubeconfig FILE]
    python -m bench.live --delays [--shared] [--nodes 5000] [--pods 5000] [--rounds 2]

The loop uses Herz's transport, holds the same watches, decodes the same objects and makes the same
writes (binding and event), with as many requests under way; nodes are given in turn. Without
a kubeconfig both run on the embedded server, a new one each round, in a process of its own; with
one, each round removes its pods, and the events of the default namespace. Rounds are interleaved;
client limits on rates are off for all.

On a real server kube-scheduler stands beside them where HERZ_TEST_KUBE_SCHEDULER holds its path:

    python -m tests.support.control_plane --nodes 1000 python -m bench.live --kubeconfig given
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from herz.model.effects import EmitEvent
from herz.model.objects import KubernetesObject, Pod
from herz.world.kube import discovery
from herz.world.kube.informer import Informer
from herz.world.kube.kinds import WATCHED
from herz.world.kube.kubeconfig import Access
from herz.world.kube.limits import Calls, Limits
from herz.world.kube.posting import Posting
from herz.world.kube.transport import Transport

SPACE = "default"
PODS = f"/api/v1/namespaces/{SPACE}/pods"
IN_FLIGHT = 32
SCHEDULER = "HERZ_TEST_KUBE_SCHEDULER"


class Reference:
    """Binds each pod to the next node, and writes the event."""

    def __init__(self, transport: Transport) -> None:
        self._calls = Calls(transport, Limits(in_flight_max=IN_FLIGHT))
        self._posting = Posting(Calls(transport, Limits(in_flight_max=8)), "reference")
        self._waiting: asyncio.Queue[Pod] = asyncio.Queue()
        self._nodes: list[str] = []
        self._numbers = itertools.count()
        self._known: set[str] = set()

    def applied(self, thing: KubernetesObject, unlisted: tuple[str, ...]) -> None:
        """See `herz.world.kube.informer.Sink`."""
        if isinstance(thing, Pod):
            if not thing.is_assigned and thing.metadata.uid not in self._known:
                self._known.add(thing.metadata.uid)
                self._waiting.put_nowait(thing)
        elif type(thing).__name__ == "Node":
            self._nodes.append(thing.metadata.name)

    def deleted(self, thing: KubernetesObject) -> None:
        """Nothing is deleted."""

    def freshness_changed(self) -> None:
        """Nothing waits for it."""

    async def work(self) -> None:
        """Bind what waits, one after another, until it is cancelled."""
        while True:
            pod = await self._waiting.get()
            node = self._nodes[next(self._numbers) % len(self._nodes)]
            meta = pod.metadata
            content = {
                "apiVersion": "v1",
                "kind": "Binding",
                "metadata": {
                    "annotations": {"herz.dev/decision": "1"},
                    "name": meta.name,
                    "namespace": meta.namespace,
                    "uid": meta.uid,
                },
                "target": {"apiVersion": "v1", "kind": "Node", "name": node},
            }
            reply = await self._calls.request(
                "POST",
                f"/api/v1/namespaces/{meta.namespace}/pods/{meta.name}/binding",
                body=msgspec.json.encode(content),
                timeout_seconds=30,
            )
            assert reply.is_success, reply.body
            note = f"Successfully assigned {meta.key} to {node}"
            self._posting.post(
                EmitEvent(
                    namespace=meta.namespace,
                    name=meta.name,
                    uid=meta.uid,
                    type="Normal",
                    reason="Scheduled",
                    action="Binding",
                    note=note,
                )
            )


async def refer(kubeconfig: Path) -> None:
    """The reference loop, until it is killed."""
    transport = Transport(Access(kubeconfig))
    kinds, _ = await discovery.served(transport, WATCHED)
    reference = Reference(transport)
    informers = [Informer(kind, transport, reference) for kind in kinds]
    async with asyncio.TaskGroup() as group:
        for informer in informers:
            group.create_task(informer.run())
        while not all(one.is_synced for one in informers):
            await asyncio.sleep(0.05)
        for _ in range(IN_FLIGHT):
            group.create_task(reference.work())
        print("{}", flush=True)


@contextlib.contextmanager
def process(*command: str) -> Iterator[dict[str, Any]]:
    """A process that prints JSON when it is ready; ended afterwards."""
    with subprocess.Popen(
        [sys.executable, "-m", *command], stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        text = ""
        while not text.endswith("}\n"):
            line = running.stdout.readline()
            assert line, f"{command} ended"
            text += line
        try:
            yield {**json.loads(text), "pid": running.pid}
        finally:
            running.terminate()


@contextlib.contextmanager
def kube_scheduler(path: str, kubeconfig: Path, folder: str) -> Iterator[dict[str, Any]]:
    """Kubernetes' own, which takes our pods; ended afterwards."""
    limits = {"qps": 100_000, "burst": 100_000, "kubeconfig": str(kubeconfig)}
    config = {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "clientConnection": limits,
        "leaderElection": {"leaderElect": False},
        "profiles": [{"schedulerName": "herz"}],
    }
    file = Path(folder, "kube-scheduler.yaml")
    file.write_text(json.dumps(config), encoding="utf-8")
    with (
        Path(folder, "kube-scheduler.log").open("wb") as log,
        subprocess.Popen([path, f"--config={file}", "--secure-port=0"], stderr=log) as running,
    ):
        try:
            yield {"pid": running.pid}
        finally:
            running.terminate()


def cpu_seconds(process_id: int) -> float:
    """What the process has used of the CPU."""
    fields = (
        Path(f"/proc/{process_id}/stat").read_text(encoding="utf-8").rpartition(") ")[2].split()
    )
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass
class Found:
    """One round."""

    pods_per_second: float
    p50_ms: float
    p99_ms: float
    events: int
    twice: int
    cpu_ms: float = 0
    """Of the scheduler's process, a pod; without its start."""
    span_ns: tuple[int, int] = (0, 0)
    """From the first pod's creation until the last was bound, by the monotonic clock."""


class Watcher:
    """Sees each pod come and be bound."""

    def __init__(self) -> None:
        self.made: dict[str, float] = {}
        self.bound: dict[str, tuple[float, str]] = {}
        self.twice = 0
        self.begun = asyncio.Event()
        self.done = asyncio.Event()
        self.expected = 0

    def applied(self, thing: KubernetesObject, unlisted: tuple[str, ...]) -> None:
        """See `herz.world.kube.informer.Sink`."""
        assert isinstance(thing, Pod)
        name, now = thing.metadata.name, time.perf_counter()
        if not thing.is_assigned or name not in self.made:
            return
        if name == "first":
            self.begun.set()
            return
        before = self.bound.setdefault(name, (now, thing.spec.node_name))
        self.twice += before[1] != thing.spec.node_name
        if len(self.bound) == self.expected:
            self.done.set()

    def deleted(self, thing: KubernetesObject) -> None:
        """Nothing is deleted."""

    def freshness_changed(self) -> None:
        """Nothing waits for it."""


async def measure(kubeconfig: Path, pods: int, process_id: int) -> Found:
    """Create pods as fast as the server takes them, and wait until each is bound."""
    transport = Transport(Access(kubeconfig))
    watcher = Watcher()
    watcher.expected = pods
    kind = next(one for one in WATCHED if one.kind is Pod)
    watching = asyncio.ensure_future(Informer(kind, transport, watcher).run())
    numbers = iter(range(pods))

    async def create(name: str) -> None:
        watcher.made[name] = time.perf_counter()
        reply = await transport.request("POST", PODS, body=_pod(name), timeout_seconds=60)
        assert reply.status == 201, reply.body

    async def create_all() -> None:
        for number in numbers:
            await create(f"bench-{number:05}")

    async with asyncio.timeout(120):
        # Whoever schedules has begun when this one has a node.
        await create("first")
        await watcher.begun.wait()
    began, began_ns = time.perf_counter(), time.monotonic_ns()
    before = cpu_seconds(process_id)
    await asyncio.gather(*(create_all() for _ in range(16)))
    async with asyncio.timeout(600):
        await watcher.done.wait()
    span_ns = (began_ns, time.monotonic_ns())
    cpu_ms = 1000 * (cpu_seconds(process_id) - before) / pods
    took = max(at for at, _ in watcher.bound.values()) - began
    waits = [1000 * (at - watcher.made[name]) for name, (at, _) in watcher.bound.items()]
    quantiles = statistics.quantiles(waits, n=100)
    events = await _events(transport, pods)
    await _clear(transport, [*watcher.made])
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    await transport.closed()
    found = Found(pods / took, quantiles[49], quantiles[98], events, watcher.twice)
    found.cpu_ms, found.span_ns = cpu_ms, span_ns
    return found


def _pod(name: str) -> bytes:
    asked = {"requests": {"cpu": "100m", "memory": "200Mi"}}
    containers = [{"name": "main", "image": "bench", "resources": asked}]
    spec = {"containers": containers, "schedulerName": "herz"}
    content = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
    return msgspec.json.encode(content)


async def _clear(transport: Transport, names: list[str]) -> None:
    """Leave the server as it was found."""
    waiting = iter(names)

    async def delete() -> None:
        for name in waiting:
            body = b'{"gracePeriodSeconds": 0}'
            await transport.request("DELETE", f"{PODS}/{name}", body=body, timeout_seconds=60)

    await asyncio.gather(*(delete() for _ in range(16)))
    path = f"/apis/events.k8s.io/v1/namespaces/{SPACE}/events"
    await transport.request("DELETE", path, timeout_seconds=120)


async def _events(transport: Transport, pods: int) -> int:
    """How many pods have their event; the last ones are on their way."""
    path = f"/apis/events.k8s.io/v1/namespaces/{SPACE}/events"
    found: set[str] = set()
    for _ in range(60):
        reply = await transport.request("GET", path, timeout_seconds=60)
        items = json.loads(reply.body)["items"]
        found = {one["regarding"]["uid"] for one in items if one["reason"] == "Scheduled"}
        if len(found) >= pods:
            break
        await asyncio.sleep(0.5)
    return len(found)


def one_round(who: str, kubeconfig: Path | None, nodes: int, pods: int) -> Found:
    """A new cluster, or the given one; one of the two schedulers; the pods."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        config = kubeconfig
        if config is None:
            up = ["herz.front.cli", "up", "--no-scheduler", "--port", "0", "--output", "json"]
            said = stack.enter_context(
                process(*up, "--nodes", str(nodes), "--data", f"{folder}/cluster")
            )
            config = Path(said["kubeconfig"])
        if who == "herz":
            run = ["herz.front.cli", "run", "--kubeconfig", str(config), "--output", "json"]
            said = stack.enter_context(process(*run, "--journal", f"{folder}/journal"))
        elif who == "reference":
            said = stack.enter_context(process("bench.live", "--refer", str(config)))
        else:
            said = stack.enter_context(kube_scheduler(os.environ[SCHEDULER], config, folder))
        return asyncio.run(measure(config, pods, said["pid"]))


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--nodes", type=int, help="1000; with --delays, 5000")
    parser.add_argument("--pods", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument(
        "--kubeconfig", type=Path, help="a server; `given`: that of HERZ_TEST_KUBECONFIG"
    )
    parser.add_argument(
        "--delays", action="store_true", help="how late watches are read; see bench/watching.py"
    )
    parser.add_argument("--shared", action="store_true", help="delays: no processor is set apart")
    parser.add_argument("--refer", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.delays:
        from bench import watching  # noqa: PLC0415

        watching.compare(given.nodes or 5000, given.pods, given.rounds, is_shared=given.shared)
        return
    if given.refer is not None:
        asyncio.run(refer(given.refer))
        return
    kubeconfig = given.kubeconfig
    if str(kubeconfig) == "given":
        kubeconfig = Path(os.environ["HERZ_TEST_KUBECONFIG"])
    found: dict[str, list[Found]] = {"reference": [], "herz": []}
    if kubeconfig is not None and os.environ.get(SCHEDULER):
        found["kube-scheduler"] = []
    for _, who in itertools.product(range(given.rounds), found):
        one = one_round(who, kubeconfig, given.nodes or 1000, given.pods)
        found[who].append(one)
        print(
            f"{who:14} {one.pods_per_second:7.0f} pods/s  p50 {one.p50_ms:7.0f} ms  "
            f"p99 {one.p99_ms:7.0f} ms  events {one.events}  bound twice {one.twice}  "
            f"CPU {one.cpu_ms:.2f} ms/pod",
            flush=True,
        )
    rates = {
        who: statistics.median(one.pods_per_second for one in all_) for who, all_ in found.items()
    }
    own = rates.pop("herz")
    for peer, rate in rates.items():
        print(f"herz / {peer}: {own / rate:.2f} ({os.cpu_count()} CPUs)")


if __name__ == "__main__":
    main()
