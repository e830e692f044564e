"""What operators of a live scheduler set and see: leader election, endpoints, metrics, logs."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from herz.commit.audit.guarded import Guarded as AuditGuarded
from herz.config import Configuration, Policies, Policy
from herz.config.durations import duration_ns
from herz.cycle import Cycle
from herz.errors import ConfigError
from herz.front.cli.options import checked_name, parsed_integer
from herz.front.cli.proving import shown
from herz.front.cli.waiting import patiently
from herz.front.logs import configure
from herz.model.objects import Pod
from herz.ports import Machine
from herz.world.collecting import Pauses
from herz.world.kube import discovery
from herz.world.kube.driver import Driver
from herz.world.kube.endpoints import (
    METRICS_TYPE,
    Health,
    Serving,
    Source,
    start_endpoints,
    start_inside,
)
from herz.world.kube.guard import Guard, Guarded, Plan, guarded_by_environment
from herz.world.kube.kubeconfig import Access
from herz.world.kube.lease import Durations, Elector, asking, here, identity
from herz.world.kube.metrics import Exposed, Metrics
from herz.world.kube.pod_resources import PodResources
from herz.world.kube.transport import Transport
from herz.world.store.where import Where, exists, reader_of

GRACE_SECONDS: Final = 45.0
"""How long a scheduler may take to stop: its driver's own bounds, and some more."""
LEASE_NAMESPACE: Final = "kube-system"
LEASE_NAME: Final = "herz"

_Text = str | None


@dataclass(frozen=True, slots=True)
class Election:
    """How replicas agree.

    Args:
        lease: namespace and name.
        durations: how long it is held.
    """

    lease: tuple[str, str]
    durations: Durations


def election(
    *,
    is_on: bool,
    names: tuple[_Text, _Text],
    times: tuple[_Text, _Text, _Text],
    configuration: Configuration | None,
) -> Election | None:
    """The election as the options, or else the configuration, have it; None where there is none.

    Raises:
        ConfigError: a name or a time is none, or the times do not fit each other.
    """
    options = (
        "--leader-elect-lease-duration",
        "--leader-elect-renew-deadline",
        "--leader-elect-retry-period",
    )
    if not is_on:
        given = [option for option, text in zip(options, times, strict=True) if text is not None]
        if given or any(names):
            raise ConfigError(
                "an option of an election that is off",
                where=(*given, "--leader-elect-resource-name")[0],
                fix="add --leader-elect",
            )
        return None
    found = Durations()
    lease = (LEASE_NAMESPACE, LEASE_NAME)
    if configuration is not None:
        told = configuration.leader_election
        found = Durations(told.lease_ns, told.renew_ns, told.retry_ns)
        lease = (told.namespace, told.name)
    numbers = [found.lease, found.renew, found.retry]
    for index, (option, text) in enumerate(zip(options, times, strict=True)):
        if text is not None:
            try:
                numbers[index] = duration_ns(text)
            except ConfigError as error:
                raise error.at(option) from error
    namespace, name = (
        checked_name(text, option=f"--leader-elect-resource-{what}") if text else default
        for what, text, default in zip(("namespace", "name"), names, lease, strict=True)
    )
    return Election((namespace, name), Durations(*numbers))


def serving(host: str, port: str, files: tuple[str, str, str]) -> Serving | None:
    """The endpoints as the options have them; None where no port was given.

    Args:
        host: the address.
        port: its number, as it was typed.
        files: of the certificate, of its key, of the token.

    Raises:
        ConfigError: a port, a certificate or a token is none.
    """
    if not port:
        return None
    number = parsed_integer(port, option="--secure-port", low=0, high=65_535)
    address = checked_name(host, option="--bind-address")
    found = Serving(address, number, files[0], files[1], token_file=files[2])
    found.token()
    return found


def log_as(form: str) -> None:
    """Set up the log.

    Raises:
        ConfigError: there is no such form.
    """
    if form not in ("text", "json"):
        where = "--logging-format"
        raise ConfigError("no form of logs", where=where, value=form, fix="use text or json")
    configure("json" if form == "json" else "text")


@dataclass(frozen=True, slots=True)
class Guarding:
    """What the guard's process needs to know.

    Args:
        election: of the leader.
        serving: its endpoints; None: on loopback, at a free port.
        kubeconfig: None: as `herz.world.kube.kubeconfig.Access` finds one.
        context: of the kubeconfig; None: its current one.
        journal: whose terms are below ours.
        waits: whether a server that cannot be reached is waited for.
    """

    election: Election
    serving: Serving | None
    kubeconfig: Path | None
    context: str | None
    journal: Where
    waits: bool

    def _last_term(self) -> int:
        return reader_of(self.journal).leader_term() if exists(self.journal) else 0

    async def run(self, arguments: Sequence[str]) -> int:
        """Guard a scheduler of these arguments; its exit code.

        Raises:
            WorldError: the lease is lost, or the scheduler was killed.
        """
        transport = Transport(Access(self.kubeconfig, self.context))
        try:
            await discovery.reached(transport, _tell, waits=self.waits)
            term = await patiently(self._last_term, _tell, waits=self.waits)
            elector = Elector(
                identity(),
                self.election.lease,
                asking(transport),
                here(),
                self.election.durations,
                term_min=term + 1,
            )
            command = [sys.executable, "-m", "herz.front.cli", *arguments]
            served = self.serving or Serving("127.0.0.1", 0)
            plan = Plan(command, served, GRACE_SECONDS, lambda port: _tell_port(served, port))
            return await Guard(elector, plan).run()
        finally:
            await transport.closed()


def _tell(text: str) -> None:
    sys.stderr.write(f"herz: {text}\n")
    sys.stderr.flush()


def _tell_port(served: Serving, port: int) -> None:
    _tell(f"probes and metrics: https://{served.host}:{port} (process {os.getpid()})")


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
            _tell_port(self._serving, endpoints.port)
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
        # A standby has read nothing yet, and is as ready as it will be before it leads.
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


def configz(configuration: Configuration | None, policy: Policy | Policies) -> dict[str, object]:
    """What `/configz` shows: kube-scheduler's form, if given, and the policy's digest."""
    shown: dict[str, object] = {"herz": {"policy": policy.name, "digest": policy.digest}}
    if configuration is not None:
        shown["kubescheduler.config.k8s.io"] = msgspec.to_builtins(configuration.complete)
    return shown


def guarded() -> Guarded | None:
    """The guard of this process; None where nobody guards it."""
    return guarded_by_environment()


def run_guard(guarding: Guarding, arguments: Sequence[str]) -> int:
    """The guard's process; the exit code."""
    return asyncio.run(guarding.run(arguments))
