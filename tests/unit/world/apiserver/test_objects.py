"""Fields, tables and credentials: the small parts of the embedded server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from herz.errors import ConfigError, WorldError
from herz.world.apiserver.credentials import credentials
from herz.world.apiserver.objects.kinds import KINDS, kind_of
from herz.world.apiserver.objects.schema import Decimal, conform, types
from herz.world.apiserver.objects.tables import columns_of, human_duration, row_of


def test_every_type_that_is_named_is_in_the_table() -> None:
    table = types()
    for kind in KINDS:
        assert not kind.schema or "metadata" in table[kind.schema], kind
    primitives = set("sybifqtxo")
    for name, fields in table.items():
        for field, field_type in fields.items():
            inner = field_type
            while inner.item is not None:
                inner = inner.item
            assert inner.name in primitives or inner.name in table, f"{name}.{field}: {inner.name}"
        numbers = [item.number for item in fields.values() if item.number]
        assert len(set(numbers)) == len(numbers), name


def test_unknown_fields_are_named_and_nulls_are_absent() -> None:
    given = {"metadata": {"name": "x", "labels": None, "odd": 1}, "spec": {"containers": [None]}}
    conformed, unknown = conform("Pod", given)
    assert conformed == {"metadata": {"name": "x"}, "spec": {"containers": []}}
    assert unknown == ["metadata.odd"]


@pytest.mark.parametrize(
    ("content", "where"),
    [
        ({"spec": []}, "spec"),
        ({"spec": {"containers": {}}}, "spec.containers"),
        ({"spec": {"containers": [{"name": 1}]}}, "spec.containers[0].name"),
        ({"spec": {"hostNetwork": "yes"}}, "spec.hostNetwork"),
        ({"spec": {"priority": Decimal("1.5")}}, "spec.priority"),
        ({"spec": {"priority": True}}, "spec.priority"),
        ({"spec": {"priority": 2**70}}, "spec.priority"),
        ({"spec": {"nodeSelector": {"a": 1}}}, "spec.nodeSelector.a"),
        ({"spec": {"overhead": {"cpu": "1x"}}}, "spec.overhead.cpu"),
        ({"metadata": {"creationTimestamp": "2026-01-31"}}, "metadata.creationTimestamp"),
        ({"metadata": {"name": Decimal("1.5")}}, "metadata.name"),
    ],
)
def test_a_field_of_another_type_is_named(content: dict[str, Any], where: str) -> None:
    with pytest.raises(ConfigError) as wrong:
        conform("Pod", content)
    assert wrong.value.where == where


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (125, "2m5s"),
        (600, "10m"),
        (10_799, "179m"),
        (10_800, "3h"),
        (12_000, "3h20m"),
        (8 * 3600, "8h"),
        (48 * 3600, "2d"),
        (50 * 3600, "2d2h"),
        (8 * 86_400, "8d"),
        (730 * 86_400, "2y"),
        (800 * 86_400, "2y70d"),
        (2920 * 86_400, "8y"),
    ],
)
def test_durations_are_written_as_kubectl_writes_them(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text


def pod(**status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p"}, "spec": {"containers": [{}, {}]}, "status": status}


def state(**state: Any) -> list[dict[str, Any]]:
    return [{"ready": False, "state": state, "restartCount": 2}]


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (pod(phase="Pending"), ["0/2", "Pending", "0"]),
        (
            pod(phase="Pending", containerStatuses=state(waiting={"reason": "ContainerCreating"})),
            ["0/2", "ContainerCreating", "2"],
        ),
        (
            pod(phase="Running", containerStatuses=[{"ready": True, "state": {"running": {}}}]),
            ["1/2", "Running", "0"],
        ),
        (
            pod(phase="Succeeded", containerStatuses=state(terminated={"reason": "Completed"})),
            ["0/2", "Completed", "2"],
        ),
        (pod(phase="Failed", reason="OutOfcpu"), ["0/2", "OutOfcpu", "0"]),
        (
            pod(
                conditions=[{"type": "PodScheduled", "reason": "SchedulingGated"}], phase="Pending"
            ),
            ["0/2", "SchedulingGated", "0"],
        ),
        (
            {**pod(phase="Running"), "metadata": {"name": "p", "deletionTimestamp": "x"}},
            ["0/2", "Terminating", "0"],
        ),
    ],
)
def test_a_pods_row_says_how_it_is(content: dict[str, Any], wanted: list[str]) -> None:
    assert row_of(kind_of("pods"), content)[1:4] == wanted


def test_every_kind_has_a_row_for_an_object_that_says_nothing() -> None:
    for kind in KINDS:
        if not kind.storage:
            cells = row_of(kind, {"metadata": {"name": "x"}})
            assert len(cells) == len(columns_of(kind))
            assert "x" in cells


def test_credentials_are_made_once_and_renewed_for_another_host(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    first = credentials(folder, "127.0.0.1")
    again = credentials(folder, "127.0.0.1")
    assert again.token == first.token
    certificate, authority = (folder / "server.crt").read_bytes(), first.ca.read_bytes()
    assert credentials(folder, "::1").context() is not None
    assert (folder / "server.crt").read_bytes() == certificate
    credentials(folder, "192.0.2.7")
    assert (folder / "server.crt").read_bytes() != certificate
    assert first.ca.read_bytes() == authority
    first.write_kubeconfig("::1", 7)
    assert "https://[::1]:7" in first.kubeconfig.read_text()


def test_credentials_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    credentials(folder, "127.0.0.1")
    (folder / "token").write_text("")
    with pytest.raises(WorldError, match="empty"):
        credentials(folder, "127.0.0.1")
    (folder / "server.crt").write_text("no certificate")
    with pytest.raises(WorldError, match="cannot be made or read"):
        credentials(folder, "127.0.0.1")
    (tmp_path / "file").write_text("")
    with pytest.raises(WorldError):
        credentials(tmp_path / "file" / "data", "127.0.0.1")
