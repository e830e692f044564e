"""How late a scheduler under full load takes in what its watches show, and renews its lease.

    python -m bench.live --delays [--shared] [--nodes 5000] [--pods 5000] [--rounds 2]

The *delay of a watch read* is the time from the embedded server's write of a change to the moment
when the scheduler has applied it. The server puts its clock into each line of a watch, and the
scheduler's process subtracts that from its own (both are one machine's monotonic clock) after each
line. So the delay holds everything in between: what waits in the server's and the kernel's
buffers, the turn of the scheduler's loop, reading, decoding and applying what came before it.
It is no shorter than the time from readable to applied.

The scheduler, or the loop, has a processor of its own, as it has where the API server is on another
machine: else it waits for the server and the load, which never rest. With `--shared` it does.

The scheduler runs under its guard, elected as leader; renewals are seen by a watch of the Lease.
The loop that decides nothing (`bench.live`) is measured in the same way, in turn.

A *callback* is what the loop runs without a break: nothing else is read meanwhile. Its CPU time
does not depend on what else the machine does, as the delays do; the longest is named by its task.
"""

from __future__ import annotations

import asyncio
import atexit
import gc
import itertools
import json
import os
import signal
import sys
import tempfile
import time
from asyncio import events
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bench import live
from herz.front.cli import guarding
from herz.front.cli.entry import main as herz
from herz.world.apiserver.http import watches
from herz.world.kube.driver import Pace
from herz.world.kube.guard import Plan
from herz.world.kube.informer import Informer
from herz.world.kube.kubeconfig import Access
from herz.world.kube.transport import Transport

KEPT: Final = "HERZ_BENCH_DELAYS"
"""The variable that says where a measured process leaves what it saw."""
OWN: Final = "HERZ_BENCH_OWN"
"""The variable that says which processor is the measured process's; none where all share all."""
LEASE: Final = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
CALLBACK_NS: Final = 1_000_000
LONG_NS: Final = 5_000_000
_MARK: Final = b',"at":'


@dataclass
class Delays:
    """What one round showed.

    Args:
        delays: of each read of a watch, with its time, in nanoseconds.
        steps: how long each step took, with its time.
        collections: how long each collection of garbage took, with its time.
        renewals: the gaps between renewals of the lease, in seconds.
        callbacks: the CPU time of each callback of the loop above `CALLBACK_NS`, with its time.
        names: what these callbacks ran.
    """

    delays: list[tuple[int, int]]
    steps: list[tuple[int, int]]
    collections: list[tuple[int, int]]
    renewals: list[float]
    callbacks: list[tuple[int, int]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)

    def during(self, began_ns: int, ended_ns: int) -> Delays:
        """Of the load alone, without what came before and after it."""

        def within(found: list[tuple[int, int]]) -> list[tuple[int, int]]:
            return [one for one in found if began_ns <= one[0] <= ended_ns]

        named = zip(self.callbacks, self.names, strict=True)
        kept = [(one, name) for one, name in named if began_ns <= one[0] <= ended_ns]
        return Delays(
            *(within(self.delays), within(self.steps), within(self.collections), self.renewals),
            *([one for one, _ in kept], [name for _, name in kept]),
        )

    def __str__(self) -> str:
        delays = sorted(took for _, took in self.delays)
        if not delays:
            return "no reads"
        rest = [
            max((took for _, took in found), default=0) for found in (self.steps, self.collections)
        ]
        shown = [f"{len(delays)} reads"]
        shown += [f"p{share:g} {quantile(delays, share) / 1e6:.1f}" for share in (50, 99, 99.9)]
        shown += [f"max {delays[-1] / 1e6:.1f} ms", f"longest step {rest[0] / 1e6:.1f} ms"]
        shown += [f"longest collection {rest[1] / 1e6:.1f} ms"]
        if self.callbacks:
            over = sum(took > LONG_NS for _, took in self.callbacks)
            took, name = max(zip((took for _, took in self.callbacks), self.names, strict=True))
            shown += [f"longest callback {took / 1e6:.1f} ms of CPU ({name}), {over} above 5 ms"]
        if self.renewals:
            shown += [f"renewals at most {max(self.renewals):.2f} s apart"]
        return "  ".join(shown)


