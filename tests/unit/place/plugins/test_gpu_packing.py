"""GpuBestFit, GpuFragmentation and HerzPack on cases that can be done by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

from herz.app import build_machine, load_policy, with_workload
from herz.builtin import BUILT_IN
from herz.errors import ConfigError
from herz.model.mix import PodShape
from herz.place.outcome import Choice
from herz.place.packing.kinds import NAMED_MAX, Kinds
from herz.place.packing.sigmoid import LOGITS, percent_thresholds
from herz.place.plugins.gpu_bestfit import ZERO
from herz.place.plugins.gpu_fragmentation import typical_arguments, typical_shapes
from tests.unit.place.plugins.gpu_cases import Case, node

TYPICAL: dict[str, Any] = {
    "typical": [
        {"count": 6, "cpuMilli": 1000, "gpuCount": 1, "gpuMilli": 500},
        {"count": 3, "cpuMilli": 1000, "gpuCount": 1, "gpuMilli": 1000},
        {"count": 1, "cpuMilli": 8000},
    ]
}


def _points(case: Case, pod_name: str, *asked: int, **more: Any) -> dict[str, int]:
    found = case.framework.decide(case.pod(pod_name, *asked, **more))
    assert isinstance(found, Choice)
    return {candidate.node: candidate.total for candidate in found.top}


def test_bestfit_scores_what_is_left_and_may_go_below_zero() -> None:
    case = Case((node("full", 8, 1), node("empty", 96, 8), node("huge", 512, 8)), "GpuBestFit")
    points = _points(case, "p", 500, cpu="2")
    assert points == {
        "full": ZERO + (256_000 - 6_000 - 16 * 500) // 2560,
        "empty": ZERO + (256_000 - 94_000 - 16 * 7_500) // 2560,
        "huge": ZERO + (256_000 - 510_000 - 16 * 7_500) // 2560,
    }
    assert points["huge"] < ZERO


def test_fgd_prefers_the_device_that_leaves_less_unusable() -> None:
    nodes = (node("started", devices=2), node("fresh", devices=2))
    case = Case(nodes, "GpuFragmentation", "GpuShare", args={"GpuFragmentation": TYPICAL})
    case.put(case.pod("a", 500), "started", 1)
    points = _points(case, "p", 500)
    # On device 1 of `started` what no whole-device pod could use goes: 500 of it for weight 3,
    # and what the pods without devices never use: 500 for weight 1.
    assert points["started"] == math.floor(100 / (1 + math.exp(-(500 * 3 + 500) / 10_000)))
    # On a fresh device half is lost to whole-device pods: -500 for weight 3, +500 for weight 1.
    assert points["fresh"] == math.floor(100 / (1 + math.exp((500 * 3 - 500) / 10_000)))
    assert case.framework.choose_devices(case.pod("q", 500), case.row("started")) == (1,)
    assert case.framework.choose_devices(case.pod("r", 600), case.row("started")) == (0,)
    assert case.framework.choose_devices(case.pod("s", 500, 2), case.row("started")) == (0, 1)


def test_fgd_without_typical_pods_learns_them_from_the_mix() -> None:
    case = Case((node("a", devices=2), node("b", devices=2)), "GpuFragmentation", "GpuShare")
    case.put(case.pod("x", 500), "b", 0)
    assert set(_points(case, "p", 500).values()) == {0}
    case.see(16, 500)
    points = _points(case, "q", 500)
    assert points["a"] == points["b"] == 50
    case.see(40, 1000)
    points = _points(case, "r", 500)
    assert points["b"] > points["a"]


def test_rules_answer_in_a_cluster_without_devices() -> None:
    for rule in ("GpuBestFit", "GpuFragmentation", "HerzPack"):
        case = Case((node("a"), node("b")), rule, "GpuShare")
        case.see(20, 500)
        assert set(_points(case, "p")) == {"a", "b"}


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        [{"count": 0}],
        [{"count": 1, "gpuMilli": 5}],
        [{"count": 1, "gpuCount": 1, "gpuMilli": 1001}],
        [{"count": 1, "gpuCount": 1, "gpuMilli": 0}],
        [{"count": 1, "speed": 5}],
        [{"count": 1, "models": [f"m{number}" for number in range(NAMED_MAX + 1)]}],
    ],
)
def test_wrong_typical_pods_are_refused_with_their_place(wrong: list[dict[str, Any]]) -> None:
    with pytest.raises(ConfigError, match="GpuFragmentation"):
        Case((), "GpuFragmentation", args={"GpuFragmentation": {"typical": wrong}})


def test_typical_shapes_are_the_most_frequent_ones() -> None:
    shapes = [(PodShape(1000, 1, milli), count) for milli, count in ((500, 90), (250, 5), (10, 5))]
    # Tie: the larger share comes first, and with it 95 percent are covered.
    assert typical_shapes(shapes) == shapes[:2]
    assert typical_arguments(shapes)["typical"][0] == {
        "count": 90,
        "cpuMilli": 1000,
        "gpuCount": 1,
        "gpuMilli": 500,
        "models": [],
    }


def test_a_policy_takes_a_workload_once_and_only_where_it_is_asked_for() -> None:
    counts = [(PodShape(1000, 1, 500), 3)]
    fgd = with_workload(BUILT_IN["fgd"], counts)
    assert fgd.digest != BUILT_IN["fgd"].digest
    assert with_workload(fgd, [(PodShape(1, 0, 0), 1)]) == fgd
    assert with_workload(BUILT_IN["fgd"], []) is BUILT_IN["fgd"]
    assert with_workload(BUILT_IN["herz-pack"], counts) == BUILT_IN["herz-pack"]


def test_the_sigmoid_table_is_the_sigmoid() -> None:
    assert len(LOGITS) == 99
    for percent, logit in enumerate(LOGITS, start=1):
        assert abs(logit - 1e9 * math.log(percent / (100 - percent))) <= 0.501
    thresholds = percent_thresholds(7000)
    for d in range(-50_000, 50_000, 77):
        reached = sum(d >= threshold for threshold in thresholds)
        assert reached == math.floor(100 / (1 + math.exp(-d / 7000)))


def test_herz_pack_keeps_whole_devices_for_whole_pods() -> None:
    nodes = (node("started", devices=2), node("fresh", devices=2))
    case = Case(nodes, "HerzPack", "GpuShare")
    case.put(case.pod("a", 500), "started", 1)
    assert len(set(_points(case, "p", 500).values())) == 1
    # Halves come seldom: what is left beside one is likely to stay.
    case.see(1, 500)
    case.see(31, 1000)
    points = _points(case, "q", 500)
    assert points["started"] > points["fresh"]
    assert case.framework.choose_devices(case.pod("r", 500), case.row("started")) == (1,)
    assert case.framework.choose_devices(case.pod("s", 400, 2), case.row("started")) == (0, 1)
    assert case.framework.choose_devices(case.pod("t", 1000, 2), case.row("started")) == ()


def test_herz_pack_puts_pods_without_devices_where_cpu_is_in_surplus() -> None:
    nodes = (node("scarce", 8, devices=4), node("rich", 96, devices=4))
    case = Case(nodes, "HerzPack", "GpuShare")
    case.see(16, 1000, cpu="2")
    points = _points(case, "p", cpu="4")
    assert points["rich"] > points["scarce"]


def test_more_models_than_there_are_kinds_share_one() -> None:
    kinds = Kinds((f"m{number:03}", 1000 - number) for number in range(NAMED_MAX + 2))
    assert kinds.count == NAMED_MAX + 1
    assert (kinds.number("m000"), kinds.number("m063"), kinds.number("unknown")) == (1, 0, 0)
    assert kinds.bits(PodShape(1, 1, 1, ("m000", "m064"))) == 0b11
    assert kinds.bits(PodShape(1, 1, 1, ("unknown",))) == 0
    assert kinds.bits(PodShape(1, 1, 1)) == (1 << 64) - 1


@pytest.mark.parametrize("name", ["bestfit", "fgd", "random", "herz-pack"])
def test_the_built_in_policies_can_be_built(name: str) -> None:
    assert build_machine(load_policy(name), 0, ()).ready == 0
