"""Pods, events and queues for the tests of intake; no Kubernetes in them."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha3_256

from herz.intake.order.candidate import Candidate
from herz.intake.order.dependencies import parse_after
from herz.intake.queue.scheduling import SchedulingQueue
from herz.model.podinfo import Dependency

SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Item:
    """What the queue asks of a pod, and nothing else."""

    uid: str
    namespace: str = "shop"
    name: str = ""
    priority: int = 0
    gates: tuple[str, ...] = ()
    after: tuple[Dependency, ...] = ()
    order_key: int = 0


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened; `about` is for hints that look closer."""

    kind: str
    about: str = ""


def make_item(
    name: str, priority: int = 0, *, after: str = "", gates: tuple[str, ...] = ()
) -> Item:
    """A pod whose uid is made from its name."""
    return Item(
        uid=f"uid-{name}",
        name=name,
        priority=priority,
        gates=gates,
        after=parse_after(after) if after else (),
        order_key=int.from_bytes(sha3_256(name.encode()).digest()[:8], "big"),
    )


def make_candidates(*items: Item) -> list[Candidate]:
    """The items as a batch, with sequences 1, 2, 3, …"""
    return [Candidate(item, sequence) for sequence, item in enumerate(items, 1)]


def names(candidates: tuple[Candidate, ...]) -> list[str]:
    """The pods' names, in order."""
    return [candidate.item.name for candidate in candidates]


def pop_names(queue: SchedulingQueue) -> list[str]:
    """Pops all that is ready and binds it; the names in the order of the pops."""
    found: list[str] = []
    while (pod := queue.pop()) is not None:
        found.append(pod.item.name)
        queue.reserved(pod)
        queue.binding(pod)
        queue.bound(pod)
    return found
