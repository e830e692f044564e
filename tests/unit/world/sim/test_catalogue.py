"""Names and paths: built-in scenarios, manifests, and options that do not apply."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from herz.errors import ConfigError
from herz.world.sim.catalogue import load_scenario, scenario_names

ROOT = Path(__file__).parents[4]
MANIFEST = """
apiVersion: v1
kind: Node
metadata: {name: n1}
status: {allocatable: {cpu: "4", memory: 8Gi, pods: "10"}}
---
apiVersion: v1
kind: Pod
metadata: {name: p1, labels: {herz.dev/sla-class: gold}}
spec: {containers: [{name: c, resources: {requests: {cpu: "1"}}}]}
"""


@pytest.mark.parametrize("name", ["shop", "basic-5000", "mixed-5000", "order-rungs"])
def test_built_in_scenarios_can_be_read(name: str) -> None:
    assert name in scenario_names()
    scenario = load_scenario(name)
    assert scenario.name == name
    assert scenario.description


def test_shop_has_a_few_thousand_pods() -> None:
    content = load_scenario("shop").open(random.Random(0))
    assert 4_000 < content.pods_expected < 8_000
    assert content.actions


def test_mixed_has_500_signatures_on_50_shapes() -> None:
    content = load_scenario("mixed-5000").open(random.Random(0))
    shapes = {str(node.status.allocatable) for node in content.nodes}
    specs = {id(arrival.pod.spec) for arrival in content.arrivals}
    assert (len(content.nodes), len(shapes)) == (5000, 50)
    assert len(specs) == 500


def test_benches_read_the_same_files() -> None:
    for name in ("basic-5000", "mixed-5000"):
        bench = ROOT / "bench" / "workloads" / f"{name}.toml"
        built_in = ROOT / "src/herz/world/sim/scenarios" / f"{name}.toml"
        assert bench.read_bytes() == built_in.read_bytes()


def test_manifests_give_nodes_and_pods(tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text(MANIFEST, encoding="utf-8")
    for path in (tmp_path, tmp_path / "all.yaml"):
        scenario = load_scenario(str(path))
        content = scenario.open(random.Random(0))
        pod = next(content.arrivals).pod
        assert scenario.classes == ("gold",)
        assert pod.spec.scheduler_name == "default-scheduler"
        assert scenario.schedulers == ("default-scheduler",)
        assert pod.metadata.uid
        assert [node.name for node in content.nodes] == ["n1"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (MANIFEST.partition("---")[2], "no node"),
        (MANIFEST.replace("spec: {", "spec: {nodeName: n9, "), "n9"),
        (MANIFEST.replace('cpu: "1"', 'cpu: "1x"'), "1x"),
        (MANIFEST + "---" + MANIFEST, "n1"),
        ("a: [", "all.yaml"),
    ],
)
def test_wrong_manifest_is_refused_with_its_file(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "all.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_scenario(str(tmp_path))
    assert words in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_unknown_name_is_refused_with_the_names(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="basic-5000") as caught:
        load_scenario("shopp")
    assert "shopp" in str(caught.value)
    with pytest.raises(ConfigError, match="no manifest"):
        load_scenario(str(tmp_path))


def test_options_that_do_not_apply_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--load"):
        load_scenario("shop", load=1.3)
    with pytest.raises(ConfigError, match="--data"):
        load_scenario("openb")
    with pytest.raises(ConfigError, match="--list"):
        load_scenario("swf", data=tmp_path)


def test_documented_file_can_be_read(tmp_path: Path) -> None:
    text = (ROOT / "docs/reference/scenarios.md").read_text(encoding="utf-8")
    block = text.partition("```toml\n")[2].partition("```")[0]
    path = tmp_path / "documented.toml"
    path.write_text(block, encoding="utf-8")
    content = load_scenario(str(path)).open(random.Random(0))
    assert len(content.nodes) == 6
    assert content.pods_expected == 10
    assert content.actions
