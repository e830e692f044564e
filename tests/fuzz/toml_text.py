"""Plain data written as TOML again, which Python only reads."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")


def toml_of(content: Mapping[str, Any]) -> str:
    """The text: plain values first, a table each for what is one; below it all is inline."""
    plain, tables = "", ""
    for name, value in content.items():
        if isinstance(value, dict):
            tables += f"[{_key(name)}]\n{_pairs(value)}"
        elif isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
            tables += "".join(f"[[{_key(name)}]]\n{_pairs(one)}" for one in value)
        else:
            plain += _pairs({name: value})
    return plain + tables


def _pairs(table: Mapping[str, Any]) -> str:
    return "".join(f"{pair}\n" for pair in _inner(table))


def _inner(table: Mapping[str, Any]) -> list[str]:
    return [f"{_key(name)} = {_inline(one)}" for name, one in table.items() if one is not None]


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else json.dumps(name, ensure_ascii=False)


def _inline(value: Any) -> str:
    """A value; what TOML has not (None) is left out of lists, and of tables with its key."""
    if isinstance(value, dict):
        return "{" + ", ".join(_inner(value)) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_inline(one) for one in value if one is not None) + "]"
    if isinstance(value, bool | str):
        return json.dumps(value, ensure_ascii=False)
    return str(value)  # Numbers, times and dates.
