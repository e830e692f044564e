"""What the environment asks a runtime to show of itself."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shown:
    """What a runtime shows of itself."""

    every_ms: int | None
    """From one line of schedtrace to the next; None: no lines."""
    is_inspected: bool
    """Whether `herz runtime top` may look."""

    @classmethod
    def asked(cls, every_ms: int | None, inspect: bool | None) -> Shown:
        """From the arguments of `run`; what they leave open, the environment says.

        Raises:
            ValueError: an argument or a variable is out of range.
        """
        return cls(schedtrace_ms(every_ms), wants_inspection(inspect))


_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)


def schedtrace_ms(given: int | None) -> int | None:
    """Milliseconds between two lines of schedtrace; None without any.

    Args:
        given: the argument of `run`, which goes before ``HERZ_DEBUG=schedtrace=MILLISECONDS``.

    Raises:
        ValueError: it is below 1, or the variable says something else.
    """
    if given is not None:
        if given < 1:
            raise ValueError(f"schedtrace_ms must be at least 1, not {given}")
        return given
    found = None
    for setting in filter(None, os.environ.get("HERZ_DEBUG", "").split(",")):
        name, _, value = setting.partition("=")
        if name != "schedtrace" or not _NUMBER.fullmatch(value) or int(value) < 1:
            raise ValueError(
                f"HERZ_DEBUG holds {setting!r}: it takes schedtrace=MILLISECONDS, at least 1"
            )
        found = int(value)
    return found


def wants_inspection(given: bool | None) -> bool:
    """Whether `herz runtime top` may look at this process.

    Args:
        given: the argument of `run`, which goes before ``HERZ_RUNTIME_INSPECT=1``.

    Raises:
        ValueError: the variable is neither 0 nor 1.
    """
    if given is not None:
        return given
    value = os.environ.get("HERZ_RUNTIME_INSPECT", "")
    if value not in ("", "0", "1"):
        raise ValueError(f"HERZ_RUNTIME_INSPECT is {value!r}: set it to 1, or to 0 or not at all")
    return value == "1"
