"""The bench of garbage collection: it runs in small, and what it writes can be read."""

from __future__ import annotations

import gc
import re
from pathlib import Path

import numpy as np
import pytest

from bench.collecting import table
from bench.collecting.__main__ import measure
from bench.collecting.processes import Growth, Profile
from bench.collecting.turns import Took
from herz.world import collecting

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def found() -> table.Found:
    with pytest.MonkeyPatch.context() as patch:
        # So few pods make few objects.
        patch.setattr(collecting, "LOOKED_MAX", collecting.LOOKED_MIN * 10)
        try:
            return measure(nodes=10, pods=200, decisions=600, block=200, growth=200)
        finally:
            # The bench has its process for itself, and leaves it so.
            gc.unfreeze()
            gc.enable()


def rows(text: str, head: str) -> list[list[str]]:
    """The cells of the table that begins so."""
    lines = text[text.index(head) :].splitlines()
    end = next((at for at, line in enumerate(lines) if not line.startswith("|")), len(lines))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:end]]


def test_each_setting_decides_all_that_was_asked_for(found: table.Found) -> None:
    assert list(found.took) == ["default", "between-steps", "off"]
    for blocks in found.took.values():
        assert [len(one.step) for one in blocks] == [200, 200, 200]
        for one in blocks:
            assert one.step.min() > 0
            assert (one.turn >= one.step).all()
            assert (one.turn_cpu >= one.step_cpu).all()
            assert len(set(one.bind)) == 200, "each is another pod's"
    for blocks in zip(*found.took.values(), strict=True):
        assert len({one.bind.tobytes() for one in blocks}) == 1, "all decide the same"


def test_the_scheduler_makes_garbage_that_each_setting_but_off_collects(found: table.Found) -> None:
    objects = {mode: sum(one.found for one in pauses) for mode, pauses in found.pauses.items()}
    assert objects["default"] > 0
    assert objects["between-steps"] > 0
    assert not found.pauses["off"]
    assert not any(one.is_deciding for one in found.pauses["between-steps"])


def test_a_decision_leaves_little_and_no_cycles(found: table.Found) -> None:
    assert found.profile.found == 0
    assert 0 < found.profile.kept < 10_000
    assert found.profile.peak > found.profile.kept / 2
    assert sum(tracked for tracked, _, _ in found.profile.lines) < 20
    assert any("commit/bind.py:" in at for _, _, at in found.profile.lines)


def test_the_tables_can_be_read(
    found: table.Found, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "gc.md"
    page.write_text(f"before\n{table.BEGIN}\nstale figures\n{table.END}\nafter\n", encoding="utf-8")
    monkeypatch.setattr(table, "PAGE", page)
    table.write(table.text(found))
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "stale" not in text
    latencies = rows(text, "| µs |")
    assert len(latencies) == 12
    for _, setting, *figures, told in latencies:
        shown = [int(figure.replace(",", "")) for figure in figures]
        assert shown == sorted(shown)
        assert (told == "1") == (setting == "off")
        assert setting == "off" or re.fullmatch(r"\d+\.\d{3} \(\d+\.\d{3} to \d+\.\d{3}\)", told)
    for setting, generation, count, inside, *times, _ in rows(text, "| setting | generation"):
        assert len(found.pauses[setting]) >= int(count) >= int(inside) >= 0, generation
        assert [float(one) for one in times[:3]] == sorted(float(one) for one in times[:3])
    assert all(float(size) > 0 for size, _, _ in rows(text, "| bytes |"))
    assert "and over 200 decisions from there" in text


def test_the_page_has_the_tables() -> None:
    text = table.PAGE.read_text(encoding="utf-8")
    assert rows(text[text.index(table.BEGIN) :], "| µs |")


def made(scale: float) -> table.Found:
    """Blocks whose slowest turns are so many times the peer's."""
    generator = np.random.default_rng(7)

    def blocks(factor: float) -> list[Took]:
        return [
            Took(*(generator.exponential(100_000 * factor, (5, 1_000)).astype(np.int64)))
            for _ in range(20)
        ]

    took = {"between-steps": blocks(scale), "off": blocks(1.0)}
    return table.Found(took, {}, Profile(0, 0, [], 0, 0), Growth(900, 0, 1, [1_000, 1_020]), "")


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_the_interval_holds_the_ratio(scale: float) -> None:
    one = table.ratio(made(scale), "step_cpu")
    assert one.low < one.value < one.high
    assert one.low < scale < one.high
    assert one.high - one.low < scale


def test_growth_is_told_in_percent() -> None:
    grown = Growth(loaded=800, warm=1, decisions=1, found=[1_000, 1_030, 1_020])
    assert grown.percent == pytest.approx(2.0)
    assert grown.cold_percent == pytest.approx(27.5)
