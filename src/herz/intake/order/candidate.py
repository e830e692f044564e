"""What the order sees of a pod: a snapshot that nothing can change while it is sorted."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from herz.model.podinfo import Dependency


class Orderable(Protocol):
    """The attributes of a pod that an order may read. The object must be immutable."""

    @property
    def uid(self) -> str:
        """The API's uid: one pod, once."""
        ...

    @property
    def namespace(self) -> str:
        """The namespace; dependencies do not leave it."""
        ...

    @property
    def name(self) -> str:
        """The name, unique in the namespace among living pods."""
        ...

    @property
    def priority(self) -> int:
        """`spec.priority`; higher is decided first."""
        ...

    @property
    def after(self) -> tuple[Dependency, ...]:
        """The parsed annotation `herz.dev/after`; () for none."""
        ...

    @property
    def order_key(self) -> int:
        """Keyed 64-bit hash of the uid, the term of this pod in the permutation digest."""
        ...


class Candidate(NamedTuple):
    """One pod of a batch, as it was when the batch was taken.

    A changed priority makes a new item (items are immutable), so a sort that is under way keeps
    seeing the values that it began with.

    Attributes:
        item: the pod.
        sequence: logical arrival number, new at each return to the active queue; unique.
        attempts: how often the pod was decided before.
    """

    item: Orderable
    sequence: int
    attempts: int = 0

    @property
    def reference(self) -> str:
        """`namespace/name`, as errors and records show the pod."""
        return f"{self.item.namespace}/{self.item.name}"


Less = Callable[[Candidate, Candidate], bool]
"""A QueueSort comparator: whether the first is decided strictly before the second."""
