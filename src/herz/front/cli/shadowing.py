"""`herz run --shadow`: how Herz would have decided pods that others bind; none is bound here."""

from __future__ import annotations

import asyncio
import statistics
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from herz import app
from herz.errors import ConfigError
from herz.front.cli.deciding import Deciding, deciding
from herz.front.cli.driving import unless_ended, until_signal
from herz.front.cli.options import Output, parsed_integer
from herz.front.cli.printing import print_answer
from herz.front.cli.waiting import patiently
from herz.journaling import SHADOW_TOP, Change, continued
from herz.ports import Machine, RecordSink
from herz.world.kube import discovery
from herz.world.kube.kinds import WATCHED
from herz.world.kube.kubeconfig import Access
from herz.world.kube.shadow import Agreement, Compared, Shadow
from herz.world.kube.transport import Transport
from herz.world.store.where import Where

PODS_MAX: Final = 10**9
SHOWN_MAX: Final = 20
REFUSED: Final = ("--key", "--leader-elect", "--metrics")
"""Options that mean nothing to a shadow."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line says.

    Args:
        config: what decides; None: the default.
        names: of schedulers: they choose profiles, not whose pods are compared, for all are.
        kubeconfig: None: as `herz.world.kube.kubeconfig.Access` finds one.
        context: of the kubeconfig; None: its current one.
        waits: whether a server that cannot be reached is waited for.
        pods_max: comparisons after which it ends; None: by a signal.
        output: form of the answer.
        journal: where what it is told and decides is kept; None: nowhere.
        change: who starts it, and why.
        refused: the values of `REFUSED`; None where not given.
    """

    config: str | None
    names: tuple[str, ...]
    kubeconfig: Path | None
    context: str | None
    waits: bool
    pods_max: str | None
    output: Output
    journal: Where | None
    change: Change
    refused: tuple[object, ...]


def run_shadow(asked: Asked, *, is_asked: bool) -> int:
    """Watch and compare until a signal, or the last comparison; then report.

    Args:
        asked: what the command line says.
        is_asked: whether `--shadow` is among it, and not only what means nothing without it.

    Raises:
        ConfigError: an option that means nothing here, or the journal is a scheduler's.
        WorldError: the server is not to be used, or the journal cannot be written.
    """
    if not is_asked:
        raise ConfigError("nothing is compared", where="--pods", fix="add --shadow")
    for option, value in zip(REFUSED, asked.refused, strict=True):
        if value is not None:
            fix = f"leave {option} out, or --shadow"
            raise ConfigError("a shadow has none", where=option, value=value, fix=fix)
    most = PODS_MAX
    if asked.pods_max is not None:
        most = parsed_integer(asked.pods_max, option="--pods", low=1, high=PODS_MAX)
    found: list[Agreement] = []
    what = deciding(asked.config, asked.names)
    until_signal(lambda end: _watch(asked, what, most, found, end))
    if found:
        _print(found[0], asked.output)
    return 0


async def _watch(
    asked: Asked, what: Deciding, most: int, found: list[Agreement], end: asyncio.Event
) -> None:
    def tell(text: str) -> None:
        sys.stderr.write(f"herz: {text}\n")
        sys.stderr.flush()

    transport = Transport(Access(asked.kubeconfig, asked.context))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(transport.closed)
        reaching = discovery.reached(transport, tell, waits=asked.waits)
        if await unless_ended(reaching, end) is None:
            return
        kinds, _ = await discovery.served(transport, WATCHED)
        await discovery.permitted(transport, kinds)

        def told(_: Compared) -> None:
            if found[0].pods >= most:
                end.set()

        make = _maker(asked, what, stack)
        making = patiently(lambda: Shadow(make, transport, kinds, told), tell, waits=asked.waits)
        if (shadow := await unless_ended(making, end)) is None:
            return
        found.append(shadow.agreement)
        running = asyncio.ensure_future(shadow.run())
        waits = [asyncio.ensure_future(one) for one in (shadow.synced.wait(), end.wait())]
        try:
            await asyncio.wait((running, *waits), return_when=asyncio.FIRST_COMPLETED)
            if shadow.synced.is_set():
                tell(f"watching {transport.address}: Ctrl-C ends it, with a report")
                await asyncio.wait((running, waits[1]), return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()
        finally:
            for task in (running, *waits):
                task.cancel()
            await asyncio.gather(running, *waits, return_exceptions=True)


def _maker(asked: Asked, what: Deciding, stack: AsyncExitStack) -> Callable[[RecordSink], Machine]:
    """What makes the machine: in its journal, which is closed with the stack, or in none."""
    if asked.journal is None:
        return lambda sink: app.build_machine(
            what.policy, 0, [sink], aliases=app.ALIASES, top=SHADOW_TOP
        )
    sinks: list[RecordSink] = []
    kept = continued(asked.journal, change=asked.change, sinks=sinks, is_shadow=True)
    begin = stack.enter_context(kept)

    def make(sink: RecordSink) -> Machine:
        sinks[:] = [sink]
        return begin(what.policy)

    return make


def _print(found: Agreement, output: Output) -> None:
    value = report(found)
    figures = [
        (name.replace("_", " "), str(shown))
        for name, shown in value.items()
        if not isinstance(shown, dict | list)
    ]
    rules = [(f"speaks for another node: {rule}", str(n)) for rule, n in value["rules"].items()]
    print_answer(
        value,
        output,
        title="herz run --shadow",
        columns=("figure", "value"),
        rows=[*figures, *rules],
        after=[
            f"{one['pod']}: on {one['node']}, Herz: {one['herz'] or 'nowhere'}, {one['why']}"
            for one in value["disagreements"]
        ],
    )


def report(found: Agreement) -> dict[str, Any]:
    """The agreement as plain values: counts, points below Herz's best, and latencies."""
    gaps = sorted(one.gap for one in found.compared if one.gap is not None)
    took = sorted(one.took_ns / 1e6 for one in found.compared)
    return {
        "pods": found.pods,
        "same_node": found.same_node,
        "same_score": found.same_score,
        "herz_refuses_the_node": found.refused,
        "herz_finds_no_node": found.nowhere,
        "bound_before_they_were_seen": found.late,
        "points_below_best_median": statistics.median(gaps) if gaps else 0,
        "points_below_best_max": gaps[-1] if gaps else 0,
        "decision_ms_median": round(statistics.median(took), 3) if took else 0.0,
        "decision_ms_p99": round(took[len(took) * 99 // 100], 3) if took else 0.0,
        "rules": dict(sorted(found.rules.items(), key=lambda item: (-item[1], item[0]))),
        "disagreements": [
            {
                "pod": one.pod,
                "node": one.node,
                "herz": one.ours,
                "points_below_best": one.gap,
                "rule": one.rule,
                "why": f"refused by {one.rule}"
                if one.gap is None
                else f"{one.gap} points better, {one.rule}",
            }
            for one in found.compared
            if one.gap != 0
        ][:SHOWN_MAX],
    }
