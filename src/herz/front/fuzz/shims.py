"""Clocks, chance, identities and the environment under our hand, in the process of a candidate.

They are put in place before the candidate's module is loaded, so that `from time import time` is
caught as well. While nothing is set they answer as the real ones do.
"""

from __future__ import annotations

import builtins
import datetime
import os
import random
import time
from collections.abc import Callable
from datetime import date as _date
from datetime import datetime as _datetime
from typing import Any, Final

_REAL: Final = {
    name: getattr(time, name)
    for name in (
        *("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns"),
        *("process_time", "process_time_ns", "thread_time", "thread_time_ns"),
    )
}
clock: Final[Callable[[], float]] = time.perf_counter
"""The real clock, for who measures."""
cpu_clock: Final[Callable[[], float]] = time.process_time
_real_id = id
_real_urandom = os.urandom
_real_pid = os.getpid


class Setting:
    """What is different now.

    Attributes:
        time_ns: what clocks show; None: the real time.
        tick_ns: by how much a set clock moves at each look.
        chance: None for real chance; an integer seeds it; `low` and `high` are its ends.
        id_mask: turns identities over.
    """

    def __init__(self) -> None:
        self.time_ns: int | None = None
        self.tick_ns = 0
        self.chance: int | str | None = None
        self.id_mask = 0
        self.pid = 0
        self.env_read: list[str] = []
        self.looked_at_clock = 0
        self.drew = 0

    def clear(self) -> None:
        """Everything is as it really is."""
        self.time_ns, self.tick_ns, self.chance, self.id_mask, self.pid = None, 0, None, 0, 0

    def now_ns(self) -> int:
        """What clocks show."""
        self.looked_at_clock += 1
        if self.time_ns is None:
            return int(_REAL["time_ns"]())
        self.time_ns += self.tick_ns
        return self.time_ns


setting: Final = Setting()


class _Chance(random.Random):
    """The module's own generator, with ends."""

    def random(self) -> float:
        setting.drew += 1
        if setting.chance == "low":
            return 0.0
        if setting.chance == "high":
            return 1.0 - 2**-53
        return super().random()

    def getrandbits(self, k: int, /) -> int:
        setting.drew += 1
        if setting.chance == "low":
            return 0
        if setting.chance == "high":
            return (1 << k) - 1 if k < 8 else (1 << k) - 2
        return super().getrandbits(k)


class _Now(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _datetime)


class _Datetime(_datetime, metaclass=_Now):
    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Any:
        return _datetime.fromtimestamp(setting.now_ns() / 1e9, tz)

    @classmethod
    def utcnow(cls) -> Any:
        return _datetime.fromtimestamp(setting.now_ns() / 1e9, datetime.UTC).replace(tzinfo=None)

    @classmethod
    def today(cls) -> Any:
        return cls.now()


class _Today(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _date)


class _Date(_date, metaclass=_Today):
    @classmethod
    def today(cls) -> Any:
        return _date.fromtimestamp(setting.now_ns() / 1e9)


class _Environ(dict[str, str]):
    """The environment, which notes what is read of it."""

    def __getitem__(self, key: str) -> str:
        self._note(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self._note(key)
        return super().get(key, default)

    def __contains__(self, key: object) -> bool:
        self._note(str(key))
        return super().__contains__(key)

    def _note(self, key: str) -> None:
        if key not in setting.env_read:
            setting.env_read.append(key)


def install() -> None:
    """Put the shims in place; once a process, before the candidate is loaded."""
    for name in _REAL:
        setattr(time, name, _clock_of(name))
    for name in ("localtime", "gmtime"):
        setattr(time, name, _of_now(getattr(time, name)))
    time.ctime = lambda secs=None: time.asctime(time.localtime(secs))
    time.strftime = _strftime(time.strftime)
    datetime.datetime = _Datetime  # type: ignore[misc]
    datetime.date = _Date  # type: ignore[misc]
    chance = _Chance()
    for name in dir(random):
        if _real_id(getattr(getattr(random, name), "__self__", None)) == _real_id(random._inst):
            setattr(random, name, getattr(chance, name))
    random._inst = chance
    os.urandom = _urandom
    vars(random)["_urandom"] = _urandom  # what SystemRandom asks
    os.getpid = lambda: _real_pid() + setting.pid
    builtins.id = lambda thing, /: _real_id(thing) ^ setting.id_mask
    # Not `os._Environ`: what the candidate sets is its own.
    os.environ = _Environ(os.environ)  # type: ignore[assignment]  # noqa: B003


def seed_chance(seed: int) -> None:
    """Begin the module's generator anew."""
    random.seed(seed)


def _clock_of(name: str) -> Callable[[], float]:
    def told() -> Any:
        if setting.time_ns is None:
            setting.looked_at_clock += 1
            return _REAL[name]()
        now = setting.now_ns()
        return now if name.endswith("_ns") else now / 1e9

    return told


def _of_now(real: Callable[[float], Any]) -> Callable[..., Any]:
    def told(secs: float | None = None) -> Any:
        return real(setting.now_ns() / 1e9 if secs is None else secs)

    return told


def _strftime(real: Callable[..., str]) -> Callable[..., str]:
    def told(form: str, when: Any = None) -> str:
        return real(form, time.localtime() if when is None else when)

    return told


def _urandom(size: int) -> bytes:
    setting.drew += 1
    if setting.chance in ("low", "high"):
        return (b"\0" if setting.chance == "low" else b"\xff") * size
    return _real_urandom(size)
