"""The tables of docs/reference/gc.md, and the intervals in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.collecting.processes import OFF, POLICY, Growth, Pause, Profile
from bench.collecting.turns import Took
from herz.world.collecting import OLDEST

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "gc.md"
BEGIN = "<!-- Made by make bench-gc. -->"
END = "<!-- End of what make bench-gc makes. -->"
DRAWS = 1_000
SHOWN = 10
LEVELS = (50.0, 99.0, 99.9, 100.0)


class Ratio(NamedTuple):
    """A ratio of percentiles, and the ends of its 95 % interval (bootstrap over blocks)."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


class Found(NamedTuple):
    """What was measured.

    Args:
        took: by setting, its blocks.
        pauses: by setting, its collections.
        profile: what a decision allocates.
        growth: what memory does under the policy.
        title: of which cluster.
    """

    took: Mapping[str, Sequence[Took]]
    pauses: Mapping[str, Sequence[Pause]]
    profile: Profile
    growth: Growth
    title: str


def ratio(found: Found, part: str, level: float = 99.9, mode: str = POLICY) -> Ratio:
    """A setting's percentile over that without any collection, on the same blocks of the run."""
    mine = np.stack([getattr(one, part) for one in found.took[mode]])
    peer = np.stack([getattr(one, part) for one in found.took[OFF]])
    generator = np.random.default_rng(1)
    drawn = []
    for _ in range(DRAWS):
        blocks = generator.integers(0, len(mine), len(mine))
        drawn.append(_at(mine[blocks], level) / _at(peer[blocks], level))
    low, high = np.percentile(drawn, (2.5, 97.5))
    return Ratio(_at(mine, level) / _at(peer, level), float(low), float(high))


def _at(values: NDArray[np.int64], level: float) -> float:
    flat = values.ravel()
    rank = min(int(len(flat) * level / 100), len(flat) - 1)
    return float(np.partition(flat, rank)[rank])


def text(found: Found) -> str:
    """All tables, as Markdown."""
    parts = (
        [found.title],
        _latencies(found),
        _pauses(found),
        _growth(found.growth),
        _profile(found.profile),
    )
    return "\n\n".join("\n".join(part) for part in parts)


def _latencies(found: Found) -> list[str]:
    lines = [
        "| µs | setting | p50 | p99 | p99.9 | longest | p99.9 of `off` |",
        "|---|---|---:|---:|---:|---:|---|",
    ]
    named = {
        "step_cpu": "decision, CPU",
        "step": "decision, wall",
        "turn_cpu": "turn, CPU",
        "turn": "turn, wall",
    }
    for part, name in named.items():
        for mode, blocks in found.took.items():
            values = np.concatenate([getattr(one, part) for one in blocks])
            shown = " | ".join(f"{_at(values, level) / 1e3:,.0f}" for level in LEVELS)
            told = "1" if mode == OFF else str(ratio(found, part, mode=mode))
            lines.append(f"| {name} | {mode} | {shown} | {told} |")
    return lines


def _growth(grown: Growth) -> list[str]:
    megabytes = [f"{bytes_ / 1e6:,.1f}" for bytes_ in (grown.loaded, *grown.found)]
    return [
        f"Memory with `{POLICY}`: {megabytes[0]} MB when all was loaded. {grown.warm:,} decisions "
        f"later each pod that was loaded had been replaced, and over {grown.decisions:,} decisions "
        f"from there it went from {megabytes[1]} MB to "
        f"{megabytes[-1]} MB: **{grown.percent:+.2f} %** (from cold {grown.cold_percent:+.2f} %). "
        f"In between, MB: {', '.join(megabytes[1:])}.",
    ]


def _pauses(found: Found) -> list[str]:
    lines = [
        "| setting | generation | collections | in a decision | p50 ms | p99 ms | longest ms "
        "| sum ms | objects found |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for mode, pauses in found.pauses.items():
        for generation in range(OLDEST + 1):
            mine = [one for one in pauses if one.generation == generation]
            inside = sum(one.is_deciding for one in mine)
            took = np.array([one.took_ns for one in mine] or [0])
            shown = [_at(took, 50), _at(took, 99), took.max(), took.sum()]
            figures = " | ".join(f"{one / 1e6:,.2f}" for one in shown)
            objects = sum(one.found for one in mine)
            lines.append(
                f"| {mode} | {generation} | {len(mine):,} | {inside:,} | {figures} | {objects:,} |"
            )
    return lines


def _profile(one: Profile) -> list[str]:
    return [
        f"A decision has {one.peak:,.0f} bytes at its height and leaves {one.kept:,.0f}, its "
        f"effects among them; after {one.decisions:,} decisions without a collection one found "
        f"{one.found} objects. What it leaves, by line:",
        "",
        "| bytes | objects tracked | line |",
        "|---:|---:|---|",
        *(f"| {size:,.1f} | {count:.2f} | {at} |" for count, size, at in one.lines[:SHOWN]),
    ]


def write(tables: str) -> None:
    """Put the tables into the page, between its marks."""
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{tables}\n{END}{after}", encoding="utf-8")
