"""What coverage of Python cannot see: what readers written in C have read, and why they refused.

Most formats are decoded by msgspec: a segment of a journal with a hold on two ranges takes the same
branches of our code as one with none. So a surface shows what it has read, and each field with
what kind of value it holds is an edge like others, as is each way in which an input was refused.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec

from herz.errors import HerzError

EDGES_MAX: Final = 4096
"""Bound: of one surface; further ones are not told apart."""
PARTS_MAX: Final = 400
"""Bound: what is looked at of one input."""
MANY: Final = 4
"""Lengths from here on are alike."""
DEEP: Final = ("{}{}", "{}[]", "[]{}", "[][]")
_VALUES: Final = re.compile(
    r"0x[0-9a-f]+|[0-9]+|'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|\(got .*\)| - at `[^`]*`",
    re.DOTALL,
)
_END: Final = re.compile(
    r"(?<=^Object contains unknown field).*|(?<=^Invalid enum value).*|(?<=^Cannot declare).*"
    r"|(?<=^Cannot mutate immutable namespace).*|\n.*| \(at [^()]*\)$",
    re.DOTALL,
)
"""From where on a reason is the input's: its words, its keys as deep as they are, the place."""
READERS: Final = ("msgspec", "yaml", "json", "tomllib", "binascii")
"""Whose refusals are told apart."""
REFUSAL_MAX: Final = 100


class _Edges:
    """An edge for each shape, as they come.

    Args:
        reserve: makes an edge.
        reach: says that one was reached.
    """

    def __init__(self, reserve: Callable[[], int], reach: Callable[[int], None]) -> None:
        self._edges = [reserve() for _ in range(EDGES_MAX)]
        self._known: dict[str, int] = {}
        self._reach = reach

    def reach(self, text: str) -> None:
        """This shape was seen."""
        at = self._known.setdefault(text, len(self._known))
        self._reach(self._edges[min(at, EDGES_MAX - 1)])


_engines: list[_Edges] = []
"""The engine that is told; none outside it."""


def begin(reserve: Callable[[], int], reach: Callable[[int], None]) -> None:
    """From now on, the engine of this process is told."""
    _engines.append(_Edges(reserve, reach))


def saw(name: str, value: object) -> None:
    """A surface has read this."""
    for engine in _engines:
        for text in itertools.islice(shapes(name, value), PARTS_MAX):
            engine.reach(text)


def refused(error: Exception) -> None:
    """An input was refused; where a reader of another package refused it, for that reason.

    Reasons of ours are branches of our code, so edges already. Their texts hold what was given:
    each would be an edge of no meaning, and there is no end of them.
    """
    for engine in _engines:
        engine.reach(f"{type(error).__name__} {_reason(error.__cause__)}")


def _reason(cause: BaseException | None) -> str:
    """What the reader says, without the input's own words; empty where it is no such reader.

    Where in the input it was is no reason: a reader in C takes the same way at each place.
    """
    while isinstance(cause, HerzError):
        cause = cause.__cause__
    of = type(cause).__module__.partition(".")[0]
    if of not in READERS and not isinstance(cause, UnicodeError):
        return ""
    for name in ("problem", "msg", "reason"):  # Of errors in YAML, in JSON, in UTF-8.
        if isinstance(text := getattr(cause, name, None), str):
            break
    else:
        text = str(cause)
    return _VALUES.sub("", _END.sub("", text))[:REFUSAL_MAX]


def shapes(name: str, value: object) -> Iterator[str]:
    """Each field below this value with what kind of value it holds."""
    waiting: list[tuple[str, Any]] = [(name, value)]
    while waiting:
        at, part = waiting.pop()
        yield f"{at} {shape_of(part)}"
        if isinstance(part, Mapping):
            waiting += [(_below(at, "{}"), item) for item in part.values()]
        elif isinstance(part, tuple | list | set | frozenset):
            waiting += [(_below(at, "[]"), item) for item in part]
        elif isinstance(part, msgspec.Struct):
            kind = type(part)
            fields = kind.__struct_fields__
            waiting += [(f"{kind.__name__}.{field}", getattr(part, field)) for field in fields]
        elif hasattr(type(part), "__dataclass_fields__"):
            kind = type(part)
            fields = tuple(kind.__dataclass_fields__)
            waiting += [(f"{kind.__name__}.{field}", getattr(part, field)) for field in fields]


def _below(at: str, sign: str) -> str:
    """A step into a list or a map; what is nested deeper than twice is free, and alike."""
    return at if at.endswith(DEEP) else at + sign


def shape_of(value: Any) -> str:
    """Few kinds of value: none and one, a number's sign, few items or many, empty texts.

    Whether a number is 2 or 3 is the input's alone: where our code asks, its branches are edges.
    """
    if value is None or isinstance(value, bool):
        return str(value)
    if isinstance(value, int | float):
        if value in (0, 1):
            return str(int(value))
        return "-" if value < 0 else "+" if value < 1 << 31 else "++"
    if isinstance(value, str | bytes):
        return "text" if value else "empty"
    if isinstance(value, tuple | list | set | frozenset | Mapping):
        return f"of {min(len(value), MANY)}"
    return type(value).__name__
