"""Manifests: every shape is read, every mistake is named with place, value and remedy."""

from __future__ import annotations

import pytest
import yaml

from herz.errors import ConfigError
from herz.model import yaml_text
from herz.model.manifest import complete, read_manifests
from herz.model.objects import Node, Pod, PodGroup

_POD = """\
apiVersion: v1
kind: Pod
metadata:
  name: web
spec:
  containers:
  - name: main
    resources:
      requests:
        cpu: 1.5
"""


def _pod(data: str) -> Pod:
    (manifest,) = read_manifests(data.encode(), source="a.yaml")
    assert isinstance(manifest.object, Pod)
    return manifest.object


def _cpu(text: str) -> object:
    pod = _pod(_POD.replace("1.5", text))
    return pod.spec.containers[0].resources.requests["cpu"]


@pytest.mark.parametrize(
    ("text", "raw"),
    [
        ("1.5", "1.5"),
        ("0.12345678901234567890", "0.12345678901234567890"),
        ("1e3", "1e3"),
        ("1_000", 1000),
        ("010", 8),
        ("0x10", 16),
        ("08", 8),
        (".5", "0.5"),
        ("5.", 5),
        ("'010'", "010"),
        ("!!str 2", "2"),
        ("+2", 2),
    ],
)
def test_numbers_are_what_kubernetes_reads_and_exact(text: str, raw: object) -> None:
    assert _cpu(text) == raw


@pytest.mark.parametrize("text", ["1:30", ".inf", ".nan", "true", "yes", "2024-01-01", "[1]", "~"])
def test_what_is_no_quantity_is_refused_by_line(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        _cpu(text)
    assert caught.value.where.startswith("a.yaml:10"), caught.value


@pytest.mark.parametrize(
    ("old", "new", "where", "what"),
    [
        ("cpu: 1.5", "cpu: -1", "a.yaml:10 Pod web spec.containers[0].resources", "negative"),
        ("cpu: 1.5", "cpu: 1K", "a.yaml:10 Pod web spec.containers[0].resources", "unknown suffix"),
        ("cpu: 1.5", "cpu: 99E", "a.yaml:10", "too large"),
        ("name: web", "nam: web", "a.yaml:4 Pod metadata", "missing name"),
        ("name: web", "name: Web_1", "a.yaml:4 Pod Web_1 metadata.name", "not a name"),
        ("name: web", "name: 1.10", "a.yaml:4", "expected `str`"),
        ("kind: Pod", "kind: Pot", "a.yaml:2 kind", "unknown kind"),
        ("apiVersion: v1", "apiVersion: v2", "a.yaml:1 Pod apiVersion", "unknown apiVersion"),
        ("spec:", "spec:\n  tolerations:\n  - {key: a, effect: NoSchdule}", "a.yaml:7", "unknown"),
        ("spec:", "spec:\n  tolerations:\n  - {effect: NoSchedule}", "a.yaml:7", "no key"),
        ("spec:", "spec:\n  nodeSelector: {a: 1.10}", "a.yaml:6", "expected `str`, got `float`"),
        ("spec:", "spec:\n  nodeSelector: {a: }", "a.yaml:6", "no value"),
        ("spec:", "spec:\n  priority: high", "a.yaml:6 Pod web spec.priority", "expected `int"),
        ("spec:", "spec:\n  schedulingGates: [{name: a}, {name: a}]", "a.yaml:6", "twice"),
        ("spec:", "spec:\n  hostNetwork: true\n  hostNetwork: true", "a.yaml:7", "twice"),
        ("- name: main", "- nam: main", "a.yaml:7 Pod web spec.containers[0].name", "missing"),
        ("    resources:", "    resources: !foo", "a.yaml:8", "tag"),
    ],
)
def test_mistake_is_named_with_its_place(old: str, new: str, where: str, what: str) -> None:
    with pytest.raises(ConfigError) as caught:
        _pod(_POD.replace(old, new, 1))
    assert caught.value.where.startswith(where), caught.value
    assert what in caught.value.what, caught.value
    assert caught.value.fix, caught.value


_AFFINITY = """\
  affinity:
    nodeAffinity:
      requiredDuringSchedulingIgnoredDuringExecution:
        nodeSelectorTerms:
        - matchExpressions:
          - {key: zone, operator: OPERATOR, values: [a]}
    podAntiAffinity:
      preferredDuringSchedulingIgnoredDuringExecution:
      - weight: WEIGHT
        podAffinityTerm: {topologyKey: zone, labelSelector: {}}
  topologySpreadConstraints:
  - {maxSkew: SKEW, topologyKey: zone, whenUnsatisfiable: ACTION, labelSelector: {}}
"""


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [
        ("OPERATOR", "Inn", "operator"),
        ("OPERATOR", "Exists", "values"),
        ("WEIGHT", "101", "weight"),
        ("SKEW", "0", "maxSkew"),
        ("ACTION", "Maybe", "whenUnsatisfiable"),
    ],
)
def test_wrong_constraint_is_refused(name: str, value: str, field: str) -> None:
    values = {"OPERATOR": "In", "WEIGHT": "1", "SKEW": "1", "ACTION": "DoNotSchedule"}
    good = bad = _POD + _AFFINITY
    for key, text in values.items():
        good = good.replace(key, text)
        bad = bad.replace(key, value if key == name else text)
    assert _pod(good).spec.topology_spread_constraints
    with pytest.raises(ConfigError) as caught:
        _pod(bad)
    assert caught.value.where.endswith(field), caught.value


