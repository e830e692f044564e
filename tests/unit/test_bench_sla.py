"""The closed loop's variant whose curves were measured: read from load tests, drawn by the seed."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from bench.sla.__main__ import main
from bench.sla.loop import FROZEN, frozen
from bench.sla.measured import FULL, MeasuredTruth, curves_of, maker
from herz.errors import ConfigError
from herz.world.sim.catalogue import load_scenario
from herz.world.sim.promises.truth import Truth

HEAD = "FolderID,Replicas,Interference_Name,Given_RPS,P99_Latency"
KINDS = {"Baseline0": 0.2, "1_iBench_CPU_pod": 0.3, "2_iBench_CPU_pods": 1.2}
MORE = {"1_iBench_memBW_pod": 0.2, "4_iBench_memBW_pods": 0.6}


def text_of(session: str = "a", factor: float = 1.0) -> str:
    """Made-up load tests of one session."""
    rows = [
        f"{session},1,{kind},{load},{p99 * (1 if kind == 'Baseline0' else factor)}"
        for kind, p99 in {**KINDS, **MORE}.items()
        for load in (100, 500)
    ]
    return "\n".join([HEAD, *rows, ""])


def test_scenarios_truth_and_seeds_are_those_that_were_frozen() -> None:
    assert frozen() == FROZEN


def test_curve_has_the_form_that_was_measured_and_the_size_of_the_made_up_one() -> None:
    ((session, loads),) = curves_of(text_of(), "x").items()
    assert session == "a"
    cpu, bandwidth = loads["cpu"], loads["bandwidth"]
    assert cpu.pressure == (0, 0.5, 1)
    assert cpu.shape == pytest.approx((0, FULL * 0.5 / 5, FULL))
    assert bandwidth.pressure == (0, 0.25, 1)
    assert bandwidth.shape == pytest.approx((0, 0, FULL))
    found = cpu.at(np.array([0, 0.25, 0.75, 1, 2]))
    assert found == pytest.approx([0, 0.15, 1.65, 3, 6])


def test_session_that_says_too_little_is_left_out() -> None:
    calm = text_of("calm", 0.3)
    assert set(curves_of(text_of() + calm.partition("\n")[2], "x")) == {"a"}
    with pytest.raises(ConfigError, match="no session has a curve"):
        curves_of(calm, "x")
    with pytest.raises(ConfigError, match="a column is missing"):
        curves_of("FolderID\na\n", "x")
    with pytest.raises(ConfigError, match="x:2 column Given_RPS"):
        curves_of(f"{HEAD}\na,1,Baseline0,many,1\n", "x")


def test_truth_takes_the_seeds_session_and_keeps_all_other_constants() -> None:
    setup = load_scenario("sla-shop").truth
    assert setup is not None
    curves = curves_of(text_of("a") + text_of("b", 2).partition("\n")[2], "x")
    sessions = set()
    for seed in range(12):
        given = (setup.table, setup.services, (16.0,) * 4)
        mine = maker(curves)(*given, random.Random(seed))
        plain = Truth(*given, random.Random(seed))
        assert isinstance(mine, MeasuredTruth)
        sessions.add(mine.session)
        assert (mine.feels == plain.feels).all()
        assert (mine.slowdown(np.full((4, 4), 0.3)) == 1).all(), "nobody feels anybody below"
        near = np.full((4, 4), 0.75)
        assert (mine.slowdown(near) != plain.slowdown(near)).any()
    assert sessions == {"a", "b"}


def test_other_load_tests_than_those_that_were_frozen_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs.csv").write_text(text_of())
    monkeypatch.setattr("sys.argv", ["bench.sla", "--curves", str(tmp_path / "runs.csv")])
    assert main() == 1
    assert "was frozen" in capsys.readouterr().err
