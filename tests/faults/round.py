"""One round: pods are made and go while everything breaks by seed; then it must come right."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from tests.faults import checks
from tests.faults.processes import LEASE_SECONDS, GivenServer, Replica, Server
from tests.support.cluster import Client
from tests.support.proxy import Faults, Proxy, pause

Content = dict[str, Any]

PODS = "/api/v1/namespaces/default/pods"
RECOVERY_SECONDS_MAX = 120.0
"""After which a round has failed, whatever was promised."""
KINDS = ("killed", "graceful", "server", "quiet")
"""How processes end in a round, beside what the proxy breaks."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a round is.

    Args:
        seed: of all that is chosen.
        seconds: how long things break.
        pods: how many are made meanwhile.
        nodes: of 8 CPUs each, or more.
        kubeconfig: of a server that is there; None: an embedded one is started.
    """

    seed: int
    seconds: float
    pods: int
    nodes: int
    kubeconfig: Path | None = None

    @property
    def kind(self) -> str:
        """How processes end; a server that is there is not killed."""
        kinds = [one for one in KINDS if one != "server" or self.kubeconfig is None]
        return kinds[self.seed % len(kinds)]


@dataclass
class Outcome:
    """What a round showed.

    Args:
        plan: which one.
        problems: what did not hold.
        recovered_seconds: from the last fault until every pod that fits had a node.
        faults: how often what was broken.
        late: binds whose client had given up or been told of a failure, and which the server did.
    """

    plan: Plan
    problems: list[str] = field(default_factory=list)
    recovered_seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    bound: int = 0
    late: int = 0
    leaders: int = 0
    load: float = 0.0
    """Of the machine as the round ended: what waits for a CPU is late whatever Herz does."""

    def told(self) -> Content:
        """As it is kept."""
        return {
            "seed": self.plan.seed,
            "kind": self.plan.kind,
            "server": "embedded" if self.plan.kubeconfig is None else "given",
            "seconds": self.plan.seconds,
            "pods": self.plan.pods,
            "problems": self.problems,
            "recovered_seconds": round(self.recovered_seconds, 2),
            "bound": self.bound,
            "late": self.late,
            "leaders": self.leaders,
            "load": self.load,
            "faults": dict(sorted(self.faults.items())),
        }


class Round:
    """A round that runs."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan = plan
        self.folder = folder
        self.outcome = Outcome(plan)
        self.random = Random(plan.seed)
        self.server: Server | GivenServer = (
            Server(folder, plan.nodes)
            if plan.kubeconfig is None
            else GivenServer(folder, plan.kubeconfig)
        )
        self.faults = Faults(plan.seed, writes=60, reads=40, watches=250, leases=20, is_on=False)
        self.replicas: list[Replica] = []
        self._is_over = False

    async def run(self) -> Outcome:
        """The round from its start to its checks; nothing is left running."""
        self.server.start()
        proxy: Proxy | None = None
        try:
            await self.server.ready()
            self.api = Client(self.server.kubeconfig)
            proxy = await self._proxy()
            through = self.server.kubeconfig_through(proxy.port)
            self.replicas = [Replica(self.folder, f"r{one}", through) for one in range(2)]
            for replica in self.replicas:
                replica.start()
            await self._until(self._someone_leads, "a leader")
            keeping = asyncio.create_task(self._keep_alive())
            try:
                await self._break(proxy)
                await self._recover(proxy)
            finally:
                self._is_over = True
                await keeping
            await self._check(proxy)
            if self.plan.kubeconfig is not None:
                await self._clear()
        except (AssertionError, TimeoutError) as error:
            self.outcome.problems.append(f"the round ended: {error!r}")
        finally:
            self.outcome.load = round(os.getloadavg()[0], 1)
            for process in (*self.replicas, self.server):
                process.stop()
            if proxy is not None:
                await proxy.stop()
        return self.outcome

    async def _proxy(self) -> Proxy:
        tls = _server_tls(self.server.folder)
        proxy = Proxy((self.server.host, self.server.port), self.server.trust, tls, self.faults)
        await proxy.start()
        return proxy

    # ---- while it breaks --------------------------------------------------------------------

    async def _break(self, proxy: Proxy) -> None:
        self.faults.is_on = True
        async with asyncio.TaskGroup() as group:
            group.create_task(self._load())
            group.create_task(self._end_processes(proxy))
        self.faults.is_on = False
        self.outcome.faults += self.faults.counts

    async def _load(self) -> None:
        """Make the pods over the time, and let some go again."""
        chance, made = self.random, []
        for index in range(self.plan.pods):
            content = self._pod(index)
            await self._call("POST", PODS, content)
            made.append(content["metadata"]["name"])
            if chance.random() < 0.1:
                gone = made.pop(chance.randrange(len(made)))
                await self._call("DELETE", f"{PODS}/{gone}", None)
            await pause(self.plan.seconds / self.plan.pods * 0.8)

    def _pod(self, index: int) -> Content:
        # All of them fit: a CPU of 8 for each of the nodes stays free.
        share = self.plan.nodes * 7000 // self.plan.pods
        cpu = self.random.randrange(share // 4, share)
        container = {"name": "c", "image": "c", "resources": {"requests": {"cpu": f"{cpu}m"}}}
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"p-{self.plan.seed}-{index}"},
            "spec": {"schedulerName": "herz", "containers": [container]},
        }

    async def _call(self, method: str, path: str, content: Content | None) -> Content:
        """A request past the proxy; again while the server is away."""
        while True:  # Bound: the test's time.
            try:
                reply = await asyncio.to_thread(self.api.call, method, path, content)
            except OSError:
                await pause(0.1)
                continue
            if reply.code < 500 and reply.code != 429:
                return reply.content
            await pause(0.1)

    async def _end_processes(self, proxy: Proxy) -> None:
        """Ends of processes, and of all connections, at times of the seed's choice."""
        loop, chance = asyncio.get_running_loop(), self.random
        end = loop.time() + self.plan.seconds
        gap = {"killed": (4, 12), "graceful": (5, 5), "server": (8, 20), "quiet": (6, 15)}
        while (left := end - loop.time()) > 0:
            await pause(min(left, chance.uniform(*gap[self.plan.kind])))
            if loop.time() >= end:
                break
            await self._end_one(proxy)

    async def _end_one(self, proxy: Proxy) -> None:
        kind, chance = self.plan.kind, self.random
        leader = next((one for one in self.replicas if self._leads(one)), self.replicas[0])
        if kind == "killed":
            one = chance.choice(("scheduler killed", "guard killed", "both killed"))
            if one != "guard killed":
                leader.kill_scheduler()
            if one != "scheduler killed":
                leader.send(signal.SIGKILL)
        elif kind == "graceful":
            one = "asked to stop"
            leader.send(signal.SIGTERM)
        elif kind == "server":
            one = "server killed"
            self.server.start()
            await self.server.ready()
        else:
            one = "all connections cut"
            proxy.cut()
        self.outcome.faults[one] += 1

    async def _keep_alive(self) -> None:
        """As a kubelet does: what has ended is started again."""
        while not self._is_over:
            for replica in self.replicas:
                if replica.has_ended:
                    replica.start()
            await pause(0.2)

    def _leads(self, replica: Replica) -> bool:
        return replica.metrics().get("herz_leader_term", 0) > 0

    async def _someone_leads(self) -> bool:
        return any([await asyncio.to_thread(self._leads, one) for one in self.replicas])

    # ---- when it is over --------------------------------------------------------------------

    async def _recover(self, proxy: Proxy) -> None:
        loop = asyncio.get_running_loop()
        last = max((one.at for one in proxy.seen if one.fault), default=loop.time())
        began = max(last, loop.time())

        async def all_bound() -> bool:
            return not checks.unbound(await self._items(PODS))

        try:
            await self._until(all_bound, "all pods to be bound")
        except AssertionError as error:
            self.outcome.problems.append(str(error))
        self.outcome.recovered_seconds = loop.time() - began

    async def _items(self, path: str) -> list[Content]:
        items: list[Content] = (await self._call("GET", path, None))["items"]
        return items

    async def _until(self, is_so: Any, what: str) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + RECOVERY_SECONDS_MAX
        while not await is_so():
            if loop.time() > end:
                raise AssertionError(f"waited {RECOVERY_SECONDS_MAX:g} s for {what}")
            await pause(0.2)

    async def _check(self, proxy: Proxy) -> None:
        problems, outcome = self.outcome.problems, self.outcome
        nodes, pods = await self._items("/api/v1/nodes"), await self._items(PODS)
        problems += checks.bound_twice(proxy.seen)
        problems += checks.overfull(nodes, pods)
        problems += await self._fill(nodes, pods)
        problems += checks.beyond_grants(proxy.seen)
        logs = {one.name: one.said for one in self.replicas}
        problems += checks.told_secrets(logs, [self.server.token])
        problems += await asyncio.to_thread(self._verify)
        taken = [one for one in proxy.seen if one.uid and one.status == 201]
        outcome.bound = len(taken)
        outcome.late = sum(one.fault is not None for one in taken)
        outcome.leaders = sum(one.said.count('"lease acquired"') for one in self.replicas)

    async def _fill(self, nodes: list[Content], pods: list[Content]) -> list[str]:
        """Every node takes a pod of exactly what is left of it: nothing is held for nobody."""
        fillers = []
        for node in nodes:
            left, name = checks.free(node, pods), checks.name(node)
            container = {"name": "c", "image": "c", "resources": {"requests": {"cpu": f"{left}m"}}}
            spec: Content = {"schedulerName": "herz", "containers": [container]}
            spec |= {"nodeSelector": {"kubernetes.io/hostname": name}}
            content = {"metadata": {"name": f"fill-{name}"}, "kind": "Pod", "apiVersion": "v1"}
            if left > 0:
                await self._call("POST", PODS, {**content, "spec": spec})
                fillers.append(f"fill-{name}")

        async def filled() -> bool:
            return not checks.unbound(await self._items(PODS))

        try:
            await self._until(filled, "what is left of each node to be taken")
        except AssertionError as error:
            held = checks.unbound(await self._items(PODS))
            return [str(error), *held[:5]]
        return checks.overfull(nodes, await self._items(PODS))

    async def _clear(self) -> None:
        """A server that is there is left without our pods."""
        body = {"gracePeriodSeconds": 0}

        async def none_left() -> bool:
            names = [checks.name(pod) for pod in await self._items(PODS)]
            for name in names:
                await self._call("DELETE", f"{PODS}/{name}", body)
            return not names

        await self._until(none_left, "all pods to be gone")

    def _verify(self) -> list[str]:
        """The journal, which several leaders wrote, is whole."""
        for replica in self.replicas:
            replica.stop()
        command = [sys.executable, "-m", "herz.front.cli", "audit", "verify", "--journal"]
        done = subprocess.run(
            [*command, str(self.folder / "journal")],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        # Nobody signs it here, so that its origin cannot be verified; that is not asked.
        is_whole = "internally consistent" in done.stdout
        return [] if is_whole else [f"the journal: {done.stdout}{done.stderr}"]


def _server_tls(folder: Path) -> Any:
    """The server's own certificate: clients of the proxy believe that they speak to it."""
    from herz.world.apiserver.credentials import Credentials

    return Credentials(folder, "").context()


def recovery_seconds_promised() -> float:
    """From the last fault until all is bound: ten seconds and a lease."""
    return 10.0 + LEASE_SECONDS[0]


def summary(outcomes: Sequence[Content]) -> dict[str, Any]:
    """All rounds in one, as `Outcome.told` has each."""
    times = sorted(one["recovered_seconds"] for one in outcomes)
    total: Counter[str] = Counter()
    for one in outcomes:
        total.update(one["faults"])
    at = max(0, -(-99 * len(times) // 100) - 1)
    return {
        "rounds": len(outcomes),
        "kinds": dict(sorted(Counter(one["kind"] for one in outcomes).items())),
        "problems": sum(len(one["problems"]) for one in outcomes),
        "bound": sum(one["bound"] for one in outcomes),
        "late": sum(one["late"] for one in outcomes),
        "load_median": sorted(one["load"] for one in outcomes)[len(outcomes) // 2],
        "leaders": sum(one["leaders"] for one in outcomes),
        "recovered_seconds_median": times[len(times) // 2],
        "recovered_seconds_p99": times[at],
        "recovered_seconds_max": times[-1],
        "recovered_seconds_promised": recovery_seconds_promised(),
        "faults": dict(sorted(total.items())),
    }
