"""ImageLocality: nodes that already hold the pod's images score higher."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

import numpy as np

from herz.model.podinfo import PodInfo
from herz.place.plugins.arguments import NoArguments, read_arguments
from herz.plugin import SCORE_MAX, SKIP, Int64s, Reads, ReasonBook, Rows, Score, View

MEBIBYTE: Final = 1024 * 1024
BYTES_MIN: Final = 23 * MEBIBYTE
"""What is below counts as nothing."""
BYTES_MAX: Final = 1000 * MEBIBYTE
"""What is above, times the number of containers, counts as this."""


class ImageLocality(Score):
    """Sum of the sizes of the images present, each scaled by how many nodes have it."""

    name: ClassVar[str] = "ImageLocality"
    reads: ClassVar[Reads] = Reads.NOTHING
    # How many nodes have an image moves every node's points.
    reads_all: ClassVar[Reads] = Reads.IMAGES | Reads.NODES

    def __init__(self, args: Mapping[str, Any], reasons: ReasonBook) -> None:
        read_arguments(self.name, args, NoArguments)

    def sign(self, pod: PodInfo) -> object:
        """The images, and how many containers."""
        return _images(pod)

    def prepare_score(self, pod: PodInfo, view: View) -> Any:
        """The images, and how many containers."""
        images = _images(pod)
        return images if images[0] and images[1] else SKIP

    def score(self, state: tuple[tuple[str, ...], int], view: View, rows: Rows) -> Int64s:
        """Points from 0 to 100, not normalised further."""
        images, containers = state
        total = np.zeros(view.size, np.int64)
        if not any(view.image_rows(image) for image in images):
            return total[rows]
        for image in images:
            held = view.image_rows(image)
            if held:
                # Kubernetes' order: the share of nodes first, then the product, truncated.
                share = len(held) / view.count
                at = np.fromiter(held.keys(), np.int64, len(held))
                sizes = np.fromiter(held.values(), np.float64, len(held))
                total[at] += (sizes * share).astype(np.int64)
        most = BYTES_MAX * containers
        points = SCORE_MAX * (np.clip(total, BYTES_MIN, most) - BYTES_MIN) // (most - BYTES_MIN)
        return points[rows]


def _images(pod: PodInfo) -> tuple[tuple[str, ...], int]:
    """Normalised image names, init containers first, then image volumes; and the containers."""
    spec = pod.pod.spec
    containers = (*spec.init_containers, *spec.containers)
    names = [container.image for container in containers]
    names += [volume.image.reference for volume in spec.volumes if volume.image is not None]
    return tuple(_normalised(name) for name in names if name), len(containers)


def _normalised(name: str) -> str:
    """An image without a tag is `:latest`, as the node reports it."""
    return f"{name}:latest" if name.rfind(":") <= name.rfind("/") else name
