"""What the scheduler keeps of a pod: the object, and what is computed from it once at intake."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from herz.model.objects import Pod
from herz.model.resources import HostPort
from herz.model.terms import Term


class Dependency(NamedTuple):
    """One pod that must be decided earlier, from the annotation `herz.dev/after`.

    Attributes:
        name: the other pod's name, in the namespace of the pod that carries the annotation.
        weight_thousandths: how much it matters, 0 to 1000; over 850 the edge is strong.
    """

    name: str
    weight_thousandths: int = 1000


class GpuShare(msgspec.Struct, frozen=True, gc=False):
    """What a pod asks of shared accelerators.

    Args:
        count: how many devices; 0 when none is asked.
        milli: how much of each, 1 to 1000; 1000 is the whole device.
    """

    count: int = 0
    milli: int = 0


class PodGroupKey(NamedTuple):
    """What selectors see of a pod: pods that share it are the same to every selector.

    Attributes:
        namespace: the pod's.
        labels: the pod's, sorted.
        is_terminating: whether it is being deleted; spreading does not count it then.
    """

    namespace: str
    labels: tuple[tuple[str, str], ...]
    is_terminating: bool


class PodInfo(msgspec.Struct, frozen=True, eq=False, kw_only=True, gc=False):
    """A pod as the queue and the rules see it. Compared by identity; a changed pod is a new one.

    Args:
        pod: the object.
        uid: the pod's identity; names are reused, uids never.
        priority: resolved priority.
        gates: reasons for which it may not be queued, sorted; empty when it may, or has a node.
        after: parsed `herz.dev/after`.
        requests: by resource name, sorted, what it takes of a node: cpu in milli, others in
            units; `pods` is 1. Only what is above zero.
        nonzero: cpu milli and memory bytes as scoring counts the pod once it is on a node.
        scoring: the same while it is coming in (Kubernetes counts the two differently).
        ports: host ports.
        gpu: shared accelerators.
        group: what selectors see of it.
        terms: its pod affinity and anti-affinity; empty when `terms_problem` is not.
        terms_problem: why its terms cannot be understood; empty when they can.
        signature: pods of one profile and signature get the same codes and points from every rule;
            empty when it has a node.
        digest: SHA3-384 of what is read of the pod.
        order_key: keyed 64-bit hash of the uid, for the permutation digest.
        tie_key: first 8 bytes of SHA3-256 of the uid, for ties between nodes.
        pod_group: key of its PodGroup in the catalogue; empty when it is in none.
        unlisted: top-level spec fields that this release does not know.
        profile: which of the machine's profiles decides it, by index; 0 where none does.
    """

    pod: Pod
    uid: str
    namespace: str
    name: str
    priority: int
    gates: tuple[str, ...]
    after: tuple[Dependency, ...]
    requests: dict[str, int]
    nonzero: tuple[int, int]
    scoring: tuple[int, int]
    ports: tuple[HostPort, ...]
    gpu: GpuShare
    signature: bytes
    digest: bytes
    order_key: int
    tie_key: int
    group: PodGroupKey
    terms: tuple[Term, ...] = ()
    terms_problem: str = ""
    pod_group: str = ""
    unlisted: tuple[str, ...] = ()
    profile: int = 0

    @property
    def key(self) -> str:
        """`namespace/name`, as people write it."""
        return f"{self.namespace}/{self.name}"
