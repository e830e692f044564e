"""The fields of every served kind and their types, read from `schema.txt`.

A line of that table is `Type: field@number=type ...`; more fields follow on indented lines. Types
are `s` text, `y` bytes in base 64, `i` whole number, `f` number, `b` truth value, `t` time, `q`
quantity, `x` whole number or text, `o` anything, another type's name, `{T}` a map from texts, `[T]`
a list, and with a slash a list that a strategic merge patch merges: `[T/key]` by the items' key,
`[s/]` as a set. A `!` marks the strategy retainKeys. The number is the field's in protobuf, with
those of the messages around it where JSON has none (`2.1`); a `?` after it: absent is not zero.

Source: the struct tags of k8s.io/api and apimachinery at Kubernetes 1.36 (facts).
"""

from __future__ import annotations

import re
from base64 import b64decode
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any

from herz.errors import ConfigError
from herz.model.quantity import parse_quantity

DEPTH_MAX = 64
"""Bound: levels of nesting in one object."""
INT64_MAX = 2**63 - 1


class Decimal(str):
    """A JSON number with a fraction or an exponent, as it was written."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Type:
    """One field's type.

    Args:
        name: of a primitive, of a table's type, or "{" and "[" for maps and lists.
        item: of what a map or list is made.
        merge_key: for merged lists: the items' key, "" for sets; None where a patch replaces.
        is_retaining: whether a patch may name the keys to keep.
        number: the field's place in protobuf, such as (2, 1); empty for what has none.
        is_optional: whether a zero in protobuf is more than an absence.
    """

    name: str
    item: Type | None = None
    merge_key: str | None = None
    is_retaining: bool = False
    number: tuple[int, ...] = ()
    is_optional: bool = False

    @property
    def fields(self) -> dict[str, Type] | None:
        """The fields of a struct; None for everything else."""
        return types().get(self.name)


ANYTHING = Type("o")


@cache
def types() -> dict[str, dict[str, Type]]:
    """The whole table."""
    text = files(__package__).joinpath("schema.txt").read_text(encoding="utf-8")
    joined = re.sub(r"\n +", " ", text)
    table = {}
    for line in joined.splitlines():
        name, _, rest = line.partition(":")
        pairs = (item.split("=", 1) for item in rest.split())
        table[name] = dict(_field(*pair) for pair in pairs)
    return table


def _field(left: str, written: str) -> tuple[str, Type]:
    """A field's name and type; `left` is the name with its number."""
    name, _, place = left.partition("@")
    number = tuple(int(part) for part in place.rstrip("?").split(".") if part)
    return name, replace(_type(written), number=number, is_optional=place.endswith("?"))


@cache
def _type(written: str) -> Type:
    if written.endswith("!"):
        return replace(_type(written[:-1]), is_retaining=True)
    if written.startswith("{"):
        return Type("{", _type(written[1:-1]))
    if written.startswith("["):
        item, slash, key = written[1:-1].partition("/")
        return Type("[", _type(item), key if slash else None)
    return Type(written)


def conform(type_name: str, content: Any) -> tuple[dict[str, Any], list[str]]:
    """The object with the fields that its type has, each of its type; nulls count as absent.

    Returns:
        The object, and the paths of the fields that the type does not have.

    Raises:
        ConfigError: a field has another type; `where` is its path.
    """
    unknown: list[str] = []
    conformed = _Conforming(unknown).value(Type(type_name), content, "", 0)
    assert isinstance(conformed, dict)
    return conformed, unknown


