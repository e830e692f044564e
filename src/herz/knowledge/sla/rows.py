"""Outcomes as training rows: lines of JSON that `herz sla train --format records` reads.

The first line says what the features are; each other line is what was known of a service on a
node, and what came of it in the next window.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from herz.knowledge.sla.features import MISSING
from herz.knowledge.sla.state import ANCHORS, FEATURES

FEATURE_SET: Final = "counters"

_encoder = msgspec.json.Encoder()


def head_line() -> bytes:
    """The line that says what the features are (`herz.knowledge.sla.state`)."""
    head = {"feature_set": FEATURE_SET, "features": FEATURES, "anchors": ANCHORS}
    return _encoder.encode(head)


def row_line(
    features: Sequence[int],
    *,
    p99_ns: int,
    quiet_ns: int,
    service: str,
    session: str,
    family: str,
    machine: str,
) -> bytes:
    """One outcome.

    Args:
        features: in the order of `FEATURES`; `MISSING` becomes null.
        p99_ns: what was measured; at least 1 is told.
        quiet_ns: the service's P99 where nothing disturbs it; 0: not known.
        service: the class that was promised: models answer for classes.
        session: what was measured in one go.
        family: what else is to be held out together.
        machine: the node's machine type.
    """
    assert len(features) == len(FEATURES), "a whole row"
    row = {
        "session": session,
        "family": family,
        "service": service,
        "machine": machine,
        "features": [None if value == MISSING else int(value) for value in features],
        "p99_ns": max(p99_ns, 1),
        "quiet_p99_ns": quiet_ns,
    }
    return _encoder.encode(row)
