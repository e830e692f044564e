"""What the tests of spreading and of pod affinity share: small clusters, and where a pod fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from herz.model.decode import convert
from herz.model.objects import KubernetesObject, Namespace, Node, Pod
from herz.place.sheet import Sheet
from tests.support.machine import World, make_policy
from tests.support.objects import make_node, make_pod
from tests.support.strategies import HOST, WEB

Lying = tuple[str, Pod]


def places(*names: str, **given: Any) -> list[Node]:
    """Nodes: `a1` is node 1 of zone a, `-1` one without a zone."""
    return [place(name, **given) for name in names]


def place(name: str, **given: Any) -> Node:
    """One such node."""
    zone = {} if name.startswith("-") else {"zone": name[0]}
    return make_node(name, labels={HOST: name, **zone, **given.pop("labels", {})}, **given)


def lying(*nodes: str, namespace: str = "shop", **given: Any) -> list[Lying]:
    """Pods on these nodes, alike; `labels` are WEB's unless given."""
    given = {"labels": WEB, **given}
    return [
        (node, within(make_pod(f"on-{node}-{number}", **given), namespace))
        for number, node in enumerate(nodes)
    ]


def within(pod: Pod, namespace: str) -> Pod:
    """The pod in another namespace, with a uid of its own there."""
    if namespace == "shop":
        return pod
    uid = f"{namespace}-{pod.metadata.uid}"
    return replace(pod, metadata=replace(pod.metadata, namespace=namespace, uid=uid))


def owned(pod: Pod, kind: str, name: str, version: str = "apps/v1") -> Pod:
    """The pod as its controller made it."""
    owner = {"apiVersion": version, "kind": kind, "name": name, "controller": True}
    known = convert(Pod, {"metadata": {"ownerReferences": [owner]}})
    references = known.metadata.owner_references
    return replace(pod, metadata=replace(pod.metadata, owner_references=references))


def thing(kind: type[KubernetesObject], name: str, **content: Any) -> Any:
    """An object of the namespace of `make_pod`, or a namespace."""
    spaced = {} if kind is Namespace else {"namespace": "shop"}
    meta = {"name": name, "labels": content.pop("labels", {}), **spaced}
    return convert(kind, {"metadata": meta, **content})


def cluster(
    rule: str,
    nodes: Sequence[Node],
    pods: Sequence[Lying] = (),
    objects: Sequence[Any] = (),
    args: Mapping[str, Any] | None = None,
) -> World:
    """A world that one rule judges."""
    world = World(make_policy((rule,), {rule: args or {}})).nodes(*nodes)
    for one in objects:
        world.cluster.catalog.apply(one)
    for node, pod in pods:
        world.assign(pod, node)
    return world


def fits(world: World, pod: Pod) -> str:
    """The nodes on which the pod fits, sorted, in one text."""
    sheet = world.framework.sheet(world.read(pod))
    if not isinstance(sheet, Sheet):
        return sheet.reasons[0]
    rows = world.cluster.nodes.rows
    return " ".join(sorted(name for name, row in rows.items() if sheet.code(row) == 0))


def why_not(world: World, pod: Pod, node: str) -> str:
    """Why the pod does not fit on the node."""
    sheet = world.framework.sheet(world.read(pod))
    assert isinstance(sheet, Sheet)
    code = sheet.code(world.cluster.nodes.rows[node])
    assert code, "it fits"
    return world.book.verdict(code).reasons[0]


def points(world: World, pod: Pod) -> dict[str, int]:
    """The rule's points by node, from 0 to 100; empty when it gives none."""
    sheet = world.framework.sheet(world.read(pod))
    assert isinstance(sheet, Sheet)
    if not sheet.score_names:
        return {}
    found = sheet.table.points(0)
    return {name: int(found[row]) for name, row in world.cluster.nodes.rows.items()}
