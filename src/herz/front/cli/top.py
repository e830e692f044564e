"""What `herz runtime top` and `herz runtime drift` show: tables of a snapshot and of a drift."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from herz.front.cli.failure import printable
from herz.runtime import Drift

LINES_ABOVE = 22
"""Lines of the screen that the tables above the tasks take, at most."""

CAUSES = {
    "processor": "others had the processor",
    "interpreter": "waited for the interpreter's lock",
    "collection": "garbage collection",
    "clock": "woken late by clock or kernel",
}
DRIFT_COLUMNS = ("cause", "share", "mean", "p99", "max")


def with_rates(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """The later snapshot, with steps a second since the earlier one in each runtime."""
    passed_s = max(1, now["monotonic_ns"] - before["monotonic_ns"]) / 1e9
    earlier = [one["stats"] for one in before["runtimes"]]
    runtimes = []
    for place, one in enumerate(now["runtimes"]):
        steps = one["stats"]["steps"]
        old = earlier[place]["steps"] if place < len(earlier) else steps
        runtimes.append({**one, "steps_per_second": max(0, round((steps - old) / passed_s))})
    return {**now, "runtimes": runtimes}


def screen(answer: dict[str, Any], *, limit: int | None) -> RenderableType:
    """All of a snapshot.

    Args:
        answer: of `with_rates`.
        limit: at most so many tasks of each runtime; None: all that the snapshot has.
    """
    command = " ".join(map(str, answer["command"]))
    title = f"herz runtime top: process {answer['pid']}, {command}"
    parts: list[RenderableType] = [Text(printable(title), style="bold", overflow="ellipsis")]
    for one in answer["runtimes"]:
        parts += [_head(one), _durations(one["stats"]["histograms"]), _tasks(one, limit)]
    if not answer["runtimes"]:
        parts.append(Text("no runtime runs"))
    return Group(*parts)


def _head(one: dict[str, Any]) -> RenderableType:
    stats, states = one["stats"], one["states"]
    lines = [
        f"up {span(one['up_ns'])}, {one['steps_per_second']:,} steps/s, {stats['steps']:,} steps, "
        f"{stats['spawned']:,} tasks started, {stats['timers']:,} timers armed",
        "tasks: " + ", ".join(f"{count:,} {state}" for state, count in sorted(states.items())),
        f"queued: {stats['queued_local']:,} local, {stats['queued_global']:,} global, "
        f"{stats['functions_queued']:,} functions; workers: {stats['workers']}, "
        f"{stats['workers_idle']} idle, {stats['detached']} detached; "
        f"hand-offs: {stats['hand_offs']:,}, stalls: {stats['stalls']:,}",
    ]
    native = stats["native"]
    if native["spawned"]:
        lines.append(
            f"native: {native['processors']} processors, {native['workers']} workers, "
            f"{native['workers_idle']} idle; {native['tasks']:,} tasks, {native['steps']:,} steps, "
            f"{native['local_hits']:,} of them from the own queue, {native['steals']:,} steals, "
            f"{native['retakes']:,} retakes"
        )
    return Text("\n".join(lines))


def _durations(histograms: dict[str, dict[str, int]]) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("duration", style="bold")
    for column in ("count", "p50", "p99", "p999", "max"):
        table.add_column(column, justify="right")
    for name, summary in histograms.items():
        shown = str if name == "queued" else span
        cells = [shown(summary[key]) for key in ("p50", "p99", "p999", "max")]
        table.add_row(name, f"{summary['count']:,}", *cells)
    return table


def _tasks(one: dict[str, Any], limit: int | None) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("task", style="bold", overflow="fold")
    table.add_column("state", overflow="fold")
    table.add_column("for", justify="right", no_wrap=True)
    table.add_column("age", justify="right", no_wrap=True)
    table.add_column("where", overflow="fold")
    shown = one["tasks"][:limit]
    for task in shown:
        waited = task["waited_ns"]
        on = "" if task["worker"] is None else f" on worker {task['worker']}"
        table.add_row(
            Text(printable(task["name"])),
            Text(printable(task["state"] + on)),
            "" if waited is None else span(waited),
            span(task["age_ns"]),
            Text(printable(task["where"])),
        )
    left = sum(one["states"].values()) - len(shown)
    return Group(table, Text(f"and {left:,} more tasks")) if left > 0 else table


def span(ns: float) -> str:
    """A length of time with its unit, to three digits."""
    value, unit = float(ns), "ns"
    for factor, larger in ((1_000, "µs"), (1_000, "ms"), (1_000, "s"), (60, "min"), (60, "h")):
        if value < factor * 0.9995:
            break
        value, unit = value / factor, larger
    return f"{value:.3g} {unit}" if value < 1_000 else f"{value:,.0f} {unit}"


def drift_rows(found: Drift) -> Sequence[Sequence[str]]:
    """A row for each cause, the largest first, and one for all of them."""
    count = max(1, len(found.ticks))
    whole = max(1, found.sum_ns())
    rows = []
    for cause in sorted(CAUSES, key=found.sum_ns, reverse=True):
        total = found.sum_ns(cause)
        quantiles = (span(found.cause_ns(cause, thousandths)) for thousandths in (990, 1_000))
        rows.append((CAUSES[cause], f"{total / whole:.1%}", span(total / count), *quantiles))
    late = (span(found.lateness_ns(thousandths)) for thousandths in (990, 1_000))
    rows.append(("all: late by", "100.0%", span(found.sum_ns() / count), *late))
    return rows


def drift_notes(found: Drift) -> list[str]:
    """What the reader must know of the measurement."""
    return [f"note: the trace lost {found.lost} events: causes are too low"] if found.lost else []


def drift_data(found: Drift, load: str, every_ms: int) -> dict[str, Any]:
    """The same for programs."""
    thousandths = {"p50": 500, "p99": 990, "max": 1_000}
    return {
        "ticks": len(found.ticks),
        "every_ms": every_ms,
        "load": load,
        "lost_events": found.lost,
        "late_ns": {name: found.lateness_ns(each) for name, each in thousandths.items()}
        | {"sum": found.sum_ns()},
        "causes": {
            cause: {name: found.cause_ns(cause, each) for name, each in thousandths.items()}
            | {"sum": found.sum_ns(cause)}
            for cause in CAUSES
        },
    }
