"""The report's charts: which figures of a summary go into which chart.

With several runs the lines are means over all runs, and the band around a line spans the least
and the greatest run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from herz.front.answer import resource_order
from herz.front.report.heatmap import RESOURCES_MAX, Cell, HeatMap
from herz.front.report.plot import Chart
from herz.front.report.series import POINTS_MAX, Line, Point, downsample
from herz.front.scale import (
    Axis,
    Tick,
    clock_text,
    duration_text,
    number_text,
    time_axis,
    value_axis,
)
from herz.world.sim.result import NodeUse, RunResult, Summary

LINES_MAX = 8
"""Bound: lines of one chart; the palette has as many colours and dashes."""

CLOSE_FROM_PERCENT = 80.0
"""Where the close-up of the openb curve starts: below it every policy places all that comes."""

Values = Callable[[RunResult], Sequence[float]]


def allocation_chart(summary: Summary) -> Chart | None:
    """Allocation over virtual time by resource; None without samples."""
    names = resource_order({key for run in summary.runs for key in run.series.allocation_percent})
    lines = tuple(_over_time(summary, name, _allocated(name)) for name in names[:LINES_MAX])
    return _timed(
        summary,
        identity="allocation",
        title="Allocation over time",
        note="How much of what the nodes had was given out, by resource.",
        y=_percent_axis("allocated, % of allocatable", lines),
        lines=lines,
        unit=" %",
    )


def queue_chart(summary: Summary) -> Chart | None:
    """Waiting and ready pods over virtual time; None without samples."""
    lines = (
        _over_time(summary, "waiting (arrived, not bound)", lambda run: run.series.waiting),
        _over_time(summary, "ready (could be decided at once)", lambda run: run.series.ready),
    )
    return _counted(
        summary,
        identity="queue",
        title="Queue length over time",
        note="Pods that had arrived and had no node.",
        lines=lines,
    )


def running_chart(summary: Summary) -> Chart | None:
    """Pods on nodes over virtual time; None without samples."""
    lines = (_over_time(summary, "running pods", lambda run: run.series.running),)
    return _counted(
        summary,
        identity="running",
        title="Running pods over time",
        note="Pods on a node.",
        lines=lines,
    )


def nodes_chart(summary: Summary) -> Chart | None:
    """Nodes that were up; None where that never changed."""
    lines = (_over_time(summary, "nodes", lambda run: run.series.nodes),)
    points = lines[0].points
    if not points or min(point.low for point in points) == max(point.high for point in points):
        return None
    return _counted(
        summary,
        identity="nodes-up",
        title="Nodes over time",
        note="Nodes that were up: joins, drains and losses.",
        lines=lines,
        unit=" nodes",
    )


def waiting_chart(summary: Summary) -> Chart | None:
    """Share of each class's bound pods that had waited at most so long; None without waits."""
    bounds = _bounds(summary)
    totals = {name: histogram(summary, name) for name in class_names(summary)}
    used = [index for counts in totals.values() for index, count in enumerate(counts) if count]
    if not used or not bounds:
        return None
    last = max(3, min(len(bounds) - 1, max(used)))
    return Chart(
        identity="waiting",
        title="Waiting time by class",
        note="Share of the class's bound pods that waited at most this long. Higher and further "
        "left is better.",
        x=_decades("waiting time from arrival to bind (logarithmic)", bounds[: last + 1]),
        y=Axis("pods, %", 0.0, 100.0, tuple(Tick(n / 4, str(n * 25)) for n in range(5))),
        lines=tuple(
            _cumulative(name, counts[: last + 1], sum(counts))
            for name, counts in totals.items()
            if sum(counts)
        )[:LINES_MAX],
        unit=" %",
        x_name="waited at most",
        x_text=lambda index: duration_text(bounds[round(index)]),
    )


