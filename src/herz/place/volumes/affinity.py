"""Which nodes can mount a persistent volume, by its node affinity.

Source: component-helpers `storage/volume/helpers.go` (`CheckNodeAffinity`), and
volumebinding/binder.go (`tryTranslatePVToCSI`) for in-tree volumes on migrated nodes.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np

from herz.model.labels import NodeMatcher, compile_node_selector
from herz.model.meta import NodeSelector
from herz.model.storage import PersistentVolume
from herz.place.selecting import Mask, rows_matching
from herz.place.volumes.attaching import attachments_of
from herz.place.volumes.migration import PLUGINS, in_tree, translated_affinity
from herz.plugin import Rows, View, row_count

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
            handed_over = attachments_of(view).handed_over(self.plugin, view)
            mask = np.where(handed_over[rows], _matching(self.migrated, view, rows), mask)
        return mask


EVERYWHERE: Final = Reach(None)
"""In reach of all nodes."""
NO_NODES: Final = Reach(NodeMatcher())
"""Out of reach of all nodes."""


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
