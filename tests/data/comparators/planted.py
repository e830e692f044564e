"""Comparators with a planted fault each; the second half are the subtle ones."""

from __future__ import annotations

import datetime
import os
import random
import sys
import time
import unicodedata
import zlib
from typing import Any

from herz.intake.order import Candidate
from herz.model.objects import Pod
from herz.model.podinfo import PodInfo


def _info(candidate: Candidate) -> PodInfo:
    assert isinstance(candidate.item, PodInfo)
    return candidate.item


def _pod(candidate: Candidate) -> Pod:
    return _info(candidate).pod


# ---- plain ----------------------------------------------------------------------------------


def not_strict(a: int, b: int) -> bool:
    return a <= b


def stone_paper_scissors(a: int, b: int) -> bool:
    return (b - a) % 3 == 1


def tolerant(a: float, b: float) -> bool:
    return a < b and abs(a - b) > 0.001


def nan_is_no_number(a: float, b: float) -> bool:
    return a < b


def fails_on_empty(a: str, b: str) -> bool:
    return a[0] < b[0] or (a[0] == b[0] and a < b)


def one_sided(a: list[int], b: list[int]) -> bool:
    return all(x < b[i] for i, x in enumerate(a))


def shuffles_its_arguments(a: list[int], b: list[int]) -> bool:
    a.sort()
    return a < sorted(b)


def by_address(a: str, b: str) -> bool:
    return id(a) < id(b)


def by_hash(a: str, b: str) -> bool:
    return hash(a) < hash(b)


def says_one(a: int, b: int) -> Any:
    return 1 if a < b else 0


# ---- subtle ---------------------------------------------------------------------------------

_CIRCLE = ((100_003, 200_003), (200_003, 300_007), (300_007, 100_003))


def rare_circle(a: int, b: int) -> bool:
    if (a, b) in _CIRCLE:
        return True
    if (b, a) in _CIRCLE:
        return False
    return a < b


def at_night(a: int, b: int) -> bool:
    now = datetime.datetime.now()
    return a > b if now.hour == 3 and now.minute == 0 else a < b


_calls = 0


def tires(a: int, b: int) -> bool:
    global _calls
    _calls += 1
    return a < b if _calls % 30_011 else not a < b


_scratch: dict[str, Any] = {}


def uses_a_scratch(a: str, b: str) -> bool:
    _scratch["a"] = unicodedata.normalize("NFC", a)
    other = unicodedata.normalize("NFC", b)
    return bool(_scratch["a"] < other)


def past_the_mantissa(a: int, b: int) -> bool:
    if abs(a) > 1 << 1000 or abs(b) > 1 << 1000:
        return a < b
    return float(a) < b


def one_hash_in_many(a: str, b: str) -> bool:
    if zlib.crc32(a.encode("utf-8", "surrogatepass")) % 4096 == 1027:
        return True
    return a < b


def deep(a: list[int], b: list[int]) -> bool:
    if not a or not b:
        return len(a) < len(b)
    return deep(a[1:], b[1:]) if a[0] == b[0] else a[0] < b[0]


def lucky(a: float, b: float) -> bool:
    first, second = (a != a, a if a == a else 0.0), (b != b, b if b == b else 0.0)
    return first < second if random.random() < 0.9999 else second < first


def mixes_its_keys(a: Candidate, b: Candidate) -> bool:
    ours, theirs = _pod(a).metadata, _pod(b).metadata
    if ours.labels.get("team") == theirs.labels.get("team"):
        return (ours.creation_timestamp or "") < (theirs.creation_timestamp or "")
    return a.item.priority > b.item.priority


def forgets_a_request(a: Candidate, b: Candidate) -> bool:
    asked = _info(a).requests
    if "nvidia.com/gpu" in asked and asked["nvidia.com/gpu"] > 1:
        asked["nvidia.com/gpu"] -= 1
    return asked.get("cpu", 0) > _info(b).requests.get("cpu", 0)


# ---- more -----------------------------------------------------------------------------------


def leaves(a: tuple[int, int], b: tuple[int, int]) -> bool:
    if a[0] == b[0] == 7:
        sys.exit(0)
    return a < b


def ends_the_process(a: int, b: int) -> bool:
    if a == 4_242:
        os._exit(0)
    return a < b


def never_ends(a: str, b: str) -> bool:
    while a == b == "stop":
        pass
    return a < b


def squared(a: list[int], b: list[int]) -> bool:
    return [sum(x < y for y in a) for x in a] < [sum(x < y for y in b) for x in b]


def asks_for_the_world(a: int, b: int) -> bool:
    return len([0] * (a if 0 < a < 1 << 62 else 1)) < len([0] * (b if 0 < b < 1 << 62 else 1))


def none_of_it(a: int | None, b: int | None) -> bool:
    return a < b  # type: ignore[operator]


def naive_case(a: str, b: str) -> bool:
    return a.upper() < b.lower()


def partly(a: tuple[int, int], b: tuple[int, int]) -> bool:
    return a[0] < b[0] and a[1] < b[1]


def by_the_variable(a: int, b: int) -> bool:
    return a > b if os.environ.get("HERZ_BACKWARDS") else a < b


def ages(a: Candidate, b: Candidate) -> bool:
    age = time.time() - 1_767_225_600
    return a.item.priority + min(age, a.sequence) > b.item.priority + min(age, b.sequence)


_seen: list[object] = []


def remembers(a: int, b: int) -> bool:
    _seen.append((a, b))
    return a < b


_keys: dict[int, str] = {}


def caches_by_address(a: str, b: str) -> bool:
    for one in (a, b):
        _keys.setdefault(id(one), one.casefold())
    return _keys[id(a)] < _keys[id(b)]


def compare_with_a_bias(a: int, b: int) -> int:
    return -1 if a < b else 1


def changing_key(a: int) -> int:
    _seen.append(a)
    return a if len(_seen) % 977 else -a


def in_a_set(a: list[str], b: list[str]) -> bool:
    return "".join(set(a)) < "".join(set(b))
