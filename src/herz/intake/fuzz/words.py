"""The constants of a comparator's own code: what it compares with is what it may trip over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, Final

DEPTH_MAX: Final = 5
ITEMS_MAX: Final = 400
"""Bounds: how deep constants are looked for, and how many of a kind are kept."""
TEXT_MAX: Final = 120
_NOT_OURS: Final = frozenset({"builtins", "typing", "abc", "herz.plugin.rules", "enum"})


@dataclass(slots=True)
class Words:
    """Constants by type, in the order in which they were met, each once.

    Attributes:
        around: those of the rest of its module.
    """

    around: Words | None = None
    wholes: list[int] = field(default_factory=list)
    reals: list[float] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def add(self, value: object) -> None:
        """Keep a constant of one of the types."""
        if isinstance(value, bool):
            return
        if isinstance(value, int):
            _keep(self.wholes, value)
        elif isinstance(value, float):
            _keep(self.reals, value)
        elif isinstance(value, str) and len(value) <= TEXT_MAX:
            _keep(self.texts, value)
        elif isinstance(value, bytes) and len(value) <= TEXT_MAX:
            _keep(self.texts, value.decode("latin-1"))


def words_of(function: Any) -> Words:
    """The constants that the function, what it calls and its module hold."""
    words = Words(around=Words())
    assert words.around is not None, "it was just given"
    seen: set[int] = set()
    for value in _reached(function, seen, 0):
        words.add(value)
    plain = _plain(function)
    if plain is not None:
        home = plain.__globals__
        module = home.get("__name__")
        for name in sorted(name for name in home if not name.startswith("__")):
            thing = home[name]
            if getattr(thing, "__module__", module) == module:
                for value in _reached(thing, seen, 1):
                    words.around.add(value)
    return words


def _plain(function: Any) -> FunctionType | None:
    """The function itself; a class stands for its first method."""
    if isinstance(function, type):
        methods = [one for one in vars(function).values() if isinstance(one, FunctionType)]
        return methods[0] if methods else None
    if isinstance(function, MethodType):
        function = function.__func__
    return function if isinstance(function, FunctionType) else None


def _reached(thing: Any, seen: set[int], depth: int) -> Iterator[object]:
    """Constants below a function, a class, an object or a container."""
    if depth > DEPTH_MAX or id(thing) in seen:
        return
    if isinstance(thing, int | float | str | bytes):
        yield thing
        return
    seen.add(id(thing))
    for inner in _inside(thing):
        yield from _reached(inner, seen, depth + 1)


def _inside(thing: Any) -> Iterator[Any]:  # noqa: PLR0912  # one branch a kind
    """What the thing holds."""
    if isinstance(thing, FunctionType):
        yield from _of_function(thing)
    elif isinstance(thing, MethodType):
        yield from (thing.__func__, thing.__self__)
    elif isinstance(thing, CodeType):
        yield from thing.co_consts[1:] if _has_docstring(thing) else thing.co_consts
    elif isinstance(thing, Mapping):
        for key, value in list(thing.items())[:ITEMS_MAX]:
            yield from (key, value)
    elif isinstance(thing, list | tuple):
        yield from thing[:ITEMS_MAX]
    elif isinstance(thing, set | frozenset):
        yield from sorted(thing, key=repr)[:ITEMS_MAX]
    elif isinstance(thing, type):
        for kind in thing.__mro__:
            if kind.__module__ not in _NOT_OURS:
                yield from [vars(kind)[name] for name in sorted(vars(kind)) if name[:2] != "__"]
    elif not isinstance(thing, ModuleType):
        kept = getattr(thing, "__dict__", None)
        if isinstance(kept, Mapping):
            yield from [kept[name] for name in list(kept)[:ITEMS_MAX]]
        wrapped = getattr(thing, "__wrapped__", None) or getattr(thing, "func", None)
        if wrapped is not None:
            yield wrapped


def _of_function(function: FunctionType) -> Iterator[Any]:
    yield function.__code__
    yield from function.__defaults__ or ()
    yield from (function.__kwdefaults__ or {}).values()
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:
            continue  # not filled yet
    module = function.__globals__.get("__name__")
    for name in _names(function.__code__):
        thing = function.__globals__.get(name)
        if thing is not None and getattr(thing, "__module__", module) == module:
            yield thing


def _names(code: CodeType) -> Iterator[str]:
    """Names that the code and the code inside it read."""
    yield from code.co_names
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _names(inner)


def _has_docstring(code: CodeType) -> bool:
    return bool(code.co_consts) and isinstance(code.co_consts[0], str) and "\n" in code.co_consts[0]


def _keep(kept: list[Any], value: Any) -> None:
    if len(kept) < ITEMS_MAX and value not in kept:
        kept.append(value)
