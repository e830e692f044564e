"""Which of two pods is the more important one: the order in which victims are spared.

Higher priority first; of one priority, the one that has been running longer. A pod that has not
started counts, in Kubernetes, as started now: here it is later than any start that is known, and
pods that are equal in both go by uid, so that no clock and no arrival order decides.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from herz.model.podinfo import PodInfo

NOT_STARTED: Final = 1 << 62
"""The start of a pod that has not started, or whose start cannot be read."""

_TIME: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9})\d*)?(?:Z|([+-])(\d\d):(\d\d))"
)
_SECOND_NS: Final = 1_000_000_000
_STARTS_MAX: Final = 65_536
"""Bound: start times that are remembered."""


def importance(pod: PodInfo) -> tuple[int, int, str]:
    """A key by which the most important pod comes first."""
    return -pod.priority, started_ns(pod), pod.uid


def started_ns(pod: PodInfo) -> int:
    """When the pod started, in nanoseconds since 1970; NOT_STARTED when nobody knows."""
    text = pod.pod.status.start_time
    return NOT_STARTED if text is None else parse_time_ns(text)


@lru_cache(maxsize=_STARTS_MAX)
def parse_time_ns(text: str) -> int:
    """An RFC 3339 time as nanoseconds since 1970; NOT_STARTED when it is none."""
    found = _TIME.fullmatch(text)
    if found is None:
        return NOT_STARTED
    year, month, day, hour, minute, second = (int(found[at]) for at in range(1, 7))
    offset = 0 if found[8] is None else int(found[9]) * 60 + int(found[10])
    minutes = hour * 60 + minute + (offset if found[8] == "-" else -offset)
    seconds = _days(year, month, day) * 86_400 + minutes * 60 + second
    return seconds * _SECOND_NS + int((found[7] or "").ljust(9, "0"))


def _days(year: int, month: int, day: int) -> int:
    """Days from 1970-01-01 in the Gregorian calendar (Hinnant, days_from_civil)."""
    year -= month <= 2
    era, of_era = divmod(year, 400)
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468
