"""Label selectors, worked out again: each pair of selector and labels once.

Templates share their label maps and selectors, so that what is kept is found by identity.
"""

from __future__ import annotations

from collections.abc import Mapping

from herz.model.objects import LabelSelector

_KEPT_MAX = 262_144


class Matches:
    """Whether selectors mean labels."""

    def __init__(self) -> None:
        # Bound: `_KEPT_MAX`; both are held so that their ids stay their own.
        self._kept: dict[tuple[int, int], tuple[LabelSelector, Mapping[str, str], bool]] = {}

    def of(self, selector: LabelSelector | None, labels: Mapping[str, str]) -> bool:
        """Whether the selector means these labels; an absent one means none."""
        if selector is None:
            return False
        key = (id(selector), id(labels))
        kept = self._kept.get(key)
        if kept is None:
            if len(self._kept) >= _KEPT_MAX:
                self._kept.clear()
            kept = self._kept[key] = (selector, labels, is_selected(selector, labels))
        return kept[2]


def is_selected(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    """Whether the selector means these labels."""
    if any(labels.get(key) != value for key, value in selector.match_labels.items()):
        return False
    for requirement in selector.match_expressions:
        value = labels.get(requirement.key)
        is_met = {
            "In": value is not None and value in requirement.values,
            "NotIn": value is None or value not in requirement.values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }
        if not is_met.get(requirement.operator, False):
            return False
    return True
