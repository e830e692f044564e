"""What operators of a live scheduler set and see: endpoints and metrics."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import msgspec

from herz.commit.audit.guarded import Guarded as AuditGuarded
from herz.config import Configuration, Policies, Policy
from herz.cycle import Cycle
from herz.front.cli.deciding import Deciding
from herz.front.cli.guarding import tell_port
from herz.front.cli.proving import shown
from herz.model.objects import Pod
from herz.ports import Machine
from herz.world.collecting import Pauses
from herz.world.kube.driver import Driver
from herz.world.kube.endpoints import (
    METRICS_TYPE,
    Health,
    Serving,
    Source,
    start_endpoints,
    start_inside,
)
from herz.world.kube.guard import Guarded
from herz.world.kube.metrics import Exposed, Metrics
from herz.world.kube.pod_resources import PodResources


class Operations:
    """What is shown of one scheduler: its metrics, its state, its configuration.

    Args:
        guarded: its guard; None: it has none, and serves its endpoints itself.
        serving: where, without a guard; None: nowhere.
        configz: the configuration that is in force.
    """

    def __init__(
        self,
        guarded: Guarded | None,
        serving: Serving | None,
        configz: Mapping[str, object],
    ) -> None:
        self.guarded = guarded
        self._serving = serving
        self._configz = msgspec.json.encode(configz)
        self._machine: Cycle | None = None
        self._driver: Driver | None = None
        self._more: tuple[Mapping[str, int], ...] = ()
        self.pauses = Pauses()
        self.metrics = Metrics(
            *(time.time_ns, self._counters, self._pending, self._cached, self._incoming),
            *(self._evaluated, self._running, self.pauses),
        )
        self.metrics.registry.register(Exposed(lambda: shown(self._proof, self._now_ns)))
        self._proof: AuditGuarded | None = None

    def see(self, machine: Machine) -> None:
        """The machine is made: its counters are shown."""
        assert isinstance(machine, Cycle), "it was made by the app"
        self._machine = machine

    def watch(self, driver: Driver, proof: AuditGuarded | None = None) -> None:
        """The driver begins: what it knows is shown, and what is exposed of its journal."""
        self._driver, self._proof = driver, proof

    def _now_ns(self) -> int:
        return time.time_ns() if self._driver is None else self._driver.now_ns()

    def stopping(self) -> None:
        """No more pods are taken."""
        if self.guarded is not None:
            self.guarded.is_stopping = True

    @asynccontextmanager
    async def served(self) -> AsyncIterator[None]:
        """The endpoints, while this lasts.

        Raises:
            WorldError: the address cannot be had, or the guard has ended.
        """
        sources: dict[str, tuple[Source, str]] = {
            "/metrics": (self._text, METRICS_TYPE),
            "/metrics/resources": (self._resources, METRICS_TYPE),
            "/configz": (self._shown, "application/json"),
        }
        if self.guarded is not None:
            self.guarded.attach()
            inside = await start_inside(self.guarded.socket_path, sources)
            try:
                yield
            finally:
                await inside.cleanup()
        elif self._serving is not None:
            endpoints = await start_endpoints(self._serving, self._health(), sources)
            tell_port(self._serving, endpoints.port)
            try:
                yield
            finally:
                await endpoints.stop()
        else:
            yield

    async def leading(self) -> int:
        """Wait until this replica leads; its term, 0 where there is no election."""
        if self.guarded is None:
            return 0
        # A standby is as ready as it will be before it leads: pods and nodes are read after that.
        self.guarded.is_synced = True
        return await self.guarded.leading()

    def _health(self) -> Health:
        def synced() -> str:
            driver = self._driver
            is_synced = driver is not None and driver.synced.is_set()
            return "" if is_synced else "the cluster has not been read yet"

        def ping() -> str:
            return ""

        return Health({"ping": ping}, {"informer-sync": synced, "sched-handler-sync": synced})

    async def _text(self) -> bytes:
        return self.metrics.text()

    async def _resources(self) -> bytes:
        return PodResources(self._pods).text()

    def _pods(self) -> Sequence[Pod]:
        return () if self._driver is None else self._driver.pods

    async def _shown(self) -> bytes:
        return self._configz

    def _counters(self) -> Mapping[str, int]:
        own = {} if self._machine is None else self._machine.counters
        return {**own, **{name: value for one in self._more for name, value in one.items()}}

    def also(self, *counters: Mapping[str, int]) -> None:
        """Show these, too."""
        self._more = counters

    def _pending(self) -> Mapping[str, int]:
        if self._machine is None:
            return dict.fromkeys(("active", "backoff", "unschedulable", "gated"), 0)
        counts = self._machine.queue.counts()
        waiting = {"unschedulable": counts.unschedulable + counts.parked, "gated": counts.gated}
        return {"active": counts.active, "backoff": counts.backoff, **waiting}

    def _incoming(self) -> Mapping[tuple[str, str], int]:
        return {} if self._machine is None else self._machine.queue.rooms.incoming

    def _evaluated(self) -> Mapping[tuple[str, str, str], int]:
        return {} if self._machine is None else self._machine.evaluations

    def _running(self) -> Mapping[str, int]:
        return {} if self._driver is None else {"binding": self._driver.writer.binding}

    def _cached(self) -> Mapping[str, int]:
        if self._driver is None or self._machine is None:
            return {}
        return {
            "nodes": self._driver.counted("nodes"),
            "pods": self._driver.counted("pods"),
            "assumed_pods": self._machine.assumed,
        }


def operations(guard: Guarded | None, serving: Serving | None, what: Deciding) -> Operations:
    """What is shown of a scheduler that decides by this."""
    return Operations(guard, serving, configz(what.configuration, what.policy))


def configz(configuration: Configuration | None, policy: Policy | Policies) -> dict[str, object]:
    """What `/configz` shows: kube-scheduler's form, if given, and the policy's digest."""
    shown: dict[str, object] = {"herz": {"policy": policy.name, "digest": policy.digest}}
    if configuration is not None:
        shown["kubescheduler.config.k8s.io"] = msgspec.to_builtins(configuration.complete)
    return shown
