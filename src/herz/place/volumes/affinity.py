"""Which nodes can mount a persistent volume, by its node affinity.

Source: component-helpers `storage/volume/helpers.go` (`CheckNodeAffinity`), and
volumebinding/binder.go (`tryTranslatePVToCSI`) for in-tree volumes on migrated nodes.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from herz.model.labels import IN, NodeMatcher, Requirement, compile_node_selector
from herz.model.meta import NodeSelector
from herz.model.node import CSINode
from herz.model.storage import PersistentVolume
from herz.place.selecting import Mask, rows_matching
from herz.place.volumes.migration import PLUGINS, in_tree, is_migrated_on, translated_affinity
from herz.plugin import Int64s, Rows, View, row_count

COMPILED_MAX: Final = 1 << 16
"""Bound: compiled affinities that are remembered; each is a function of the selector alone."""


class Reach(NamedTuple):
    """The nodes that can mount a volume.

    Attributes:
        plain: by the affinity as it is; None: all of them.
        plugin: the in-tree plugin of the volume; empty when it is none that is migrated.
        migrated: by the translated affinity, on nodes that have handed the plugin over.
    """

    plain: NodeMatcher | None
    plugin: str = ""
    migrated: NodeMatcher | None = None

    def rows(self, view: View, rows: Rows) -> Mask:
        """By row: whether the node can mount the volume."""
        mask = _matching(self.plain, view, rows)
        if self.plugin:
            handed_over = np.zeros(view.size, np.bool_)
            for node in view.objects(CSINode):
                row = view.row(node.metadata.name)
                if row is not None and is_migrated_on(node, self.plugin):
                    handed_over[row] = True
            mask = np.where(handed_over[rows], _matching(self.migrated, view, rows), mask)
        return mask


class Lookup:
    """Where volumes can be mounted, for many of them: those of one label value cost little."""

    def __init__(self, view: View, rows: Rows) -> None:
        self._view, self._rows = view, rows
        self.count = row_count(view, rows)
        # By label: positions in the order of the label's values, and these values.
        self._sorted: dict[str, tuple[Int64s, npt.NDArray[np.int32]]] = {}

    def positions(self, reach: Reach) -> Int64s:
        """The positions among the rows at which a volume can be mounted."""
        only = _only(reach)
        if only is None:
            return np.flatnonzero(reach.rows(self._view, self._rows))
        if only.key not in self._sorted:
            column = self._view.labels(only.key)[self._rows]
            order = np.argsort(column, kind="stable")
            self._sorted[only.key] = order, column[order]
        order, column = self._sorted[only.key]
        (value,) = only.values
        number = self._view.label_id(value)
        return order[np.searchsorted(column, number) : np.searchsorted(column, number, "right")]


def _only(reach: Reach) -> Requirement | None:
    """The one label value that a volume asks for, as local volumes do; None: it asks for more."""
    if reach.plain is None or reach.plugin or len(reach.plain.terms) != 1:
        return None
    labels = reach.plain.terms[0].labels
    if labels is None or len(labels.requirements) != 1:
        return None
    (only,) = labels.requirements
    return only if only.operator == IN and len(only.values) == 1 else None


def reach(volume: PersistentVolume) -> Reach:
    """Where a volume that is bound can be mounted."""
    plain = plain_reach(volume)
    kind = in_tree(volume)
    if kind is None:
        return plain
    plugin = PLUGINS[kind]
    selector = translated_affinity(volume, plugin.topology_key)
    return Reach(plain.plain, plugin.name, None if selector is None else _compiled(selector))


def plain_reach(volume: PersistentVolume) -> Reach:
    """Where a volume that is looked for can be mounted: Kubernetes does not translate these."""
    affinity = volume.spec.node_affinity
    if affinity is None or affinity.required is None:
        return Reach(None)
    return Reach(_compiled(affinity.required))


def _matching(matcher: NodeMatcher | None, view: View, rows: Rows) -> Mask:
    if matcher is None:
        return np.ones(row_count(view, rows), np.bool_)
    return rows_matching(matcher, view, rows)


@lru_cache(COMPILED_MAX)
def _compiled(selector: NodeSelector) -> NodeMatcher:
    # Fields are not asked about: Kubernetes matches a volume with a node that has labels only.
    # A term that has nothing else is met by every node.
    matcher = compile_node_selector(selector)
    return NodeMatcher(tuple(replace(term, fields=()) for term in matcher.terms))
