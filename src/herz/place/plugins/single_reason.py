"""What the simplest filters share: no arguments, and one reason for which they refuse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from herz.place.plugins.arguments import NoArguments, read_arguments
from herz.plugin import Filter, Hints, Kind, Reads, ReasonBook


class SingleReason(Filter, Hints):
    """A filter whose one code is `self.code`."""

    reads_all: ClassVar[Reads] = Reads.NOTHING
    kind: ClassVar[Kind] = Kind.NEVER_FITS
    """What a refusal leads to."""
    reason: ClassVar[str]
    """Kubernetes' words."""

    def __init__(self, args: Mapping[str, Any], reasons: ReasonBook) -> None:
        read_arguments(self.name, args, NoArguments)
        self.code = reasons.code(self.kind, self.name, (self.reason,))
