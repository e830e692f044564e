"""Outcomes as training rows: lines of JSON that `herz sla train --format records` reads.

The first line says what the features are; each other line is what was known of a service on a
node, and what came of it in the next window.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


def completion_of(*, is_done: bool) -> dict[str, bool]:
    """The outcome of a pod that was to complete."""
    return {"completed": is_done}


def latency_of(p99_ns: int, quiet_ns: int, *, is_delay: bool = False) -> dict[str, int]:
    """The outcome of a promised time.

    Args:
        p99_ns: what was measured; at least 1 is told.
        quiet_ns: the same where nothing disturbs the service; 0: not known.
        is_delay: whether it is an end-to-end delay, and no response time.
    """
    name = "delay_p99_ns" if is_delay else "p99_ns"
    return {name: max(p99_ns, 1), f"quiet_{name}": quiet_ns}


def row_line(
    features: Sequence[int],
    outcome: Mapping[str, int | bool],
    *,
    service: str,
    session: str,
    family: str,
    machine: str,
) -> bytes:
    """One outcome.

    Args:
        features: in the order of `FEATURES`; `MISSING` becomes null.
        outcome: what `latency_of` or `completion_of` gave.
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
        **outcome,
    }
    return _encoder.encode(row)
