"""The kinds that `deploy/crds` defines, on a server; good and bad objects of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import yaml

from tests.support.chart import ROOT
from tests.support.cluster import Client
from tests.support.live import until

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
Content = dict[str, Any]

_LATENCY: Content = {"kind": "latency", "targetMilliseconds": 50}
_FREE: tuple[tuple[Content, ...], tuple[Content, ...]] = (
    ({"spec": {}}, {"spec": {"whatever": [1, {"a": "b"}]}}),
    ({}, {"spec": "text"}, {"spec": []}),
)


def _class(**spec: Any) -> Content:
    return {"spec": {"objective": _LATENCY, **spec}}


def _promise(**objective: Any) -> Content:
    return {"spec": {"objective": objective}}


def _measured(**status: Any) -> Content:
    return {"status": status}


_PODS: Content = {"selector": {"matchLabels": {"app": "shop"}}}


def _learned(**status: Any) -> Content:
    return {"spec": _PODS, "status": status}


CASES: dict[str, tuple[tuple[Content, ...], tuple[Content, ...]]] = {
    **dict.fromkeys(
        ("topologypolicies", "clustertopologies", "consistencypolicies", "weightrules"), _FREE
    ),
    "slaclasses": (
        (
            _class(),
            _promise(kind="delay", targetMilliseconds=86_400_000, quantileBasisPoints=9_999),
            _promise(kind="completion", shareBasisPoints=10_000),
            _class(weight=1_000, windowSeconds=86_400, below="refuse"),
            _class(minimumProbabilityBasisPoints=0, explorationBasisPoints=0),
            _class(indicator={"query": "histogram_quantile(...)"}),
        ),
        (
            _promise(),
            _promise(kind="speed", targetMilliseconds=1),
            _promise(kind="latency"),
            _promise(kind="completion", targetMilliseconds=5),
            _promise(kind="latency", targetMilliseconds=0),
            _promise(kind="latency", targetMilliseconds=5, quantileBasisPoints=10_000),
            _promise(kind="latency", targetMilliseconds="5"),
            _class(weight=0),
            _class(windowSeconds=86_401),
            _class(below="panic"),
            _class(minimumProbabilityBasisPoints=10_001),
            _class(explorationBasisPoints=-1),
        ),
    ),
    "nodesignals": (
        (
            _measured(),
            _measured(featureSet="counters", signals={"cpu_pressure_basis_points": 120}),
            _measured(ageMilliseconds=0, validMilliseconds=1, signals={"a": -(1 << 52)}),
        ),
        (
            _measured(featureSet="guesses"),
            _measured(ageMilliseconds=-1),
            _measured(validMilliseconds=0),
            _measured(signals={"a": (1 << 52) + 1}),
            _measured(signals={"a": "much"}),
        ),
    ),
    "serviceprofiles": (
        (
            {"spec": {**_PODS, "slaClass": "online"}},
            _learned(samples=0, quietMicroseconds=1 << 52),
            _learned(
                traits={"cpu_burstiness": -5}, confidenceBasisPoints={"cpu_burstiness": 10_000}
            ),
        ),
        (
            {"spec": {}},
            {"spec": {"selector": "app=shop"}},
            _learned(samples=-1),
            _learned(quietMicroseconds=(1 << 52) + 1),
            _learned(traits={"a": "much"}),
            _learned(confidenceBasisPoints={"a": 10_001}),
        ),
    ),
}
"""By plural: what the definition takes, and what it refuses."""


@contextmanager
def defined(client: Client) -> Iterator[None]:
    """A server that takes definitions has ours while it lasts."""
    names = {f"{plural}.scheduling.herz.dev" for plural in CASES}
    for plural in CASES:
        text = (ROOT / "deploy" / "crds" / f"{plural}.yaml").read_text(encoding="utf-8")
        made = client.post(DEFINITIONS, yaml.safe_load(text))
        assert made.code == 201, made.content
    until(
        client,
        lambda found: names <= {*filter(None, map(_established, found.values()))},
        DEFINITIONS,
    )
    yield
    for name in names:
        client.delete(f"{DEFINITIONS}/{name}")
    until(client, lambda found: not names & set(found), DEFINITIONS)


def _established(definition: Content) -> str:
    """The definition's name, where its objects can be made."""
    # There is none at first, and the server says null.
    conditions = definition.get("status", {}).get("conditions") or ()
    is_so = any(one["type"] == "Established" and one["status"] == "True" for one in conditions)
    return str(definition["metadata"]["name"]) if is_so else ""
