"""PrioritySort: higher priority first, then first come, first served."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from herz.place.plugins.arguments import NoArguments, read_arguments
from herz.plugin import QueueSort, ReasonBook


class PrioritySort(QueueSort):
    """The order of the built-in buckets, as a comparator.

    The queue needs no comparator for this order; naming it as `queue.sort` gives the same order
    by comparing, which is what a test of the two uses.
    """

    name: ClassVar[str] = "PrioritySort"

    def __init__(self, args: Mapping[str, Any], reasons: ReasonBook) -> None:
        read_arguments(self.name, args, NoArguments)

    def less(self, left: Any, right: Any) -> bool:
        """Whether `left` has the higher priority, or the same and came earlier."""
        if left.item.priority != right.item.priority:
            return bool(left.item.priority > right.item.priority)
        return bool(left.sequence < right.sequence)
