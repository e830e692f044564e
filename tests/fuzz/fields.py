"""Fields that a place of an input may have, with values that fit.

Of a thousand names one is known at a place, and wants one kind of value: a blind change hits
neither. The place is told by its `kind`, or by the names that it has already.
"""

from __future__ import annotations

import copy
import itertools
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from msgspec import inspect

from tests.fuzz.shapes import MANY, shape_of

DEPTH_MAX: Final = 4
"""Below which only what must be there is made."""
_OPTIONAL: Final = 0.15
_EMPTY: Final = 0.7
_SEEN: Final = 0.5
"""Shares: of the fields that need not be there; of texts that would be empty without, which is
refused for most; and of those that another input has had."""
_SEEN_AT_ONCE: Final = 4
_SEEN_BYTES_MAX: Final = 512
"""What is kept for others: so many places of an input at each change, which are not larger."""
_TOGETHER: Final = (1, 1, 1, 2, 4, 8, 16)
"""How many at once: what one field means may hang on what others say."""
_IN_TURN: Final = 0.3
"""Share of the fields that get their kinds of value one after the other: by chance alone the last
of a thousand takes a million changes."""
_MISFIT: Final = 0.1
"""Share of those that get one which does not fit: each is refused for a reason of its own."""
_GONE: Final = "no value"
_KINDS: Final[tuple[Any, ...]] = (None, True, 1, 0.5, "", [], {}, _GONE)
"""A value of each kind that JSON has, and the field left out."""
_SPANS: Final = ("0s", "9h")
"""Texts that mean a number: none, and more than 32 bits of ns."""
_SIGNS: Final = (0, 1, -1, 7, 2**40)
"""A number of each kind that `shape_of` tells apart."""
_WHOLE: Final = (0, 1, 2, 3, 80, 100, 1000, 65_535, -1, 2**31 - 1, 2**63 - 1)
_TEXTS: Final = ("a", "b", "", "1", "7", "100m", "1Gi", "a/b", "example.com/a", "50%", "10m", "n")
_PARTS: Final = ("types", "item_types", "item_type", "key_type", "value_type")


Maker = Callable[[random.Random], Any]


