"""The view that rules get: the node table as `herz.plugin.View`, and overlays for what-if.

An overlay copies the columns of use and shares everything else; it never writes to the cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from herz.errors import InvariantError
from herz.model.mix import MixEdition
from herz.model.objects import Taint
from herz.model.podinfo import PodInfo
from herz.place.columns import NodeTable
from herz.place.ledger import Ledger
from herz.place.mix import PodMix
from herz.place.usage import Usage
from herz.plugin import Int64s

_NOWHERE: Mapping[int, int] = MappingProxyType({})
_NO_PORTS: Mapping[int, tuple[str, ...]] = MappingProxyType({})


class ClusterView:
    """Nodes and their use, as they are now."""

    def __init__(self, table: NodeTable, ledger: Ledger, mix: PodMix | None = None) -> None:
        self._table = table
        self._ledger = ledger
        self._mix = mix

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

    @property
    def mix(self) -> MixEdition | None:
        return None if self._mix is None else self._mix.edition

    def without(self, uids: tuple[str, ...]) -> ClusterView:
        """The same cluster without these pods.

        Raises:
            InvariantError: a pod is on no node.
        """
        overlay = Overlay(self._table, self._ledger, self._mix, self._usage.copy())
        for uid in uids:
            placed = self._ledger.get(uid)
            if placed is None:
                raise InvariantError(f"pod {uid} is on no node and cannot be left out")
            row = self._table.rows.get(placed.node)
            if row is not None:
                demands = self._table.demands(placed.pod)
                overlay.usage.give(placed.pod, row, demands, placed.devices)
        return overlay

    def with_(self, pod: PodInfo, row: int, devices: tuple[int, ...] = ()) -> ClusterView:
        """The same cluster with this pod on this row."""
        overlay = Overlay(self._table, self._ledger, self._mix, self._usage.copy())
        overlay.usage.take(pod, row, self._table.demands(pod), devices)
        return overlay


class Overlay(ClusterView):
    """A view with its own columns of use."""

    def __init__(self, table: NodeTable, ledger: Ledger, mix: PodMix | None, usage: Usage) -> None:
        super().__init__(table, ledger, mix)
        self.usage = usage

    @property
    def _usage(self) -> Usage:
        return self.usage
