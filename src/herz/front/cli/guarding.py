"""`herz run --leader-elect`: the election, and the guard's process, which decides nothing."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from herz.errors import ConfigError
from herz.front.cli.options import checked_name, parsed_integer
from herz.front.cli.waiting import patiently
from herz.front.logs import configure
from herz.model.durations import duration_ns
from herz.world.kube import discovery
from herz.world.kube.endpoints import Serving
from herz.world.kube.guard import Guard, Guarded, Plan, guarded_by_environment
from herz.world.kube.kubeconfig import Access
from herz.world.kube.lease import Durations, Elector, asking, here, identity
from herz.world.kube.transport import Transport
from herz.world.store.where import Where, exists, reader_of

if TYPE_CHECKING:
    from herz.config import Configuration

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
            await discovery.reached(transport, tell, waits=self.waits)
            term = await patiently(self._last_term, tell, waits=self.waits)
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
            plan = Plan(command, served, GRACE_SECONDS, lambda port: tell_port(served, port))
            return await Guard(elector, plan).run()
        finally:
            await transport.closed()


def tell(text: str) -> None:
    """Show a person what happens, beside the answer."""
    sys.stderr.write(f"herz: {text}\n")
    sys.stderr.flush()


def tell_port(served: Serving, port: int) -> None:
    """Show where probes and Prometheus ask."""
    tell(f"probes and metrics: https://{served.host}:{port} (process {os.getpid()})")


def guarded() -> Guarded | None:
    """The guard of this process; None where nobody guards it."""
    return guarded_by_environment()


def run_guard(guarding: Guarding) -> int:
    """Be the guard of a scheduler with this process' arguments; the exit code."""
    return asyncio.run(guarding.run(sys.argv[1:]))
