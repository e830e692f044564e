"""Options as typed on the command line, checked before anything starts.

They are handed over as text: a number's range and form are checked here, so that every refusal
has the same four parts (what, where, value, remedy) in both forms of output.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

from herz.errors import ConfigError
from herz.front.cli.declared import Option

if TYPE_CHECKING:
    from pathlib import Path

ENTRY_MAX: Final = 2**62
"""Bound of the numbers of entries and decisions."""
SEED_MAX = 2**63 - 1
RUNS_MAX = 1000
LOAD_MILLI_MAX = 1_000_000
"""Bounds of the numeric options; a load of 1,000 times the capacity is a typing error."""

_INTEGER = re.compile(r"[0-9]{1,20}", re.ASCII)
_DECIMAL = re.compile(r"([0-9]{1,10})(?:\.([0-9]{1,10}))?", re.ASCII)


class Output(StrEnum):
    """Forms of an answer."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


OutputOption = Annotated[Output, Option(help="Form of the answer.")]


class Garbage(StrEnum):
    """When Python collects garbage."""

    BETWEEN_STEPS = "between-steps"
    DEFAULT = "default"


def parsed_seed(text: str) -> int:
    """The seed.

    Raises:
        ConfigError: it is no integer from 0 to 2^63-1.
    """
    return parsed_integer(text, option="--seed", low=0, high=SEED_MAX)


def parsed_runs(text: str) -> int:
    """The number of runs.

    Raises:
        ConfigError: it is no integer from 1 to 1000.
    """
    return parsed_integer(text, option="--runs", low=1, high=RUNS_MAX)


def parsed_load(text: str) -> int:
    """The load in thousandths of the capacity: `1.3` is 1300.

    Raises:
        ConfigError: it is no positive decimal number of at most three decimals. A float is never
            made of it: 1.3 has none, and the load decides which pods arrive.
    """
    match = _DECIMAL.fullmatch(text)
    fix = "give a decimal number above 0 with at most three decimals, such as 1.3"
    if match is None:
        raise ConfigError("not a decimal number", where="--load", value=text, fix=fix)
    fraction = (match[2] or "").rstrip("0")
    if len(fraction) > 3:
        raise ConfigError("finer than a thousandth", where="--load", value=text, fix=fix)
    milli = int(match[1]) * 1000 + int(fraction.ljust(3, "0"))
    if not 0 < milli <= LOAD_MILLI_MAX:
        raise ConfigError(
            "out of range",
            where="--load",
            value=text,
            fix=f"give a number above 0, at most {LOAD_MILLI_MAX // 1000}",
        )
    return milli


def checked_data(text: str) -> Path:
    """The folder of the trace.

    Raises:
        ConfigError: there is no such folder.
    """
    from pathlib import Path  # noqa: PLC0415  # Who shows one decision waits for each module.

    try:
        is_folder = bool(text) and Path(text).is_dir()
    except (OSError, ValueError):
        is_folder = False
    if not is_folder:
        raise ConfigError(
            "no such folder", where="--data", value=text, fix="name the folder that holds the trace"
        )
    return Path(text)


def checked_name(text: str, *, option: str) -> str:
    """A name or path that is not blank.

    Raises:
        ConfigError: it is empty, no valid UTF-8, or holds a NUL, which no file system takes.
    """
    # Undecodable bytes of the command line arrive as lone surrogates, which no report can hold.
    is_text = not any("\ud800" <= character <= "\udfff" for character in text)
    if not text.strip() or "\0" in text or not is_text:
        raise ConfigError("empty or unusable", where=option, value=text, fix="name one")
    return text


def parsed_integer(text: str, *, option: str, low: int, high: int) -> int:
    """A plain decimal integer in a range; `int()` takes `1_0`, ` 1 ` and other scripts too.

    Raises:
        ConfigError: it is none.
    """
    fix = f"give an integer from {low} to {high}"
    if _INTEGER.fullmatch(text) is None:
        raise ConfigError("not an integer in range", where=option, value=text, fix=fix)
    number = int(text)
    if not low <= number <= high:
        raise ConfigError("out of range", where=option, value=text, fix=fix)
    return number
