"""The mix: which shapes of pods were seen, and what was free when they were counted.

A value, frozen at the moment that `herz.place.mix` chooses; rules read it as `View.mix`.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from herz.model.podinfo import PodInfo

GPU_MODEL = "herz.dev/gpu-model"
"""The node label that names the model of its shared accelerators."""
MODELS_MAX = 64
"""Bound: a pod that lists more models than this counts as one that takes any."""


class PodShape(NamedTuple):
    """What of a pod matters to packing.

    Attributes:
        cpu_milli: cpu.
        gpu_count: shared accelerators; 0 when it asks for none.
        gpu_milli: of each; 0 when it asks for none.
        models: the accelerator models that it may use, sorted; empty when all.
    """

    cpu_milli: int
    gpu_count: int
    gpu_milli: int
    models: tuple[str, ...] = ()

    @classmethod
    def of(cls, pod: PodInfo) -> PodShape:
        """The shape of a pod."""
        gpu, cpu_milli = pod.gpu, pod.requests.get("cpu", 0)
        if not gpu.count:
            return cls(cpu_milli, 0, 0)
        return cls(cpu_milli, gpu.count, gpu.milli, _models(pod))


class MixEdition(msgspec.Struct, frozen=True, eq=False, gc=False):
    """The mix at one moment. Compared by identity.

    Args:
        number: counts editions.
        shapes: pods seen by shape, sorted; old ones may count for less (`herz.place.mix`).
        free: devices by (model, free milli), sorted, as (model, free milli, devices); the model
            is empty for nodes without the label.
        devices_max: the most devices on one node.
        cpu_milli_max: the most allocatable cpu on one node with devices.
        digest: SHA3-384 of all of this.
    """

    number: int
    shapes: tuple[tuple[PodShape, int], ...]
    free: tuple[tuple[str, int, int], ...]
    devices_max: int
    cpu_milli_max: int
    digest: bytes


def _models(pod: PodInfo) -> tuple[str, ...]:
    """The models to which In on the label GPU_MODEL, or the node selector, restricts the pod.

    Other operators are not looked at: they cost packing a little, never correctness, since the
    rule NodeAffinity decides where the pod may go.
    """
    spec = pod.pod.spec
    found: set[str] | None = None
    if GPU_MODEL in spec.node_selector:
        found = {spec.node_selector[GPU_MODEL]}
    affinity = spec.affinity.node_affinity if spec.affinity is not None else None
    if affinity is not None and affinity.required is not None:
        union: set[str] | None = set()
        for term in affinity.required.node_selector_terms:
            named = [
                set(one.values)
                for one in term.match_expressions
                if one.key == GPU_MODEL and one.operator == "In"
            ]
            union = union | set.intersection(*named) if named and union is not None else None
        if union is not None:
            found = union if found is None else found & union
    return () if found is None or len(found) > MODELS_MAX else tuple(sorted(found))
