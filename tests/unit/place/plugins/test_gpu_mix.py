"""The mix of pods seen: what is counted, when it is frozen, and that its bounds hold."""

from __future__ import annotations

import pytest

from herz.model.mix import PodShape
from herz.place import mix as place_mix
from herz.plugin import Reads
from tests.unit.place.plugins.gpu_cases import Case, node

NODES = (node("a", devices=2, model="T4"), node("b", devices=1), node("c"))


def test_an_edition_is_frozen_now_and_then_and_told_to_readers() -> None:
    case = Case(NODES, "GpuShare")
    changes = case.cluster.nodes.changes
    start = changes.end
    case.see(place_mix.PERIOD_MIN - 1, 500)
    assert case.cluster.view.mix is None
    assert case.cluster.knowledge == b""
    assert changes.end == start
    case.see(1)
    first = case.cluster.view.mix
    assert first is not None
    assert changes.mask_since(start) == Reads.MIX
    assert first.shapes == ((PodShape(1000, 0, 0), 1), (PodShape(1000, 1, 500), 15))
    case.see(place_mix.PERIOD_MIN - 1, 500)
    assert case.cluster.view.mix is first
    assert case.cluster.knowledge == first.digest
    case.see(1, 500)
    assert case.cluster.view.mix is not first
    assert case.cluster.knowledge != first.digest


def test_an_edition_holds_what_was_free_when_it_was_frozen() -> None:
    case = Case(NODES, "GpuShare")
    case.put(case.pod("p", 300), "a", 1)
    case.see(16, 500)
    edition = case.cluster.view.mix
    assert edition is not None
    assert edition.free == (("", 1000, 1), ("T4", 700, 1), ("T4", 1000, 1))
    assert (edition.devices_max, edition.cpu_milli_max) == (2, 96_000)


def test_the_digest_does_not_depend_on_the_order_of_nodes_and_pods() -> None:
    digests = []
    for nodes in (NODES, NODES[::-1]):
        case = Case(nodes, "GpuShare")
        for milli in (500, 250) if nodes is NODES else (250, 500):
            case.see(8, milli)
        digests.append(case.cluster.knowledge)
    assert digests[0] == digests[1]


def test_models_come_from_required_affinity() -> None:
    case = Case(NODES, "GpuShare")
    assert PodShape.of(case.pod("p", 500, models=("V100", "T4"))).models == ("T4", "V100")
    assert PodShape.of(case.pod("q", 500)).models == ()
    assert PodShape.of(case.pod("r", models=("T4",))) == PodShape(1000, 0, 0)
    many = tuple(f"m{number}" for number in range(65))
    assert PodShape.of(case.pod("s", 500, models=many)).models == ()


def test_counts_are_halved_when_there_are_too_many_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place_mix, "SHAPES_MAX", 4)
    case = Case(NODES, "GpuShare")
    case.see(12, 500)
    for milli in (1, 2, 3, 4):
        case.see(1, milli)
    edition = case.cluster.view.mix
    assert edition is not None
    assert edition.shapes == ((PodShape(1000, 1, 4), 1), (PodShape(1000, 1, 500), 6))


def test_counts_are_halved_before_their_sum_passes_the_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(place_mix, "TOTAL_MAX", 10)
    case = Case(NODES, "GpuShare")
    case.see(16, 500)
    edition = case.cluster.view.mix
    assert edition is not None
    # 10, halved to 5, five more, halved to 5, one more.
    assert edition.shapes == ((PodShape(1000, 1, 500), 6),)
