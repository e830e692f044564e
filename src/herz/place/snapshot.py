"""The snapshot digest: one SHA3-384 over the named digests of everything a decision reads.

Each part is an LtHash over its elements, so that a change costs the same whatever the cluster's
size (ADR 0006). A part's element binds the identity and the content: a node's name and what is
read of it, a pod's digest and its node.
"""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from herz._native import LtHash
from herz.model.objects import Node
from herz.model.podinfo import PodInfo
from herz.place.columns import offered

PARTS: Final = ("nodes", "nominations", "objects", "pods", "queue", "reservations")
"""Nodes; nominations, and preemption's victims; the other objects that rules read; bound pods;
pods of ours without a node; and the nodes that some of these are to get.

Sorted; the digest is over them in this order, after the knowledge."""

_NAMED: Final = tuple((part, part.encode() + b"\0") for part in PARTS)
_encoder = msgspec.json.Encoder(order="sorted")


class SnapshotDigest:
    """Digests by part; `digest` puts them together."""

    def __init__(self) -> None:
        self._parts = {part: LtHash() for part in PARTS}

    def add(self, part: str, element: bytes) -> None:
        """One more element. Cost: 2 KiB of ChaCha20 (ADR 0008)."""
        self._parts[part].add(element)

    def remove(self, part: str, element: bytes) -> None:
        """One element less; the exact inverse of `add`."""
        self._parts[part].remove(element)

    def digest(self, knowledge: bytes) -> bytes:
        """48 bytes over all parts and the digest of the knowledge that the policy reads.

        Cost: one BLAKE2b of 2 KiB for each part that changed (ADR 0008).
        """
        parts = [name + self._parts[part].digest() for part, name in _NAMED]
        return hashlib.sha3_384(b"".join((b"knowledge\0", knowledge, *parts))).digest()


def node_element(node: Node) -> bytes:
    """A node's element: its name and what the rules read of it."""
    read = {
        "annotations": node.metadata.annotations,
        "labels": node.metadata.labels,
        "spec": node.spec,
        "allocatable": offered(node),
        "images": node.status.images,
        "features": node.status.declared_features,
    }
    return node.metadata.name.encode() + b"\0" + hashlib.sha3_384(_encoder.encode(read)).digest()


def placement_element(pod: PodInfo, node: str, devices: tuple[int, ...]) -> bytes:
    """A pod on a node, with its devices, and what preemption reads of its status."""
    place = pod.digest + f"{node}\0{','.join(map(str, devices)) if devices else ''}".encode()
    started, is_preempted = pod.pod.status.start_time, pod.pod.is_preempted
    if started is None and not is_preempted:
        return place
    return place + f"\0{started or ''}\0{'preempted' if is_preempted else ''}".encode()
