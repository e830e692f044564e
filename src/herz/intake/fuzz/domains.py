"""What a comparator's arguments may be, by their declared type.

`float` has NaN and the infinities, `int` any size, `str` any Unicode (lone surrogates included),
None comes only where it is declared. A `Domain` draws values, names simpler ones, and gives the
same as a hypothesis strategy.
"""

from __future__ import annotations

import ast
import dataclasses
import enum
import math
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from herz.errors import ConfigError
from herz.intake.fuzz.source import REALS, TEXTS, WHOLES, Source

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

Path = tuple[object, ...]
FIX: Final = (
    "annotate the arguments, or give --type: pod, int, float, str, bool, bytes, tuple[int, str],"
    " list[int], int | None and so on"
)


class Domain(Protocol):
    """A set of values."""

    def draw(self, source: Source, path: Path) -> Any:
        """A value; `path` says for which place of the argument."""
        ...

    def simpler(self, value: Any) -> Iterator[Any]:
        """Values of the domain that are simpler, the simplest first."""
        ...

    def strategy(self, source: Source) -> SearchStrategy[Any]:
        """The same as a hypothesis strategy."""
        ...


@dataclasses.dataclass(frozen=True)
class Whole:
    """Integers; None: no bound."""

    low: int | None = None
    high: int | None = None

    def draw(self, source: Source, path: Path) -> int:
        """See `Domain`."""
        return source.whole(path, self.low, self.high)

    def simpler(self, value: int) -> Iterator[int]:
        """See `Domain`."""
        size = abs(value)
        tried = [0, 1, -1, 2, size, size >> (size.bit_length() // 2), size // 2, size // 10]
        tried += [size - (size % 10 ** (len(hex(size)) // 2)), size - 1]
        for one in tried:
            for candidate in (one, -one) if value < 0 else (one,):
                small = (abs(candidate), candidate < 0) < (size, value < 0)
                if small and self._holds(candidate):
                    yield candidate

    def _holds(self, value: int) -> bool:
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)

    def strategy(self, source: Source) -> SearchStrategy[int]:
        """See `Domain`."""
        from hypothesis import strategies as st  # noqa: PLC0415  # not needed to decide

        known = [word for word in (*source.words.wholes, *WHOLES) if self._holds(word)]
        return st.one_of(st.integers(self.low, self.high), st.sampled_from(known))


class Real:
    """Floats."""

    def draw(self, source: Source, path: Path) -> float:
        """See `Domain`."""
        return source.real(path)

    def simpler(self, value: float) -> Iterator[float]:
        """See `Domain`."""
        if math.isnan(value):
            return
        for candidate in (0.0, 1.0, 2.0, -1.0, 0.5, abs(value), math.inf):
            if _float_size(candidate) < _float_size(value):
                yield candidate
        if not math.isinf(value):
            for digits in range(8):
                rounded = round(value, digits)
                if rounded != value and _float_size(rounded) < _float_size(value):
                    yield rounded

    def strategy(self, source: Source) -> SearchStrategy[float]:
        """See `Domain`."""
        from hypothesis import strategies as st  # noqa: PLC0415  # not needed to decide

        return st.one_of(st.floats(), st.sampled_from([*source.words.reals, *REALS]))


def _float_size(value: float) -> tuple[int, int, float, bool]:
    """How simple a float is: whole and short ones are."""
    if math.isinf(value) or math.isnan(value):
        return (3, 0, 0.0, value < 0)
    is_minus_zero = value == 0 and math.copysign(1.0, value) < 0
    return (
        int(is_minus_zero or value != int(value)),
        len(repr(value)),
        abs(value),
        value < 0 or is_minus_zero,
    )


class Text:
    """Texts of any characters."""

    def draw(self, source: Source, path: Path) -> str:
        """See `Domain`."""
        return source.text(path)

    def simpler(self, value: str) -> Iterator[str]:
        """See `Domain`."""
        yield from _shorter(value)
        for at, character in enumerate(value[:40]):
            for plain in "a0b":
                if (plain not in "a0b"[: "a0b".find(character)]) and plain < character:
                    yield value[:at] + plain + value[at + 1 :]

    def strategy(self, source: Source) -> SearchStrategy[str]:
        """See `Domain`."""
        from hypothesis import strategies as st  # noqa: PLC0415  # not needed to decide

        anything = st.text(st.characters(exclude_categories=()))
        return st.one_of(anything, st.sampled_from([*source.words.texts, *TEXTS]))


class Bytes:
    """Byte strings."""

    def draw(self, source: Source, path: Path) -> bytes:
        """See `Domain`."""
        return source.text(path).encode("utf-8", "surrogatepass")

    def simpler(self, value: bytes) -> Iterator[bytes]:
        """See `Domain`."""
        yield from _shorter(value)

    def strategy(self, source: Source) -> SearchStrategy[bytes]:
        """See `Domain`."""
        from hypothesis import strategies as st  # noqa: PLC0415  # not needed to decide

        return st.one_of(
            st.binary(), st.sampled_from([word.encode() for word in TEXTS if word.isascii()])
        )


@dataclasses.dataclass(frozen=True)
class OneOf:
    """One of several values: None, booleans, literals, members of an enumeration."""

    values: tuple[Any, ...]

    def draw(self, source: Source, path: Path) -> Any:
        """See `Domain`."""
        del path
        return source.pick(self.values)

    def simpler(self, value: Any) -> Iterator[Any]:
        """See `Domain`."""
        for other in self.values:
            if other is value:
                return
            yield other

    def strategy(self, source: Source) -> SearchStrategy[Any]:
        """See `Domain`."""
        from hypothesis import strategies as st  # noqa: PLC0415  # not needed to decide

        return st.sampled_from(self.values)


@dataclasses.dataclass(frozen=True)
class Either:
    """A value of one of several domains."""

    parts: tuple[tuple[Callable[[Any], bool], Domain], ...]

    def draw(self, source: Source, path: Path) -> Any:
        """See `Domain`."""
        at = source.dice.randrange(len(self.parts))
        return self.parts[at][1].draw(source, (*path, at))

    def simpler(self, value: Any) -> Iterator[Any]:
        """See `Domain`."""
        for is_of, part in self.parts:
            if is_of(value):
                yield from part.simpler(value)
                return

    def strategy(self, source: Source) -> SearchStrategy[Any]:
        """See `Domain`."""
        from hypothesis import strategies as st  # noqa: PLC0415  # not needed to decide

        return st.one_of(*(part.strategy(source) for _, part in self.parts))


@dataclasses.dataclass(frozen=True)
class Record:
    """A tuple, or an object made of fields: `make(items)` of one domain each."""

    parts: tuple[Domain, ...]
    make: Callable[[Sequence[Any]], Any]
    items: Callable[[Any], Sequence[Any]]

    def draw(self, source: Source, path: Path) -> Any:
        """See `Domain`."""
        return self.make([part.draw(source, (*path, at)) for at, part in enumerate(self.parts)])

    def simpler(self, value: Any) -> Iterator[Any]:
        """See `Domain`."""
        items = list(self.items(value))
        for at, part in enumerate(self.parts):
            for simple in part.simpler(items[at]):
                yield self.make([*items[:at], simple, *items[at + 1 :]])

    def strategy(self, source: Source) -> SearchStrategy[Any]:
        """See `Domain`."""
        from hypothesis import strategies as st  # noqa: PLC0415  # not needed to decide

        return st.tuples(*(part.strategy(source) for part in self.parts)).map(self.make)


@dataclasses.dataclass(frozen=True)
class Many:
    """A list, set or the like: `make(items)` of any number of items of one domain."""

    of: Domain
    make: Callable[[Sequence[Any]], Any]

    def draw(self, source: Source, path: Path) -> Any:
        """See `Domain`."""
        inner = (*path, "*")
        return self.make([self.of.draw(source, inner) for _ in range(source.size(path))])

    def simpler(self, value: Any) -> Iterator[Any]:
        """See `Domain`."""
        items = list(value.items() if isinstance(value, Mapping) else value)
        for fewer in _shorter(items):
            yield self.make(fewer)
        for at, item in enumerate(items[:40]):
            for simple in self.of.simpler(item):
                yield self.make([*items[:at], simple, *items[at + 1 :]])

    def strategy(self, source: Source) -> SearchStrategy[Any]:
        """See `Domain`."""
        from hypothesis import strategies as st  # noqa: PLC0415  # not needed to decide

        return st.lists(self.of.strategy(source), max_size=20).map(self.make)


@dataclasses.dataclass(frozen=True)
class Known:
    """What hypothesis knows how to make: times, decimals, fractions and others."""

    kind: type

    def draw(self, source: Source, path: Path) -> Any:
        """See `Domain`."""
        examples = _examples(self.kind)
        return source.pick(examples[: 4 if len(path) % 2 else len(examples)])

    def simpler(self, value: Any) -> Iterator[Any]:
        """See `Domain`."""
        yield from ()

    def strategy(self, source: Source) -> SearchStrategy[Any]:
        """See `Domain`."""
        from hypothesis import strategies as st  # noqa: PLC0415  # not needed to decide

        return st.from_type(self.kind)


_made: dict[type, list[Any]] = {}


def _examples(kind: type) -> list[Any]:
    """Values of the type, made once."""
    if kind not in _made:
        from hypothesis import HealthCheck, Phase, given, seed, settings  # noqa: PLC0415
        from hypothesis import strategies as st  # noqa: PLC0415

        found: list[Any] = []

        @seed(0)
        @settings(
            max_examples=120,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(st.from_type(kind))
        def keep(value: Any) -> None:
            found.append(value)

        keep()
        _made[kind] = found
    return _made[kind]


def _shorter(value: Any) -> Iterator[Any]:
    """Parts of a sequence: nothing, halves, and all but one item."""
    size = len(value)
    if size == 0:
        return
    yield value[:0]
    step = size // 2
    while step > 0:
        for start in range(0, min(size, 64 * step), step):
            fewer = value[:start] + value[start + step :]
            if fewer:
                yield fewer
        step //= 2


# ---- from types -----------------------------------------------------------------------------

_PLAIN: Final[dict[Any, Domain]] = {
    int: Whole(),
    float: Real(),
    str: Text(),
    bytes: Bytes(),
    bool: OneOf((False, True)),
    type(None): OneOf((None,)),
    None: OneOf((None,)),
}
PODS: Final = ("Candidate", "Orderable", "PodInfo", "QueuedPod", "Pod")
"""Types that mean a queued pod, by name."""


def domain_of(kind: Any, pods: Callable[[str], Domain]) -> Domain:
    """The values of a type.

    Args:
        kind: the annotation.
        pods: gives the domain of queued pods of one of PODS.

    Raises:
        ConfigError: it is no type whose values can be made.
    """
    if kind in _PLAIN if isinstance(kind, type) or kind is None else False:
        return _PLAIN[kind]
    if getattr(kind, "__name__", "") in PODS:
        return pods(kind.__name__)
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return domain_of(args[0], pods)
    if origin in (typing.Union, types.UnionType):
        return Either(tuple((_is_of(one), domain_of(one, pods)) for one in args))
    if origin is typing.Literal:
        return OneOf(args)
    if origin is not None or kind in _MANY or kind in (tuple, dict):
        return _of_container(origin or kind, args, pods)
    made = _of_class(kind, pods)
    if made is None:
        name = getattr(kind, "__name__", None) or str(kind)
        raise ConfigError("no values of this type can be made", where="type", value=name, fix=FIX)
    return made


_MANY: Final[dict[Any, Callable[[Sequence[Any]], Any]]] = {
    list: list,
    set: set,
    frozenset: frozenset,
}


def _of_container(origin: Any, args: tuple[Any, ...], pods: Callable[[str], Domain]) -> Domain:
    """Tuples, lists, sets and mappings; without parameters, of integers."""
    if isinstance(origin, type) and issubclass(origin, tuple):
        if len(args) == 2 and args[1] is Ellipsis:
            return Many(domain_of(args[0], pods), tuple)
        return Record(tuple(domain_of(one, pods) for one in args), tuple, tuple)
    if origin in _MANY:
        return Many(domain_of(args[0] if args else int, pods), _MANY[origin])
    if isinstance(origin, type) and issubclass(origin, Mapping):
        key, value = args or (str, int)
        pair = Record((domain_of(key, pods), domain_of(value, pods)), tuple, tuple)
        return Many(pair, dict)
    if isinstance(origin, type) and issubclass(origin, Sequence | typing.Collection):
        return Many(domain_of(args[0] if args else int, pods), list)
    raise ConfigError("no values of this type can be made", where="type", value=origin, fix=FIX)


def _of_class(kind: Any, pods: Callable[[str], Domain]) -> Domain | None:
    """Enumerations, records of fields, and what hypothesis knows."""
    if not isinstance(kind, type):
        return None
    if issubclass(kind, enum.Enum):
        return OneOf(tuple(kind))
    names: Sequence[str] = ()
    if dataclasses.is_dataclass(kind):
        names = [one.name for one in dataclasses.fields(kind) if one.init]
    elif issubclass(kind, tuple) and hasattr(kind, "_fields"):
        names = kind._fields
    elif hasattr(kind, "__struct_fields__"):
        names = kind.__struct_fields__
    if names:
        hints = typing.get_type_hints(kind)
        parts = tuple(domain_of(hints[name], pods) for name in names)
        return Record(
            parts,
            lambda items: kind(**dict(zip(names, items, strict=True))),
            lambda value: [getattr(value, name) for name in names],
        )
    if kind.__module__ in ("datetime", "decimal", "fractions", "uuid", "ipaddress"):
        return Known(kind)
    return None


def _is_of(kind: Any) -> Callable[[Any], bool]:
    """Whether a value is of one member of a union."""
    plain = typing.get_origin(kind) or kind
    if plain is None:
        plain = type(None)
    if not isinstance(plain, type):
        return lambda value: False
    return lambda value: type(value) is plain or (plain not in (int,) and isinstance(value, plain))


_NAMES: Final[dict[str, Any]] = {
    "int": int,
    "float": float,
    "str": str,
    "bool": bool,
    "bytes": bytes,
    "None": None,
    "list": list,
    "List": list,
    "tuple": tuple,
    "Tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "dict": dict,
}


def parsed_type(text: str) -> Any:
    """The type that a text names: `int`, `pod`, `tuple[int, str]`, `list[float]`, `int | None`.

    Raises:
        ConfigError: it names none.
    """
    try:
        return _parsed(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigError("unknown type", where="--type", value=text, fix=FIX) from error


class Pod:
    """Stands for a queued pod where a type is named on the command line."""


def _parsed(node: ast.expr) -> Any:
    match node:
        case ast.Name(id="pod" | "pods" | "Candidate" | "Pod" | "PodInfo" as name):
            return Pod if name in ("pod", "pods", "Candidate") else type(name, (), {})
        case ast.Name(id=name):
            return _NAMES[name]
        case ast.Constant(value=None):
            return None
        case ast.Constant(value=str(text)):
            return _parsed(ast.parse(text, mode="eval").body)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return typing.Union[_parsed(left), _parsed(right)]  # noqa: UP007  # made at run time
        case ast.Subscript(value=ast.Name(id="Optional"), slice=inner):
            return typing.Optional[_parsed(inner)]  # noqa: UP045  # made at run time
        case ast.Subscript(value=ast.Name(id="Union"), slice=ast.Tuple(elts=parts)):
            return typing.Union[tuple(_parsed(part) for part in parts)]  # noqa: UP007
        case ast.Subscript(value=outer, slice=inner):
            parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            items = tuple(
                Ellipsis if isinstance(p, ast.Constant) and p.value is Ellipsis else _parsed(p)
                for p in parts
            )
            return _parsed(outer)[items]
        case ast.Tuple(elts=parts):
            return tuple[tuple(_parsed(part) for part in parts)]  # type: ignore[misc]
    raise ValueError(ast.unparse(node))
