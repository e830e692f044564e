"""Files of outcomes: what is read, and what is refused with its place."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from herz.errors import ConfigError
from herz.knowledge.sla.features import MISSING
from herz.knowledge.sla.learning.dataset import DONE_NS, FAILED_NS, parse_objective
from herz.knowledge.sla.learning.interference import family_of, read_interference
from herz.knowledge.sla.learning.tables import read_csv, read_records
from tests.support.promises import OBJECTIVE, as_csv, interference_rows

Rows = list[dict[str, str]]


def read(rows: Rows) -> Any:
    """The outcomes of these runs."""
    return read_interference(as_csv(rows), "made.csv", OBJECTIVE)


def test_lightest_run_gives_the_state_and_is_not_scored() -> None:
    rows = interference_rows(1)[:4]
    found = read(rows)
    assert found.load.tolist() == [500, 1000, 2000]
    at = [spec.name for spec in found.specs].index("probe_p99")
    assert len(set(found.rows[:, at].tolist())) == 1
    assert found.probe_ns[0] == round(float(rows[0]["P99_Latency"]) * 1e6)
    assert found.session[0] == "Made_V00"
    assert found.campaign[0] == "Made"


def test_order_of_the_file_says_nothing() -> None:
    rows = interference_rows(2)
    one, two = read(rows), read(rows[::-1])
    order, other = np.argsort(one.digests), np.argsort(two.digests)
    assert (one.rows[order] == two.rows[other]).all()


def test_groups_whose_lightest_run_is_loud_are_left_out_and_counted() -> None:
    rows = [row for row in interference_rows(2) if row["Given_RPS"] in ("1000", "2000")]
    quiet = interference_rows(3)[-4:]
    found = read([*rows, *quiet])
    assert len(found) == 3
    assert found.left_out[0].startswith("10 groups")


def test_errors_and_timeouts_are_broken_promises() -> None:
    rows = interference_rows(1)[:4]
    rows[1]["Errors"] = "3"
    rows[2]["P99_Latency"] = "50"
    found = read(rows)
    assert (found.latency_ns[:2] == FAILED_NS).all()
    assert found.latency_ns[2] < FAILED_NS


def test_cells_that_were_not_measured_are_missing() -> None:
    rows = interference_rows(1)[:4]
    rows[0]["mean_System_READ"] = ""
    rows[0]["mean_Core3_IPC"] = "nan"
    found = read(rows)
    names = [spec.name for spec in found.specs]
    for name in ("memory_read", "own_ipc_mean", "own_ipc_median"):
        assert (found.rows[:, names.index(name)] == MISSING).all()
    assert (found.rows[:, names.index("other_ipc_mean")] != MISSING).all()


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("Baseline2", "base"),
        ("1_iBench_CPU_pod", "cpu"),
        ("4_iBench_CPU_pods", "cpu"),
        ("2_stress-ng_L3_pods", "l3"),
        ("1_CPU_2_L3", "mix"),
        ("2_CPU_2_L3_2_MemBW", "mix"),
    ],
)
def test_family_is_the_resource(name: str, family: str) -> None:
    assert family_of(name) == family


def _with(column: str, value: str) -> Callable[[Rows], str]:
    def change(rows: Rows) -> str:
        rows[1][column] = value
        return as_csv(rows)

    return change


BAD: list[tuple[str, Callable[[Rows], str]]] = [
    ("made.csv:1: a column is missing", lambda rows: as_csv([{"a": "1"}])),
    ("made.csv:1: a column is missing", lambda rows: ""),
    (
        "made.csv:2: a line of another length",
        lambda rows: as_csv(rows).replace("\nMade", "\n,Made"),
    ),
    ("made.csv:3 column Given_RPS: no measurement", _with("Given_RPS", "")),
    ("made.csv:3 column Given_RPS: not a number", _with("Given_RPS", "many")),
    ("made.csv:3 column Given_RPS: not a number", _with("Given_RPS", "1e999")),
    ("made.csv:3 column P99_Latency: no measurement", _with("P99_Latency", "-1")),
    ("made.csv:3 column P99_Latency: no measurement", _with("P99_Latency", "nan")),
    ("made.csv:3: no replica", lambda rows: as_csv([{**row, "Replicas": "0"} for row in rows])),
    ("no outcome to learn from", lambda rows: as_csv(rows[:1])),
]


@pytest.mark.parametrize(("problem", "change"), BAD, ids=[problem for problem, _ in BAD])
def test_bad_runs_are_refused_with_their_place(problem: str, change: Callable[[Rows], str]) -> None:
    text = change(interference_rows(1)[:4])
    with pytest.raises(ConfigError, match=problem) as caught:
        read_interference(text, "made.csv", OBJECTIVE)
    assert caught.value.fix


@pytest.mark.parametrize(
    "text",
    [
        *("", "p99_ms", "p99_ms<1", "p42_ms<=1", "p99_ms<=0", "p99_ns<=0.5", "delay_ms<=1"),
        *("completion<=0.9", "completion>=0", "completion>=0.0", "completion>=1.1"),
    ],
)
def test_objectives_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="not an objective"):
        parse_objective(text)


def test_objective_is_exact() -> None:
    assert parse_objective("p99_ms <= 0.1").target_ns == 100_000
    assert parse_objective("p95_s<=2").indicator == "p95"
    late = parse_objective("delay_p99_s<=2")
    assert (late.kind, late.indicator, late.target_ns) == ("delay", "delay_p99", 2 * 10**9)
    jobs = parse_objective("completion >= 0.995")
    assert (jobs.kind, jobs.indicator, jobs.target_ns) == ("completion", "completed", DONE_NS)


# ---- csv and records ------------------------------------------------------------------------

TABLE = "session,group,p99_us,quiet_p99_us,load,wait\n a,g,1500,200,10,0.5\nb,g,900,200,20,\n"


def test_table_of_pods_that_were_to_complete() -> None:
    text = "session,completed,wait\na,1,0.5\nb,0,0.7\n"
    found = read_csv(text, "t.csv", parse_objective("completion>=0.99"))
    assert found.latency_ns.tolist() == [DONE_NS, FAILED_NS]
    assert found.quiet_ns.tolist() == [DONE_NS, DONE_NS]
    assert [spec.name for spec in found.specs] == ["wait"]
    with pytest.raises(ConfigError, match=r"t\.csv:3 column completed: no outcome"):
        read_csv(text.replace("b,0", "b,no"), "t.csv", parse_objective("completion>=0.99"))


def test_load_tests_have_latencies_only() -> None:
    text = as_csv(interference_rows(1))
    with pytest.raises(ConfigError, match="latencies only"):
        read_interference(text, "made.csv", parse_objective("delay_p99_ms<=1"))


def test_table_columns_are_features_unless_they_are_known() -> None:
    found = read_csv(TABLE, "t.csv", OBJECTIVE)
    assert [spec.name for spec in found.specs] == ["wait"]
    assert found.rows.tolist() == [[500], [MISSING]]
    assert found.latency_ns.tolist() == [1_500_000, 900_000]
    assert found.quiet_ns.tolist() == [200_000, 200_000]
    assert len(set(found.group)) == 2  # of different sessions


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        ("no head line", "a,a\n"),
        ("no session", TABLE.replace(" a,", ",")),
        ("a column is missing", TABLE.replace("p99_us", "p98_us")),
        ("no outcome", TABLE.replace("1500", "")),
        ("not a number", TABLE.replace("0.5", "half")),
        ("another length", TABLE.replace(",0.5", "")),
        ("no outcome to learn from", TABLE.splitlines()[0]),
    ],
)
def test_bad_tables_are_refused(problem: str, text: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        read_csv(text, "t.csv", OBJECTIVE)


HEAD = {
    "feature_set": "psi+schedstat",
    "features": [{"name": "wait", "unit": "us", "source": "made up"}],
    "anchors": ["wait"],
}
ROW = {"session": "a", "features": [7], "p99_ns": 10, "probe_p99_ns": 5, "machine": "m"}


def lines(*rows: object) -> str:
    """Rows as `records`."""
    return "\n".join(json.dumps(row) for row in rows)


def test_records_say_what_their_features_are() -> None:
    found = read_records(lines(HEAD, ROW, {**ROW, "features": [None]}), "r", OBJECTIVE)
    assert found.feature_set == "psi+schedstat"
    assert found.rows.tolist() == [[7], [MISSING]]
    assert found.machine.tolist() == ["m", "m"]
    assert found.anchors == ("wait",)


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        ("empty", ""),
        ("not readable", "{"),
        ("not readable", lines({"feature_set": "x"})),
        ("an anchor that is no feature", lines({**HEAD, "anchors": ["x"]}, ROW)),
        ("no outcome to learn from", lines(HEAD)),
        ("r:2: not an outcome", lines(HEAD, {"session": "a"})),
        ("r:2: not an outcome", lines(HEAD, {**ROW, "features": [0.5]})),
        ("r:2: out of range", lines(HEAD, {**ROW, "p99_ns": 0})),
        ("r:2: out of range", lines(HEAD, {**ROW, "session": ""})),
        ("other features", lines(HEAD, {**ROW, "features": [1, 2]})),
        ("other features", lines(HEAD, {**ROW, "features": [1 << 30]})),
    ],
)
def test_bad_records_are_refused(problem: str, text: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        read_records(text, "r", OBJECTIVE)
