"""The answer of `herz simulate`: the figures of a summary as plain values, and as table rows.

Terminal, JSON, YAML and the report's headline all read this one shape, so they cannot differ.
With several runs each count is the mean over the runs (an integer where it is whole), and the
spread stands beside it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from herz.front.scale import duration_text, number_text
from herz.world.sim.result import RunResult, Spread, Summary

RESOURCES_FIRST = ("cpu", "memory", "gpu", "pods")
"""Resources that people ask for first; the others follow by name."""

FATES_SHOWN = ("arrived", "bound", "unschedulable", "completed", "preempted")
"""Fates that are shown even when there were none; the others only when there were some."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: what, how much, and how it varied over the runs."""

    figure: str
    value: str
    spread: str = ""


def answer(summary: Summary, report: str | None = None) -> dict[str, object]:
    """The figures as JSON and YAML give them.

    Args:
        summary: what was measured.
        report: path of the HTML report; None where none was asked for.
    """
    rows = table_rows(summary)
    return {
        "scenario": summary.scenario,
        "policy": {
            "name": summary.policy.name,
            "digest": summary.policy.digest,
            "version": summary.policy.version,
        },
        "seed": summary.seeds[0],
        "seeds": list(summary.seeds),
        "pods": {name: _whole(spread.mean) for name, spread in summary.pods.items()},
        "decisions": _whole(summary.decisions.mean),
        "decisions_digest": decisions_digest(summary),
        "decisions_per_second": round(summary.decisions_per_second.mean, 1),
        "wait_seconds": wait_seconds(summary),
        "allocation_percent": {
            name: {"mean": round(spread.mean, 4), "sd": round(spread.sd, 4)}
            for name, spread in by_resource(summary.allocation_percent)
        },
        "order_rungs": dict(summary.order_rungs),
        "reasons": dict(summary.reasons),
        "faults": dict(summary.faults),
        "promises": {
            name: {"broken": broken, "judged": judged}
            for name, (broken, judged) in promises(summary).items()
        },
        "notes": list(notes(summary)),
        "runs": [_run(run) for run in summary.runs],
        "table": {
            "columns": ["figure", "value", "spread"],
            "rows": [[row.figure, row.value, row.spread] for row in rows],
        },
        "report": report,
    }


def table_rows(summary: Summary) -> tuple[Row, ...]:
    """The table, top to bottom."""
    policy = f"{summary.policy.name} {summary.policy.version}".strip()
    return (
        Row("scenario", summary.scenario),
        Row("policy", policy),
        Row("policy digest", short_digest(summary.policy.digest)),
        Row("seed", str(summary.seeds[0]), _seeds_text(summary.seeds)),
        *_pod_rows(summary),
        *(
            Row(
                f"promises {name}",
                f"{number_text(broken)} of {number_text(judged)} broken",
                f"{100 * broken / judged:.2f} %",
            )
            for name, (broken, judged) in promises(summary).items()
        ),
        *(
            Row(f"wait {name}", duration_text(value), _wait_spread(summary, name))
            for name, value in wait_seconds(summary).items()
        ),
        *(
            Row(f"allocation {name}", f"{spread.mean:.2f} %", _spread_text(spread, summary, " %"))
            for name, spread in by_resource(summary.allocation_percent)
        ),
        Row(
            "decisions",
            number_text(summary.decisions.mean, 1),
            _spread_text(summary.decisions, summary),
        ),
        Row(
            "decisions per second",
            number_text(summary.decisions_per_second.mean, 0),
            _spread_text(summary.decisions_per_second, summary),
        ),
        Row("decisions digest", short_digest(decisions_digest(summary))),
        Row("order rungs", rungs_text(summary.order_rungs)),
    )


def promises(summary: Summary) -> dict[str, tuple[int, int]]:
    """By class, how many windows of services, or jobs, broke the promise in all runs; of how many.

    Empty where the scenario has no truth to judge by.
    """
    found: dict[str, tuple[int, int]] = {}
    for run in summary.runs:
        judged = {} if run.promises is None else run.promises.by_class
        for name, (broken, count) in judged.items():
            before = found.get(name, (0, 0))
            found[name] = (before[0] + broken, before[1] + count)
    return dict(sorted(found.items()))


