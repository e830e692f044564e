"""TOML scenarios: what is read, and what is refused with file, field, value and remedy."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from herz.errors import ConfigError
from herz.world.sim.scenario import Protocol
from herz.world.sim.scenario_file import read_scenario_file

GOOD = """
[scenario]
name = "t"
[[nodes]]
name = "n"
count = 3
zones = ["a", "b"]
[[workloads]]
name = "w"
replicas = 4
cpu = "1"
"""


def read(tmp_path: Path, text: str) -> object:
    path = tmp_path / "s.toml"
    path.write_text(text, encoding="utf-8")
    return read_scenario_file(path)


def test_file_gives_nodes_and_pods_in_order(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text(GOOD, encoding="utf-8")
    scenario = read_scenario_file(path)
    content = scenario.open(random.Random(1))
    assert scenario.protocol is Protocol.ORDINARY
    assert [node.name for node in content.nodes] == ["n-0000", "n-0001", "n-0002"]
    arrivals = list(content.arrivals)
    assert content.pods_expected == len(arrivals) == 4
    assert len({arrival.pod.metadata.uid for arrival in arrivals}) == 4
    assert arrivals[0].pod.spec is arrivals[3].pod.spec


def test_curve_makes_pods_come_and_go(tmp_path: Path) -> None:
    text = (
        GOOD
        + '[workloads.arrive]\npattern="curve"\nevery="1m"\ncurve=[["0s",2],["10m",6],["20m",1]]\n'
    )
    path = tmp_path / "s.toml"
    path.write_text(text, encoding="utf-8")
    arrivals = list(read_scenario_file(path).open(random.Random(0)).arrivals)
    minute = 60 * 10**9
    for time_ns, wanted in ((0, 2), (10 * minute, 6), (15 * minute, 3), (20 * minute, 1)):
        alive = [
            one
            for one in arrivals
            if one.time_ns <= time_ns
            and (one.lifetime_ns is None or one.time_ns + one.lifetime_ns > time_ns)
        ]
        assert len(alive) == wanted, time_ns


@pytest.mark.parametrize(
    ("change", "where", "words"),
    [
        (("count = 3", "count = -1"), "nodes[0].count", ">= 0"),
        (("count = 3", 'count = "x"'), "nodes[0].count", "got 'x'"),
        (("replicas", "replcas"), "workloads[0].replcas", "unknown key"),
        (('name = "t"', 'nam = "t"'), "scenario.nam", "unknown key"),
        (('name = "t"', ""), "scenario.name", "missing"),
        (('cpu = "1"', 'cpu = "1zz"'), "workloads[0].cpu", "1zz"),
        (('cpu = "1"', 'cpu = "-1"'), "workloads[0].cpu", "negative"),
        (('cpu = "1"', "cpu = 1.5"), "workloads[0].cpu", "1.5"),
        (('cpu = "1"', 'run = "5 minutes"'), "workloads[0].run", "span"),
        (('cpu = "1"', 'run = ["9m", "2m"]'), "workloads[0].run", "swap"),
        (('cpu = "1"', 'tolerations = ["a=b:Nope"]'), "workloads[0].tolerations[0]", "NoSchedule"),
        (('cpu = "1"', 'priority_class = "gold"'), "workloads[0].priority_class", "gold"),
        (
            (
                'cpu = "1"',
                'per_node = true\narrive = {pattern = "curve", curve = [["0s", 9], ["9m", 9]]}',
            ),
            "workloads[0].per_node",
            "both say how many",
        ),
        (('cpu = "1"', "vary = { disk = [1] }"), "workloads[0].vary.disk", "unknown key"),
        (('cpu = "1"', "vary = { cpu = [] }"), "workloads[0].vary.cpu", "empty list"),
        (
            ('cpu = "1"', 'vary = { priority = ["x"] }'),
            "workloads[0].vary.priority",
            "not a priority",
        ),
        (
            ('cpu = "1"', "vary = { priority = [3_000_000_000] }"),
            "workloads[0].vary.priority",
            "not a priority",
        ),
        (('name = "w"', 'name = "W w"'), "workloads[0].name", "lower-case"),
        (('zones = ["a", "b"]', 'taints = ["x"]'), "nodes[0].taints[0]", "taint"),
        (('name = "t"', 'name = "t"\nduration = "0s"'), "scenario.duration", "time"),
        (
            ("[[nodes]]", "[faults]\nbind_lost = 2.0\n[[nodes]]"),
            "faults.bind_lost",
            "between 0 and 1",
        ),
        (("[[nodes]]", "[timing]\nwatch = 3\n[[nodes]]"), "timing.watch", "str"),
        (("[scenario]", "[scenario"), "s.toml", "no TOML"),
    ],
)
def test_wrong_file_is_refused_with_place_value_and_remedy(
    tmp_path: Path, change: tuple[str, str], where: str, words: str
) -> None:
    assert change[0] in GOOD
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, GOOD.replace(*change, 1))
    message = str(caught.value)
    assert str(tmp_path / "s.toml") in message
    assert where in message
    assert words in message
    assert caught.value.fix


@pytest.mark.parametrize(
    ("incident", "where"),
    [
        ('at = "1m"\nkind = "fail"\nnodes = ["n-0009"]', "incidents[0].nodes[0]"),
        ('at = "1m"\nkind = "fail"\ncount = 9', "incidents[0].count"),
        ('at = "1m"\nkind = "fail"\nuntil = "30s"', "incidents[0].until"),
        ('at = "1m"\nkind = "taint"', "incidents[0].taints"),
        ('at = "1m"\nkind = "explode"', "incidents[0].kind"),
    ],
)
def test_wrong_incident_is_refused(tmp_path: Path, incident: str, where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, f"{GOOD}[[incidents]]\n{incident}\n")
    assert where in str(caught.value)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't be read"):
        read_scenario_file(tmp_path / "none.toml")