def curve_charts(summary: Summary) -> tuple[Chart, ...]:
    """GPU allocation as load arrives, whole and near the full cluster; () where not recorded."""
    pairs = sorted(
        (point.arrived_percent, point.allocated_percent)
        for run in summary.runs
        for point in run.curve
    )
    if not pairs:
        return ()
    high = max(pairs[-1][0], 1.0)
    line = _curve_line(summary, pairs)
    ideal = _ideal((0.0, 100.0, high) if high > 100 else (0.0, high))
    note = (
        "GPU asked for so far against GPU given out, both in per cent of the cluster. The ideal "
        "gives out all that is asked for until the cluster is full."
    )
    whole = Chart(
        identity="curve",
        title="GPU allocation as load arrives",
        note=note,
        x=value_axis("arrived GPU requests, % of capacity", 0.0, high, count=8, is_tight=True),
        y=_percent_axis("allocated GPU, % of capacity", (line,)),
        lines=(line, ideal),
        unit=" %",
        x_name="arrived",
        x_text=lambda x: f"{number_text(x, 1)} %",
    )
    beyond = [pair for pair in pairs if pair[0] >= CLOSE_FROM_PERCENT]
    if len(beyond) < 2 or high <= 100:
        return (whole,)
    return (whole, _close_up(whole, _curve_line(summary, beyond), high))


def _close_up(whole: Chart, line: Line, high: float) -> Chart:
    """The same chart where policies differ: from 80 per cent of load on."""
    low = min(CLOSE_FROM_PERCENT, *(point.low for point in line.points))
    top = max(100.0, line.high)
    return replace(
        whole,
        identity="curve-close",
        title="The same, close up",
        note=f"From {CLOSE_FROM_PERCENT:.0f} % of load on, where policies differ. The axes do not "
        "start at 0.",
        x=value_axis(whole.x.title, CLOSE_FROM_PERCENT, high, count=8, is_tight=True),
        y=value_axis(whole.y.title, low, top, count=5),
        lines=(line, _ideal((CLOSE_FROM_PERCENT, 100.0, high))),
    )