def wait_seconds(summary: Summary) -> dict[str, float]:
    """The waits: mean of the runs' p50 and p99, and the longest of all runs."""
    spreads = summary.wait_seconds
    return {
        "p50": round(spreads["p50"].mean, 6),
        "p99": round(spreads["p99"].mean, 6),
        "max": round(spreads["max"].max, 6),
    }


def decisions_digest(summary: Summary) -> str:
    """One run's digest as it is; several runs' as SHA3-384 over their hex digests in order."""
    if len(summary.runs) == 1:
        return summary.runs[0].decisions_digest
    joined = "".join(run.decisions_digest for run in summary.runs)
    return hashlib.sha3_384(joined.encode()).hexdigest()


def by_resource(spreads: Mapping[str, Spread]) -> list[tuple[str, Spread]]:
    """The spreads in the order in which resources are shown."""
    return [(name, spreads[name]) for name in resource_order(spreads)]


def resource_order(names: Mapping[str, object] | Sequence[str] | set[str]) -> list[str]:
    """Resource names, the usual ones first."""
    first = {name: index for index, name in enumerate(RESOURCES_FIRST)}
    return sorted(names, key=lambda name: (first.get(name, len(first)), name))


def rungs_text(rungs: Mapping[str, int]) -> str:
    """How many batches each rung of the order ladder took."""
    names = {"1": "stable", "2": "topological", "3": "FIFO"}
    return ", ".join(
        f"{names.get(rung, rung)} {number_text(count)}" for rung, count in sorted(rungs.items())
    )


def short_digest(digest: str) -> str:
    """Enough of a digest to compare by eye; JSON and report hold the whole."""
    prefix, separator, value = digest.rpartition(":")
    return f"{prefix}{separator}{value[:16]}…" if len(value) > 16 else digest


def notes(summary: Summary) -> tuple[str, ...]:
    """The runs' notes, each once, in the order of their first appearance."""
    return tuple(dict.fromkeys(note for run in summary.runs for note in run.notes))


def _pod_rows(summary: Summary) -> list[Row]:
    """One row a fate."""
    return [
        Row(f"pods {name}", number_text(spread.mean, 1), _spread_text(spread, summary))
        for name, spread in summary.pods.items()
        if name in FATES_SHOWN or spread.max > 0
    ]


def _wait_spread(summary: Summary, name: str) -> str:
    """How a wait differed between the runs."""
    spread = summary.wait_seconds[name]
    if len(summary.runs) == 1:
        return ""
    return f"{duration_text(spread.min)} to {duration_text(spread.max)}"


def _spread_text(spread: Spread, summary: Summary, unit: str = "") -> str:
    """The deviation over the runs; empty for one run, which has none."""
    return "" if len(summary.runs) == 1 else f"sd {number_text(spread.sd)}{unit}"


def _seeds_text(seeds: Sequence[int]) -> str:
    return "" if len(seeds) == 1 else f"{len(seeds)} runs, to {seeds[-1]}"


def _run(run: RunResult) -> dict[str, object]:
    """One run's own figures."""
    return {
        "seed": run.seed,
        "pods": {name: getattr(run.pods, name) for name in run.pods.__struct_fields__},
        "decisions": run.decisions,
        "decisions_digest": run.decisions_digest,
        "decisions_per_second": round(run.decisions_per_second, 1),
        "wait_seconds": {
            "p50": run.wait_seconds.p50,
            "p99": run.wait_seconds.p99,
            "max": run.wait_seconds.max,
        },
        "allocation_percent": {
            name: round(run.allocation_percent[name], 4)
            for name in resource_order(run.allocation_percent)
        },
        "order_rungs": dict(run.order_rungs),
        "virtual_seconds": run.virtual_seconds,
        "stopped": run.stopped,
    }


def _whole(value: float) -> int | float:
    """An integer where the mean is one."""
    return int(value) if value == int(value) else round(value, 4)
