"""Leader election on a Lease: who may write now, and until when.

The rules are client-go's. A lease is held by whoever's update the API took last; it is over when a
replica has seen the same record for the lease's whole duration **by its own clock**; nobody's
clock is compared with another's. Updates carry the version that was read, so that of two at once
one is refused.

Stricter than client-go is what a leader may do. It counts its own time from before the request
that renewed the lease, the others count theirs from when they saw it, so the leader stops first.
A write leaves only until the renew deadline, and is given up after what is left of the lease; a
new leader lets that long go by before its first write. So no write of the old leader, begun in
time, is waited for any more when the new one begins, as long as their clocks' rates differ by less
than a third (with 15, 10 and 2 seconds). Where the lease was missing, somebody may have deleted it
under a leader: the new one waits for the whole duration. A leader whose lease is no more its own,
for whatever reason, has lost it.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import msgspec

from herz.errors import ConfigError, WorldError

SECOND_NS: Final = 1_000_000_000
JITTER_SHARE: Final = 1.2
"""How much longer than the retry period the pause between two tries to acquire may be."""
_TEXT_MAX: Final = 300
Content = dict[str, Any]


class _Spec(msgspec.Struct, frozen=True):
    """The fields of a lease that are read, and the types that they must have."""

    holderIdentity: str | None = None  # noqa: N815
    leaseDurationSeconds: int | None = None  # noqa: N815
    leaseTransitions: int | None = None  # noqa: N815


class _Lease(msgspec.Struct, frozen=True):
    metadata: dict[str, Any]
    spec: _Spec | None = None


_LEASE: Final = msgspec.json.Decoder(_Lease)


@dataclass(frozen=True, slots=True)
class Durations:
    """How long a lease is held for, in nanoseconds; kube-scheduler's names and defaults.

    Args:
        lease: after so long without a renewal others may take it.
        renew: the leader gives up when it could not renew for so long.
        retry: between two tries.

    Raises:
        ConfigError: they do not leave room for each other.
    """

    lease: int = 15 * SECOND_NS
    renew: int = 10 * SECOND_NS
    retry: int = 2 * SECOND_NS

    def __post_init__(self) -> None:
        if not self.lease > self.renew > 0:
            raise ConfigError(
                "the lease ends before the leader gives up",
                where="leaderElection.leaseDuration",
                value=self.lease / SECOND_NS,
                fix=f"make it longer than renewDeadline, {self.renew / SECOND_NS} s",
            )
        if not 0 < self.retry * JITTER_SHARE < self.renew:
            raise ConfigError(
                "the leader gives up before it has tried again",
                where="leaderElection.retryPeriod",
                value=self.retry / SECOND_NS,
                fix=f"make it at most {self.renew / SECOND_NS / JITTER_SHARE:.1f} s",
            )

    @property
    def write(self) -> int:
        """How long a write may take at most, and how long a new leader waits."""
        return self.lease - self.renew


class Reply(Protocol):
    """What the API answered."""

    @property
    def status(self) -> int:
        """HTTP's number."""
        ...

    @property
    def body(self) -> bytes:
        """All of it."""
        ...


class Ask(Protocol):
    """One request to the API.

    Raises:
        WorldError: no answer came in time; the request may have had its effect.
    """

    async def __call__(self, method: str, path: str, body: bytes, timeout_ns: int) -> Reply:
        """The answer, whatever its status."""
        ...


class Leadership(Protocol):
    """What whoever writes to the cluster asks before each write."""

    @property
    def term(self) -> int:
        """The term as leader, which every record carries; 0 while another leads."""
        ...

    @property
    def write_timeout_seconds(self) -> float:
        """After how long a write must be given up by whoever sent it; its outcome is unknown."""
        ...

    def may_write(self) -> bool:
        """Whether a write may leave at this moment."""
        ...


@dataclass(frozen=True, slots=True)
class Alone:
    """The leadership of one who has no rivals.

    Args:
        term: above that of every earlier run.
        write_timeout_seconds: of each write.
    """

    term: int
    write_timeout_seconds: float = 5.0

    def may_write(self) -> bool:
        """Always."""
        return True


@dataclass(frozen=True, slots=True)
class Place:
    """Where the time comes from, and how it passes.

    Args:
        clock: nanoseconds that never go back, and go on while the machine is suspended.
        sleep: waits so many nanoseconds.
        chance: from 0 to 1; spreads the tries of several replicas.
        wall: the time of day, as leases carry it; nobody decides by it.
    """

    clock: Callable[[], int]
    sleep: Callable[[int], Awaitable[None]]
    chance: Callable[[], float]
    wall: Callable[[], str]


