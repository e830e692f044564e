"""CRDs, dashboard and rules: they fit what Herz serves, measures and is."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from herz import signals
from herz.errors import ConfigError
from herz.model.decode import convert
from herz.model.objects import NodeSignals, ServiceProfile, SLAClass
from herz.model.validate_service_levels import (
    validate_class,
    validate_profile,
    validate_signals,
)
from herz.world.apiserver.objects.kinds import HERZ_GROUP, KINDS
from herz.world.kube.metrics import GuardMetrics, Metrics
from tests.support.definitions import CASES

Content = dict[str, Any]

DEPLOY = Path(__file__).parents[3] / "deploy"
CRDS = sorted((DEPLOY / "crds").glob("*.yaml"))
RULES = DEPLOY / "prometheus" / "herz.rules.yaml"
PROMTOOL = os.environ.get("PROMTOOL") or shutil.which("promtool") or ""
needs_promtool = pytest.mark.skipif(not PROMTOOL, reason="there is no promtool here")
FUNCTIONS = {
    *("sum", "rate", "increase", "histogram_quantile", "max", "by", "or", "and", "vector"),
    "topk",
}


@pytest.mark.parametrize("path", CRDS, ids=lambda path: path.stem)
def test_a_definition_is_what_the_embedded_server_serves(path: Path) -> None:
    definition = yaml.safe_load(path.read_text(encoding="utf-8"))
    (kind,) = [one for one in KINDS if one.qualified == definition["metadata"]["name"]]
    spec = definition["spec"]
    assert spec["group"] == kind.group
    assert spec["names"]["kind"] == kind.name
    assert spec["names"]["plural"] == kind.resource
    assert spec["names"]["singular"] == kind.singular
    assert spec["scope"] == ("Namespaced" if kind.is_namespaced else "Cluster")
    (version,) = spec["versions"]
    assert (version["name"], version["served"], version["storage"]) == (kind.version, True, True)
    assert ("status" in version["subresources"]) == kind.has_status
    problems = list(unstructural(version["schema"]["openAPIV3Schema"], "schema"))
    assert not problems


def test_there_is_a_definition_for_each_of_our_kinds() -> None:
    assert {path.stem for path in CRDS} == {
        one.resource for one in KINDS if one.group == HERZ_GROUP
    }


def unstructural(schema: Content, at: str) -> Iterator[str]:
    """What the API server would not take as a structural schema."""
    if "type" not in schema and not schema.get("x-kubernetes-int-or-string"):
        yield f"{at}: no type"
    if schema.get("type") == "array" and "items" not in schema:
        yield f"{at}: an array of what"
    known = {"type", "description", "required", "properties", "items", "enum", "minimum", "maximum"}
    known |= {
        "additionalProperties",
        "pattern",
        "maxLength",
        "minLength",
        "maxItems",
        "maxProperties",
        "default",
        "format",
    }
    for key in schema:
        if key not in known and not key.startswith("x-kubernetes-"):
            yield f"{at}: {key}"
    for name in schema.get("required", ()):
        if name not in schema.get("properties", {}):
            yield f"{at}: {name} is required and unknown"
    for rule in schema.get("x-kubernetes-validations", ()):
        if not {"rule", "message"} <= rule.keys():
            yield f"{at}: a rule without a message"
    for name, inner in schema.get("properties", {}).items():
        yield from unstructural(inner, f"{at}.{name}")


def test_the_check_sees_what_is_not_structural() -> None:
    bad = {"type": "object", "properties": {"a": {"oneOf": []}, "b": {"type": "array"}}}
    assert len(list(unstructural(bad, "schema"))) == 3


def measured() -> dict[str, set[str]]:
    """Labels by the name of each sample that Herz can show."""
    found: dict[str, set[str]] = {}
    incoming = {("active", "UnscheduledPodAdd"): 1}
    one = {"nodes": 1}
    metrics = Metrics(lambda: 0, dict, lambda: {"active": 1}, lambda: one, lambda: incoming)
    guard = GuardMetrics()
    for registry in (metrics.registry, guard.registry):
        for family in registry.collect():
            labels = {label for one in family.samples for label in one.labels}
            for collector, names in registry._collector_to_names.items():
                if family.name in names:
                    labels |= set(getattr(collector, "_labelnames", ()))
            suffixes = {"counter": ("_total",), "gauge": ("",)}
            for suffix in suffixes.get(family.type, ("_bucket", "_sum", "_count")):
                found[family.name + suffix] = labels | ({"le"} if suffix == "_bucket" else set())
    for value in vars(signals).values():
        if isinstance(value, str) and value.startswith("herz_"):
            name, _, text = value.partition("{")
            found[name] = set(re.findall(r"(\w+)=", text))
    return found


def expressions() -> list[str]:
    """All of the dashboard and of the rules."""
    dashboard = json.loads((DEPLOY / "grafana" / "herz.json").read_text(encoding="utf-8"))
    panels = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [*panels, *(rule["expr"] for group in groups for rule in group["rules"])]


def problems_of(expression: str) -> list[str]:
    """Names and labels of an expression that Herz does not show."""
    known = measured()
    recorded = set(re.findall(r"record: (\S+)", RULES.read_text(encoding="utf-8")))
    bare = re.sub(r'"[^"]*"', '""', expression)
    grouped = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", bare))))
    matched = set(re.findall(r"(\w+)=", bare))
    without = re.sub(r"by \([^)]*\)|\{[^}]*\}|\[[^\]]*\]", "", bare)
    names = set(re.findall(r"[a-z_][\w:]*", without)) - FUNCTIONS
    wrong = sorted(name for name in names if name not in known and name not in recorded)
    labels: set[str] = {"instance"}
    for name in names:
        labels |= known.get(name, set())
    return wrong + sorted((grouped | matched) - labels)


@pytest.mark.parametrize("expression", expressions())
def test_every_expression_is_over_what_is_measured(expression: str) -> None:
    assert not problems_of(expression)


def test_the_check_sees_what_is_not_measured() -> None:
    assert problems_of("rate(scheduler_attempts_total[5m])") == ["scheduler_attempts_total"]
    assert problems_of("sum by (colour) (herz_stale)") == ["colour"]


def test_the_page_of_metrics_lists_all_of_them() -> None:
    page = (DEPLOY.parent / "docs" / "reference" / "operations.md").read_text(encoding="utf-8")
    shown = {
        re.sub(r"_(bucket|sum|count)$", "", name)
        for name in measured()
        if name not in vars(signals).values()
    }
    own = {value.partition("{")[0] for value in vars(signals).values() if isinstance(value, str)}
    assert not [name for name in sorted(shown - own) if f"`{name}`" not in page]


@needs_promtool
@pytest.mark.slow
@pytest.mark.parametrize("words", [("check", "herz.rules.yaml"), ("test", "herz.rules.test.yaml")])
def test_promtool_takes_the_rules(words: tuple[str, str]) -> None:
    verb, name = words
    command = [PROMTOOL, verb, "rules", name]
    folder = DEPLOY / "prometheus"
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
@pytest.mark.slow
def test_promtool_takes_the_dashboards_expressions(tmp_path: Path) -> None:
    def check(shown: list[str]) -> int:
        rules = [
            {"record": f"x:{index}", "expr": one.replace("$__rate_interval", "5m")}
            for index, one in enumerate(shown)
        ]
        path = tmp_path / "dashboard.yaml"
        path.write_text(yaml.safe_dump({"groups": [{"name": "g", "rules": rules}]}))
        done = subprocess.run(
            [PROMTOOL, "check", "rules", str(path)], capture_output=True, timeout=60, check=False
        )
        return done.returncode

    assert check(expressions()) == 0
    assert check([*expressions(), "sum by (le"]) != 0


CHECKS: dict[str, Callable[[Content], object]] = {
    "slaclasses": lambda content: validate_class(convert(SLAClass, content)),
    "nodesignals": lambda content: validate_signals(convert(NodeSignals, content)),
    "serviceprofiles": lambda content: validate_profile(convert(ServiceProfile, content)),
}


@pytest.mark.parametrize("plural", sorted(CHECKS))
def test_herz_refuses_what_the_definition_does(plural: str) -> None:
    """`make e2e-real` holds the same objects against a real server with the definition."""
    check, (good, bad) = CHECKS[plural], CASES[plural]
    for content in good:
        check({**content, "metadata": {"name": "x"}})
    for content in bad:
        with pytest.raises(ConfigError):
            check({**content, "metadata": {"name": "x"}})


def test_each_definition_has_objects_that_it_takes_and_refuses() -> None:
    assert CASES.keys() == {path.stem for path in CRDS}
    assert all(good and bad for good, bad in CASES.values())
