"""What all profiles' frameworks say, as one answer: each pod is judged by its own profile's.

For those who hold one cluster and know no profile: the ledger and the rooms that events open.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from herz.model.podinfo import PodInfo
from herz.place.framework import Framework


def is_barred_by(frameworks: Sequence[Framework]) -> Callable[[PodInfo, int], bool]:
    """Whether a rule of the pod's profile keeps it from the row, whoever leaves it."""
    if len(frameworks) == 1:
        return frameworks[0].is_barred
    return lambda pod, row: frameworks[pod.profile].is_barred(pod, row)


def is_unchecked_by(frameworks: Sequence[Framework]) -> Callable[[PodInfo, str], bool] | None:
    """Whether a rule of the pod's profile was told to ignore the resource; None: none was."""
    ignoring = [framework.is_unchecked for framework in frameworks]
    if not any(ignoring):
        return None

    def is_unchecked(pod: PodInfo, resource: str) -> bool:
        ignores = ignoring[pod.profile]
        return ignores is not None and ignores(resource)

    return is_unchecked
