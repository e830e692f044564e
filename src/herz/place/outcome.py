"""What a decision about one pod comes to, before it is reserved and recorded."""

from __future__ import annotations

import msgspec

from herz.model.record import Candidate, Promise, Rejection, Stage
from herz.plugin import Kind


class Choice(msgspec.Struct, frozen=True, gc=False):
    """A node was found.

    Args:
        row: its row.
        node: its name.
        top: the best nodes, best first.
        tied: how many nodes had the highest total.
        plugins: the scores that the points of `top` follow.
        path: the stages so far.
        marks: which rules gave way, for the record (`herz.place.advice`).
        promises: what was predicted of the pod's promise on the best nodes.
    """

    row: int
    node: str
    top: tuple[Candidate, ...]
    tied: int
    plugins: tuple[str, ...]
    path: tuple[Stage, ...]
    marks: tuple[str, ...] = ()
    promises: tuple[Promise, ...] = ()


class NoFit(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """No node fits.

    Args:
        kind: UNFIT when preemption may help on at least one node, NEVER_FITS when it cannot,
            WAIT when a rule asked to wait, ERROR when one failed.
        message: Kubernetes' text for the condition and the event.
        rejections: each reason with its nodes.
        rejected_by: the rules that refused, sorted; their hints wake the pod.
        pending_by: the rules that asked to wait, sorted.
        path: the stages so far.
        alone: rules that Kubernetes does not have and without which a node fits, sorted.
        is_patient: these will give way: no pod is to be preempted meanwhile.
    """

    kind: Kind
    message: str
    rejections: tuple[Rejection, ...]
    rejected_by: tuple[str, ...]
    pending_by: tuple[str, ...]
    path: tuple[Stage, ...]
    alone: tuple[str, ...] = ()
    is_patient: bool = False
