"""The report's bars and tables: waits by band, reasons, fates, rungs, faults and all figures."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from herz.front.answer import rungs_text, table_rows
from herz.front.report.bars import Bar, Stack, bars, stacks
from herz.front.report.charts import class_names, histogram
from herz.front.report.markup import Markup, element
from herz.front.report.plot import caption, disclosure, table
from herz.front.scale import duration_text, number_text
from herz.world.sim.result import ClassResult, Summary

CUTS_SECONDS = (1.0, 10.0, 100.0, 1_000.0, 10_000.0)
"""Where waits are cut into bands; each is a bound of the histograms."""

REASONS_MAX = 20
"""Bound: reasons that get a bar; the rest are summed in one."""

FATE_NAMES = {
    "completed": "completed",
    "running": "running at the end",
    "pending": "without a node at the end",
    "dropped": "dropped (one try only)",
    "preempted": "preempted",
    "evicted": "evicted",
    "deleted": "deleted by their owner",
    "terminating": "terminating at the end",
    "failed": "failed",
}
"""End states of a pod, in the order of the chart; each pod is in exactly one."""

RUNG_NAMES = {
    "1": "1 · stable sort",
    "2": "2 · topological order",
    "3": "3 · first in, first out",
}


def wait_stacks(summary: Summary) -> Markup:
    """Waits by class in bands, and the quantiles in a table."""
    title, note = "Waits in bands", "All arrived pods of each class by how long they waited."
    results = {name: _results(summary, name) for name in class_names(summary)}
    if not results:
        empty = element("p", "The run recorded no classes.", class_="empty")
        return element("figure", caption(title, note), empty, class_="chart")
    labels = [duration_text(cut) for cut in CUTS_SECONDS]
    bands = [
        f"up to {labels[0]}",
        *(f"{low} to {high}" for low, high in pairwise(labels)),
        f"over {labels[-1]}",
        "never bound",
    ]
    rows = [Stack(name, _banded(summary, name, found)) for name, found in results.items()]
    return element(
        "figure",
        caption(title, note),
        stacks([row for row in rows if row.total], bands, "pods"),
        disclosure("Show as a table", _quantiles(results)),
        class_="chart",
        id="waits-bands",
    )


def reasons(summary: Summary) -> Markup:
    """Why pods waited: for each reason, how many pods were refused for it."""
    ordered = sorted(summary.reasons.items(), key=lambda item: (-item[1], item[0]))
    rest = sum(count for _, count in ordered[REASONS_MAX:])
    rows = [Bar(name, count, "pods") for name, count in ordered[:REASONS_MAX]]
    if rest:
        rows.append(Bar("all other reasons", rest, "pods"))
    over = f" Summed over {len(summary.runs)} runs." if len(summary.runs) > 1 else ""
    note = f"Pods refused at least once for the reason; one pod may meet several.{over}"
    return _barred("Why pods waited", note, rows, "No pod was ever refused.")


def fates(summary: Summary) -> Markup:
    """What became of the pods: every pod counted once."""
    counts = {name: sum(getattr(run.pods, name) for run in summary.runs) for name in FATE_NAMES}
    total = sum(counts.values())
    rows = [
        Bar(FATE_NAMES[name], count, f"pods · {number_text(100 * count / total, 1)} %")
        for name, count in counts.items()
        if count
    ]
    over = f" Summed over {len(summary.runs)} runs." if len(summary.runs) > 1 else ""
    note = f"Every pod that arrived, counted once.{over}"
    return _barred("What became of the pods", note, rows, "No pod arrived.")


def rungs(summary: Summary) -> Markup:
    """How batches were ordered."""
    rows = [
        Bar(RUNG_NAMES.get(rung, rung), count, "batches")
        for rung, count in sorted(summary.order_rungs.items())
    ]
    note = "Batches by the rung of the ladder that ordered them; a batch descends when its bound "
    note += "of comparisons or edges is met."
    return _barred("Order rungs", note, rows, "No batch was ordered.")


def faults(summary: Summary) -> Markup:
    """What the simulated outside did wrong."""
    rows = [
        Bar(name, count, "times")
        for name, count in sorted(summary.faults.items(), key=lambda item: (-item[1], item[0]))
        if count
    ]
    note = "Faults that the simulated API and nodes made, by the run's seed."
    return _barred("Injected faults", note, rows, "None.")


def figures(summary: Summary) -> Markup:
    """The table that the terminal prints."""
    rows = table_rows(summary)
    has_spread = any(row.spread for row in rows)
    head = ("figure", "value", "spread over runs") if has_spread else ("figure", "value")
    cells = [(row.figure, row.value, row.spread)[: len(head)] for row in rows]
    return element(
        "div",
        element(
            "div",
            table(head, cells, "As the terminal prints it"),
            class_="scroll",
            tabindex=0,
            role="region",
            aria_label="All figures",
        ),
        class_="card",
    )


def runs(summary: Summary) -> Markup:
    """One row a run: what to compare bit for bit."""
    rows = [
        (
            str(run.seed),
            number_text(run.pods.arrived),
            number_text(run.pods.bound),
            number_text(run.pods.unschedulable),
            number_text(run.decisions),
            duration_text(run.wait_seconds.p99),
            rungs_text(run.order_rungs),
            run.stopped,
            run.decisions_digest,
        )
        for run in summary.runs
    ]
    head = (
        "seed", "arrived", "bound", "never bound", "decisions", "p99 wait", "order rungs",
        "ended by", "decisions digest",
    )  # fmt: skip
    return element(
        "div",
        disclosure(f"Runs ({len(rows)})", table(head, rows, "Each run by its seed")),
        class_="card",
    )


def _barred(title: str, note: str, rows: Sequence[Bar], otherwise: str) -> Markup:
    """A figure of bars, or the sentence that says why there are none."""
    shown = bars(rows) if rows else element("p", otherwise, class_="empty")
    return element("figure", caption(title, note), shown, class_="chart")


def _results(summary: Summary, name: str) -> list[ClassResult]:
    """One class in each run that has it."""
    return [run.classes[name] for run in summary.runs if name in run.classes]


def _banded(summary: Summary, name: str, found: Sequence[ClassResult]) -> tuple[int, ...]:
    """Counts by band, the last those that were never bound."""
    bounds = found[0].histogram.bounds_seconds
    counts = [0] * (len(CUTS_SECONDS) + 2)
    for index, count in enumerate(histogram(summary, name)):
        bound = bounds[index] if index < len(bounds) else float("inf")
        counts[sum(1 for cut in CUTS_SECONDS if bound > cut)] += count
    counts[-1] = sum(result.arrived - result.bound for result in found)
    return tuple(max(0, count) for count in counts)


def _quantiles(results: dict[str, list[ClassResult]]) -> Markup:
    """Counts and quantiles of each class; means over the runs, the longest of all."""
    rows = []
    for name, found in results.items():
        waits = [result.wait for result in found]
        rows.append(
            (
                name,
                number_text(sum(result.arrived for result in found)),
                number_text(sum(result.bound for result in found)),
                duration_text(sum(wait.p50 for wait in waits) / len(waits)),
                duration_text(sum(wait.p90 for wait in waits) / len(waits)),
                duration_text(sum(wait.p99 for wait in waits) / len(waits)),
                duration_text(max(wait.max for wait in waits)),
            )
        )
    head = ("class", "arrived", "bound", "p50", "p90", "p99", "longest")
    return table(head, rows, "Waiting time of bound pods by class")