def test_lists_and_documents_give_all_objects_in_order() -> None:
    text = """\
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Node, metadata: {name: a}}
- {apiVersion: v1, kind: Node, metadata: {name: b}}
---
# nothing here
---
apiVersion: v1
kind: NodeList
items:
- metadata: {name: c}
"""
    found = read_manifests(text.encode(), source="f")
    assert [item.object.metadata.name for item in found] == ["a", "b", "c"]
    assert all(isinstance(item.object, Node) for item in found)
    assert found[1].where.startswith("f:5 Node b items[1]")


def test_json_numbers_stay_exact_and_values_may_follow_one_another() -> None:
    text = b'{"apiVersion":"v1","kind":"Node","metadata":{"name":"a"},"status":{"allocatable":' \
        b'{"cpu":9007199254740993.0,"memory":null}}}'  # fmt: skip
    with pytest.raises(ConfigError, match="no value"):
        read_manifests(text)
    text = text.replace(b',"memory":null', b"")
    first, second = read_manifests(text + text.replace(b'"a"', b'"b"'))
    assert isinstance(first.object, Node)
    assert first.object.status.allocatable == {"cpu": "9007199254740993.0"}
    assert second.object.metadata.name == "b"


def test_second_object_of_a_name_is_refused_with_both_places() -> None:
    with pytest.raises(ConfigError, match=r"second Pod.*a\.yaml:1") as caught:
        read_manifests(f"{_POD}---\n{_POD}".encode(), source="a.yaml")
    assert caught.value.where.startswith("a.yaml:12")


def test_same_name_after_defaulting_is_refused() -> None:
    other = _POD.replace("name: web", "name: web\n  namespace: default", 1)
    found = read_manifests(f"{_POD}---\n{other}".encode())
    with pytest.raises(ConfigError, match="second Pod"):
        complete(found)


@pytest.mark.parametrize(
    "data",
    [
        b'{"kind":',
        b"a: [b",
        b"5",
        b"\xff\xfe\x00",
        b"[" * 200_000,
        b"a: &a [*a]",
        b"{" + b'"a":{' * 500 + b"}" * 501,
        b"a: &a [x]\n<<: 5",
        b"? [a]\n: b",
        b"1: b",
        b'{"a":1,"a":2}',
        b'{"a":NaN}',
    ],
)
def test_unreadable_input_is_a_config_error(data: bytes) -> None:
    with pytest.raises(ConfigError) as caught:
        read_manifests(data, source="x")
    assert caught.value.where.startswith("x"), caught.value


def test_anchors_cannot_blow_up() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    with pytest.raises(ConfigError, match="aliases"):
        read_manifests("\n".join(lines).encode())


def test_anchors_and_merges_are_read() -> None:
    text = _POD.replace("metadata:\n  name: web", "metadata: {<<: &m {name: web}, labels: {a: b}}")
    assert _pod(text).metadata.name == "web"


def test_unlisted_spec_field_is_reported() -> None:
    (manifest,) = read_manifests(_POD.replace("spec:", "spec:\n  slices: 2").encode())
    assert manifest.unlisted == ("slices",)


def test_groups_of_both_apis_are_read() -> None:
    text = """\
apiVersion: scheduling.x-k8s.io/v1alpha1
kind: PodGroup
metadata: {name: a}
spec: {minMember: 3, minResources: {cpu: 1.5}}
---
apiVersion: scheduling.k8s.io/v1alpha2
kind: PodGroup
metadata: {name: b}
spec: {schedulingPolicy: {gang: {minCount: 4}}}
"""
    first, second = (item.object for item in read_manifests(text.encode()))
    assert isinstance(first, PodGroup)
    assert isinstance(second, PodGroup)
    assert (first.min_count, first.is_coscheduling) == (3, True)
    assert (second.min_count, second.is_coscheduling) == (4, False)


@pytest.mark.parametrize("loader", [yaml_text._Loader, yaml.SafeLoader])
@pytest.mark.parametrize("escape", ["\\U9001F600", "\\U00110000"])
def test_an_escape_beyond_unicode_is_refused_with_libyaml_and_without(
    monkeypatch: pytest.MonkeyPatch, loader: type, escape: str
) -> None:
    monkeypatch.setattr(yaml_text, "_Loader", loader)
    with pytest.raises(ConfigError, match="not YAML"):
        read_manifests(f'a: "{escape}"\n'.encode())