def clock_ns() -> int:
    """Nanoseconds since the machine started, the time in which it was suspended included."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def here() -> Place:
    """The running loop, and this machine's clocks."""

    async def sleep(time_ns: int) -> None:
        await asyncio.sleep(time_ns / SECOND_NS)

    def wall() -> str:
        return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    return Place(clock_ns, sleep, random.random, wall)


def identity() -> str:
    """A name that no other process ever had, with the host's name for people."""
    return f"{os.uname().nodename}_{secrets.token_hex(8)}"


class Transport(Protocol):
    """What sends a request (`herz.world.kube.transport`)."""

    async def request(
        self, method: str, path: str, *, body: bytes = b"", timeout_seconds: float
    ) -> Reply:
        """The answer; a `WorldError` where none came."""
        ...


def asking(transport: Transport) -> Ask:
    """Requests of the election over a transport."""

    async def ask(method: str, path: str, body: bytes, timeout_ns: int) -> Reply:
        seconds = timeout_ns / SECOND_NS
        return await transport.request(method, path, body=body, timeout_seconds=seconds)

    return ask


class Elector:
    """One replica's part in the election.

    Args:
        identity: its name, another one for each process that ever runs.
        lease: namespace and name of the Lease.
        ask: sends a request.
        place: clock, sleep, chance.
        durations: how long the lease is held for.
        term_min: the least term that it may have; above those in its journal.
    """

    def __init__(
        self,
        identity: str,
        lease: tuple[str, str],
        ask: Ask,
        place: Place,
        durations: Durations,
        *,
        term_min: int = 1,
    ) -> None:
        assert identity, "an empty holder is none"
        self.identity = identity
        self.durations = durations
        self.term = 0
        """The term as leader; 0 while it does not lead."""
        self.holder = ""
        """Who held the lease when it was last read."""
        self.last_error = ""
        """Why the last try had no answer or no success; for people."""
        self._root = f"/apis/coordination.k8s.io/v1/namespaces/{lease[0]}/leases"
        self._lease = lease
        self._ask = ask
        self._place = place
        self._term_min = term_min
        # What was read last, and since when the API has told nothing else.
        self._content: Content | None = None
        self._is_current = False
        self._seen_ns = 0
        self._was_missing = False
        self._renewed_ns = 0
        self._acquired_ns = 0

    @property
    def write_from_ns(self) -> int:
        """From when on the leader may write: what an earlier one sent has been given up."""
        wait = self.durations.lease if self._was_missing else self.durations.write
        return self._acquired_ns + wait

    @property
    def write_until_ns(self) -> int:
        """Until when the leader may write, if it never renews again."""
        return self._renewed_ns + self.durations.renew

    def may_write(self) -> bool:
        """Whether a write may leave at this moment."""
        now = self._place.clock()
        return self.term > 0 and self.write_from_ns <= now < self.write_until_ns

    async def acquire(self) -> int:
        """Try until the lease is this replica's; the term.

        Raises:
            WorldError: the API refuses for good: leases may not be read or written.
        """
        while not await self._try(self.durations.renew // 2):
            more = (JITTER_SHARE - 1) * self._place.chance()
            await self._place.sleep(int(self.durations.retry * (1 + more)))
        return self.term

    async def hold(self, renewed: Callable[[], None]) -> None:
        """Renew until the lease is lost: another holds it, or the renew deadline has passed.

        Args:
            renewed: called after each renewal.
        """
        while True:
            await self._place.sleep(self.durations.retry)
            left = self.write_until_ns - self._place.clock()
            if left <= 0:
                break
            try:
                done = await self._try(min(self.durations.renew // 2, left))
            except WorldError as error:
                # Refused, as if for good; until the deadline somebody may mend it.
                self.last_error, done = str(error), False
            if self._is_current and self.holder != self.identity:
                break
            if self.write_until_ns <= self._place.clock():
                break
            if done:
                renewed()
        self.term = 0

    async def release(self) -> bool:
        """Give the lease up, so that another can have it at once. Nothing may be written after.

        Returns:
            Whether the API took it; if not, others wait until the lease is over.
        """
        self.term = 0
        try:
            if not self._is_current:
                await self._read(self.durations.write)
            if self.holder != self.identity or not self._is_current:
                return False
            return await self._write(
                {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": self._place.wall()},
                self.durations.write,
            )
        except WorldError as error:
            self.last_error = str(error)
            return False

    async def _try(self, timeout_ns: int) -> bool:
        """One try to acquire or to renew; whether the lease is this replica's now."""
        if not (self.term and self._is_current) and not await self._read(timeout_ns):
            return False
        if not self._is_free():
            self.last_error = f"{self.holder} holds the lease" if self.holder else "it was deleted"
            return False
        sent_ns = self._place.clock()
        if not await self._write(self._claim(), timeout_ns):
            return False
        self._renewed_ns = sent_ns
        if not self.term:
            self._acquired_ns = self._place.clock()
            self.term = self._transitions()
        self.last_error = ""
        return True

    async def _read(self, timeout_ns: int) -> bool:
        """Look at the lease; whether it is known now."""
        reply = await self._request("GET", b"", timeout_ns)
        if reply is None:
            return False
        if reply.status == 404:
            self._see(None)
            return True
        if reply.status != 200:
            self._refused("read", reply)
            return False
        return self._see_reply("read", reply)
        return True

    async def _write(self, spec: Content, timeout_ns: int) -> bool:
        """Put these fields into the lease as it was read; whether the API took them."""
        old = self._content
        if old is None:
            namespace, name = self._lease
            draft: Content = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": name, "namespace": namespace},
                "spec": spec,
            }
        else:
            draft = {**old, "spec": {**(old.get("spec") or {}), **spec}}
        # Until the answer says otherwise, what is there is not known.
        self._is_current = False
        method = "POST" if old is None else "PUT"
        reply = await self._request(method, msgspec.json.encode(draft), timeout_ns)
        if reply is None:
            return False
        if reply.status not in (200, 201):
            # Somebody was faster, or has deleted it; the next try reads it anew.
            if reply.status != 409 and not (reply.status == 404 and method == "PUT"):
                self._refused("write", reply)
            return False
        return self._see_reply("written", reply)

    async def _request(self, method: str, body: bytes, timeout_ns: int) -> Reply | None:
        path = self._root if method == "POST" else f"{self._root}/{self._lease[1]}"
        try:
            return await self._ask(method, path, body, timeout_ns)
        except WorldError as error:
            self.last_error = str(error)
            return None

    def _see_reply(self, verb: str, reply: Reply) -> bool:
        """Take in the lease that an answer holds; whether it holds one."""
        try:
            _LEASE.decode(reply.body)
            self._see(msgspec.json.decode(reply.body))
        except (ValueError, RecursionError):
            # A proxy's page, or a field of another type: what the API holds is not known.
            self._refused(verb, reply)
            return False
        return True

    def _see(self, content: Content | None) -> None:
        """Take in what the API holds; its time begins now, unless it is what was there before."""
        old = None if self._content is None else self._content.get("spec")
        new = None if content is None else content.get("spec") or {}
        if new != old:
            self._seen_ns = self._place.clock()
        self._content, self._is_current = content, True
        self.holder = "" if new is None else str(new.get("holderIdentity") or "")
        if new is None:
            self._was_missing = True
        elif self.holder != self.identity:
            self._was_missing = False
            # A lease that somebody deletes counts from 0 again; terms never go back.
            self._term_min = max(self._term_min, self._transitions() + 1)

    def _is_free(self) -> bool:
        """Whether the lease is this replica's to take, or to renew."""
        if self.holder == self.identity:
            return True
        if self.term or not self.holder:
            return not self.term
        assert self._content is not None, "it has a holder"
        told = int(self._content["spec"].get("leaseDurationSeconds") or 0) * SECOND_NS
        # The holder's own duration counts: it acts by it, whatever this replica was told.
        return self._place.clock() >= self._seen_ns + max(told, self.durations.lease)

    def _claim(self) -> Content:
        wall = self._place.wall()
        claim: Content = {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": -(-self.durations.lease // SECOND_NS),
            "renewTime": wall,
        }
        if self.holder == self.identity and self._transitions() >= self._term_min:
            return claim
        term = max(self._transitions() + 1, self._term_min)
        return {**claim, "acquireTime": wall, "leaseTransitions": term}

    def _transitions(self) -> int:
        spec = {} if self._content is None else self._content.get("spec") or {}
        return int(spec.get("leaseTransitions") or 0)

    def _refused(self, verb: str, reply: Reply) -> None:
        """Note the refusal.

        Raises:
            WorldError: it is final: another try has the same answer.
        """
        text = reply.body[:_TEXT_MAX].decode(errors="replace")
        self.last_error = (
            f"the API does not let the lease {'/'.join(self._lease)} be {verb}: "
            f"{reply.status} {_message(text)}"
        )
        if reply.status in (400, 401, 403, 404, 422):
            raise WorldError(self.last_error)


def _message(text: str) -> str:
    """The message of a Status, or the text as it is."""
    try:
        content: Mapping[str, Any] = msgspec.json.decode(text)
        return str(content["message"])
    except (ValueError, RecursionError, KeyError, TypeError):
        return text
