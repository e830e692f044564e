"""The answer of `herz simulate`: its shape, and that table and values agree."""

from __future__ import annotations

import hashlib
import json
from typing import Any, cast

import msgspec

from herz.front.answer import answer, table_rows
from herz.world.sim.result import PromiseResult
from tests.unit.front.samples import DIGEST, summary


def _plain(seeds: range, report: str | None = None) -> dict[str, Any]:
    """The answer as a reader of its JSON gets it."""
    return cast(dict[str, Any], json.loads(json.dumps(answer(summary(seeds), report))))


def test_answer_of_one_run_has_the_promised_figures() -> None:
    found = _plain(range(1), "/tmp/x.html")
    assert found["scenario"] == "shop"
    assert found["policy"] == {"name": "default", "digest": DIGEST, "version": "1"}
    assert found["seed"] == 0
    assert found["pods"]["arrived"] == 1612
    assert {"arrived", "bound", "unschedulable", "completed", "preempted"} <= set(found["pods"])
    assert isinstance(found["pods"]["bound"], int)
    assert found["decisions"] == 1733
    assert found["decisions_digest"] == "00" * 48
    assert found["decisions_per_second"] == 15_234.5
    assert set(found["wait_seconds"]) == {"p50", "p99", "max"}
    assert found["allocation_percent"]["cpu"] == {"mean": 61.25, "sd": 0.0}
    assert found["order_rungs"] == {"1": 410, "2": 3, "3": 1}
    assert found["report"] == "/tmp/x.html"
    assert len(found["runs"]) == 1


def test_promises_are_added_up_by_class() -> None:
    plain = summary(range(2))
    assert answer(plain)["promises"] == {}
    kept = PromiseResult(by_class={"online": (3, 200), "batch": (0, 40)})
    runs = tuple(msgspec.structs.replace(run, promises=kept) for run in plain.runs)
    found = msgspec.structs.replace(plain, runs=runs)
    assert answer(found)["promises"] == {
        "batch": {"broken": 0, "judged": 80},
        "online": {"broken": 6, "judged": 400},
    }
    rows = [(row.figure, row.value, row.spread) for row in table_rows(found)]
    assert ("promises online", "6 of 400 broken", "1.50 %") in rows


def test_answer_table_is_the_printed_one() -> None:
    found = _plain(range(2))
    rows = [[row.figure, row.value, row.spread] for row in table_rows(summary(range(2)))]
    assert found["table"] == {"columns": ["figure", "value", "spread"], "rows": rows}
    assert ["pods bound", "1,600", "sd 0"] in rows


def test_answer_of_several_runs_gives_means_and_deviations() -> None:
    found = _plain(range(2))
    assert found["seeds"] == [0, 1]
    assert found["decisions"] == 1733.5
    assert found["allocation_percent"]["cpu"] == {"mean": 61.375, "sd": 0.1768}
    assert [run["seed"] for run in found["runs"]] == [0, 1]


def test_answer_of_several_runs_digests_their_digests() -> None:
    both = "00" * 48 + "01" * 48
    assert _plain(range(2))["decisions_digest"] == hashlib.sha3_384(both.encode()).hexdigest()


def test_table_of_one_run_has_no_spread() -> None:
    assert not any(row.spread for row in table_rows(summary()))
