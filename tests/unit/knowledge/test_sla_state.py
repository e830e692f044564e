"""Features of a node's state, and outcomes as training rows."""

from __future__ import annotations

import json

import numpy as np
import pytest

from herz.errors import ConfigError
from herz.knowledge.sla.features import LIMIT, MISSING
from herz.knowledge.sla.learning.dataset import DONE_NS, parse_objective
from herz.knowledge.sla.learning.tables import read_records
from herz.knowledge.sla.profiles import PRIOR
from herz.knowledge.sla.rows import completion_of, head_line, latency_of, row_line
from herz.knowledge.sla.state import (
    ANCHORS,
    FEATURES,
    LOADS,
    NAMES,
    SIGNALS,
    names_of,
    node_features,
    with_service,
)


def column(values: list[int]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(values, np.int64)


def rows(**signals: list[int]) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Two nodes of 16 cores and 64 GiB, half and a quarter of the cpu asked for."""
    given = {name: column(signals.get(name, [100, 200])) for name in SIGNALS}
    node = node_features(
        given,
        {name: column([5_000, 1_000]) for name in LOADS},
        {"cpu": column([8_000, 4_000]), "memory": column([32 << 30, 16 << 30])},
        {"cpu": column([16_000, 16_000]), "memory": column([64 << 30, 64 << 30])},
    )
    return with_service(node, {**PRIOR, "bandwidth_sensitivity": 3_000})


def test_features_are_named_once_and_tell_unit_and_source() -> None:
    assert len(set(NAMES)) == len(NAMES) == rows().shape[1]
    assert all(spec.unit and spec.source for spec in FEATURES)
    assert {spec.name for spec in FEATURES if spec.monotone == 0} == {
        name for name in NAMES if name.startswith("service_")
    }


def test_values_stand_in_their_columns() -> None:
    found = dict(zip(NAMES, rows(requested_cpu=[6_000, 9_000]).T.tolist(), strict=True))
    assert found["requested_cpu"] == [5_000, 2_500]
    assert found["requested_memory"] == [5_000, 2_500]
    # What came after the sample; never less than nothing.
    assert found["unseen_cpu"] == [1_250, 0]
    assert found["expected_io"] == [5_000, 1_000]
    assert found["strain_bandwidth"] == [1_500, 300]
    assert found["service_cpu_used"] == [PRIOR["cpu_used"]] * 2


def test_missing_stays_missing_and_the_rest_in_bounds() -> None:
    found = rows(cpu_utilisation=[MISSING, 1 << 50], requested_cpu=[MISSING, 0])
    named = dict(zip(NAMES, found.T.tolist(), strict=True))
    assert named["node_cpu_utilisation"] == [MISSING, LIMIT]
    assert named["unseen_cpu"] == [MISSING, 2_500]


@pytest.mark.parametrize(
    ("name", "without"),
    [
        ("counters", ()),
        ("psi+schedstat", ("node_bandwidth_utilisation",)),
        ("requests-only", ("node_", "unseen_")),
    ],
)
def test_feature_sets_lack_what_their_sources_lack(name: str, without: tuple[str, ...]) -> None:
    found = names_of(name)
    assert set(ANCHORS) <= set(found)
    assert not any(one.startswith(without) for one in found if without)
    assert set(NAMES) - set(found) == {one for one in NAMES if without and one.startswith(without)}


def test_training_rows_are_lines_of_json_with_null_for_missing() -> None:
    head = json.loads(head_line())
    assert [one["name"] for one in head["features"]] == list(NAMES)
    assert head["anchors"] == list(ANCHORS)
    row = [MISSING, *range(1, len(NAMES))]
    names = {"service": "online", "session": "s", "family": "f", "machine": "m"}
    found = json.loads(row_line(row, latency_of(0, 5), **names))
    assert found["features"] == [None, *range(1, len(NAMES))]
    assert (found["p99_ns"], found["quiet_p99_ns"], found["session"]) == (1, 5, "s")
    late = json.loads(row_line(row, latency_of(7, 5, is_delay=True), **names))
    assert (late["delay_p99_ns"], late["quiet_delay_p99_ns"]) == (7, 5)
    assert "p99_ns" not in late
    assert json.loads(row_line(row, completion_of(is_done=True), **names))["completed"] is True


def test_trainer_reads_the_rows() -> None:
    lines = [head_line()]
    for number in range(4):
        row = [MISSING, *range(number, number + len(NAMES) - 1)]
        told = {"service": "online", "session": f"s{number}", "family": "f", "machine": "m"}
        lines.append(row_line(row, latency_of(10 + number, 5), **told))
        lines.append(row_line(row, completion_of(is_done=number < 3), **told))
    text = b"\n".join(lines).decode()
    found = read_records(text, "rows", parse_objective("p99_ns<=11"))
    assert found.specs == FEATURES
    assert found.anchors == ANCHORS
    assert found.rows.tolist()[1] == [MISSING, *range(1, len(NAMES))]
    assert found.kept(11).tolist() == [True, True, False, False]
    assert set(found.service.tolist()) == {"online"}
    assert found.left_out == ("4 outcomes of other promises than p99_ns<=11",)
    jobs = read_records(text, "rows", parse_objective("completion>=0.9"))
    assert jobs.kept(DONE_NS).tolist() == [True, True, True, False]
    with pytest.raises(ConfigError, match="no outcome to learn from"):
        read_records(text, "rows", parse_objective("delay_p99_ns<=11"))
