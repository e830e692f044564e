"""`herz sla profile`: samples in, a profile out that the cluster takes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from herz.front.cli.entry import main
from herz.knowledge.sla.profiles import DIMENSIONS, PRIOR
from herz.model.manifest import read_manifests
from herz.model.objects import ServiceProfile


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """180 samples of a square wave of cpu, and a P99 that follows the jitter."""
    lines = [
        json.dumps(
            {
                "cpu_milli": 900 if i % 2 else 300,
                "jitter_us": 100 * (i % 10),
                "ratio_bp": 10_000 + 700 * (i % 10),
                "io_rate": None,
            }
        )
        for i in range(180)
    ]
    path = tmp_path / "web.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


def run(*arguments: str) -> int:
    return main(["sla", "profile", *arguments])


def test_yaml_is_an_object_of_the_cluster(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ("--data", str(data), "--service", "shop/web", "--class", "online", "--quiet", "25000")
    assert run(*given, "--output", "yaml") == 0
    (found,) = read_manifests(capsys.readouterr().out.encode())
    thing = found.object
    assert isinstance(thing, ServiceProfile)
    assert (thing.metadata.key, thing.spec.sla_class) == ("shop/web", "online")
    assert thing.status.quiet_microseconds == 25_000
    # 180 samples are trusted to nine tenths; the rest is the prior's.
    assert thing.status.traits["cpu_burstiness"] == (5_000 * 9 + PRIOR["cpu_burstiness"]) // 10
    assert thing.status.traits["network_jitter_sensitivity"] == (700 * 9 + 500) // 10
    assert thing.status.traits["io_stability"] == PRIOR["io_stability"]


def test_table_tells_every_dimension(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--data", str(data), "--service", "shop/web") == 0
    told = capsys.readouterr().out
    assert all(name in told for name in DIMENSIONS)
    assert "90.00 %" in told


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("{", "not a sample"),
        ('{"cpu_milli": "much"}', "not a sample"),
        ('{"cpu_milli": NaN}', "not a sample"),
        ('{"sunshine": 3}', "unknown field"),
        ('{"cpu_milli": -1}', "out of range"),
    ],
)
def test_wrong_lines_are_refused_by_place(
    data: Path, line: str, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data.write_text('{"cpu_milli": 1}\n' + line + "\n")
    assert run("--data", str(data), "--service", "shop/web") == 2
    told = capsys.readouterr().err
    assert what in told
    assert "web.jsonl:2" in told.replace("\n", "")


def test_wrong_options_are_refused(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--data", str(data), "--service", "web") == 2
    assert run("--data", str(data), "--service", "a/b", "--quiet", "-1") == 2
    assert run("--data", str(data.parent / "none"), "--service", "a/b") == 3
    assert "cannot read" in capsys.readouterr().err