def _curve_line(summary: Summary, pairs: Sequence[tuple[float, float]]) -> Line:
    """Arrived and allocated over all runs, as one line."""
    return downsample(
        "GPU allocated",
        [arrived for arrived, _ in pairs],
        [allocated for _, allocated in pairs],
        limit=_limit(summary, len(pairs) // len(summary.runs)),
    )


def _ideal(places: Sequence[float]) -> Line:
    """What arrives is given out, up to the capacity."""
    shares = [(place, min(place, 100.0)) for place in places]
    return Line("ideal", tuple(Point(x, share, share, share) for x, share in shares))


def node_map(summary: Summary) -> HeatMap:
    """The nodes of the first run, by zone and name."""
    run = summary.runs[0]
    found = {key for node in run.nodes for key in (*node.end, *node.peak)}
    resources = tuple(resource_order(found)[:RESOURCES_MAX])
    nodes = sorted(run.nodes, key=lambda node: (node.zone, _natural(node.node)))
    few = "" if len(summary.runs) == 1 else f" Of the first run (seed {run.seed})."
    return HeatMap(
        identity="nodes",
        title="Use of each node",
        note=f"One square a node: how much of its allocatable was given out.{few}",
        resources=resources,
        cells=tuple(_cell(node, resources) for node in nodes),
    )


def class_names(summary: Summary) -> list[str]:
    """Names of the classes of pods, in the scenario's order."""
    return list(dict.fromkeys(name for run in summary.runs for name in run.classes))


def histogram(summary: Summary, name: str) -> list[int]:
    """Waits of one class by bound, over all runs; the last count is beyond all bounds."""
    total: list[int] = []
    for run in summary.runs:
        if name in run.classes:
            counts = run.classes[name].histogram.counts
            total = [*total, *[0] * (len(counts) - len(total))]
            for index, count in enumerate(counts):
                total[index] += count
    return total


def _allocated(name: str) -> Values:
    """Reads one resource's samples."""
    return lambda run: run.series.allocation_percent.get(name, ())


def _over_time(summary: Summary, name: str, values: Values) -> Line:
    """One line over all runs."""
    pairs = sorted(
        (
            pair
            for run in summary.runs
            # A resource that a run never saw has no samples in it.
            for pair in zip(run.series.seconds, values(run), strict=False)
        ),
        key=lambda pair: pair[0],
    )
    shortest = min((len(run.series.seconds) for run in summary.runs), default=0)
    return downsample(
        name,
        [x for x, _ in pairs],
        [y for _, y in pairs],
        limit=_limit(summary, shortest),
    )


def _limit(summary: Summary, samples: int) -> int:
    """How many points a line gets: several runs share each of half as many buckets."""
    if len(summary.runs) == 1:
        return POINTS_MAX
    return max(1, min(POINTS_MAX, samples // 2))


def _timed(
    summary: Summary,
    *,
    identity: str,
    title: str,
    note: str,
    y: Axis,
    lines: tuple[Line, ...],
    unit: str,
) -> Chart | None:
    """A chart over virtual time; None where no line has a point."""
    kept = tuple(line for line in lines if line.points)
    if not kept:
        return None
    runs = len(summary.runs)
    over = f" Mean of {runs} runs; the band spans their least and greatest." if runs > 1 else ""
    end = max(run.series.seconds[-1] for run in summary.runs if run.series.seconds)
    return Chart(
        identity=identity,
        title=title,
        note=note + over,
        x=time_axis("virtual time since the start", 0.0, end),
        y=y,
        lines=kept,
        unit=unit,
        x_text=clock_text,
        is_filled=len(kept) == 1 and runs == 1,
    )


def _counted(
    summary: Summary,
    *,
    identity: str,
    title: str,
    note: str,
    lines: tuple[Line, ...],
    unit: str = " pods",
) -> Chart | None:
    """A chart of counts, whose axis starts at 0."""
    high = max(1.0, *(line.high for line in lines))
    axis = value_axis(unit.strip(), 0.0, high, count=4)
    return _timed(
        summary, identity=identity, title=title, note=note, y=axis, lines=lines, unit=unit
    )


def _percent_axis(title: str, lines: Sequence[Line]) -> Axis:
    """0 to 100 per cent; to a rounder end where something passes 100."""
    high = max((line.high for line in lines), default=0.0)
    return value_axis(title, 0.0, max(100.0, high), count=5)


def _bounds(summary: Summary) -> tuple[float, ...]:
    """The bounds of the histograms, which all classes share."""
    for run in summary.runs:
        for result in run.classes.values():
            return result.histogram.bounds_seconds
    return ()


def _decades(title: str, bounds: Sequence[float]) -> Axis:
    """An axis over bucket numbers, labelled at every third bound (one a decade)."""
    last = len(bounds) - 1
    ticks = tuple(
        Tick(index / last, duration_text(bounds[index])) for index in range(0, last + 1, 3)
    )
    return Axis(title, 0.0, float(last), ticks)


def _cumulative(name: str, counts: Sequence[int], total: int) -> Line:
    """Per cent at or below each bound."""
    points, below = [], 0
    for index, count in enumerate(counts):
        below += count
        share = 100 * below / total
        points.append(Point(float(index), share, share, share))
    return Line(name, tuple(points))


def _cell(node: NodeUse, resources: Sequence[str]) -> Cell:
    """One node as a square."""
    fate = "" if node.is_up else "gone at the end; "
    zone = f"zone {node.zone}; " if node.zone else ""
    return Cell(
        name=node.node,
        group=node.zone,
        use=(
            tuple(node.peak.get(name) for name in resources),
            tuple(node.end.get(name) for name in resources),
        ),
        note=f"{zone}{fate}pods: {node.pods_peak} at most, {node.pods_end} at the end",
    )


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Sort key under which node-9 comes before node-10."""
    parts = re.findall(r"[0-9]+|[^0-9]+", name)
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts]