class Fields:
    """The fields of these types and of those below them.

    Args:
        kinds: types of msgspec.
        words: texts to choose from, beside some that are known everywhere.
    """

    def __init__(self, kinds: Sequence[type], words: Sequence[str]) -> None:
        self._words = words
        self._seen: dict[str, dict[str, str]] = {}
        self._structs = {each.cls.__name__: each for each in structs(kinds)}
        self._names = {
            name: frozenset(field.encode_name for field in each.fields)
            for name, each in self._structs.items()
            if each.fields
        }
        self._known = frozenset().union(*self._names.values())
        self._turns = {name: itertools.cycle(self._all(name)) for name in self._names}
        self._misfits = {
            name: itertools.cycle(itertools.product(sorted(own), _KINDS))
            for name, own in self._names.items()
        }

    def see(self, places: Sequence[tuple[Any, Any]], dice: random.Random) -> None:
        """Fields of an input that was read: others may have them, too.

        The last of each kind of value is kept: three items here may meet a flag there.
        """
        for node, name in dice.sample(places, min(_SEEN_AT_ONCE, len(places))):
            if name in self._known and len(text := json.dumps(node[name])) <= _SEEN_BYTES_MAX:
                self._seen.setdefault(name, {})[shape_of(node[name])] = text

    def put(self, node: dict[str, Any], dice: random.Random) -> None:
        """Give this object fields that it may have; those that it has get another value."""
        like = self._like(node, dice)
        if dice.random() < _IN_TURN:
            if dice.random() < _MISFIT:
                name, value = next(self._misfits[like])
                node[name] = copy.copy(value)
                if value is _GONE:
                    del node[name]
            else:
                name, make = next(self._turns[like])
                node[name] = make(dice)
            return
        fields = self._structs[like].fields
        seen = [field.encode_name for field in fields if field.encode_name in self._seen]
        for _ in range(dice.choice(_TOGETHER)):
            if seen and dice.random() < _SEEN:
                name = dice.choice(seen)
                node[name] = json.loads(dice.choice([*self._seen[name].values()]))
            else:
                field = dice.choice(fields)
                node[field.encode_name] = self.value(field.type, dice)

    def _like(self, node: Mapping[str, Any], dice: random.Random) -> str:
        """The name of the type that this object is most like; of equals any."""
        kind = node.get("kind")
        if isinstance(kind, str) and kind in self._names:
            return kind
        shared = {name: len(own & node.keys()) for name, own in self._names.items()}
        most = max(shared.values())
        return dice.choice([name for name, count in shared.items() if count == most])

    def value(self, wanted: inspect.Type, dice: random.Random, depth: int = 0) -> Any:
        """Some value of this type, as JSON has it."""
        match wanted:
            case inspect.BoolType():
                return dice.random() < 0.5
            case inspect.IntType() | inspect.FloatType():
                return dice.choice(_WHOLE)
            case inspect.EnumType():
                return dice.choice([one.value for one in wanted.cls])
            case inspect.LiteralType():
                return dice.choice(wanted.values)
            case inspect.UnionType():
                return self.value(dice.choice(wanted.types), dice, depth)
            case inspect.TupleType():
                return [self.value(item, dice, depth + 1) for item in wanted.item_types]
            case inspect.VarTupleType() | inspect.ListType():
                count = dice.choice((1, 1, 2, 3)) if depth < DEPTH_MAX else 0
                return [self.value(wanted.item_type, dice, depth + 1) for _ in range(count)]
            case inspect.DictType():
                return {self._text(dice): self.value(wanted.value_type, dice, depth + 1)}
            case inspect.StructType():
                return self._struct(wanted, dice, depth)
            case inspect.NoneType():
                return None
        return self._text(dice)

    def _all(self, name: str) -> list[tuple[str, Maker]]:
        """Each field of a type with each kind of value that it takes."""
        fields = self._structs[name].fields
        return [(field.encode_name, make) for field in fields for make in self._kinds(field.type)]

    def _kinds(self, wanted: inspect.Type, depth: int = 0) -> Iterator[Maker]:
        """Makers of a value of each kind; of lists and objects, of each length and kind of item."""
        match wanted:
            case inspect.BoolType():
                yield from map(_always, (False, True))
            case inspect.IntType() | inspect.FloatType():
                yield from map(_always, _SIGNS)
            case inspect.EnumType():
                yield from (_always(one.value) for one in wanted.cls)
            case inspect.LiteralType():
                yield from map(_always, wanted.values)
            case inspect.UnionType():
                for each in wanted.types:
                    yield from self._kinds(each, depth)
            case inspect.VarTupleType() | inspect.ListType():
                yield from self._counts(wanted.item_type, list, depth)
            case inspect.DictType():
                yield from self._counts(wanted.value_type, dict, depth)
            case inspect.StrType():
                yield from map(_always, ("", *_SPANS))
                yield self._text
            case _:
                yield lambda dice: self.value(wanted, dice)

    def _counts(self, item: inspect.Type, kind: type, depth: int) -> Iterator[Maker]:
        for count in range(MANY + 1):
            yield _together(kind, [lambda dice: self.value(item, dice, 1)] * count)
        if depth < 2:
            yield from (_together(kind, [one]) for one in self._kinds(item, depth + 1))

    def _struct(self, wanted: inspect.StructType, dice: random.Random, depth: int) -> Any:
        share = _OPTIONAL if depth < DEPTH_MAX else 0.0
        made = {}
        for field in self._structs[wanted.cls.__name__].fields:
            is_asked = field.default == "" and dice.random() < _EMPTY
            if field.required or is_asked or dice.random() < share:
                made[field.encode_name] = self.value(field.type, dice, depth + 1)
        return made

    def _text(self, dice: random.Random) -> str:
        return dice.choice(self._words if dice.random() < 0.4 else _TEXTS)


def _always(value: Any) -> Maker:
    return lambda _: value


def _together(kind: type, makers: Sequence[Maker]) -> Maker:
    """A list or an object of these; what has a name has one of its own."""

    def make(dice: random.Random) -> Any:
        made = dict(zip("abcde", [one(dice) for one in makers], strict=False))
        for name, item in made.items():
            if isinstance(item, dict) and "name" in item:
                item["name"] = name
        return made if kind is dict else list(made.values())

    return make


def structs(kinds: Sequence[Any]) -> list[inspect.StructType]:
    """These types' structs and those below them, each once."""
    waiting, seen = list(inspect.multi_type_info(kinds)), dict[type, inspect.StructType]()
    while waiting:
        found = waiting.pop()
        if isinstance(found, inspect.StructType):
            if found.cls not in seen:
                seen[found.cls] = found
                waiting += [field.type for field in found.fields]
            continue
        for name in _PARTS:
            inner = getattr(found, name, ())
            waiting += inner if isinstance(inner, tuple) else [inner]
    return list(seen.values())
