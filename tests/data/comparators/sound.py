"""Comparators without a fault, some of which look as if they had one."""

from __future__ import annotations

import functools
import math
import threading
import unicodedata
from typing import NamedTuple

from herz.intake.order import Candidate
from herz.model.meta import ObjectMeta
from herz.model.podinfo import PodInfo


def by_number(a: int, b: int) -> bool:
    return a < b


def by_total_order(a: float, b: float) -> bool:
    return _key(a) < _key(b)


def _key(value: float) -> tuple[bool, float, float]:
    if math.isnan(value):
        return (True, 0.0, 0.0)
    return (False, value, math.copysign(1.0, value))


def by_folded_text(a: str, b: str) -> bool:
    return (_folded(a), a) < (_folded(b), b)


@functools.lru_cache(maxsize=4096)
def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def none_last(a: int | None, b: int | None) -> bool:
    return (a is None, a or 0) < (b is None, b or 0)


def by_length_then_items(a: list[str], b: list[str]) -> bool:
    return (len(a), a) < (len(b), b)


def backwards(a: tuple[int, str], b: tuple[int, str]) -> bool:
    return (-a[0], a[1]) < (-b[0], b[1])


def by_remainder(a: int, b: int) -> bool:
    return a % 7 < b % 7


def three_way(a: tuple[int, ...], b: tuple[int, ...]) -> int:
    return (sum(a) > sum(b)) - (sum(a) < sum(b))


def by_priority(a: Candidate, b: Candidate) -> bool:
    if a.item.priority != b.item.priority:
        return a.item.priority > b.item.priority
    return a.sequence < b.sequence


def _meta(candidate: Candidate) -> ObjectMeta:
    assert isinstance(candidate.item, PodInfo)
    return candidate.item.pod.metadata


def fair(a: Candidate, b: Candidate) -> bool:
    ours, theirs = _meta(a), _meta(b)
    return (ours.labels.get("team", ""), ours.creation_timestamp or "", a.item.uid) < (
        theirs.labels.get("team", ""),
        theirs.creation_timestamp or "",
        b.item.uid,
    )


_lock = threading.Lock()
_counted = {"calls": 0}


def counting(a: bytes, b: bytes) -> bool:
    with _lock:
        _counted["calls"] += 1
    return a < b


class Version(NamedTuple):
    major: int
    minor: int
    patch: int


def newest_first(a: Version, b: Version) -> bool:
    return b < a
