"""Times, rates, taints and names as scenario files write them, with errors that name the remedy."""

from __future__ import annotations

import re
from collections.abc import Mapping

from herz.errors import ConfigError
from herz.model.objects import Taint, Toleration
from herz.model.quantity import quantity_milli, quantity_value
from herz.world.sim.faults import MILLION
from herz.world.sim.result import SECOND_NS

_UNITS_NS = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": SECOND_NS,
    "m": 60 * SECOND_NS,
    "h": 3600 * SECOND_NS,
    "d": 86_400 * SECOND_NS,
}
_PART = re.compile(r"(\d{1,18})(ns|us|ms|s|m|h|d)")
_CLOCK = re.compile(r"(\d{1,3}):([0-5]\d)(?::([0-5]\d))?")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,200}[a-z0-9])?")
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
TIME_NS_MAX = 10 * 366 * 86_400 * SECOND_NS
"""Bound: ten years of virtual time."""


def span_ns(text: str, where: str) -> int:
    """Nanoseconds of a span ("90s", "1h30m", "250ms") or a time of day ("19:30")."""
    clock = _CLOCK.fullmatch(text)
    if clock:
        hours, minutes, seconds = (int(part or 0) for part in clock.groups())
        total = ((hours * 60 + minutes) * 60 + seconds) * SECOND_NS
    else:
        parts = _PART.findall(text)
        if not parts or "".join(map("".join, parts)) != text:
            fix = 'write a number and a unit, such as "250ms", "90s", "1h30m", or a clock "19:30"'
            raise ConfigError("not a span of time", where=where, value=text, fix=fix)
        total = sum(int(number) * _UNITS_NS[unit] for number, unit in parts)
    if total > TIME_NS_MAX:
        fix = "stay within ten years of virtual time"
        raise ConfigError("the time is too long", where=where, value=text, fix=fix)
    return total


def span_pair_ns(value: str | tuple[str, str], where: str) -> tuple[int, int]:
    """The least and the most of a span: one text for both, or a list of two."""
    if isinstance(value, str):
        span = span_ns(value, where)
        return span, span
    low, high = span_ns(value[0], f"{where}[0]"), span_ns(value[1], f"{where}[1]")
    if low > high:
        raise ConfigError(
            "the least is more than the most", where=where, value=list(value), fix="swap the two"
        )
    return low, high


def rate_millionths(value: float, where: str) -> int:
    """Parts in a million of a rate between 0 and 1."""
    if not 0 <= value <= 1:
        fix = "give a share between 0 and 1, such as 0.02"
        raise ConfigError("not a rate", where=where, value=value, fix=fix)
    return round(value * MILLION)


def check_name(text: str, where: str) -> str:
    """A name that Kubernetes would take."""
    if not _NAME.fullmatch(text):
        fix = "use lower-case letters, digits, '-' and '.', a letter or digit at both ends"
        raise ConfigError("not a Kubernetes name", where=where, value=text, fix=fix)
    return text


def parse_taint(text: str, where: str) -> Taint:
    """A taint written as kubectl writes it: "key=value:NoSchedule" or "key:NoExecute"."""
    head, _, effect = text.rpartition(":")
    key, _, value = head.partition("=")
    if not key or effect not in _EFFECTS:
        fix = f'write "key=value:effect" with one of the effects {", ".join(_EFFECTS)}'
        raise ConfigError("not a taint", where=where, value=text, fix=fix)
    return Taint(key=key, value=value, effect=effect)


def parse_toleration(text: str, where: str) -> Toleration:
    """A toleration: "key=value:effect", "key:effect" (any value) or "key" (any effect too)."""
    head, colon, effect = text.rpartition(":")
    if not colon:
        head, effect = text, ""
    key, equals, value = head.partition("=")
    if not key or (effect and effect not in _EFFECTS):
        fix = f'write "key", "key:effect" or "key=value:effect"; effects: {", ".join(_EFFECTS)}'
        raise ConfigError("not a toleration", where=where, value=text, fix=fix)
    operator = "Equal" if equals else "Exists"
    return Toleration(key=key, operator=operator, value=value, effect=effect)


def varied_at(
    vary: Mapping[str, tuple[str | int, ...]], index: int, known: tuple[str, ...], where: str
) -> dict[str, str | int]:
    """Combination `index` of the lists, the first key turning fastest."""
    chosen: dict[str, str | int] = {}
    for key, values in vary.items():
        if key not in known:
            fix = f"use one of {', '.join(known)}"
            raise ConfigError("unknown key", where=f"{where}.{key}", value=list(values), fix=fix)
        if not values:
            raise ConfigError(
                "an empty list", where=f"{where}.{key}", fix="give values, or drop it"
            )
        index, place = divmod(index, len(values))
        chosen[key] = values[place]
    return chosen


def check_amounts(amounts: Mapping[str, str | int], where: str) -> None:
    """Refuse quantities that can't be read, or are negative."""
    for name, text in amounts.items():
        try:
            value = quantity_milli(text) if name == "cpu" else quantity_value(text)
        except ConfigError as error:
            raise error.at(f"{where}.{name}") from error
        if value < 0:
            fix = "give 0 or more"
            raise ConfigError("negative", where=f"{where}.{name}", value=text, fix=fix)
