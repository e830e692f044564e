"""TOML text to plain values, with bounds on what a text may cost to read."""

from __future__ import annotations

import tomllib
from typing import Any, Final

DOTS_MAX: Final = 1_000
"""Of one line: tomllib takes time by the square of a key's parts."""


def parse_toml(text: str) -> dict[str, Any]:
    """The tables of a text.

    Raises:
        tomllib.TOMLDecodeError: it is no TOML, is nested too deeply, or a line has too many dots.
    """
    for number, line in enumerate(text.splitlines(), 1):
        if line.count(".") > DOTS_MAX:
            raise tomllib.TOMLDecodeError(f"more than {DOTS_MAX} dots (at line {number})")
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise tomllib.TOMLDecodeError("nested too deeply") from error
