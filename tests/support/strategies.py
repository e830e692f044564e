"""Random nodes and pods for property tests: few values, so that they meet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from herz.model.objects import Node, Pod
from tests.support.objects import MEBIBYTE, make_node, make_pod

TAINTS = (
    ("team", "blue", "NoSchedule"),
    ("team", "red", "NoExecute"),
    ("spot", "", "PreferNoSchedule"),
    ("old", "yes", "PreferNoSchedule"),
)
FEATURE = "UserNamespacesHostNetworkSupport"
SPECIAL = "example.com/special"
HOST = "kubernetes.io/hostname"
WEB = {"app": "web"}
DB = {"app": "db"}


@st.composite
def nodes(draw: st.DrawFn, name: str) -> Node:
    """A node of that name: capacity, labels, taints, images and features from small sets."""
    labels = draw(
        st.fixed_dictionaries(
            {HOST: st.just(name)},
            optional={"zone": st.sampled_from(["a", "b"]), "rank": st.sampled_from("129")},
        )
    )
    more = draw(
        st.fixed_dictionaries(
            {},
            optional={
                SPECIAL: st.sampled_from(["0", "1", "3"]),
                "example.com/late": st.just("2"),
                "ephemeral-storage": st.just("10Gi"),
            },
        )
    )
    return make_node(
        name,
        cpu=draw(st.sampled_from(["0", "1", "2", "3"])),
        memory=draw(st.sampled_from(["512Mi", "1Gi", "4Gi"])),
        pods=draw(st.sampled_from(["2", "5"])),
        more=more,
        labels=labels,
        taints=draw(st.lists(st.sampled_from(TAINTS), max_size=2, unique=True)),
        unschedulable=draw(st.integers(0, 5)) == 0,
        images=draw(
            st.dictionaries(
                st.sampled_from(["web:1", "db:2"]),
                st.sampled_from([300 * MEBIBYTE, 900 * MEBIBYTE]),
                max_size=2,
            )
        ),
        features=draw(st.sampled_from([(), (FEATURE,)])),
    )


def affinity(required: list[Any] | None = None, preferred: list[Any] | None = None) -> Any:
    """The spec of a pod with node affinity."""
    return {
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": required
                and {"nodeSelectorTerms": required},
                "preferredDuringSchedulingIgnoredDuringExecution": preferred or [],
            }
        }
    }


def expressions(*items: tuple[str, str, list[str]]) -> dict[str, Any]:
    """A node selector term over labels."""
    return {"matchExpressions": [{"key": k, "operator": o, "values": v} for k, o, v in items]}


def spread(*constraints: tuple[str, int, str]) -> dict[str, Any]:
    """The spec of a pod whose like are to be spread: (key, maxSkew, whenUnsatisfiable) each."""
    return {
        "topologySpreadConstraints": [
            {
                "topologyKey": key,
                "maxSkew": skew,
                "whenUnsatisfiable": when,
                "labelSelector": {"matchLabels": WEB},
            }
            for key, skew, when in constraints
        ]
    }


def term(labels: dict[str, str], key: str) -> dict[str, Any]:
    """A pod affinity term."""
    return {"labelSelector": {"matchLabels": labels}, "topologyKey": key}


def pod_affinity(
    near: Sequence[Any] = (),
    anti: Sequence[Any] = (),
    prefers: Sequence[tuple[int, Any]] = (),
    avoids: Sequence[tuple[int, Any]] = (),
) -> dict[str, Any]:
    """The spec of a pod with pod affinity and anti-affinity."""
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    preferred = "preferredDuringSchedulingIgnoredDuringExecution"

    def weighted(terms: Sequence[tuple[int, Any]]) -> list[Any]:
        return [{"weight": weight, "podAffinityTerm": one} for weight, one in terms]

    return {
        "affinity": {
            "podAffinity": {required: list(near), preferred: weighted(prefers)},
            "podAntiAffinity": {required: list(anti), preferred: weighted(avoids)},
        }
    }


KINDS: tuple[tuple[dict[str, str], dict[str, Any]], ...] = (
    ({"cpu": "300m", "memory": "200Mi"}, {}),
    ({"cpu": "1", "memory": "600Mi"}, {}),
    ({}, {}),
    ({"memory": "1Gi"}, {}),
    ({"cpu": "100m"}, {"ports": [(80, "TCP", "")]}),
    ({"cpu": "100m"}, {"ports": [(80, "TCP", "10.0.0.1"), (81, "UDP", "")]}),
    ({"cpu": "100m"}, {"spec": {"nodeSelector": {"zone": "a"}}}),
    ({"cpu": "200m"}, {"spec": {"tolerations": [{"operator": "Exists"}]}}),
    (
        {"cpu": "200m"},
        {"spec": {"tolerations": [{"key": "team", "operator": "Equal", "value": "blue"}]}},
    ),
    ({"cpu": "100m"}, {"image": "web:1"}),
    ({SPECIAL: "1", "cpu": "100m"}, {}),
    ({"example.com/late": "1"}, {}),
    ({"ephemeral-storage": "6Gi"}, {}),
    (
        {"cpu": "100m", "memory": "100Mi"},
        {
            "spec": affinity(
                preferred=[
                    {"weight": 30, "preference": expressions(("zone", "In", ["a"]))},
                    {"weight": 7, "preference": expressions(("rank", "Gt", ["1"]))},
                ]
            )
        },
    ),
    (
        {"cpu": "100m"},
        {
            "spec": affinity(
                required=[
                    expressions(("zone", "NotIn", ["b"]), ("rank", "Exists", [])),
                    expressions(("rank", "Lt", ["2"])),
                ]
            )
        },
    ),
    (
        {"cpu": "100m"},
        {
            "spec": affinity(
                required=[
                    {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n2"]}]}
                ]
            )
        },
    ),
    ({"cpu": "100m"}, {"spec": {"hostNetwork": True, "hostUsers": False}}),
    (
        {"cpu": "100m"},
        {"labels": WEB, "spec": spread(("zone", 1, "DoNotSchedule"), ("rank", 2, "DoNotSchedule"))},
    ),
    (
        {"cpu": "100m"},
        {"labels": WEB, "spec": spread(("zone", 1, "ScheduleAnyway"), (HOST, 2, "ScheduleAnyway"))},
    ),
    ({"cpu": "100m"}, {"labels": DB, "spec": pod_affinity(anti=[term(DB, "zone")])}),
    ({"cpu": "100m"}, {"labels": WEB, "spec": pod_affinity(near=[term(DB, "zone")])}),
    (
        {"cpu": "100m"},
        {"labels": DB, "spec": pod_affinity(near=[term(DB, "zone"), term(DB, HOST)])},
    ),
    (
        {"cpu": "100m"},
        {
            "labels": WEB,
            "spec": pod_affinity(prefers=[(30, term(DB, "zone"))], avoids=[(7, term(WEB, HOST))]),
        },
    ),
    ({"cpu": "100m"}, {"labels": {"app": "other"}}),
)
"""Kinds of pods: each has a signature of its own."""


def pod_of(kind: int, name: str) -> Pod:
    """A pod of one of KINDS."""
    requests, others = KINDS[kind]
    return make_pod(name, requests, **others)
