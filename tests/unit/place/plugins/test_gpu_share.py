"""GpuShare: which nodes have the shares, and which devices are taken."""

from __future__ import annotations

import pytest

from herz.errors import ConfigError
from herz.place.outcome import Choice, NoFit
from herz.place.plugins.gpu_share import GpuShare
from herz.plugin import SKIP, Change, EventKind, Kind, Reads
from tests.unit.place.plugins.gpu_cases import Case, node


def _case(*, hashed: bool = False) -> Case:
    nodes = (node("none"), node("one", devices=1), node("four", devices=4))
    args = {"GpuShare": {"devices": "hashed"}} if hashed else {}
    return Case(nodes, "GpuShare", args=args)


def test_a_node_that_advertises_too_few_devices_never_fits() -> None:
    case = _case()
    case.put(case.pod("a", 600), "one", 0)
    for device in range(4):
        case.put(case.pod(f"b{device}", 600), "four", device)
    found = case.framework.decide(case.pod("p", 500))
    assert isinstance(found, NoFit)
    assert found.kind is Kind.UNFIT
    assert found.message == (
        "0/3 nodes are available: 1 Insufficient herz.dev/gpu-count, "
        "2 Insufficient herz.dev/gpu-milli."
    )
    many = case.framework.decide(case.pod("q", 1000, 5))
    assert isinstance(many, NoFit)
    assert many.kind is Kind.NEVER_FITS


def test_pods_without_accelerators_are_passed_over() -> None:
    case = _case()
    assert isinstance(case.rules[0], GpuShare)
    assert case.rules[0].prepare(case.pod("p"), case.cluster.view) is SKIP
    assert case.framework.choose_devices(case.pod("p"), case.row("four")) == ()


def test_the_fullest_sufficient_device_is_taken_lowest_index_first() -> None:
    case = _case()
    case.put(case.pod("a", 300), "four", 1)
    case.put(case.pod("b", 700), "four", 2)
    four = case.row("four")
    assert case.framework.choose_devices(case.pod("p", 300), four) == (2,)
    assert case.framework.choose_devices(case.pod("q", 400), four) == (1,)
    assert case.framework.choose_devices(case.pod("r", 800), four) == (0,)
    assert case.framework.choose_devices(case.pod("s", 1000, 2), four) == (0, 3)
    assert case.framework.choose_devices(case.pod("t", 1000, 3), four) == ()


def test_a_share_that_is_free_in_parts_only_does_not_fit() -> None:
    case = _case()
    case.put(case.pod("a", 400), "one", 0)
    for device in range(4):
        case.put(case.pod(f"b{device}", 400), "four", device)
    assert isinstance(case.framework.decide(case.pod("p", 601)), NoFit)
    assert isinstance(case.framework.decide(case.pod("q", 600, 4)), Choice)


def test_hashed_devices_differ_by_pod_and_have_room() -> None:
    case = _case(hashed=True)
    case.put(case.pod("a", 600), "four", 2)
    chosen = {
        case.framework.choose_devices(case.pod(f"p{number}", 500), case.row("four"))
        for number in range(40)
    }
    assert chosen == {(0,), (1,), (3,)}
    with pytest.raises(ConfigError, match="devices"):
        Case((), "GpuShare", args={"GpuShare": {"devices": "any"}})


def test_only_what_may_free_a_share_wakes_a_pod() -> None:
    case = _case()
    rule = case.rules[0]
    assert isinstance(rule, GpuShare)
    pod, hints = case.pod("p", 500), rule.hints()

    def helps(kind: EventKind, **change: object) -> bool:
        hint = hints[kind]
        return hint is None or hint(pod, Change(kind, **change))  # type: ignore[arg-type]

    assert helps(EventKind.ASSIGNED_POD_DELETE, old=case.pod("a", 100))
    assert not helps(EventKind.ASSIGNED_POD_DELETE, old=case.pod("b"))
    assert helps(EventKind.NODE_ADD, new=node("n", devices=1))
    assert not helps(EventKind.NODE_ADD, new=node("n"))
    assert helps(EventKind.NODE_UPDATE, aspects=Reads.ALLOCATABLE)
    assert not helps(EventKind.NODE_UPDATE, aspects=Reads.LABELS)
