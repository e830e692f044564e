"""Which pods' mounts are on which row. Part of `Usage`: overlays see it through a copy."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Final

from herz.model.volumes import Mount, MountKind

_NOWHERE: Final[Mapping[int, tuple[Mount, ...]]] = MappingProxyType({})
_NOTHING: Final[Mapping[Mount, int]] = MappingProxyType({})


class Mounted:
    """Mounts by what they are of, and by row.

    Args:
        under: what this one is a copy of; it must not change while the copy lives.
    """

    def __init__(self, under: Mounted | None = None) -> None:
        self._under = under
        # Key -> row -> mounts, sorted, one entry for each; an empty dict hides what is under it.
        self._by_key: dict[str, dict[int, tuple[Mount, ...]]] = {}
        self._by_row: dict[int, dict[Mount, int]] = {}

    def copy(self) -> Mounted:
        """A copy for what-if questions. Cost: O(1); it holds what is changed in it only."""
        return Mounted(self)

    def rows(self, key: str) -> Mapping[int, tuple[Mount, ...]]:
        """Row to the mounts of this thing there."""
        found = self._by_key.get(key)
        if found is not None:
            return found
        return _NOWHERE if self._under is None else self._under.rows(key)

    def rows_mounting(self, kinds: Collection[MountKind]) -> list[int]:
        """The rows where something is mounted that is named so. Cost: O(mounts); no copy's."""
        assert self._under is None, "asked of the cluster itself"
        return [row for row, on in self._by_row.items() if any(one.kind in kinds for one in on)]

    def on(self, row: int) -> Mapping[Mount, int]:
        """The mounts on a row, each with how often it is there."""
        found = self._by_row.get(row)
        if found is not None:
            return found
        return _NOTHING if self._under is None else self._under.on(row)

    def take(self, mounts: tuple[Mount, ...], row: int) -> None:
        """A pod with these mounts is on the row."""
        on_row = self._own_row(row)
        for mount in mounts:
            rows = self._own_key(mount.key)
            rows[row] = tuple(sorted((*rows.get(row, ()), mount)))
            on_row[mount] = on_row.get(mount, 0) + 1

    def give(self, mounts: tuple[Mount, ...], row: int) -> None:
        """The exact inverse of `take`."""
        on_row = self._own_row(row)
        for mount in mounts:
            rows = self._own_key(mount.key)
            held = list(rows[row])
            held.remove(mount)
            rows[row] = tuple(held)
            if not held:
                del rows[row]
            on_row[mount] -= 1
            if not on_row[mount]:
                del on_row[mount]
            if not rows and self._under is None:
                del self._by_key[mount.key]
        if not on_row and self._under is None:
            del self._by_row[row]

    def _own_key(self, key: str) -> dict[int, tuple[Mount, ...]]:
        found = self._by_key.get(key)
        if found is None:
            found = self._by_key[key] = dict(self.rows(key))
        return found

    def _own_row(self, row: int) -> dict[Mount, int]:
        found = self._by_row.get(row)
        if found is None:
            found = self._by_row[row] = dict(self.on(row))
        return found
