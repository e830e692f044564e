"""The view that rules get: the node table as `herz.plugin.View`, and overlays for what-if.

An overlay copies the columns of use and shares everything else; it never writes to the cluster.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from herz.errors import InvariantError
from herz.model.mix import MixEdition
from herz.model.objects import Namespace, Taint
from herz.model.podinfo import PodInfo
from herz.model.volumes import Mount
from herz.place.catalog import Catalog
from herz.place.columns import NodeTable
from herz.place.ledger import Ledger, Placed
from herz.place.mix import PodMix
from herz.place.pods import PodCount, TermCount
from herz.place.usage import Usage
from herz.place.volumes.attaching import Attachments
from herz.place.volumes.storage import Storage
from herz.plugin import Count, CountByTerm, Int64s, ObjectT, PodQuery

_NOWHERE: Mapping[int, int] = MappingProxyType({})
_NO_LABELS: Mapping[str, str] = MappingProxyType({})
_NO_PORTS: Mapping[int, tuple[str, ...]] = MappingProxyType({})


class ClusterView:
    """Nodes and their use, as they are now."""

    def __init__(
        self, table: NodeTable, ledger: Ledger, catalog: Catalog, mix: PodMix | None = None
    ) -> None:
        self._table = table
        self._ledger = ledger
        self._catalog = catalog
        self._mix = mix
        self._moved: list[tuple[PodInfo, int, int]] = []

    @property
    def _usage(self) -> Usage:
        return self._table.usage

    @property
    def size(self) -> int:
        return self._table.size

    @property
    def count(self) -> int:
        return self._table.count

    def row(self, name: str) -> int | None:
        return self._table.rows.get(name)

    def node_name(self, row: int) -> str:
        return self._table.name(row)

    def resource(self, name: str) -> int:
        return self._table.resource(name)

    @property
    def allocatable(self) -> Int64s:
        return self._table.allocatable

    @property
    def requested(self) -> Int64s:
        return self._usage.requested

    @property
    def nonzero(self) -> Int64s:
        return self._usage.nonzero

    def labels(self, key: str) -> npt.NDArray[np.int32]:
        return self._table.label_column(key)

    def label_id(self, value: str) -> int:
        return self._table.labels.value_id(value)

    def label_integers(self, key: str) -> tuple[Int64s, npt.NDArray[np.bool_]]:
        return self._table.labels.integers(self._table.label_column(key))

    @property
    def unschedulable(self) -> npt.NDArray[np.bool_]:
        return self._table.unschedulable

    @property
    def taint_sets(self) -> npt.NDArray[np.int32]:
        return self._table.taint_sets

    def taints(self, taint_set: int) -> tuple[Taint, ...]:
        return self._table.taints.things[taint_set]

    @property
    def feature_sets(self) -> npt.NDArray[np.int32]:
        return self._table.feature_sets

    def features(self, feature_set: int) -> frozenset[str]:
        return self._table.features.things[feature_set]

    def image_rows(self, name: str) -> Mapping[int, int]:
        return self._table.images.get(name, _NOWHERE)

    def port_rows(self, protocol: str, port: int) -> Mapping[int, tuple[str, ...]]:
        return self._usage.ports.get((protocol, port), _NO_PORTS)

    @property
    def devices(self) -> Int64s:
        return self._usage.devices

    def signal(self, name: str) -> Int64s:
        return self._catalog.signals.column(name)

    def object(self, kind: type[ObjectT], key: str) -> ObjectT | None:
        return self._catalog.get(kind, key)

    def objects(self, kind: type[ObjectT]) -> Iterator[ObjectT]:
        return self._catalog.all(kind)

    def objects_of(self, kind: type[ObjectT], group: str) -> Iterator[ObjectT]:
        return self._catalog.of(kind, group)

    @property
    def storage(self) -> Storage:
        """What is kept of storage objects (`storage_of`)."""
        return self._catalog.storage

    @property
    def attachments(self) -> Attachments:
        """What is attached to each row of the cluster (`attachments_of`)."""
        return self._catalog.storage.attachments

    @property
    def moved_rows(self) -> frozenset[int]:
        """The rows on which this what-if put pods, or left pods out."""
        return frozenset(row for _, row, _ in self._moved)

    def mount_rows(self, key: str) -> Mapping[int, tuple[Mount, ...]]:
        return self._usage.mounted.rows(key)

    def mounts(self, row: int) -> Mapping[Mount, int]:
        return self._usage.mounted.on(row)

    def follow(self, query: PodQuery) -> Count:
        return self._table.pods.follow(query)

    def terms_meaning(self, pod: PodInfo) -> Sequence[CountByTerm]:
        pods = self._table.pods
        return pods.meaning(pod, self._namespace_labels(pod.namespace)) if pods.has_terms else ()

    @property
    def terms_version(self) -> int:
        return self._table.pods.terms_version

    def counted(self, count: Count) -> Int64s:
        assert isinstance(count, PodCount | TermCount), "counts come from a view"
        return count.column

    def labels_version(self, key: str | None) -> int:
        return self._table.labels.versions[key]

    @property
    def taints_version(self) -> int:
        return self._table.taints_version

    @property
    def is_live(self) -> npt.NDArray[np.bool_]:
        return self._table.is_live

    def _namespace_labels(self, name: str) -> Mapping[str, str]:
        """Its labels; none where the namespace is not known, as in Kubernetes."""
        namespace = self._catalog.get(Namespace, name)
        return _NO_LABELS if namespace is None else namespace.metadata.labels

    @property
    def mix(self) -> MixEdition | None:
        return None if self._mix is None else self._mix.edition

    def without(self, uids: tuple[str, ...]) -> ClusterView:
        """The same cluster without these pods.

        Raises:
            InvariantError: a pod is on no node.
        """
        overlay = Overlay(self)
        for uid in uids:
            placed = self._ledger.get(uid)
            if placed is None:
                raise InvariantError(f"pod {uid} is on no node and cannot be left out")
            overlay.leave_out(placed)
        return overlay

    def with_(self, pod: PodInfo, row: int, devices: tuple[int, ...] = ()) -> ClusterView:
        """The same cluster with this pod on this row."""
        overlay = Overlay(self)
        overlay.put(pod, row, devices)
        return overlay


class Overlay(ClusterView):
    """A view with its own columns of use, and pods put in or left out. The base does not move."""

    def __init__(self, base: ClusterView) -> None:
        super().__init__(base._table, base._ledger, base._catalog, base._mix)
        self.usage = base._usage.copy()
        self._moved = list(base._moved)

    @property
    def _usage(self) -> Usage:
        return self.usage

    def leave_out(self, placed: Placed) -> None:
        """The pod is not there."""
        row = self._table.rows.get(placed.node)
        if row is not None:
            self.usage.give(placed.pod, row, self._table.demands(placed.pod), placed.devices)
            self._moved.append((placed.pod, row, -1))

    def put(self, pod: PodInfo, row: int, devices: tuple[int, ...] = ()) -> None:
        """The pod is there."""
        self.usage.take(pod, row, self._table.demands(pod), devices)
        self._moved.append((pod, row, 1))

    def counted(self, count: Count) -> Int64s:
        assert isinstance(count, PodCount | TermCount), "counts come from a view"
        column = count.column
        for pod, row, sign in self._moved:
            share = count.share(pod)
            if share:
                column = column.copy() if column is count.column else column
                column[row] += sign * share
        return column

    def terms_meaning(self, pod: PodInfo) -> Sequence[CountByTerm]:
        known = super().terms_meaning(pod)
        above = self._namespace_labels(pod.namespace)
        labels = pod.pod.metadata.labels
        new: list[CountByTerm] = []
        for other, _, _ in self._moved:
            for term in other.terms:
                is_known = any(one.term == term for one in (*known, *new))
                if not is_known and term.matches(pod.namespace, above, labels):
                    new.append(TermCount(term, self._table.size))
        return (*known, *new) if new else known
