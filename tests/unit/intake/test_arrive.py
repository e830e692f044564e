"""Arrive: what is computed of a pod, once, and what is done with what cannot be read."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from msgspec.structs import asdict, replace

from herz.intake.arrive import Arrivals
from herz.model.decode import convert
from herz.model.objects import Pod
from herz.model.pod import PodStatus
from herz.model.podinfo import GpuShare, PodInfo
from herz.place.plugins.scheduling_gates import SchedulingGates
from herz.plugin import ReasonBook
from tests.support.objects import make_pod


def read(pod: Pod, salt: bytes = b"salt", known: PodInfo | None = None) -> PodInfo:
    gates = [SchedulingGates({}, ReasonBook())]
    arrivals = Arrivals(gates, lambda info: b"sign:" + info.uid.encode(), order_salt=salt)
    return arrivals.read(pod, (), known)


def test_requests_are_sorted_above_zero_and_count_the_pod_itself() -> None:
    info = read(make_pod("p", {"memory": "1Ki", "cpu": "1.5", "example.com/x": "0"}))
    assert list(info.requests.items()) == [("cpu", 1500), ("memory", 1024), ("pods", 1)]


def test_a_pod_that_asks_for_nothing_counts_for_scoring_as_in_kubernetes() -> None:
    info = read(make_pod("p"))
    assert info.requests == {"pods": 1}
    assert info.nonzero == info.scoring == (100, 200 * 1024 * 1024)


def test_keys_are_hashes_of_the_uid() -> None:
    info = read(make_pod("p", uid="u"))
    tie = hashlib.sha3_256(b"u").digest()[:8]
    order = hashlib.sha3_256(b"saltu").digest()[8:16]
    assert info.tie_key == int.from_bytes(tie, "big")
    assert info.order_key == int.from_bytes(order, "big")
    assert read(make_pod("p", uid="u"), b"pepper").order_key != info.order_key
    assert info.signature == b"sign:u"


def test_shares_are_taken_out_of_the_requests() -> None:
    cases = {
        ("250", ""): GpuShare(1, 250),
        ("", "2"): GpuShare(2, 1000),
        ("500", "3"): GpuShare(3, 500),
        ("", ""): GpuShare(0, 0),
    }
    for (milli, count), expected in cases.items():
        asked = {"herz.dev/gpu-milli": milli, "herz.dev/gpu-count": count}
        info = read(make_pod("p", {name: text for name, text in asked.items() if text}))
        assert info.gpu == expected
        assert info.requests == {"pods": 1}
        assert info.gates == ()


def test_all_reasons_that_keep_a_pod_out_are_told_sorted() -> None:
    pod = make_pod(
        "p", {"herz.dev/gpu-milli": "2000"}, gates=["g"], annotations={"herz.dev/after": "p"}
    )
    info = read(pod)
    assert len(info.gates) == 3
    assert list(info.gates) == sorted(info.gates)
    assert (info.gpu, info.after) == (GpuShare(1, 1000), ())


@pytest.mark.parametrize(
    "change",
    [
        {"requests": {"cpu": "2"}},
        {"labels": {"a": "b"}},
        {"annotations": {"a": "b"}},
        {"uid": "other"},
        {"name": "q"},
        {"priority": 1},
        {"gates": ["g"]},
        {"scheduler": "x"},
        {"image": "web"},
        {"spec": {"nodeSelector": {"a": "b"}}},
    ],
    ids=str,
)
def test_the_digest_covers_what_is_read_of_the_pod(change: dict[str, object]) -> None:
    first = {"name": "p", "requests": {"cpu": "1"}, "uid": "u"}
    one = read(make_pod(**first))  # type: ignore[arg-type]
    assert read(make_pod(**first)).digest == one.digest  # type: ignore[arg-type]
    assert read(make_pod(**{**first, **change})).digest != one.digest  # type: ignore[arg-type]


def test_the_digest_passes_over_what_is_not_read() -> None:
    assert read(make_pod("p", phase="Pending")).digest == read(make_pod("p")).digest


RESIZED = {"containerStatuses": [{"name": "main", "resources": {"requests": {"cpu": "3"}}}]}
NEWS: list[dict[str, Any]] = [
    {},
    {"annotations": {"herz.dev/after": "q"}},
    {"annotations": {"herz.dev/after": "p"}},
    {"node": "m"},
    {"phase": "Running"},
    {"labels": {"a": "b"}},
    {"is_terminating": True},
    {"requests": {"cpu": "2"}},
    {"requests": {"cpu": "x"}},
    {"priority": 7},
    {"spec": {"nodeSelector": {"a": "b"}}},
    {"status": RESIZED},
    {"status": {**RESIZED, "conditions": [{"type": "PodResizePending", "reason": "Infeasible"}]}},
]
"""What may become of a pod that asks for a CPU and is on node `n`."""


def on_a_node(news: dict[str, Any]) -> Pod:
    status = news.pop("status", {})
    pod = make_pod("p", **{"requests": {"cpu": "1"}, "node": "n", **news})
    return replace(pod, status=convert(PodStatus, {"phase": pod.status.phase, **status}))


@pytest.mark.parametrize("after", NEWS, ids=str)
@pytest.mark.parametrize("before", [None, *NEWS], ids=str)
def test_what_is_read_again_is_what_a_first_reading_gives(
    before: dict[str, Any] | None, after: dict[str, Any]
) -> None:
    new = on_a_node(dict(after))
    first = make_pod("p", {"cpu": "1"}) if before is None else on_a_node(dict(before))
    again = read(new, known=read(first))
    fresh = read(new)
    assert again.pod is new
    assert asdict(again) == asdict(fresh)


def test_what_does_not_change_is_not_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    known = read(make_pod("p", {"cpu": "1"}))
    for name in ("pod_requests", "pod_terms", "host_ports"):
        monkeypatch.delattr(f"herz.intake.arrive.{name}")
    bound = read(on_a_node({"annotations": {"herz.dev/decision": "1"}}), known=known)
    assert (bound.requests, bound.gates, bound.signature) == (known.requests, (), b"")
    monkeypatch.delattr("herz.intake.arrive._digest")
    runs = on_a_node({"annotations": {"herz.dev/decision": "1"}, "phase": "Running"})
    assert read(runs, known=bound).digest == bound.digest


def test_a_pod_with_a_node_is_neither_gated_nor_signed() -> None:
    info = read(make_pod("p", {"cpu": "x"}, gates=["g"], node="n"))
    assert (info.gates, info.signature) == ((), b"")
