"""Nodes and pods from a few plain values, in the shape in which the API would serve them."""

from __future__ import annotations

from collections.abc import Mapping

from herz.model.objects import (
    Affinity,
    Container,
    ContainerImage,
    ContainerPort,
    Node,
    NodeAffinity,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    NodeSpec,
    NodeStatus,
    ObjectMeta,
    PreferredSchedulingTerm,
    ResourceRequirements,
    Taint,
)

HOSTNAME = "kubernetes.io/hostname"
SCHEDULER_NAME = "herz"


def make_node(
    name: str,
    allocatable: Mapping[str, str | int],
    labels: Mapping[str, str],
    *,
    taints: tuple[Taint, ...] = (),
    images: tuple[tuple[str, int], ...] = (),
) -> Node:
    """A node whose capacity is its allocatable; its hostname label is added."""
    amounts = dict(allocatable)
    return Node(
        metadata=ObjectMeta(name=name, uid=f"node-{name}", labels={HOSTNAME: name, **labels}),
        spec=NodeSpec(taints=taints),
        status=NodeStatus(
            allocatable=amounts,
            capacity=amounts,
            images=tuple(ContainerImage(names=(image,), size_bytes=size) for image, size in images),
        ),
    )


def make_container(
    requests: Mapping[str, str | int], *, image: str = "", host_port: int | None = None
) -> Container:
    """The one container of a pod."""
    ports: tuple[ContainerPort, ...] = ()
    if host_port is not None:
        ports = (ContainerPort(container_port=host_port, host_port=host_port, protocol="TCP"),)
    resources = ResourceRequirements(requests=dict(requests))
    return Container(name="main", image=image, resources=resources, ports=ports)


def one_of(key: str, values: tuple[str, ...]) -> NodeSelectorRequirement:
    """The label is one of the values."""
    return NodeSelectorRequirement(key=key, operator="In", values=values)


def make_affinity(
    required: tuple[NodeSelectorRequirement, ...] = (),
    preferred: tuple[NodeSelectorRequirement, ...] = (),
) -> Affinity | None:
    """Node affinity with one required term and one preferred term; None when both are empty."""
    if not required and not preferred:
        return None
    selector = None
    if required:
        selector = NodeSelector(node_selector_terms=(NodeSelectorTerm(match_expressions=required),))
    likes: tuple[PreferredSchedulingTerm, ...] = ()
    if preferred:
        term = NodeSelectorTerm(match_expressions=preferred)
        likes = (PreferredSchedulingTerm(weight=50, preference=term),)
    return Affinity(node_affinity=NodeAffinity(required=selector, preferred=likes))