class _Conforming:
    """One pass over an object; gathers what is unknown."""

    def __init__(self, unknown: list[str]) -> None:
        self._unknown = unknown

    def value(self, kind: Type, content: Any, path: str, depth: int) -> Any:
        if depth > DEPTH_MAX:
            raise ConfigError(
                "nested too deeply", where=path[:80], fix=f"at most {DEPTH_MAX} levels"
            )
        if kind.name == "[":
            return self._list(kind, content, path, depth)
        if kind.name == "{":
            return self._map(kind, content, path, depth)
        fields = kind.fields
        if fields is not None:
            return self._struct(fields, content, path, depth)
        return _PRIMITIVES[kind.name](content, path)

    def _struct(
        self, fields: dict[str, Type], content: Any, path: str, depth: int
    ) -> dict[str, Any]:
        if not isinstance(content, dict):
            raise _wrong("an object", content, path)
        found = {}
        for name, item in content.items():
            inner = f"{path}.{name}" if path else name
            kind = fields.get(name)
            if kind is None:
                self._unknown.append(inner)
            elif item is not None:
                found[name] = self.value(kind, item, inner, depth + 1)
        return found

    def _list(self, kind: Type, content: Any, path: str, depth: int) -> list[Any]:
        if not isinstance(content, list):
            raise _wrong("a list", content, path)
        assert kind.item is not None
        item_type = kind.item
        return [
            self.value(item_type, item, f"{path}[{index}]", depth + 1)
            for index, item in enumerate(content)
            if item is not None or item_type.fields is None
        ]

    def _map(self, kind: Type, content: Any, path: str, depth: int) -> dict[str, Any]:
        if not isinstance(content, dict):
            raise _wrong("an object", content, path)
        assert kind.item is not None
        item_type = kind.item
        return {
            name: self.value(item_type, item, f"{path}.{name}", depth + 1)
            for name, item in content.items()
            if item is not None
        }


def _wrong(wanted: str, content: Any, path: str) -> ConfigError:
    return ConfigError(f"expected {wanted}", where=path, value=content, fix="correct its type")


def _text(content: Any, path: str) -> str:
    if not isinstance(content, str) or isinstance(content, Decimal):
        raise _wrong("a text", content, path)
    return content


def _encoded(content: Any, path: str) -> str:
    text = _text(content, path)
    try:
        b64decode(text, validate=True)
    except ValueError as error:
        raise ConfigError("not in base 64", where=path, fix="encode its bytes") from error
    return text


def _integer(content: Any, path: str) -> int:
    if not isinstance(content, int) or isinstance(content, bool) or abs(content) > INT64_MAX:
        raise _wrong("a whole number of 64 bits", content, path)
    return content


def _truth(content: Any, path: str) -> bool:
    if not isinstance(content, bool):
        raise _wrong("true or false", content, path)
    return content


def _number(content: Any, path: str) -> float:
    if isinstance(content, bool) or not isinstance(content, int | float | Decimal):
        raise _wrong("a number", content, path)
    return float(content)


def _quantity(content: Any, path: str) -> str:
    if isinstance(content, bool) or not isinstance(content, int | str):
        raise _wrong("a quantity", content, path)
    try:
        return str(parse_quantity(str(content)))
    except ConfigError as error:
        raise ConfigError(error.what, where=path, value=error.value, fix=error.fix) from error


def _count_or_text(content: Any, path: str) -> int | str:
    if isinstance(content, bool | Decimal) or not isinstance(content, int | str):
        raise _wrong("a whole number or a text", content, path)
    return content if isinstance(content, str) else _integer(content, path)


def _time(content: Any, path: str) -> str:
    text = _text(content, path)
    try:
        if "T" not in text.upper() or datetime.fromisoformat(text).tzinfo is None:
            raise ValueError(text)
    except ValueError as error:
        fix = "write RFC 3339, such as 2026-01-31T12:00:00Z"
        raise ConfigError("not a time", where=path, value=text, fix=fix) from error
    return text


def plain(content: Any, path: str = "", depth: int = 0) -> Any:
    """Anything, with numbers as JSON has them; checked for its depth only.

    Raises:
        ConfigError: it is nested too deeply.
    """
    if depth > DEPTH_MAX:
        raise ConfigError("nested too deeply", where=path[:80], fix=f"at most {DEPTH_MAX} levels")
    if isinstance(content, dict):
        return {key: plain(item, f"{path}.{key}", depth + 1) for key, item in content.items()}
    if isinstance(content, list):
        return [plain(item, f"{path}[{at}]", depth + 1) for at, item in enumerate(content)]
    return float(content) if isinstance(content, Decimal) else content


_PRIMITIVES = {
    "s": _text,
    "y": _encoded,
    "i": _integer,
    "b": _truth,
    "f": _number,
    "q": _quantity,
    "x": _count_or_text,
    "t": _time,
    "o": plain,
}