def quantile(ordered: list[int], share: float) -> int:
    """The smallest that is no less than so many hundredths of them."""
    return ordered[max(0, -(-len(ordered) * int(share * 10) // 1000) - 1)]


# ---- in the processes that are measured ---------------------------------------------------------


def stand_apart() -> None:
    """Take the processor that is left to the measured process."""
    if own := os.environ.get(OWN):
        os.sched_setaffinity(0, {int(own)})


def stamp() -> None:
    """Have the embedded server write its time at the end of each line of a watch."""
    plain = watches._line

    def stamped(event: str, encoded: bytes) -> bytes:
        return b"%s%s%d}\n" % (plain(event, encoded)[:-2], _MARK, time.monotonic_ns())

    vars(watches)["_line"] = stamped


def attach() -> None:
    """Keep the delay of each line that an informer takes in, and what may hold it up."""
    found = Delays([], [], [], [])
    see, took = Informer._see, Pace.took
    begun = [0]

    def seen(informer: Informer, line: bytes) -> bool:
        said = see(informer, line)
        _, mark, at = line.rpartition(_MARK)
        if mark:
            now = time.monotonic_ns()
            found.delays.append((now, now - int(at[:-1])))
        return said

    def stepped(pace: Pace, took_ns: int, decided: int) -> None:
        found.steps.append((time.monotonic_ns(), took_ns))
        took(pace, took_ns, decided)

    def collected(phase: str, _: dict[str, int]) -> None:
        now = time.monotonic_ns()
        if phase == "stop":
            found.collections.append((now, now - begun[0]))
        begun[0] = now

    run = events.Handle._run

    def ran(handle: Any) -> None:
        began = time.thread_time_ns()
        run(handle)
        took = time.thread_time_ns() - began
        if took > CALLBACK_NS:
            found.callbacks.append((time.monotonic_ns(), took))
            found.names.append(_named(handle._callback))

    def leave() -> None:
        told = (found.delays, found.steps, found.collections, found.callbacks, found.names)
        Path(os.environ[KEPT]).write_text(json.dumps(told), encoding="utf-8")

    patches: list[tuple[type, str, Any]] = [(Informer, "_see", seen), (Pace, "took", stepped)]
    patches += [(events.Handle, "_run", ran)]
    for kind, name, patched in patches:
        setattr(kind, name, patched)
    gc.callbacks.append(collected)
    atexit.register(leave)


def _named(callback: Any) -> str:
    """The coroutine of the task that the callback goes on with, or its own name."""
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, asyncio.Task):
        callback = owner.get_coro()
    return str(getattr(callback, "__qualname__", type(callback).__name__))


def serve(arguments: list[str]) -> int:
    """`herz up`, with times in its watches."""
    stamp()
    sys.argv = ["herz", "up", *arguments]
    return herz()


def schedule(arguments: list[str]) -> int:
    """`herz run`; below a guard, the scheduler is measured."""
    stand_apart()
    module = [sys.executable, "-m", "bench.watching", "--schedule"]
    if "HERZ_GUARD" in os.environ:
        attach()

    def planned(command: list[str], *rest: Any) -> Plan:
        return Plan([*module, *command[4:]], *rest)

    vars(guarding)["Plan"] = planned
    sys.argv = ["herz", "run", *arguments]
    return herz()


# ---- in the process that measures ---------------------------------------------------------------


class Renewals:
    """Sees the Lease being renewed.

    Args:
        kubeconfig: of the server.
    """

    def __init__(self, kubeconfig: Path) -> None:
        self._kubeconfig = kubeconfig
        self.times: list[float] = []

    async def run(self) -> None:
        """Watch until it is cancelled."""
        transport = Transport(Access(self._kubeconfig))
        last = ""
        try:
            async with transport.stream(LEASE, query={"watch": "1"}, timeout_seconds=10) as stream:
                async for line in stream.lines(60):
                    spec = json.loads(line)["object"].get("spec", {})
                    if spec.get("renewTime", last) != last:
                        last = spec["renewTime"]
                        self.times.append(time.monotonic())
        finally:
            await transport.closed()

    def gaps(self) -> list[float]:
        """Between one renewal and the next."""
        return [after - before for before, after in zip(self.times, self.times[1:], strict=False)]


def one_round(who: str, nodes: int, pods: int) -> tuple[live.Found, Delays]:
    """A new cluster, one of the two, the pods."""
    module = "bench.watching"
    with tempfile.TemporaryDirectory() as folder:
        left = Path(folder, "delays.json")
        os.environ[KEPT] = str(left)
        up = (module, "--serve", "--no-scheduler", "--port", "0", "--output", "json")
        shape = ("--nodes", str(nodes), "--data", f"{folder}/cluster")
        with live.process(*up, *shape) as cluster:
            config = str(cluster["kubeconfig"])
            command = [module, "--refer", config]
            if who == "herz":
                command = [module, "--schedule", "--kubeconfig", config, "--output", "json"]
                command += ["--leader-elect", "--journal", f"{folder}/journal"]
            with live.process(*command) as said:
                process_id = int(said.get("process", said["pid"]))
                found, gaps = asyncio.run(_measure(Path(config), pods, process_id, who))
        delays, steps, collections, *ran = json.loads(left.read_text(encoding="utf-8"))
    return found, Delays(delays, steps, collections, gaps, *ran).during(*found.span_ns)


async def _measure(
    config: Path, pods: int, process_id: int, who: str
) -> tuple[live.Found, list[float]]:
    renewals = Renewals(config)
    watching = asyncio.ensure_future(renewals.run() if who == "herz" else asyncio.sleep(0))
    found = await live.measure(config, pods, process_id)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    return found, renewals.gaps()


def compare(nodes: int, pods: int, rounds: int, *, is_shared: bool) -> None:
    """Measure both in turn, and print a line for each round."""
    *others, own = sorted(os.sched_getaffinity(0))
    if others and not is_shared:
        os.environ[OWN] = str(own)
        os.sched_setaffinity(0, others)  # The server, which this process starts, has them, too.
    for _, who in itertools.product(range(rounds), ("reference", "herz")):
        found, delays = one_round(who, nodes, pods)
        sys.stdout.write(f"{who:10} {found.pods_per_second:5.0f} pods/s  {delays}\n")
        sys.stdout.flush()


def main() -> int:
    """Be one of the measured processes."""
    how, *arguments = sys.argv[1:]
    if how == "--refer":
        stand_apart()
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        attach()
        asyncio.run(live.refer(Path(arguments[0])))
        return 0
    return serve(arguments) if how == "--serve" else schedule(arguments)


if __name__ == "__main__":
    sys.exit(main())
