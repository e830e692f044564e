"""Random lives of a cluster for the hints: pods that are easily rejected, and what may help them.

Few values everywhere, so that pods, nodes and objects concern each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from msgspec.structs import replace

from herz.model.decode import convert
from herz.model.objects import (
    COSCHEDULING_GROUP_LABEL,
    KubernetesObject,
    Namespace,
    Node,
    Pod,
    PodGroup,
    ReplicaSet,
    Service,
)
from tests.support import strategies as some
from tests.support.objects import make_node, make_pod
from tests.support.strategies import DB, HOST, WEB, pod_affinity, spread, term

Kind = tuple[dict[str, str], dict[str, Any]]
LITTLE = {"cpu": "100m"}
ABOVE = {"namespaceSelector": {"matchLabels": {"team": "x"}}}


def even(**more: Any) -> dict[str, Any]:
    """The spec of a pod that spreads hard over zones, with more said of its one constraint."""
    spec = spread(("zone", 1, "DoNotSchedule"))
    spec["topologySpreadConstraints"][0] |= more
    return spec


def owned(**labels: str) -> dict[str, Any]:
    """A pod of the replica set `set`."""
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "set", "controller": True}
    return {"labels": labels, "owners": [owner]}


def grouped(name: str) -> dict[str, Any]:
    """A pod of a gang: `g` is of the API whose pods join by label, `h` of the other."""
    if name == "g":
        return {"labels": {COSCHEDULING_GROUP_LABEL: name}}
    return {"spec": {"schedulingGroup": {"podGroupName": name}}}


KINDS: Mapping[str, tuple[Kind, ...]] = {
    "NodeResourcesFit": (
        ({"cpu": "1"}, {}),
        ({"cpu": "2"}, {}),
        ({"memory": "1Gi"}, {}),
        ({some.SPECIAL: "1"}, {}),
        ({"example.com/late": "1"}, {}),
    ),
    "NodePorts": (
        (LITTLE, {"ports": [(80, "TCP", "")]}),
        (LITTLE, {"ports": [(80, "TCP", "10.0.0.1"), (81, "UDP", "")]}),
    ),
    "NodeUnschedulable": ((LITTLE, {}), (LITTLE, {"spec": {"tolerations": [{"key": "team"}]}})),
    "TaintToleration": (
        (LITTLE, {}),
        (LITTLE, {"spec": {"tolerations": [{"key": "team", "value": "blue"}]}}),
    ),
    "NodeAffinity": (
        (LITTLE, {"spec": {"nodeSelector": {"zone": "a"}}}),
        (LITTLE, {"spec": some.affinity([some.expressions(("rank", "Gt", ["1"]))])}),
        (
            LITTLE,
            {
                "spec": some.affinity(
                    [
                        {
                            "matchFields": [
                                {"key": "metadata.name", "operator": "In", "values": ["n2"]}
                            ]
                        }
                    ]
                )
            },
        ),
    ),
    "NodeDeclaredFeatures": ((LITTLE, {"spec": {"hostNetwork": True, "hostUsers": False}}),),
    "PodTopologySpread": (
        (LITTLE, {"labels": WEB, "spec": even()}),
        (LITTLE, {"labels": WEB, "spec": even(minDomains=2)}),
        (LITTLE, {"labels": WEB, "spec": even(nodeTaintsPolicy="Honor")}),
        (LITTLE, {"labels": WEB, "spec": even(matchLabelKeys=["version"])}),
        (LITTLE, {"labels": WEB, "spec": even() | {"nodeSelector": {"rank": "1"}}}),
        (LITTLE, {"labels": WEB}),
        (LITTLE, {"labels": DB}),
        (LITTLE, owned(app="web")),
    ),
    "InterPodAffinity": (
        (LITTLE, {"labels": DB, "spec": pod_affinity(anti=[term(DB, "zone")])}),
        (LITTLE, {"labels": DB, "spec": pod_affinity(near=[term(DB, "zone")])}),
        (LITTLE, {"labels": DB, "spec": pod_affinity(near=[term(DB, "zone"), term(DB, HOST)])}),
        # Few nodes have a rank: who is sought often lies where this pod cannot go.
        (LITTLE, {"labels": DB, "spec": pod_affinity(near=[term(DB, "rank"), term(DB, HOST)])}),
        (LITTLE, {"labels": WEB, "spec": pod_affinity(near=[term(DB, "zone")])}),
        (LITTLE, {"labels": WEB, "spec": pod_affinity(near=[term(DB, "zone") | ABOVE])}),
        (LITTLE, {"labels": WEB, "spec": pod_affinity(anti=[term(WEB, "zone") | ABOVE])}),
        (LITTLE, {"labels": WEB}),
        (LITTLE, {"labels": DB}),
    ),
    "GangScheduling": tuple(
        ({"cpu": cpu}, grouped(name)) for cpu in ("1", "2", "3") for name in ("g", "g", "h")
    ),
}
"""Kinds of pods by the rule that is to reject them."""
EVERY = tuple(kind for kinds in KINDS.values() for kind in kinds)
"""All of them."""


def pod_of(
    kind: Kind,
    name: str,
    *,
    node: str = "",
    namespace: str = "shop",
    labels: Mapping[str, str] | None = None,
    **given: Any,
) -> Pod:
    """A pod of this kind; `labels` are put over its own."""
    requests, others = kind
    more = {key: value for key, value in others.items() if key not in ("labels", "owners")}
    own = {**others.get("labels", {}), **(labels or {})}
    pod = make_pod(name, requests, node=node, labels=own, **more, **given)
    owners = convert(Pod, {"metadata": {"ownerReferences": others.get("owners", [])}})
    meta = replace(
        pod.metadata, namespace=namespace, owner_references=owners.metadata.owner_references
    )
    return replace(pod, metadata=meta)


def node_of(chance: Random, name: str) -> Node:
    """A node of that name, poorer than those of `strategies`: most pods fit on few of them."""
    places: list[dict[str, str]] = [{}, {"zone": "a"}, {"zone": "b"}, {"zone": "a", "rank": "1"}]
    places += [{"zone": "b", "rank": "2"}, {"zone": "b"}]
    return make_node(
        name,
        cpu=chance.choice(["0", "1", "2", "3"]),
        memory=chance.choice(["4Gi", "512Mi"]),
        more=chance.choice([{}, {some.SPECIAL: "1"}, {"example.com/late": "1"}]),
        labels={HOST: name, **chance.choice(places)},
        taints=chance.choice([(), (), some.TAINTS[:1], some.TAINTS[1:2]]),
        unschedulable=chance.random() < 0.3,
        features=chance.choice([(), (some.FEATURE,)]),
    )


def tweaked(node: Node, like: Node, aspect: str) -> Node:
    """The node, in one aspect as the other."""
    if aspect == "labels":
        return replace(node, metadata=like.metadata)
    if aspect in ("taints", "unschedulable"):
        return replace(node, spec=replace(node.spec, **{aspect: getattr(like.spec, aspect)}))
    return replace(node, status=replace(node.status, **{aspect: getattr(like.status, aspect)}))


def _object(kind: type[KubernetesObject], name: str, **content: Any) -> Any:
    spaced = {} if kind is Namespace else {"namespace": "shop"}
    labels = content.pop("labels", {})
    content = {"metadata": {"name": name, "labels": labels, **spaced}, **content}
    return convert(kind, content)


def _group(name: str, count: int) -> PodGroup:
    if name == "g":
        spec: dict[str, Any] = {"minMember": count}
        version = "scheduling.x-k8s.io/v1alpha1"
    else:
        spec = {"schedulingPolicy": {"gang": {"minCount": count}}}
        version = "scheduling.k8s.io/v1alpha2"
    found: PodGroup = _object(PodGroup, name, apiVersion=version, spec=spec)
    return found


def object_of(chance: Random) -> KubernetesObject:
    """An object that rules read, besides nodes and pods."""
    app, match = chance.choice(["web", "db"]), "matchLabels"
    objects: tuple[Any, ...] = (
        _object(Namespace, chance.choice(["shop", "bank"]), labels={"team": chance.choice("xy")}),
        _object(Service, "service", spec={"selector": {"app": app}}),
        _object(ReplicaSet, "set", spec={"selector": {match: {"app": app}}}),
        _group(chance.choice("ggh"), chance.randint(1, 4)),
    )
    found: KubernetesObject = chance.choice(objects)
    return found
