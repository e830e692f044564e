"""The cluster as rules see it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from herz.plugin.changes import PodQuery

if TYPE_CHECKING:
    from herz.model.mix import MixEdition
    from herz.model.podinfo import PodInfo
    from herz.model.terms import Term
    from herz.model.volumes import Mount

Int64s: TypeAlias = npt.NDArray[np.int64]
Codes: TypeAlias = npt.NDArray[np.int16]
ObjectT = TypeVar("ObjectT")
Rows: TypeAlias = slice | npt.NDArray[np.int64]
MISSING: Final = -(1 << 63)
"""The value of a signal that was not measured, or whose sample is too old."""


class Count(Protocol):
    """Pods by row, kept up to date while it is held; `View.counted` reads it."""

    @property
    def version(self) -> int:
        """Moves with the count."""
        ...


class CountByTerm(Count, Protocol):
    """Pods that have a term, by row."""

    @property
    def term(self) -> Term:
        """The term."""
        ...


class View(Protocol):
    """The cluster as rules see it: columns by row, and cheap what-if overlays.

    Row numbers are stable while a node lives. Rows without a node are never asked for an
    answer that counts; their values are zero.
    """

    @property
    def size(self) -> int:
        """The number of rows, including those without a node."""
        ...

    @property
    def count(self) -> int:
        """The number of nodes."""
        ...

    def row(self, name: str) -> int | None:
        """The row of the node of this name."""
        ...

    def node_name(self, row: int) -> str:
        """The name of the node at a row that has one."""
        ...

    def resource(self, name: str) -> int:
        """The column of a resource; one of zeros when no node has ever had it."""
        ...

    @property
    def allocatable(self) -> Int64s:
        """Allocatable by (resource column, row): cpu in milli, others in units."""
        ...

    @property
    def requested(self) -> Int64s:
        """Sum of the requests of the pods on the row, by (resource column, row)."""
        ...

    @property
    def nonzero(self) -> Int64s:
        """As `requested` for cpu (0) and memory (1), with Kubernetes' score-only defaults."""
        ...

    def labels(self, key: str) -> npt.NDArray[np.int32]:
        """By row: the interned value of the label, 0 where the node has no such label."""
        ...

    def label_id(self, value: str) -> int:
        """The id under which `labels` holds this value, now and later; never 0."""
        ...

    def label_integers(self, key: str) -> tuple[Int64s, npt.NDArray[np.bool_]]:
        """By row: the label's value as int64, and whether it is an integer."""
        ...

    @property
    def unschedulable(self) -> npt.NDArray[np.bool_]:
        """By row: `spec.unschedulable`."""
        ...

    @property
    def taint_sets(self) -> npt.NDArray[np.int32]:
        """By row: the interned set of taints; 0 is the empty set."""
        ...

    def taints(self, taint_set: int) -> tuple[Any, ...]:
        """The taints of an interned set, in the node's order."""
        ...

    @property
    def feature_sets(self) -> npt.NDArray[np.int32]:
        """By row: the interned set of declared features; 0 is the empty set."""
        ...

    def features(self, feature_set: int) -> frozenset[str]:
        """The features of an interned set."""
        ...

    def image_rows(self, name: str) -> Mapping[int, int]:
        """Row to size in bytes, for the nodes that hold the image."""
        ...

    def port_rows(self, protocol: str, port: int) -> Mapping[int, tuple[str, ...]]:
        """Row to the host addresses on which the port is taken."""
        ...

    @property
    def devices(self) -> Int64s:
        """Free milli of shared accelerators by (row, device); negative where nothing is free.

        That is so where there is no device, and where the API holds more pods on one than fit.
        """
        ...

    def signal(self, name: str) -> Int64s:
        """By row: what was measured on the node (docs/reference/sla.md); else `MISSING`."""
        ...

    def object(self, kind: type[ObjectT], key: str) -> ObjectT | None:
        """The object of this kind at `namespace/name`, or at the name alone."""
        ...

    def objects(self, kind: type[ObjectT]) -> Iterator[ObjectT]:
        """All objects of this kind, by key."""
        ...

    def objects_of(self, kind: type[ObjectT], group: str) -> Iterator[ObjectT]:
        """Volumes and capacities of a storage class, attachments of a node; by key."""
        ...

    def mount_rows(self, key: str) -> Mapping[int, tuple[Mount, ...]]:
        """Row to the mounts of this thing (`Mount.key`) by the pods there."""
        ...

    def mounts(self, row: int) -> Mapping[Mount, int]:
        """What the pods on the row mount, and how many of them."""
        ...

    def follow(self, query: PodQuery) -> Count:
        """A count of the pods on nodes that the query means; lives as long as it is held."""
        ...

    def terms_meaning(self, pod: PodInfo) -> Sequence[CountByTerm]:
        """The counts of the pods on nodes by those of their terms that mean this pod.

        The incoming pod's namespace labels count as they are now.
        """
        ...

    @property
    def terms_version(self) -> int:
        """Moves when `terms_meaning` may give other counts."""
        ...

    def counted(self, count: Count) -> Int64s:
        """The count by row, as this view sees it."""
        ...

    def labels_version(self, key: str | None) -> int:
        """Moves when a node's label of this key does; None: any label of any node."""
        ...

    @property
    def taints_version(self) -> int:
        """Moves when the taints of any node do."""
        ...

    @property
    def is_live(self) -> npt.NDArray[np.bool_]:
        """By row: whether there is a node."""
        ...

    @property
    def mix(self) -> MixEdition | None:
        """The mix of pods seen so far; None while there are too few.

        None, too, when no rule of the policy declares Reads.MIX in `reads_all`.
        """
        ...

    def without(self, uids: tuple[str, ...]) -> View:
        """The same cluster without these pods (preemption's question)."""
        ...

    def with_(self, pod: PodInfo, row: int) -> View:
        """The same cluster with this pod on this row (nominated pods, gangs)."""
        ...


def row_count(view: View, rows: Rows) -> int:
    """How many answers a rule owes for these rows."""
    return view.size if isinstance(rows, slice) else len(rows)
